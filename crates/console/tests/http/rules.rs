//! Rules of a file, evaluated as Prometheus does.

use std::path::PathBuf;

use std::time::Duration;

use console::{Notify, Settings};
use serde_json::{Value, json};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Running, settings};
use crate::prometheus::{data, refusal};
use crate::scraping::{Behaviour, Target, group, write_targets};

const RULES: &str = r#"
groups:
  - name: loads
    interval: 1s
    rules:
      - record: job:load:sum
        expr: sum by (job) (load)
        labels: {team: shop}
      - alert: High
        expr: job:load:sum > 5
        for: 2s
        keep_firing_for: 3s
        labels: {severity: page, of: '{{ $labels.job }}'}
        annotations:
          summary: '{{ $labels.job }} is at {{ $value }}: {{ with query "load" }}{{ . | first | value | printf "%.1f" }}{{ end }}'
      - alert: Seen
        expr: ALERTS{alertname="High",alertstate="firing"} and on () (time() - ALERTS_FOR_STATE{alertname="High"} >= 2)
      - record: some
        expr: '"text"'
"#;

fn page(load: u32) -> Behaviour {
    Behaviour::Answers(format!("# TYPE load gauge\nload {load}\n# EOF\n"))
}

/// A console with these rules, and a target that it scrapes.
async fn start(directory: &tempfile::TempDir, load: u32) -> (Running, Target) {
    let target = Target::start(page(load)).await;
    let targets_file = directory.path().join("targets.json");
    write_targets(&targets_file, &json!([group(&[&target.address], "shop")]));
    let settings = Settings {
        rules_file: Some(written(directory, RULES)),
        targets_file: Some(targets_file),
        ..settings()
    };
    (Running::with(settings), target)
}

pub fn written(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("rules.yml");
    std::fs::write(&path, text).expect("a file");
    path
}

/// Waits until the alerts are these, as names and states.
async fn alerts(console: &Running, wanted: &[(&str, &str)]) -> Value {
    let is_so = |answer: &Value| {
        let alerts = answer["data"]["alerts"].as_array().expect("alerts");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found: Vec<(String, String)> = alerts
            .iter()
            .map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"])))
            .collect();
        let wanted = wanted.iter();
        wanted.eq(found
            .iter()
            .map(|(name, state)| (name.as_str(), state.as_str()))
            .collect::<Vec<_>>()
            .iter())
    };
    console.until("/api/v1/alerts", is_so).await["data"]["alerts"].clone()
}

async fn value(console: &Running, query: &str) -> Value {
    data(console, "query", &[("query", query)]).await["result"].clone()
}

#[tokio::test]
async fn an_alert_is_pending_fires_is_kept_and_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let (console, target) = start(&directory, 3).await;
    let recorded = "/api/v1/query?query=job:load:sum";
    let is = |wanted: &'static str| {
        move |answer: &Value| answer["data"]["result"][0]["value"][1] == wanted
    };
    let found = console.until(recorded, is("3")).await;
    let labels = &found["data"]["result"][0]["metric"];
    assert_eq!(
        labels,
        &json!({"__name__": "job:load:sum", "job": "services", "team": "shop"})
    );
    alerts(&console, &[]).await;

    target.now(page(9));
    let pending = alerts(&console, &[("High", "pending")]).await;
    assert_eq!(
        value(&console, "ALERTS").await[0]["metric"],
        json!({"__name__": "ALERTS", "alertname": "High", "alertstate": "pending", "job": "services", "of": "services", "severity": "page", "team": "shop"})
    );
    let firing = alerts(&console, &[("High", "firing"), ("Seen", "firing")]).await;
    let high = &firing[0];
    assert_eq!(high["activeAt"], pending[0]["activeAt"]);
    assert_eq!(
        (&high["value"], &high["annotations"]["summary"]),
        (&json!("9e+00"), &json!("services is at 9: 9.0"))
    );
    let pending = value(&console, "ALERTS{alertstate=\"pending\"}").await;
    assert_eq!(pending, json!([]), "its series has ended");

    target.now(Behaviour::Fails);
    let kept = alerts(&console, &[("High", "firing"), ("Seen", "firing")]).await;
    assert_eq!(kept[0]["labels"]["of"], "services");
    let is_kept = |answer: &Value| answer["data"]["alerts"][0]["keepFiringSince"].is_string();
    console.until("/api/v1/alerts", is_kept).await;
    assert_eq!(
        value(&console, "job:load:sum").await,
        json!([]),
        "recorded series end"
    );
    alerts(&console, &[]).await;
    assert_eq!(value(&console, "ALERTS").await, json!([]));
    assert_eq!(value(&console, "ALERTS_FOR_STATE").await, json!([]));
    // For the page, which says so before the receiver has heard of it.
    let shown = console.json("/api/alerts").await["data"].clone();
    assert_eq!(shown["alerts"], json!([]));
    let ended = &shown["ended"][0];
    assert_eq!(ended["labels"], high["labels"], "{shown:#}");
    let at = |time: &Value| chrono::DateTime::parse_from_rfc3339(time.as_str()?).ok();
    assert!(
        at(&ended["endedAt"]) > at(&high["activeAt"]),
        "{ended} {high}"
    );
}

#[tokio::test]
async fn rules_are_told_as_prometheus_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let (console, _target) = start(&directory, 9).await;
    alerts(&console, &[("High", "firing"), ("Seen", "firing")]).await;
    let groups = data(&console, "rules", &[]).await["groups"].clone();
    let (group, rules) = (&groups[0], &groups[0]["rules"]);
    assert_eq!(
        (&group["name"], &group["interval"]),
        (&json!("loads"), &json!(1))
    );
    assert!(
        group["file"]
            .as_str()
            .expect("a file")
            .ends_with("rules.yml")
    );
    let high = &rules[1];
    assert_eq!(
        (
            &high["type"],
            &high["state"],
            &high["health"],
            &high["duration"],
            &high["keepFiringFor"]
        ),
        (
            &json!("alerting"),
            &json!("firing"),
            &json!("ok"),
            &json!(2),
            &json!(3)
        )
    );
    assert_eq!(high["query"], "job:load:sum > 5");
    assert_eq!(high["labels"]["of"], "{{ $labels.job }}");
    assert_eq!(high["alerts"][0]["labels"]["of"], "services");
    assert_eq!(
        (&rules[0]["type"], &rules[0]["labels"]),
        (&json!("recording"), &json!({"team": "shop"}))
    );
    let sick = &rules[3];
    assert_eq!(sick["health"], "err");
    assert!(
        sick["lastError"]
            .as_str()
            .expect("why")
            .contains("neither a number"),
        "{sick}"
    );

    let narrowed = [
        ("type", "alert"),
        ("rule_name[]", "Seen"),
        ("exclude_alerts", "true"),
    ];
    let groups = data(&console, "rules", &narrowed).await["groups"].clone();
    assert_eq!(groups[0]["rules"].as_array().map(Vec::len), Some(1));
    assert_eq!(groups[0]["rules"][0]["alerts"], json!([]));
    let other = data(&console, "rules", &[("rule_group[]", "other")]).await;
    assert_eq!(other, json!({"groups": []}));
    let (status, kind, why) = refusal(&console, "rules", &[("type", "x")]).await;
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(why.contains("'type'"), "{why}");
}

#[tokio::test]
async fn targets_are_told_as_prometheus_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let (console, target) = start(&directory, 1).await;
    let health = |wanted: &'static str| {
        move |answer: &Value| answer["data"]["activeTargets"][0]["health"] == wanted
    };
    let up = console.until("/api/v1/targets", health("up")).await;
    let one = &up["data"]["activeTargets"][0];
    assert_eq!(one["labels"]["service_name"], "shop");
    assert_eq!(one["labels"]["instance"], target.address);
    assert_eq!(
        one["scrapeUrl"],
        format!("http://{}/metrics", target.address)
    );
    assert_eq!(one["lastError"], "");
    target.now(Behaviour::Fails);
    let down = console.until("/api/v1/targets", health("down")).await;
    let why = down["data"]["activeTargets"][0]["lastError"].as_str();
    assert!(why.expect("why").contains("500"), "{down}");
}

#[tokio::test]
async fn what_has_not_happened_is_in_the_year_1() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = Target::start(Behaviour::Hangs).await;
    let targets_file = directory.path().join("targets.json");
    write_targets(&targets_file, &json!([group(&[&target.address], "shop")]));
    let yearly = "groups: [{name: g, interval: 1y, rules: [{record: a, expr: '1'}]}]";
    let console = Running::with(Settings {
        rules_file: Some(written(&directory, yearly)),
        targets_file: Some(targets_file),
        ..settings()
    });
    let is_known = |answer: &Value| answer["data"]["activeTargets"][0]["health"] == "unknown";
    let targets = console.until("/api/v1/targets", is_known).await;
    let never = "0001-01-01T00:00:00Z";
    assert_eq!(targets["data"]["activeTargets"][0]["lastScrape"], never);
    let rules = data(&console, "rules", &[]).await;
    assert_eq!(rules["groups"][0]["lastEvaluation"], never);
}

#[test]
fn a_bad_file_ends_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let bad = "groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]";
    let good = written(&directory, bad);
    for (path, named) in [
        (
            good,
            &["rules.yml", "group \"g\"", "rule 1 \"a\"", "not PromQL"][..],
        ),
        (
            PathBuf::from("/nowhere/rules.yml"),
            &["--rules /nowhere/rules.yml", "No such file"],
        ),
    ] {
        let settings = Settings {
            rules_file: Some(path),
            ..settings()
        };
        let started = actix_web::rt::System::new().block_on(async { console::start(settings) });
        let why = format!("{:#}", started.expect_err("a bad file"));
        for named in named {
            assert!(why.contains(named), "{named:?} in {why}");
        }
    }
}

/// Takes notifications: the first is refused.
async fn receiver() -> (
    String,
    tokio::sync::mpsc::UnboundedReceiver<(String, Value)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/alerts",
        listener.local_addr().expect("an address")
    );
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = ["503 Service Unavailable"]
            .into_iter()
            .chain(std::iter::repeat("200 OK"));
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers.next().expect("one more");
            let (head, body) = request(&mut stream).await;
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("written");
            let body = serde_json::from_slice(&body).expect("JSON");
            sender.send((head, body)).expect("a reader");
        }
    });
    (url, received)
}

pub async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let end = all.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length: usize = length
                .lines()
                .next()
                .expect("one")
                .parse()
                .expect("a number");
            if all.len() >= end + 4 + length {
                return (head, all.split_off(end + 4));
            }
        }
        let read = stream.read(&mut buffer).await.expect("a request");
        assert!(read > 0, "it ends early");
        all.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test]
async fn a_receiver_is_told_as_alertmanager_does_and_again_if_it_refuses() {
    const TOLD: &str = r#"
groups:
  - name: loads
    interval: 1s
    rules:
      - alert: High
        expr: load > 5
        labels: {severity: page, team: shop, service: '{{ $labels.service_name }}', slo: none, route: none}
        annotations: {summary: 'at {{ $value }}'}
      - alert: Quiet
        expr: load > 5
        labels: {severity: ticket, team: shop, service: '{{ $labels.service_name }}', slo: none, route: none}
"#;
    let directory = tempfile::tempdir().expect("a directory");
    let target = Target::start(page(9)).await;
    let targets_file = directory.path().join("targets.json");
    write_targets(&targets_file, &json!([group(&[&target.address], "shop")]));
    let (url, mut received) = receiver().await;
    let console = Running::with(Settings {
        rules_file: Some(written(&directory, TOLD)),
        targets_file: Some(targets_file),
        notify: Notify {
            url: Some(url),
            watchdog_url: None,
            secret: Some("a-secret-of-16-letters".to_owned()),
        },
        ..settings()
    });
    let next = tokio::time::timeout(Duration::from_secs(30), received.recv());
    let (head, refused) = next.await.expect("in time").expect("a request");
    assert!(
        head.contains("authorization: bearer a-secret-of-16-letters"),
        "{head}"
    );
    let next = tokio::time::timeout(Duration::from_secs(30), received.recv());
    let (_, told) = next.await.expect("in time").expect("a request");
    assert_eq!(told, refused, "the same again");

    let alert = &told["alerts"][0];
    assert_eq!(
        (
            &told["version"],
            &told["status"],
            &told["receiver"],
            &told["truncatedAlerts"]
        ),
        (&json!("4"), &json!("firing"), &json!("page"), &json!(0))
    );
    let shared = json!({"service": "shop", "slo": "none", "team": "shop"});
    assert_eq!(told["groupLabels"], shared);
    assert_eq!(told["commonAnnotations"], json!({"summary": "at 9"}));
    assert_eq!(told["commonLabels"], alert["labels"]);
    assert_eq!(told["externalURL"], console.url);
    assert_eq!(told["alerts"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&alert["status"], &alert["endsAt"]),
        (&json!("firing"), &json!("0001-01-01T00:00:00Z"))
    );
    let shown = alerts(&console, &[("High", "firing"), ("Quiet", "firing")]).await;
    assert_eq!(alert["startsAt"], shown[0]["activeAt"], "there is no `for`");
    assert_eq!(alert["fingerprint"].as_str().map(str::len), Some(16));
}

#[tokio::test]
async fn alerts_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let state_file = directory.path().join("alerts.json");
    let with_state = |directory: &tempfile::TempDir, targets_file| Settings {
        rules_file: Some(written(directory, RULES)),
        targets_file: Some(targets_file),
        state_file: Some(state_file.clone()),
        ..settings()
    };
    let target = Target::start(page(9)).await;
    let targets_file = directory.path().join("targets.json");
    write_targets(&targets_file, &json!([group(&[&target.address], "shop")]));
    let console = Running::with(with_state(&directory, targets_file.clone()));
    let firing = [("High", "firing"), ("Seen", "firing")];
    let before = alerts(&console, &firing).await;
    let is_kept = || {
        let text = std::fs::read_to_string(&state_file).unwrap_or_default();
        let kept: Value = serde_json::from_str(&text).unwrap_or_default();
        let all = kept["alerts"].as_array().map_or(0, Vec::len);
        all == 2 && !text.contains("pending")
    };
    let start = std::time::Instant::now();
    while !is_kept() {
        assert!(start.elapsed() < Duration::from_secs(20), "not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(console);

    // The target is slow to come back: the alert goes on, since when it did.
    target.now(Behaviour::Fails);
    let console = Running::with(with_state(&directory, targets_file.clone()));
    let is_evaluated = |answer: &Value| answer["data"]["groups"][0]["rules"][3]["health"] == "err";
    console.until("/api/v1/rules", is_evaluated).await;
    let after = alerts(&console, &firing).await;
    assert_eq!(after[0]["activeAt"], before[0]["activeAt"]);
    assert_eq!(after[0]["annotations"], before[0]["annotations"]);
    drop(console);

    std::fs::write(&state_file, "no JSON").expect("a file");
    let console = Running::with(with_state(&directory, targets_file));
    console.until("/api/v1/rules", is_evaluated).await;
    alerts(&console, &[]).await;
}
