//! What Grafana's data sources send to find out whether a backend works ("Save & test"), sent to the console; of Jaeger's all that
//! it sends.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::harness::{Child, Reply, http, omnitrace};

async fn read(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    Reply::read(answer).await.expect(200).json()
}

#[tokio::test]
async fn the_data_sources_take_the_console_for_prometheus_loki_and_jaeger() {
    let command = omnitrace(["console", "--listen", "127.0.0.1:0"]);
    let mut console = Child::spawn("console", command);
    let url = format!("http://{}", console.listening().await.http_addr);
    let get = async |path: &str| read(http().get(format!("{url}{path}"))).await;

    // Prometheus: an instant query by form, and which API it is.
    let form = http()
        .post(format!("{url}/api/v1/query"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("query=1%2B1&time=4");
    let sum = &read(form).await["data"];
    assert_eq!(*sum, json!({"resultType": "scalar", "result": [4, "2"]}));
    let build = get("/api/v1/status/buildinfo").await;
    assert!(build["data"]["version"].is_string(), "{build}");
    let rules = get("/api/v1/rules").await;
    assert!(rules["data"]["groups"].is_array(), "{rules}");

    // Loki: a sum that needs no lines, in the year 2096.
    let sum =
        "/loki/api/v1/query?direction=backward&query=vector%281%29%2Bvector%281%29&time=4000000000";
    let sum = get(sum).await;
    assert_eq!(sum["data"]["result"][0]["value"][1], "2", "{sum}");

    // Jaeger: the names of the services.
    let services = get("/api/services").await;
    assert!(services["data"].is_array(), "{services}");
    assert!(console.terminate().await.success());
}

/// 2026-01-31T12:00:00Z in milliseconds.
const NOON: u64 = 1_769_860_800_000;

/// A call from one service to another.
fn call() -> Value {
    let group = |service: &str, kind: u8, ids: Value, length: u64| {
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let mut span = json!({
            "traceId": "0af7651916cd43dd8448eb211c80319c", "name": "GET /price", "kind": kind,
            "startTimeUnixNano": (NOON * 1_000_000).to_string(),
            "endTimeUnixNano": ((NOON + length) * 1_000_000).to_string(),
            "attributes": [text("http.route", "/price")],
        });
        for (key, id) in ids.as_object().expect("ids") {
            span[key] = id.clone();
        }
        json!({"resource": {"attributes": [text("service.name", service)]}, "scopeSpans": [{"spans": [span]}]})
    };
    let caller = json!({"spanId": "00f067aa0ba902b7"});
    let called = json!({"spanId": "00f067aa0ba902b8", "parentSpanId": "00f067aa0ba902b7"});
    json!({"resourceSpans": [group("shop", 3, caller, 20), group("prices", 2, called, 10)]})
}

/// As the data source of Grafana 13 asks without the experimental feature `jaegerEnableGrpcEndpoint`: parameters in alphabetical order,
/// a search in microseconds, a trace and the service graph in milliseconds.
#[tokio::test]
async fn the_jaeger_data_source_finds_a_trace_and_its_services() {
    let command = omnitrace(["console", "--listen", "127.0.0.1:0"]);
    let mut console = Child::spawn("console", command);
    let url = format!("http://{}", console.listening().await.http_addr);
    let get = async |path: &str| read(http().get(format!("{url}{path}"))).await["data"].clone();
    let sent = http().post(format!("{url}/v1/traces")).json(&call());
    assert_eq!(read(sent).await, json!({}));

    assert_eq!(get("/api/services").await, json!(["prices", "shop"]));
    let operations = get("/api/services/prices/operations").await;
    assert_eq!(operations, json!(["GET /price"]));

    let (start, end) = (NOON - 3_600_000, NOON + 1_000);
    let search = async |parameters: &str| {
        let range = format!("end={end}000&limit=20&{parameters}&start={start}000");
        get(&format!("/api/traces?{range}")).await
    };
    let narrow = "maxDuration=15ms&minDuration=5ms&operation=GET+%2Fprice&service=prices";
    let tags = |route: &str| format!("&tags=%7B%22http.route%22%3A%22{route}%22%7D");
    let found = search(&format!("{narrow}{}", tags("%2Fprice"))).await;
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let other = search(&format!("{narrow}{}", tags("%2Forders"))).await;
    assert_eq!(other, json!([]));

    let trace = "/api/traces/0af7651916cd43dd8448eb211c80319c";
    let trace = get(&format!("{trace}?end={end}&start={start}")).await;
    assert_eq!(trace, found, "a search shows traces as they are");
    let called = &trace[0]["spans"][1];
    let parent = json!([{"refType": "CHILD_OF", "traceID": trace[0]["traceID"], "spanID": "00f067aa0ba902b7"}]);
    assert_eq!(called["references"], parent);
    assert_eq!(called["startTime"], NOON * 1_000);
    let process = called["processID"].as_str().expect("a process");
    assert_eq!(trace[0]["processes"][process]["serviceName"], "prices");

    let lookback = end - start;
    let edges = get(&format!(
        "/api/dependencies?endTs={end}&lookback={lookback}"
    ))
    .await;
    assert_eq!(
        edges,
        json!([{"parent": "shop", "child": "prices", "callCount": 1}])
    );
    assert!(console.terminate().await.success());
}
