//! The objectives, evaluated by the rules that ship over what was scraped.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::Running;
use crate::scraping::{Behaviour, Target, file, group, write_targets};

const STEP: f64 = 5.0;
const STEPS: u32 = 12;

/// A page of a minute: at each step 5 requests of every route; what fails is in `failed`. The page names its own time, so that the
/// test need not take that long.
fn page(at: f64, step: u32, failed: &[(&str, u32)]) -> String {
    let mut page = "# TYPE http_server_request_duration_seconds histogram\n".to_owned();
    for (route, failed) in failed {
        let count = |outcome: &str, number: u32| {
            let labels = format!("http_route=\"{route}\",outcome=\"{outcome}\"");
            let name = "http_server_request_duration_seconds";
            format!(
                "{name}_bucket{{{labels},le=\"0.25\"}} {number} {at}\n{name}_bucket{{{labels},le=\"0.5\"}} {number} {at}\n{name}_count{{{labels}}} {number} {at}\n"
            )
        };
        page += &count("ok", 5 * step - failed);
        page += &count("error", *failed);
    }
    page + "# EOF\n"
}

/// A console that has scraped a gateway and another service, step by step, until now.
async fn after(
    gateway: impl Fn(u32) -> Vec<(&'static str, u32)>,
    data: impl Fn(u32) -> Vec<(&'static str, u32)>,
) -> Running {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    let targets = [
        Target::start(Behaviour::Answers(page(0.0, 0, &[]))).await,
        Target::start(Behaviour::Answers(page(0.0, 0, &[]))).await,
    ];
    let (_directory, file) = file();
    let groups = json!([
        group(&[&targets[0].address], "gateway"),
        group(&[&targets[1].address], "data")
    ]);
    write_targets(&file, &groups);
    let console = Running::scraping(file);
    for step in 0..=STEPS {
        let at = (now - STEP * f64::from(STEPS - step)).floor();
        targets[0].now(Behaviour::Answers(page(at, step, &gateway(step))));
        targets[1].now(Behaviour::Answers(page(at, step, &data(step))));
        let is_seen = |answer: &Value| {
            let series = answer.as_array().map_or(&[][..], Vec::as_slice);
            let at_us = Some((at * 1e6) as u64);
            let is_seen = |service: &str| {
                series.iter().any(|one| {
                    one["timestamp_us"].as_u64() == at_us
                        && one["labels"]["service_name"] == service
                })
            };
            is_seen("gateway") && is_seen("data")
        };
        console
            .until(
                "/api/metrics?name=http_server_request_duration_seconds_count",
                is_seen,
            )
            .await;
    }
    console
}

/// What the page shows once the rules have been evaluated over all that was scraped until now.
async fn evaluated(console: &Running) -> Value {
    let now: SystemTime = SystemTime::now();
    let is_new = |answer: &Value| {
        let at = answer["data"]["groups"][0]["lastEvaluation"].as_str();
        at.and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok())
            .is_some_and(|at| at >= chrono::DateTime::<chrono::Utc>::from(now))
    };
    let group = "/api/v1/rules?rule_group[]=slo";
    console.until(group, is_new).await;
    console.json("/api/alerts").await
}

fn objective<'a>(answer: &'a Value, service: &str, route: &str, slo: &str) -> &'a Value {
    let objectives = answer["data"]["objectives"].as_array().expect("objectives");
    let wanted =
        |one: &&Value| one["service"] == service && one["route"] == route && one["slo"] == slo;
    objectives
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("no {service} {route} {slo} in {answer:#}"))
}

#[tokio::test]
async fn a_fault_is_an_alert_and_one_bad_request_is_none() {
    let gateway = |step: u32| {
        vec![
            ("/api/data", 3 * step),
            ("/api/orders", step / STEPS),
            ("/health", 0),
        ]
    };
    let console = after(gateway, |step| vec![("/orders", 5 * step)]).await;
    let answer = evaluated(&console).await;
    assert_eq!(answer["status"], "success");
    let mut alerts: Vec<[&str; 5]> = answer["data"]["alerts"]
        .as_array()
        .expect("alerts")
        .iter()
        .map(|alert| {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
            ["alertname", "severity", "slo", "service", "route"].map(label)
        })
        .collect();
    alerts.sort();
    assert_eq!(
        alerts,
        [
            [
                "AvailabilityBurnRate",
                "page",
                "availability",
                "gateway",
                "/api/data"
            ],
            [
                "AvailabilityBurnRate",
                "ticket",
                "availability",
                "data",
                "/orders"
            ],
        ]
    );
    // Three of five fail: 600 times a budget of 0.1 %.
    let burn = &objective(&answer, "gateway", "/api/data", "availability")["burns"][0];
    let rate = burn["short"]["burn_rate"].as_f64().expect("a rate");
    assert!((rate - 600.0).abs() < 0.001, "{burn}");
    assert_eq!(
        (&burn["firing"], &burn["threshold"], &burn["long"]["window"]),
        (&json!(true), &json!(14.4), &json!("4m"))
    );
    let one_failed = &objective(&answer, "gateway", "/api/orders", "availability")["burns"][0];
    assert!(
        one_failed["long"]["burn_rate"].as_f64() > Some(14.4) && one_failed["firing"] == false,
        "{one_failed}"
    );
    let fast = objective(&answer, "gateway", "/health", "latency");
    assert_eq!(
        fast["burns"][0]["long"]["burn_rate"],
        Value::Null,
        "no bucket of 0.1 s: {fast}"
    );
    assert_eq!(
        (&fast["seconds"], &fast["objective"]),
        (&json!(0.1), &json!(0.99))
    );
}

#[tokio::test]
async fn nothing_scraped_is_no_alert() {
    let console = Running::start();
    let answer = evaluated(&console).await;
    assert_eq!(
        answer,
        json!({"status": "success", "data": {"alerts": [], "ended": [], "objectives": [], "profile": "demo"}})
    );
}
