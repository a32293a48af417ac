//! Text that others wrote: in Slack, in the webhook's JSON, in the log, on the disk.

use serde_json::{Value, json};
use telemetry::redact::plain::is_hidden;

use super::{Herald, alert, arrived, queued};
use crate::harness::{Capture, eventually};

/// Marks of Slack, and what nobody sees.
const MARKS: &str = "<!here> @here #general _i_ *b* ~s~ `c` :fire: https://evil.example/x\u{2028}> quote\u{202e}\u{200b}\u{e0041}\u{9b}2K\u{1b}[2K";

/// What none of it may become.
const ACTIVE: [&str; 12] = [
    "<!here>",
    "@here",
    "#general",
    "_i_",
    "*b*",
    "~s~",
    "`",
    ":fire:",
    "https://evil",
    "\n&gt;",
    "\u{2028}",
    "\u{202e}",
];

/// Secrets as a summary may hold them. Not real ones.
const SECRETS: [&str; 5] = [
    "T0NOTREAL/B0NOTREAL/n0tareal0ne",
    "AKIAIOSFODNN7EXAMPLE",
    "ada@example.com",
    "hunter2",
    "ya29.not-a-real-one-of-them",
];

fn odd_alert() -> Value {
    let [hook, aws, mail, password, google] = SECRETS;
    let summary = format!(
        "{MARKS} https://hooks.slack.com/services/{hook} {aws} {mail} password={password} {google}"
    );
    let mut odd = alert("Odd", "firing");
    odd["commonLabels"]["route"] = json!(MARKS);
    odd["commonLabels"]["team"] = json!(MARKS);
    odd["commonLabels"]["db_password"] = json!(password);
    odd["commonAnnotations"] =
        json!({"summary": summary, "runbook_url": "https://r.example/a_b_c"});
    odd["alerts"][0]["annotations"] = json!({"description": summary});
    odd["alerts"][0]["generatorURL"] =
        json!("http://ada:hunter2@prometheus.example/graph?g0.expr=up");
    odd["externalURL"] = json!("http://ada:hunter2@alertmanager.example");
    odd["groupKey"] = json!(format!("{{}}:{{user=\"{mail}\"}}"));
    odd
}

/// An answer in Loki's format.
fn log_line() -> Value {
    let now = chrono::Utc::now()
        .timestamp_nanos_opt()
        .unwrap()
        .to_string();
    let stream = json!({"service_name": MARKS, "severity_text": "ERROR", "error": MARKS});
    let result = json!([{"stream": stream, "values": [[now, MARKS]]}]);
    json!({"status": "success", "data": {"resultType": "streams", "result": result}})
}

fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => values.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

fn without_secrets(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn what_others_wrote_is_neutral_in_slack() {
    let state = tempfile::tempdir().unwrap();
    let (slack, loki) = (
        Capture::answering(&json!("ok")),
        Capture::answering(&log_line()),
    );
    let settings = [
        ("HERALD_SLACK_WEBHOOK_URL", slack.url()),
        ("LOKI_URL", loki.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    herald.accepted(&odd_alert()).await;
    let message = arrived(&slack, 1).await.remove(0).json();
    without_secrets(&message.to_string());
    let mut found = Vec::new();
    texts(&message, &mut found);
    assert!(
        found.iter().any(|text| text.contains("*First errors*")),
        "{message:#}"
    );
    for text in found {
        // Our own marks, and the spaces without width that break theirs.
        let theirs = text
            .replace("*First errors*", "")
            .replace("*Evidence that is missing*", "");
        for active in ACTIVE {
            assert!(!theirs.contains(active), "{active:?} in {text:?}");
        }
        let hidden = |c: char| is_hidden(c) && !matches!(c, '\u{200b}' | '\n');
        assert!(!text.contains(hidden), "{text:?}");
    }
    assert_eq!(
        (&message["mrkdwn"], &message["parse"]),
        (&json!(false), &json!("none"))
    );
    for block in message["blocks"].as_array().unwrap() {
        let text = if block["type"] == "context" {
            &block["elements"][0]
        } else {
            &block["text"]
        };
        let inert =
            text["verbatim"] == true || (text["type"] == "plain_text" && text["emoji"] == false);
        assert!(inert, "{block}");
    }
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn secrets_reach_neither_the_webhook_nor_the_disk_nor_the_log() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let url = webhook.url();
    let mut herald = Herald::start(state.path(), &[("HERALD_WEBHOOK_URL", &url)]).await;
    herald.accepted(&odd_alert()).await;
    let notification = arrived(&webhook, 1).await.remove(0).json();
    without_secrets(&notification.to_string());
    let one = &notification["alerts"][0];
    assert_eq!(one["source"], "http://prometheus.example/graph?g0.expr=up");
    assert_eq!(
        notification["links"]["alertmanager"],
        "http://alertmanager.example/"
    );
    let [kept] = queued(state.path(), "queue", "webhook").try_into().unwrap();
    let kept = std::fs::read_to_string(kept).unwrap();
    without_secrets(&kept.replace(r#"{user=\"ada@example.com\"}"#, ""));
    assert!(herald.child.terminate().await.success());

    // With no target the log is the target, for people and for machines.
    for format in ["json", "text"] {
        let state = tempfile::tempdir().unwrap();
        let mut command = Herald::command(state.path());
        command.env("OMNITRACE_LOG_FORMAT", format);
        let mut child = crate::harness::Child::spawn("herald", command);
        let address = eventually("it listens", async || {
            let said = child.output();
            let at = said.find("127.0.0.1:")?;
            let end = said[at..].find(|c: char| !c.is_ascii_digit() && !".:".contains(c))?;
            Some(said[at..at + end].to_owned())
        })
        .await;
        let request = crate::harness::http().post(format!("http://{address}/alerts"));
        let answer = request.json(&odd_alert()).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        eventually("it is logged", async || {
            child.output().contains("notification").then_some(())
        })
        .await;
        assert!(child.terminate().await.success());
        let said = child.output();
        without_secrets(&said);
        // The colours of a level are our own.
        let said = said
            .replace("\u{1b}[0m", "")
            .replace("\u{1b}[32m", "")
            .replace("\u{1b}[33m", "");
        assert!(
            !said.contains(|c: char| is_hidden(c) && c != '\n'),
            "{said:?}"
        );
    }
}

/// Puts a secret into each text there is.
fn taint(value: &mut Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let secret = format!("hunter2-{}", secrets.len());
            *text = format!("{text} password={secret}");
            secrets.push(secret);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| taint(value, secrets)),
        Value::Object(members) => members.values_mut().for_each(|value| taint(value, secrets)),
        _ => {}
    }
}

#[tokio::test]
async fn a_secret_in_any_text_of_a_notification_is_neither_kept_nor_sent() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let url = webhook.url();
    let mut herald = Herald::start(state.path(), &[("HERALD_WEBHOOK_URL", &url)]).await;
    let (plain, mut secrets) = (alert("Odd", "firing"), Vec::new());
    let mut tainted = plain.clone();
    taint(&mut tainted, &mut secrets);
    // These have few values; another is refused.
    for member in ["version", "status"] {
        tainted[member] = plain[member].clone();
    }
    for member in ["status", "startsAt", "endsAt"] {
        tainted["alerts"][0][member] = plain["alerts"][0][member].clone();
    }
    for labels in ["labels", "annotations"] {
        tainted["alerts"][0][labels]["password=hunter2-name"] = json!("x");
    }
    herald.accepted(&tainted).await;
    let sent = arrived(&webhook, 1).await.remove(0).json();
    let [kept] = queued(state.path(), "queue", "webhook").try_into().unwrap();
    let mut kept: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    // The key tells groups apart.
    let group = kept["payload"]["groupKey"].take();
    assert_eq!(group, tainted["groupKey"]);
    for text in [sent.to_string(), kept.to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("herald password="), "the receiver: {text}");
    }
    assert!(secrets.len() > 15, "{secrets:?}");
    assert!(herald.child.terminate().await.success());
    assert!(!herald.child.output().contains("hunter2"));
}

#[tokio::test]
async fn a_password_in_an_address_is_sent_and_shown_nowhere() {
    let state = tempfile::tempdir().unwrap();
    let [webhook, slack, prometheus, jaeger] =
        [(); 4].map(|()| Capture::answering(&json!({"status": "success", "data": []})));
    let login = |capture: &Capture| capture.url().replace("http://", "http://ada:hunter2@");
    let settings = [
        ("HERALD_WEBHOOK_URL", login(&webhook)),
        ("HERALD_SLACK_WEBHOOK_URL", login(&slack)),
        ("PROMETHEUS_URL", login(&prometheus)),
        ("JAEGER_URL", login(&jaeger)),
        ("LOKI_URL", "http://ada:hunter2@127.0.0.1:1".to_owned()),
        (
            "GRAFANA_URL",
            "https://ada:hunter2@grafana.example/g".to_owned(),
        ),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut herald = Herald::start(state.path(), &settings).await;
    herald
        .accepted(&alert("AvailabilityBurnRate", "firing"))
        .await;
    let basic = "Basic YWRhOmh1bnRlcjI=";
    let (webhook, slack) = (
        arrived(&webhook, 1).await.remove(0),
        arrived(&slack, 1).await.remove(0),
    );
    for request in [&webhook, &slack, &jaeger.take()[0], &prometheus.take()[0]] {
        assert_eq!(
            request.header("authorization").as_deref(),
            Some(basic),
            "{request:?}"
        );
    }
    let logs = webhook.json()["links"]["logs"].clone();
    assert!(
        logs.as_str()
            .unwrap()
            .starts_with("https://grafana.example/g/explore?"),
        "{logs}"
    );
    for request in [webhook, slack] {
        let body = String::from_utf8(request.body).unwrap();
        assert!(!body.contains("hunter2") && !body.contains("ada"), "{body}");
    }
    assert!(herald.child.terminate().await.success());
    assert!(!herald.child.output().contains("hunter2"));
}
