//! A trace whose spans are still on their way would blame the wrong service.

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
