//! What stands on a span: the stable semantic conventions, and nothing that is not in the catalogue.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Span, Stack};
use crate::traces::{delivery_of, of};

#[tokio::test]
async fn every_span_has_the_attributes_of_its_kind() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;
    let order = stack.order(&sku, 1).await.expect(201).trace_id();
    let delivery = delivery_of(&stack.receiver, &order).await;
    let receiver = stack.stop().await;
    let order = receiver.trace(&order);

    let server = [
        "client.address",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.version",
        "server.address",
        "server.port",
        "url.path",
        "url.scheme",
    ];
    let client = [
        "http.request.method",
        "http.response.status_code",
        "service.peer.name",
        "server.address",
        "server.port",
        "url.full",
        "url.template",
    ];
    let statement = [
        "db.namespace",
        "db.operation.name",
        "db.query.text",
        "db.system.name",
        "service.peer.name",
        "server.address",
        "server.port",
    ];
    let table = [&statement[..], &["db.collection.name"]].concat();
    let message = [
        "messaging.destination.name",
        "messaging.message.id",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.system",
    ];
    for (spans, service, name, want) in [
        (&order, "gateway", "POST /api/orders", &server[..]),
        (&order, "gateway", "POST /orders", &client),
        (
            &order,
            "data",
            "acquire connection",
            &[
                "db.client.connection.pool.name",
                "db.system.name",
                "server.address",
                "server.port",
            ],
        ),
        (&order, "data", "BEGIN", &statement),
        (&order, "data", "INSERT orders", &table),
        (&order, "data", "COMMIT", &statement),
        (&order, "data", "POST /payments", &client),
        (&order, "downstream", "POST /payments", &server),
        (&delivery, "data", "send order-events", &message),
        (&delivery, "downstream", "process order-events", &message),
    ] {
        let span = of(spans, service, name);
        // An exemplar may name any of them.
        let found: BTreeSet<&str> = span
            .attributes
            .keys()
            .map(String::as_str)
            .filter(|key| *key != "omnitrace.exemplar")
            .collect();
        assert_eq!(found, want.iter().copied().collect(), "{service} {name}");
    }
    has(
        of(&order, "gateway", "POST /api/orders"),
        json!({
            "http.request.method": "POST", "http.route": "/api/orders", "http.response.status_code": 201,
            "url.path": "/api/orders", "url.scheme": "http", "client.address": "127.0.0.1",
            "server.address": "127.0.0.1", "network.protocol.version": "1.1",
        }),
    );
    has(
        of(&order, "data", "POST /payments"),
        json!({
            "http.request.method": "POST", "http.response.status_code": 200, "url.template": "/payments",
            "service.peer.name": "downstream", "server.address": "127.0.0.1",
        }),
    );
    has(
        of(&order, "data", "INSERT orders"),
        json!({
            "db.system.name": "postgresql", "db.operation.name": "INSERT", "db.collection.name": "orders",
            "service.peer.name": "postgresql",
        }),
    );
    assert!(
        of(&order, "data", "INSERT orders")
            .text("db.query.text")
            .contains("$1")
    );
    has(
        of(&delivery, "data", "send order-events"),
        json!({
            "messaging.system": "postgresql_outbox", "messaging.destination.name": "order-events",
            "messaging.operation.name": "send", "messaging.operation.type": "send",
        }),
    );
    has(
        of(&delivery, "downstream", "process order-events"),
        json!({
            "messaging.system": "postgresql_outbox", "messaging.destination.name": "order-events",
            "messaging.operation.name": "process", "messaging.operation.type": "process",
        }),
    );
    for span in receiver.spans() {
        for key in ["server.port", "http.response.status_code"] {
            let value = span.attributes.get(key);
            assert!(
                value.is_none_or(Value::is_u64),
                "{key} is a number: {span:#?}"
            );
        }
        for key in span.attributes.keys() {
            assert!(
                is_catalogued(key),
                "{key} of {} is not in the catalogue",
                span.name
            );
        }
    }
}

fn is_catalogued(key: &str) -> bool {
    telemetry::names::ATTRIBUTES
        .iter()
        .any(|attribute| attribute.name == key)
}

#[track_caller]
fn has(span: &Span, want: Value) {
    for (key, value) in want.as_object().expect("an object") {
        assert_eq!(span.attributes.get(key), Some(value), "{key} of {span:#?}");
    }
}
