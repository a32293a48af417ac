//! The doctor on a whole stack: every path is green, and each turns red when its backend is gone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::doctor::doctor;
use crate::harness::{NativeStack, eventually};

async fn examine(native: &NativeStack, timeout: &str) -> (i32, BTreeMap<String, String>, Value) {
    let addresses = [
        ("--prometheus-url", "prometheus:9090"),
        ("--jaeger-url", "jaeger:16686"),
        ("--loki-url", "loki:3100"),
        ("--alertmanager-url", "alertmanager:9093"),
        ("--collector-url", "collector:13133"),
    ];
    let mut arguments = vec![
        "--json".to_owned(),
        "--timeout".to_owned(),
        timeout.to_owned(),
    ];
    arguments.extend(["--gateway-url".to_owned(), native.stack.url("gateway")]);
    for (flag, address) in addresses {
        arguments.extend([flag.to_owned(), native.url(address)]);
    }
    // Grafana has no package: it is asked where there is one.
    if let Ok(grafana) = std::env::var("GRAFANA_URL") {
        arguments.extend(["--grafana-url".to_owned(), grafana]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, said, _) = doctor(&arguments).await;
    let report: Value = serde_json::from_str(&said).expect("one JSON object");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let states = report["paths"]
        .as_array()
        .expect("paths")
        .iter()
        .map(|path| (text(&path["path"]), text(&path["state"])))
        .collect();
    (code, states, report)
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn the_doctor_is_green_on_a_whole_stack_and_names_what_is_gone() {
    let mut native = NativeStack::start().await;
    let (code, states, report) = examine(&native, "120s").await;
    let mut want: BTreeMap<String, String> = [
        "order -> gateway",
        "collector",
        "order -> Jaeger",
        "order -> Loki",
        "order -> Prometheus",
        "exemplar -> Jaeger",
        "span metrics",
        "scrape targets",
        "rules",
        "alert -> Alertmanager",
    ]
    .map(|path| (path.to_owned(), "ok".to_owned()))
    .into();
    let grafana = std::env::var("GRAFANA_URL").map_or("absent", |_| "ok");
    want.insert("Grafana".to_owned(), grafana.to_owned());
    assert_eq!(states, want, "{report:#}");
    assert_eq!(code, 0);
    eprintln!(
        "data visible in {} s; Grafana: {grafana}",
        report["seconds"]
    );

    native.kill("loki").await;
    native.kill("jaeger").await;
    eventually("Prometheus has noticed", async || {
        let down = native
            .prometheus_query("up{job=~\"loki|jaeger\"} == 0")
            .await;
        (down.len() == 2).then_some(())
    })
    .await;
    let (code, states, report) = examine(&native, "6s").await;
    assert_eq!(code, 1);
    let failed: Vec<&str> = states
        .iter()
        .filter(|(_, state)| *state == "fail")
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(
        failed,
        [
            "exemplar -> Jaeger",
            "order -> Jaeger",
            "order -> Loki",
            "scrape targets"
        ],
        "{report:#}"
    );
}
