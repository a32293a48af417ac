//! What nobody should send to herald, and backends at their worst.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Herald, alert, arrived};
use crate::catalogue::evaluated::{asked as asked_of_prometheus, assert_evaluated};
use crate::harness::{Capture, HANG, Reply};

#[tokio::test]
async fn what_cannot_be_understood_is_refused_with_a_reason_and_does_no_harm() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let url = webhook.url();
    let mut herald = Herald::start(state.path(), &[("HERALD_WEBHOOK_URL", &url)]).await;
    let good = alert("ServiceDown", "firing");
    let without = |member: &str| {
        let mut payload = good.clone();
        payload.as_object_mut().unwrap().remove(member);
        payload.to_string()
    };
    let with = |member: &str, value: Value| {
        let mut payload = good.clone();
        payload[member] = value;
        payload.to_string()
    };
    let nested = format!("{{\"version\":{}", "[".repeat(200_000));
    for (body, status) in [
        (String::new(), 400),
        ("not json".to_owned(), 400),
        (nested, 400),
        ("[1]".to_owned(), 422),
        ("null".to_owned(), 422),
        (with("version", json!("3")), 422),
        (with("alerts", json!([])), 422),
        (
            with(
                "alerts",
                json!([{"status": "firing", "startsAt": "yesterday"}]),
            ),
            422,
        ),
        (with("commonLabels", json!([1])), 422),
        (without("groupKey"), 422),
        ("x".repeat(5 << 20), 413),
    ] {
        let request = herald.client.post(format!("{}/alerts", herald.url));
        let request = request
            .header("content-type", "application/json")
            .body(body.clone());
        let reply = Reply::read(request.send().await.expect("an answer")).await;
        assert_eq!(reply.status, status, "{:.60}: {reply:?}", body);
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
    // A web page may send a form or plain text to any address without asking.
    let request = herald
        .client
        .post(format!("{}/alerts", herald.url))
        .body(good.to_string());
    assert_eq!(
        request
            .header("content-type", "text/plain")
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    let got = herald
        .client
        .get(format!("{}/alerts", herald.url))
        .send()
        .await
        .unwrap();
    assert_eq!(got.status(), 405);

    assert_eq!(
        herald
            .metric(
                "herald_notifications_received_total",
                &[("outcome", "refused")]
            )
            .await,
        12.0
    );
    assert_eq!(webhook.take().len(), 0);
    herald.accepted(&good).await;
    arrived(&webhook, 1).await;
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn what_is_odd_is_delivered_harmless() {
    let state = tempfile::tempdir().unwrap();
    let (slack, prometheus) = (
        Capture::answering(&json!("ok")),
        Capture::answering(&json!({"status": "success", "data": {"result": []}})),
    );
    let (slack_url, prometheus_url) = (slack.url(), prometheus.url());
    let settings = [
        ("HERALD_SLACK_WEBHOOK_URL", slack_url.as_str()),
        ("PROMETHEUS_URL", &prometheus_url),
        ("LOKI_URL", &prometheus_url),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    let mut odd = alert("Odd", "firing");
    odd["commonLabels"]["service"] = json!("x\"} or up{job=\"\\ ../../etc");
    odd["commonLabels"]["route"] = json!("<script>alert(1)</script>\r\nBcc: all");
    odd["commonAnnotations"] = json!({
        "summary": "<!channel> @here *read* <https://evil.example|this>\n\u{202e}gnp",
        "runbook_url": "javascript:alert(1)", "dashboard_url": "https://d.example/x|y>z",
    });
    odd["groupKey"] = json!("../../../../tmp/evil\0");
    for index in 0..300 {
        odd["commonLabels"][format!("label{index}")] = json!("v".repeat(5000));
    }
    herald.accepted(&odd).await;

    let message = arrived(&slack, 1).await.remove(0).json();
    let text = message.to_string();
    for forbidden in [
        "<script",
        "<!channel",
        "@here",
        "<https://evil",
        "javascript:",
        "\u{202e}",
        "\\u0000",
        "\\n&gt;",
    ] {
        assert!(!text.contains(forbidden), "{forbidden:?} in {text}");
    }
    assert!(
        text.contains("<https://d.example/x%7Cy%3Ez|Dashboard>"),
        "{text}"
    );
    for block in message["blocks"].as_array().unwrap() {
        let length = block["text"]["text"]
            .as_str()
            .unwrap_or_default()
            .chars()
            .count();
        assert!(length <= 3000, "{length}");
    }
    // The label is a value in the query, never a part of it. And nobody asks for the answer key.
    let asked = prometheus.take();
    let queries: Vec<String> = asked
        .iter()
        .flat_map(|request| {
            url::Url::parse(&format!("http://x{}", request.target))
                .unwrap()
                .query_pairs()
                .into_owned()
                .collect::<Vec<_>>()
        })
        .filter_map(|(name, value)| (name == "query").then_some(value))
        .collect();
    assert!(queries.len() >= 10, "{queries:#?}");
    assert!(
        queries
            .iter()
            .any(|query| query.contains(r#"service_name="x\"} or up{job=\"\\ ../../etc""#)),
        "{queries:#?}"
    );
    assert!(
        queries.iter().all(|query| !query.contains("fault")),
        "{queries:#?}"
    );
    assert_evaluated(asked_of_prometheus(&asked), 8);
    assert!(!std::path::Path::new("/tmp/evil").exists());
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn backends_at_their_worst_are_named_and_make_no_page_late() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let [broken, hanging, lying] =
        [(); 3].map(|()| Capture::answering(&json!({"unexpected": [1, 2]})));
    broken.answer_with(500);
    hanging.answer_with(HANG);
    let urls = [&webhook, &broken, &hanging, &lying].map(Capture::url);
    let settings = [
        ("HERALD_WEBHOOK_URL", urls[0].as_str()),
        ("PROMETHEUS_URL", &urls[1]),
        ("JAEGER_URL", &urls[2]),
        ("LOKI_URL", &urls[3]),
        ("HERALD_EVIDENCE_TIMEOUT", "1500ms"),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    let start = Instant::now();
    herald
        .accepted(&alert("AvailabilityBurnRate", "firing"))
        .await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "accepting waits for no backend"
    );
    let body = arrived(&webhook, 1).await.remove(0).json();
    assert!(start.elapsed() >= Duration::from_millis(1100), "it did ask");
    let missing = body["evidence"]["missing"].as_array().unwrap();
    let reason = |backend: &str| {
        let entry = missing
            .iter()
            .find(|entry| entry["backend"] == backend)
            .unwrap_or_else(|| panic!("{backend} in {missing:?}"));
        entry["reason"].as_str().unwrap().to_owned()
    };
    assert!(
        reason("prometheus").starts_with("it answered 500"),
        "{}",
        reason("prometheus")
    );
    assert_eq!(reason("jaeger"), "no answer within 1200 ms");
    assert_eq!(reason("loki"), "its answer has no result");
    assert!(herald.child.terminate().await.success());
}
