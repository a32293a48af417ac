//! Which traces a notification names: one whose spans are still on their way would blame the wrong service, and one whose spans get lost
//! cannot be opened.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Herald, alert, arrived};
use crate::harness::Capture;

/// A failed order: of the new one the span of downstream, which failed, has not come yet.
fn trace(id: &str, services: &[&str]) -> Value {
    let error = json!([{"key": "error", "value": true}]);
    let spans: Vec<Value> = services
        .iter()
        .enumerate()
        .map(|(depth, service)| {
            let parent = depth.checked_sub(1).map(|parent| json!([{"spanID": parent.to_string()}]));
            json!({"spanID": depth.to_string(), "operationName": "POST /orders", "references": parent,
                   "duration": 20_000, "processID": service, "tags": error})
        })
        .collect();
    let processes: serde_json::Map<String, Value> = services
        .iter()
        .map(|service| ((*service).to_owned(), json!({"serviceName": service})))
        .collect();
    json!({"traceID": id, "spans": spans, "processes": processes})
}

/// Jaeger with traces that began so many seconds ago, and only those, as the parameters `start` and `end` choose them.
fn jaeger(traces: Vec<(i64, Value)>) -> Capture {
    let began = Utc::now();
    let at = move |age: i64| (began - TimeDelta::seconds(age)).timestamp_micros();
    Capture::answering_each(move |target| {
        let url = url::Url::parse(&format!("http://jaeger{target}")).expect("a URL");
        let time = |name: &str| {
            let (_, value) = url.query_pairs().find(|(key, _)| key == name).expect(name);
            value.parse::<i64>().expect(name)
        };
        let range = time("start")..=time("end");
        let found = traces.iter().filter(|(age, _)| range.contains(&at(*age)));
        let found: Vec<&Value> = found.map(|(_, trace)| trace).collect();
        json!({"data": found})
    })
}

/// Where the worst traces failed, as the webhook is told.
async fn blamed(jaeger: &Capture) -> Vec<Value> {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("JAEGER_URL", jaeger.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    herald
        .accepted(&alert("AvailabilityBurnRate", "firing"))
        .await;
    let body = arrived(&webhook, 1).await.remove(0).json();
    assert!(herald.child.terminate().await.success());
    let traces = body["evidence"]["traces"]
        .as_array()
        .expect("traces")
        .iter();
    traces.map(|trace| trace["failed_at"].clone()).collect()
}

#[tokio::test]
async fn traces_that_are_whole_come_before_those_that_are_not() {
    let whole = (60, trace("a1", &["gateway", "data", "downstream"]));
    let coming_in = (0, trace("b2", &["gateway", "data"]));
    let both = jaeger(vec![coming_in.clone(), whole]);
    assert_eq!(blamed(&both).await, ["downstream POST /orders"]);
    let new = jaeger(vec![coming_in]);
    assert_eq!(
        blamed(&new).await,
        ["data POST /orders"],
        "better than none"
    );
}

/// How many traces a notification links of which only an exemplar is known.
async fn linked(annotations: Value) -> usize {
    let exemplar = json!({"labels": {"trace_id": "0af7651916cd43dd8448eb211c80319c"}, "value": "0.2", "timestamp": 1});
    let prometheus = Capture::answering_each(move |target| {
        if target.contains("query_exemplars") {
            let labels = json!({"service_name": "gateway", "outcome": "error"});
            return json!({"status": "success", "data": [{"seriesLabels": labels, "exemplars": [exemplar]}]});
        }
        json!({"status": "success", "data": {"result": []}})
    });
    let (state, webhook) = (tempfile::tempdir().unwrap(), Capture::answering(&json!({})));
    let jaeger = Capture::answering(&json!({"data": []}));
    let urls = [&webhook, &prometheus, &jaeger].map(Capture::url);
    let names = ["HERALD_WEBHOOK_URL", "PROMETHEUS_URL", "JAEGER_URL"];
    let settings: Vec<_> = names
        .into_iter()
        .zip(urls.iter().map(String::as_str))
        .collect();
    let mut herald = Herald::start(state.path(), &settings).await;
    let mut alert = alert("AnAlert", "firing");
    alert["commonAnnotations"] = annotations;
    herald.accepted(&alert).await;
    let body = arrived(&webhook, 1).await.remove(0).json();
    assert!(herald.child.terminate().await.success());
    body["links"]["traces"].as_array().expect("links").len()
}

#[tokio::test]
async fn an_alert_that_traces_get_lost_links_none_that_may_be_lost() {
    assert_eq!(linked(json!({"kind": "errors"})).await, 1);
    assert_eq!(linked(json!({"kind": "telemetry"})).await, 0);
}
