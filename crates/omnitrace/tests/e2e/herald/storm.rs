//! Many alerts at once, and backends that are slow or silent.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Herald, alert, arrived};
use crate::harness::{Capture, HANG};

const ALERTS: usize = 40;

/// Services that the alerts are about, five alerts each.
const SERVICES: usize = 8;

/// In so many groups of five seconds the alerts may come, however slow the machine is.
const WINDOWS: usize = 4;

/// For evidence, in seconds, where all answer within one: only a machine that is too busy for the test waits for longer.
const AMPLE_S: u64 = 60;

/// The same with one silent backend, for which herald waits to the end; all others answer at once.
const PATIENCE_S: u64 = 20;

/// Prometheus, Jaeger and Loki, each with something to say.
struct Backends {
    prometheus: Capture,
    jaeger: Capture,
    loki: Capture,
}

impl Backends {
    fn start() -> Self {
        let failing = |index: usize| json!({"metric": {"service_name": format!("s{index}"), "service_peer_name": "downstream"}, "value": [0, "0.5"]});
        let failing: Vec<Value> = (0..SERVICES).map(failing).collect();
        let line = json!({"stream": {"service_name": "downstream"}, "values": [["1764115200000000000", "it failed"]]});
        let trace = json!({"traceID": "ab", "spans": [{"spanID": "1", "operationName": "GET /quotes", "duration": 9000}]});
        Self {
            prometheus: Capture::answering_each(move |target| {
                if target.contains("query_exemplars") {
                    return json!({"data": []});
                }
                let result = if target.contains("http_client") {
                    &*failing
                } else {
                    &[]
                };
                json!({"data": {"result": result}})
            }),
            jaeger: Capture::answering(&json!({"data": [trace]})),
            loki: Capture::answering(&json!({"data": {"result": [line]}})),
        }
    }

    /// What the webhook gets when all alerts come at once.
    async fn storm(&self, patience_s: u64) -> Vec<Value> {
        let state = tempfile::tempdir().unwrap();
        let webhook = Capture::answering(&json!({}));
        let urls = [&webhook, &self.prometheus, &self.jaeger, &self.loki].map(Capture::url);
        let names = [
            "HERALD_WEBHOOK_URL",
            "PROMETHEUS_URL",
            "JAEGER_URL",
            "LOKI_URL",
        ];
        let urls = names.into_iter().zip(urls.iter().map(String::as_str));
        let patience = format!("{patience_s}s");
        let patience = [("HERALD_EVIDENCE_TIMEOUT", patience.as_str())];
        let settings: Vec<_> = urls.chain(patience).collect();
        let mut herald = Herald::start(state.path(), &settings).await;
        let alerts: Vec<Value> = (0..ALERTS).map(of_service).collect();
        join_all(alerts.iter().map(|alert| herald.accepted(alert))).await;
        let got = arrived(&webhook, ALERTS).await;
        assert!(herald.child.terminate().await.success());
        got.iter()
            .map(|request| request.json()["evidence"].take())
            .collect()
    }
}

fn of_service(index: usize) -> Value {
    let mut alert = alert(&format!("Alert{index}"), "firing");
    alert["commonLabels"]["service"] = json!(format!("s{}", index % SERVICES));
    alert
}

fn names(list: &Value, member: &str) -> Vec<String> {
    let each = list.as_array().expect("a list").iter();
    each.map(|item| item[member].as_str().expect("a text").to_owned())
        .collect()
}

#[tokio::test]
async fn every_alert_of_a_storm_has_evidence_that_was_asked_for_once() {
    let backends = Backends::start();
    for backend in [&backends.prometheus, &backends.jaeger, &backends.loki] {
        backend.answer_after(Duration::from_secs(1));
    }
    for evidence in backends.storm(AMPLE_S).await {
        assert_eq!(evidence["missing"], json!([]));
        assert_eq!(names(&evidence["traces"], "operation"), ["GET /quotes"]);
        assert_eq!(names(&evidence["log_lines"], "text"), ["it failed"]);
        let hops = &evidence["dependencies"]["failing"]["hops"];
        assert_eq!(names(hops, "callee"), ["downstream"], "{evidence:#}");
    }
    let asked = backends.loki.take().len();
    assert!((1..=WINDOWS).contains(&asked), "{asked} questions to Loki");
    let asked = backends.jaeger.take().len();
    // What failed and what is slow, per service.
    assert!(
        (2 * SERVICES..=2 * SERVICES * WINDOWS).contains(&asked),
        "{asked} questions to Jaeger"
    );
    let prometheus = backends.prometheus.take();
    let calls = prometheus
        .iter()
        .filter(|asked| asked.target.contains("http_client"))
        .count();
    assert!(
        calls <= 4 * WINDOWS,
        "{calls} questions about calls between services"
    );
}

#[tokio::test]
async fn only_the_backend_that_is_silent_is_blamed() {
    let backends = Backends::start();
    backends.jaeger.answer_with(HANG);
    // The tenth part is for putting the answers together.
    let silent = format!("no answer within {} ms", PATIENCE_S * 900);
    for evidence in backends.storm(PATIENCE_S).await {
        assert_eq!(
            names(&evidence["missing"], "backend"),
            ["jaeger"],
            "{evidence:#}"
        );
        let reason = evidence["missing"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(&silent), "{reason}");
        assert_eq!(names(&evidence["log_lines"], "text"), ["it failed"]);
        let hops = &evidence["dependencies"]["failing"]["hops"];
        assert_eq!(names(hops, "callee"), ["downstream"], "{evidence:#}");
    }
}
