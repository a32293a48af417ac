//! The API's contract: `/openapi.json` says what the route table says. That the answers are what it says is checked by a
//! property-based client (`just test-openapi`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::Stack;
use crate::metrics::GATEWAY;

fn documented(document: &Value) -> BTreeSet<(String, String, u16)> {
    let mut found = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            for status in operation["responses"]
                .as_object()
                .expect("responses")
                .keys()
            {
                let status = status.parse().expect("a status");
                found.insert((method.to_uppercase(), path.clone(), status));
            }
        }
    }
    found
}

/// Every `$ref` that leads nowhere.
fn dangling(document: &Value, part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                let pointer = target.trim_start_matches('#');
                if document.pointer(pointer).is_none() {
                    found.push(target.clone());
                }
            }
            fields
                .values()
                .for_each(|value| dangling(document, value, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| dangling(document, item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_names_every_route_and_status_and_no_others() {
    let stack = Stack::start().await;
    let reply = stack.get("/openapi.json").await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let declared: BTreeSet<(String, String, u16)> = GATEWAY
        .iter()
        .flat_map(|(method, path, statuses)| {
            statuses
                .iter()
                .map(|status| ((*method).to_owned(), (*path).to_owned(), *status))
        })
        .collect();
    assert_eq!(documented(&document), declared);
    let mut lost = Vec::new();
    dangling(&document, &document, &mut lost);
    assert!(lost.is_empty(), "{lost:?}");

    // Members of the schemas are those of the types.
    let sku = stack.sku().await;
    let order = stack.order(&sku, 1).await.expect(201).json();
    let item = stack.get_data().await.expect(200).json();
    let problem = stack.get("/api/orders/none").await.expect(404).json();
    for (schema, value) in [
        ("Order", &order),
        ("QuotedItem", &item),
        ("Quote", &item["quote"]),
        ("Problem", &problem),
    ] {
        let properties = &document["components"]["schemas"][schema]["properties"];
        for member in value.as_object().expect("an object").keys() {
            assert!(
                properties[member].is_object(),
                "{schema}.{member} is not documented"
            );
        }
    }
    stack.stop().await;
}
