//! The endpoints over a filled store, without a socket.

use std::sync::Arc;

use actix_web::{App, test, web};
use serde_json::{Value, json};

use crate::model::{Kind, Link, Resource, Span, SpanId, Status, TraceId};
use crate::store::Store;
use crate::tree::tests::span;

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000_000_000;
const MS: u64 = 1_000_000;

fn make(
    trace: u128,
    id: u64,
    parent: Option<u64>,
    service: &str,
    name: &str,
    kind: Kind,
    at_ms: (u64, u64),
) -> Span {
    Span {
        trace_id: TraceId(trace),
        resource: Arc::new(Resource {
            service: service.into(),
            attributes: vec![("service.name".into(), json!(service))].into(),
        }),
        name: name.into(),
        kind,
        ..span(id, parent, START + at_ms.0 * MS, START + at_ms.1 * MS)
    }
}

/// An order (trace 0xa) over three services that sends a message, which another trace (0xb) handles.
fn shop() -> Store {
    let store = Store::new(1 << 24);
    let mut payment = make(
        0xa,
        3,
        Some(2),
        "bank",
        "POST /payments",
        Kind::Server,
        (20, 30),
    );
    payment.status = Status::Error("declined".into());
    payment.attributes = vec![("http.status_code".into(), json!(402))].into();
    // Both lead to the same service: one call.
    payment.links = vec![Link {
        trace_id: TraceId(0xa),
        span_id: SpanId(4),
        ..Link::default()
    }];
    let mut mail = make(
        0xb,
        5,
        None,
        "mail",
        "order-events process",
        Kind::Consumer,
        (500, 510),
    );
    mail.links = vec![Link {
        trace_id: TraceId(0xa),
        span_id: SpanId(2),
        ..Link::default()
    }];
    store.add_spans(vec![
        make(
            0xa,
            1,
            None,
            "gateway",
            "POST /orders",
            Kind::Server,
            (0, 100),
        ),
        make(0xa, 2, Some(1), "data", "INSERT", Kind::Client, (10, 40)),
        // Within one service: no edge.
        make(0xa, 4, Some(2), "data", "parse", Kind::Internal, (35, 36)),
        payment,
        mail,
        make(
            0xc,
            6,
            None,
            "gateway",
            "GET /items",
            Kind::Server,
            (1_000, 1_005),
        ),
    ]);
    store.add_spans(vec![make(
        0xd,
        7,
        None,
        "team/search ü",
        "query",
        Kind::Internal,
        (2_000, 2_001),
    )]);
    store
}

async fn get(path: &str) -> (u16, Value) {
    let app = App::new()
        .app_data(web::Data::new(shop()))
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
        serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body:?}")),
    )
}

/// Ids of the traces that a search finds, in order, without leading zeros.
async fn found(query: &str) -> Vec<String> {
    let (status, body) = get(&format!("/api/traces?{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    let traces = body["data"].as_array().into_iter().flatten();
    let ids = traces.filter_map(|trace| trace["traceID"].as_str());
    ids.map(|id| id.trim_start_matches('0').to_owned())
        .collect()
}

#[actix_web::test]
async fn lists_have_jaegers_envelope() {
    let (status, body) = get("/api/services").await;
    let names = ["bank", "data", "gateway", "mail", "team/search ü"];
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"data": names, "total": 5, "limit": 0, "offset": 0, "errors": null})
    );
    let (_, body) = get("/api/services/gateway/operations").await;
    assert_eq!(body["data"], json!(["GET /items", "POST /orders"]));
    let (_, body) = get("/api/services/team%2Fsearch%20%C3%BC/operations").await;
    assert_eq!(body["data"], json!(["query"]));
    let (_, body) = get("/api/services/nobody/operations").await;
    assert_eq!(body["data"], json!([]));
    let (_, body) = get("/api/operations?service=mail").await;
    assert_eq!(
        body["data"],
        json!([{"name": "order-events process", "spanKind": "consumer"}])
    );
    let (_, body) = get("/api/operations?service=mail&spanKind=server").await;
    assert_eq!(body["data"], json!([]));
}

#[actix_web::test]
async fn searches_combine_their_conditions_in_one_span() {
    let tags = |json: &str| {
        format!(
            "service=bank&tags={}",
            json.replace('"', "%22")
                .replace('{', "%7B")
                .replace('}', "%7D")
        )
    };
    let micros = START / 1_000;
    for (query, expected) in [
        ("service=gateway".to_owned(), vec!["c", "a"]),
        ("service=gateway&limit=1".to_owned(), vec!["c"]),
        (
            "service=gateway&operation=POST%20/orders".to_owned(),
            vec!["a"],
        ),
        ("service=nobody".to_owned(), vec![]),
        (tags(r#"{"error":"true"}"#), vec!["a"]),
        (
            tags(r#"{"error":"true","http.status_code":"402"}"#),
            vec!["a"],
        ),
        (tags(r#"{"http.status_code":"40"}"#), vec![]),
        (tags(r#"{"span.kind":"client"}"#), vec![]),
        (
            "service=bank&tag=span.kind:server&tag=error:true".to_owned(),
            vec!["a"],
        ),
        ("service=gateway&minDuration=50ms".to_owned(), vec!["a"]),
        ("service=gateway&maxDuration=5ms".to_owned(), vec!["c"]),
        ("service=data&minDuration=31ms".to_owned(), vec![]),
        (
            format!(
                "service=gateway&start={}&end={}",
                micros + 1,
                micros + 2_000_000
            ),
            vec!["c"],
        ),
        (
            format!("service=gateway&end={micros}&lookback=1h"),
            vec!["a"],
        ),
    ] {
        assert_eq!(found(&query).await, expected, "{query}");
    }
}

#[actix_web::test]
async fn a_trace_is_found_by_any_spelling_of_its_id() {
    for id in ["a", "A", "0000000000000000000000000000000a"] {
        // Grafana sends milliseconds here; they must not hide the trace.
        let (status, body) = get(&format!("/api/traces/{id}?start=1&end=2&raw=true")).await;
        assert_eq!((status, &body["errors"]), (200, &Value::Null));
        assert_eq!(
            body["data"][0]["spans"].as_array().map(Vec::len),
            Some(4),
            "{id}"
        );
    }
    let (status, body) = get("/api/traces/ff").await;
    assert_eq!(status, 404);
    let errors = json!([{"code": 404, "msg": "trace not found"}]);
    assert_eq!(
        body,
        json!({"data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors})
    );
    let (_, body) = get("/api/traces?traceID=b&traceID=ff&traceID=b").await;
    assert_eq!(body["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        body["errors"],
        json!([{"msg": "trace not found", "traceID": format!("{:032x}", 0xff)}])
    );
}

#[actix_web::test]
async fn bad_parameters_are_named() {
    for (path, name) in [
        ("/api/traces", "service"),
        ("/api/traces?service=gateway&limit=1501", "limit"),
        ("/api/traces?service=gateway&minDuration=5", "minDuration"),
        ("/api/traces?service=gateway&tags=%5B", "tags"),
        ("/api/traces?traceID=xyz", "traceID"),
        ("/api/traces/xyz", "traceID"),
        ("/api/traces/000000000000000000000000000000000", "traceID"),
        ("/api/traces/a?start=x", "start"),
        ("/api/operations", "service"),
        ("/api/operations?service=mail&spanKind=5", "spanKind"),
        ("/api/dependencies?endTs=x", "endTs"),
        ("/api/dependencies?lookback=1h", "lookback"),
    ] {
        let (status, body) = get(path).await;
        assert_eq!(
            (status, &body["errors"][0]["code"], &body["data"]),
            (400, &json!(400), &Value::Null),
            "{path}"
        );
        let message = body["errors"][0]["msg"].as_str().unwrap_or_default();
        assert!(message.contains(&format!("'{name}'")), "{path}: {message}");
    }
}

#[actix_web::test]
async fn dependencies_count_calls_and_messages() {
    let end = START / MS + 2_000;
    let edge =
        |parent: &str, child: &str| json!({"parent": parent, "child": child, "callCount": 1});
    let (status, body) = get(&format!("/api/dependencies?endTs={end}&lookback=60000")).await;
    assert_eq!(status, 200);
    assert_eq!(
        body["data"],
        json!([
            edge("data", "bank"),
            edge("data", "mail"),
            edge("gateway", "data")
        ])
    );
    let (_, body) = get(&format!(
        "/api/dependencies?endTs={end}&lookback=60000&service=mail"
    ))
    .await;
    assert_eq!(body["data"], json!([edge("data", "mail")]));
    let (_, body) = get(&format!("/api/dependencies?endTs={end}&lookback=1")).await;
    assert_eq!(body["data"], json!([]));
}
