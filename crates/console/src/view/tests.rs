//! The page's endpoints over a store, without a socket.

use actix_web::{App, test, web};
use serde_json::{Value, json};

use crate::model::{Status, TraceId};
use crate::store::Store;
use crate::tree::tests::span;

async fn get(path: &str) -> (u16, Value) {
    let store = Store::new(1 << 24);
    let mut failed = span(2, Some(1), 1_000, 9_000_000);
    failed.status = Status::Error(String::new());
    let mut newer = span(3, Some(77), 50_000_000, 51_000_000);
    newer.trace_id = TraceId(2);
    store.add_spans(vec![span(1, None, 0, 5_000_000), failed, newer]);
    let app = App::new()
        .app_data(web::Data::new(store))
        .app_data(web::Data::new(crate::answer::Answers::new(
            crate::budget::Budget::new(64 << 20),
        )))
        .configure(super::configure);
    let app = test::init_service(app).await;
    let response = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
    let status = response.status().as_u16();
    let body = test::read_body(response).await;
    (
        status,
        serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {e}")),
    )
}

#[actix_web::test]
async fn the_list_is_newest_first_and_searchable() {
    let (status, body) = get("/api/console/traces?service=&limit=5").await;
    assert_eq!(
        (status, &body["searched"], &body["truncated"]),
        (200, &json!(2), &json!(false))
    );
    let older = json!({
        "trace_id": TraceId(1).to_string(), "root_service": "shop", "root_name": "span 1", "start_us": 0,
        "duration_us": 9_000.0, "span_count": 2, "error_count": 1, "services": [{"name": "shop", "spans": 2}],
    });
    assert_eq!(
        (&body["traces"][0]["root_name"], &body["traces"][1]),
        (&json!("span 3"), &older)
    );
    for (query, count) in [
        ("error=true", 1),
        ("min_duration=9ms", 1),
        ("max_duration=1ms", 1),
        ("tags=%7B%22error%22:true%7D", 1),
        ("operation=span%203", 1),
        ("service=bank", 0),
        ("limit=1", 1),
    ] {
        let (_, body) = get(&format!("/api/console/traces?{query}")).await;
        assert_eq!(
            body["traces"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
}

#[actix_web::test]
async fn one_trace_or_a_problem() {
    let (status, body) = get("/api/console/traces/2").await;
    assert_eq!((status, &body["complete"]), (200, &json!(true)));
    assert_eq!(body["missing_parents"], json!(["000000000000004d"]));
    for (path, status, word) in [
        ("/api/console/traces/99", 404, "not in the store"),
        ("/api/console/traces/xyz", 400, "'trace_id'"),
        ("/api/console/traces?limit=0", 400, "'limit'"),
        ("/api/console/traces?sort=up", 400, "'sort'"),
        ("/api/console/traces?where=a~b", 400, "'where'"),
    ] {
        let (got, body) = get(path).await;
        assert_eq!((got, &body["status"]), (status, &json!(status)), "{path}");
        assert!(
            body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(word)),
            "{path}: {body}"
        );
    }
}
