//! A program that nobody can scrape sends its metrics by OTLP, and Prometheus has them: under its name, with units, without secrets.

use serde_json::{Value, json};

use crate::harness::{NativeStack, Reply, eventually};

const SECRET: &str = "ada.lovelace@example.com";

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// One request of each kind between two times, as SDKs say it that count anew each time (`delta`).
fn export(from: i64, to: i64) -> Value {
    let point = |attributes: Value, values: Value| {
        let mut point = values;
        point["attributes"] = attributes;
        point["startTimeUnixNano"] = json!(from.to_string());
        point["timeUnixNano"] = json!(to.to_string());
        point
    };
    let carts = point(json!([text("customer", SECRET)]), json!({"asInt": "1"}));
    let served = [200, 404, 503].map(|code| {
        let status = json!({"key": "http.response.status_code", "value": {"intValue": code}});
        let buckets = json!({"count": "1", "sum": 0.2, "bucketCounts": ["0", "1", "0"], "explicitBounds": [0.1, 0.25]});
        point(json!([text("http.route", "/carts"), status]), buckets)
    });
    let resource = [
        text("service.name", "carts"),
        text("service.version", "1.2.3"),
        text("service.instance.id", "carts-1"),
        text("deployment.environment.name", "demo"),
    ];
    json!({"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [{"metrics": [
        {"name": "shop.carts", "unit": "{cart}", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [carts]}},
        {"name": "http.server.request.duration", "unit": "s", "histogram": {"aggregationTemporality": 1, "dataPoints": served}},
    ]}]}]})
}

/// Two seconds of what a program counts, ending now.
pub(crate) async fn send_some(native: &NativeStack) {
    const SECOND: i64 = 1_000_000_000;
    let now = chrono::Utc::now().timestamp_nanos_opt().expect("a time");
    send(native, now - 2 * SECOND, now - SECOND).await;
    send(native, now - SECOND, now).await;
}

async fn send(native: &NativeStack, from: i64, to: i64) {
    post(native, "/v1/metrics", &export(from, to)).await;
}

async fn post(native: &NativeStack, path: &str, body: &Value) {
    let url = native.url("collector:4318") + path;
    let sent = native.stack.client.post(url).json(body);
    let answer = sent.send().await.expect("an answer");
    Reply::read(answer).await.expect(200);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn metrics_of_other_languages_reach_prometheus_by_otlp() {
    let native = NativeStack::builder()
        .without(&[
            "loki",
            "jaeger",
            "alertmanager",
            "blackbox",
            "postgres-exporter",
        ])
        .start()
        .await;
    send_some(&native).await;
    let of = "service_name=\"carts\",service_version=\"1.2.3\",service_instance_id=\"carts-1\"";
    let is = async |expression: &str, value: f64| {
        eventually(&format!("{expression} is {value}"), async || {
            (native.prometheus_sum(expression).await == value).then_some(())
        })
        .await;
    };
    is(&format!("shop_carts_total{{{of}}}"), 2.0).await;
    let served = "http_server_request_duration_seconds";
    is(
        &format!("{served}_count{{{of},outcome=\"error\",http_response_status_code=\"503\"}}"),
        2.0,
    )
    .await;
    is(&format!("{served}_count{{{of},outcome=\"ok\"}}"), 4.0).await;
    is(
        &format!("{served}_bucket{{{of},outcome=\"ok\",le=\"0.25\"}}"),
        4.0,
    )
    .await;
    // Everything else that it says of itself is one join away.
    is(
        "target_info{job=\"carts\",deployment_environment_name=\"demo\"}",
        1.0,
    )
    .await;
    // An objective, with no edit.
    is("count(slo:objective:ratio{service_name=\"carts\",http_route=\"/carts\",slo=\"availability\"})", 1.0).await;
    is("count(shop_carts_total{customer=\"****\"})", 1.0).await;
    let said = native.scrape_part("collector:8890").await.text;
    assert!(
        said.contains("shop_carts_total") && !said.contains(SECRET),
        "{said}"
    );
}

/// Of the programs only the collector.
async fn with_collector() -> NativeStack {
    let native = NativeStack::builder().without(&[
        "loki",
        "jaeger",
        "postgres-exporter",
        "blackbox",
        "alertmanager",
        "prometheus",
    ]);
    native.start().await
}

const GRAPH: &str = "traces_service_graph_request_total";

/// Who calls whom is asked about users.
#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn no_call_of_the_probe_is_in_the_service_graph() {
    let native = with_collector().await;
    let spans = "traces_span_metrics_calls_total";
    let orders = [("service_name", "data"), ("span_name", "POST /orders")];
    eventually("spans of the probe's orders are counted", async || {
        let scrape = native.scrape_part("collector:8889").await;
        (scrape.value(spans, &orders)? >= 2.0).then_some(())
    })
    .await;
    let sku = native.stack.sku().await;
    native.stack.order(&sku, 1).await.expect(201);
    let calls = [("client", "gateway"), ("server", "data")];
    // An item that is looked up, and ordered.
    let scrape = eventually("the user's calls are in the graph", async || {
        let scrape = native.scrape_part("collector:8889").await;
        (scrape.value(GRAPH, &calls)? >= 2.0).then_some(scrape)
    })
    .await;
    let counted = scrape.value(GRAPH, &calls);
    assert_eq!(counted, Some(2.0), "{}", scrape.text);
    assert!(!scrape.text.contains("client=\"probe\""), "{}", scrape.text);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_callee_without_spans_is_in_the_service_graph_by_its_name_or_its_old_one() {
    let native = with_collector().await;
    let names = [("service.peer.name", "bank"), ("peer.service", "post")];
    let now = chrono::Utc::now().timestamp_nanos_opt().expect("a time");
    let calls = names.map(|(key, callee)| {
        let texts = [(key, callee), ("server.address", "10.0.0.7")];
        let attributes = texts.map(|(key, value)| text(key, value));
        json!({
            "traceId": hex::encode(format!("call to the {callee}")), "spanId": hex::encode([7; 8]), "kind": 3, "name": "GET",
            "startTimeUnixNano": now.to_string(), "endTimeUnixNano": now.to_string(), "attributes": attributes,
        })
    });
    let resource = json!({"attributes": [text("service.name", "shop")]});
    let body = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": calls}]}]});
    post(&native, "/v1/traces", &body).await;
    for (key, callee) in names {
        let call = [("client", "shop"), ("server", callee)];
        eventually(
            &format!("the callee by {key} is in the graph"),
            async || {
                let scrape = native.scrape_part("collector:8889").await;
                scrape.value(GRAPH, &call).filter(|count| *count == 1.0)
            },
        )
        .await;
    }
}
