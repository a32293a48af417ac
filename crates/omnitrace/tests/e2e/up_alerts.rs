//! `omnitrace up` with rules and receivers of one's own.

use serde_json::{Value, json};

use crate::harness::{Capture, Child, Directory, Up, database};
use crate::herald::arrived;

const RULES: &str = "
groups:
  - name: own
    interval: 1s
    rules:
      - alert: Watchdog
        expr: vector(1)
        labels: {severity: none}
      - alert: Mine
        expr: up{service_name=\"gateway\"} == 1
        labels: {severity: page, team: shop, service: gateway, slo: none, route: none}
";

fn written(directory: &Directory, rules: &str) -> String {
    let path = directory.path().join("own.yml");
    std::fs::write(&path, rules).expect("a file");
    path.display().to_string()
}

#[tokio::test]
async fn own_rules_are_evaluated_and_everybody_hears_what_is_for_him() {
    let [herald, watchdog, nobody] = [(); 3].map(|()| Capture::answering(&json!({})));
    let directory = Directory::new();
    let rules = written(&directory, RULES);
    let mut up = Up::start_with(directory, &database().await, |command| {
        command
            .args(["--rules", &rules])
            .env("HERALD_WEBHOOK_URL", herald.url())
            .env("OMNITRACE_WATCHDOG_URL", watchdog.url())
            .env("OMNITRACE_NOTIFY_URL", nobody.url())
            .env("OMNITRACE_NOTIFY_SECRET", "for-another-receiver")
    })
    .await;
    up.ready().await;
    let told = arrived(&herald, 1).await[0].json();
    let title = told["title"].as_str().expect("a title");
    assert!(title.contains("Mine: gateway"), "{told:#}");
    let always = &arrived(&watchdog, 1).await[0];
    let alert = &always.json()["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "Watchdog");
    assert_eq!(always.header("authorization"), None, "not its secret");
    assert_eq!(nobody.take().len(), 0);
    let note =
        "OMNITRACE_NOTIFY_SECRET, OMNITRACE_NOTIFY_URL are not used: the console tells herald";
    let is_note = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        message.starts_with(note)
    };
    assert!(up.events().iter().any(is_note), "{}", up.child.output());
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

#[tokio::test]
async fn what_is_wrong_with_rules_or_a_receiver_is_said_before_anything_starts() {
    let unknown = RULES.replace("expr: vector(1)", "exprs: vector(1)");
    let no_promql = RULES.replace("vector(1)", "vector(");
    let directory = Directory::new();
    let data = directory.data();
    for (rules, url, expected) in [
        (unknown, "", &["--rules", "own.yml", "exprs", "line 7"][..]),
        (
            no_promql,
            "",
            &["--rules", "own.yml", "group \"own\"", "\"Watchdog\""],
        ),
        (
            RULES.to_owned(),
            "hooks.example.org/s3cret",
            &["OMNITRACE_WATCHDOG_URL: ", "allowed: "],
        ),
    ] {
        let mut command = Up::command(&directory);
        command.args(["--rules", &written(&directory, &rules)]);
        command.env("OMNITRACE_WATCHDOG_URL", url);
        let mut up = Child::spawn("up", command);
        assert_eq!(up.wait().await.code(), Some(1), "{expected:?}");
        let said = up.stderr().join("\n");
        for expected in expected {
            assert!(said.contains(expected), "{expected} in {said}");
        }
        assert!(!up.output().contains("s3cret"), "{said}");
        let started = |event: &Value| event["event"] == "started";
        assert!(!up.json_lines().iter().any(started), "{}", up.output());
        assert!(!data.exists(), "nothing is left behind");
    }
}
