//! `omnitrace doctor` where something is wrong or missing. That it is green on a whole stack is proved by `stack_doctor`.

use serde_json::{Value, json};

use crate::catalogue::evaluated::{asked, assert_evaluated};
use crate::harness::{Capture, Child, Signal, Stack, Up, http, omnitrace};

/// Runs `omnitrace doctor` to its end: exit code, stdout, stderr.
pub async fn doctor(arguments: &[&str]) -> (i32, String, String) {
    let mut command = omnitrace(["doctor"]);
    command.args(arguments);
    for variable in [
        "GATEWAY",
        "PROMETHEUS",
        "JAEGER",
        "LOKI",
        "ALERTMANAGER",
        "COLLECTOR",
        "GRAFANA",
    ] {
        command.env_remove(format!("{variable}_URL"));
    }
    let mut child = Child::spawn("doctor", command);
    let status = child.wait().await;
    (
        status.code().unwrap_or(-1),
        child.stdout().join("\n"),
        child.stderr().join("\n"),
    )
}

#[tokio::test]
async fn without_urls_it_follows_every_path_of_the_running_stack() {
    let mut up = Up::start().await;
    let ready = up.ready().await;
    let url = |name: &str| ready[name].as_str().expect(name).to_owned();
    let (gateway, console) = (url("gateway_url"), url("console_url"));
    let data_dir = up.directory.data().display().to_string();
    let running = ["--data-dir", &data_dir];

    let (code, said, complained) = doctor(&running).await;
    assert_eq!(code, 0, "{said}{complained}");
    for path in [
        "order -> gateway",
        "order -> Jaeger",
        "order -> Loki",
        "order -> Prometheus",
        "exemplar -> Jaeger",
        "scrape targets         5 targets up",
        "rules",
        "alert -> herald        ready for the console's alerts",
    ] {
        assert!(
            said.contains(&format!("ok      {path}")),
            "{path} in\n{said}"
        );
    }
    assert!(said.contains("data visible in all backends: "), "{said}");
    assert!(!said.contains("absent"), "{said}");
    let (code, said, _) = doctor(&[&running[..], &["--require", "grafana"]].concat()).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("set GRAFANA_URL"), "{said}");

    what_is_not_given_is_absent(&gateway, &console).await;
    what_to_look_at_is_there(&running).await;
    herald_is_missed(&mut up, &running).await;
    up.stop().await;
    let (code, _, complained) = doctor(&running).await;
    assert_eq!(code, 1, "{complained}");
    for expected in ["no URL is given", &data_dir, "omnitrace up", "--data-dir"] {
        assert!(complained.contains(expected), "{expected} in\n{complained}");
    }
}

async fn report(arguments: &[&str]) -> (i32, Vec<Value>) {
    let (code, said, _) = doctor(&[arguments, &["--json"]].concat()).await;
    let report: Value = serde_json::from_str(&said).expect("one JSON object");
    (code, report["paths"].as_array().expect("paths").clone())
}

/// Pages of the console and herald, and files.
async fn what_to_look_at_is_there(running: &[&str]) {
    let (code, paths) = report(running).await;
    assert_eq!(code, 0, "{paths:#?}");
    for path in paths
        .iter()
        .filter(|path| path["path"] != "order -> gateway")
    {
        let look_at = path["look_at"].as_str().expect("a hint");
        let (page, log) = look_at.split_once(", and ").expect("a page and a log");
        let answer = http().get(page).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert!(std::path::Path::new(log).is_file(), "{path}");
    }
}

/// One that is frozen takes no alerts.
async fn herald_is_missed(up: &mut Up, running: &[&str]) {
    up.signal("herald", Signal::SIGSTOP).await;
    let (code, paths) = report(&[running, &["--timeout", "3s"]].concat()).await;
    up.signal("herald", Signal::SIGCONT).await;
    assert_eq!(code, 1);
    let failed: Vec<&Value> = paths
        .iter()
        .filter(|path| path["state"] == "fail")
        .collect();
    let names: Vec<&Value> = failed.iter().map(|path| &path["path"]).collect();
    assert!(names.contains(&&json!("alert -> herald")), "{paths:#?}");
    let herald = failed.iter().find(|path| path["path"] == "alert -> herald");
    let look_at = herald.expect("a row")["look_at"].as_str();
    let look_at = look_at.expect("a hint");
    assert!(look_at.contains("/ready, and "), "{look_at}");
    assert!(look_at.ends_with("logs/herald.log"), "{look_at}");
}

/// And what is required is not excused.
async fn what_is_not_given_is_absent(gateway: &str, console: &str) {
    let given = ["--gateway-url", gateway, "--jaeger-url", console];
    let (code, said, _) = doctor(&given).await;
    assert_eq!(code, 0, "{said}");
    for expected in [
        "ok      order -> gateway",
        "ok      order -> Jaeger",
        "absent  Grafana                set GRAFANA_URL to include it",
        "absent  Loki ",
        "data visible in all backends given: ",
    ] {
        assert!(said.contains(expected), "{expected:?} in\n{said}");
    }

    let required = ["--require", "loki,grafana"];
    let (code, said, _) = doctor(&[&given[..], &required].concat()).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("FAIL    Loki "), "{said}");
    assert!(said.ends_with("failed: Loki, Grafana"), "{said}");

    // An order alone proves nothing of telemetry.
    let (code, said, _) = doctor(&["--gateway-url", gateway]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("FAIL    backends"), "{said}");
    assert!(said.contains("no backend is given"), "{said}");
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_named_with_what_to_look_at() {
    let stack = Stack::start().await;
    let gateway = stack.url("gateway");
    let nonsense = Capture::answering(&json!({"hello": "<script>"}));
    let (code, said, _) = doctor(&[
        "--gateway-url",
        &gateway,
        "--timeout",
        "1s",
        "--jaeger-url",
        "http://127.0.0.1:9",
        "--prometheus-url",
        &nonsense.url(),
        "--loki-url",
        &nonsense.url(),
        "--json",
    ])
    .await;
    assert_eq!(code, 1, "{said}");
    let report: Value = serde_json::from_str(&said).expect("one JSON object");
    assert_eq!(report["healthy"], false);
    let paths = report["paths"].as_array().expect("paths");
    let path = |name: &str| {
        let found = paths.iter().find(|path| path["path"] == name);
        found
            .unwrap_or_else(|| panic!("{name} in {report:#}"))
            .clone()
    };
    let jaeger = path("order -> Jaeger");
    assert_eq!(jaeger["state"], "fail");
    assert_eq!(jaeger["detail"], "nothing answers there");
    let look_at = jaeger["look_at"].as_str().unwrap_or_default();
    assert!(
        look_at.starts_with("http://127.0.0.1:9, and otelcol_exporter"),
        "{look_at}"
    );
    for name in [
        "order -> Loki",
        "order -> Prometheus",
        "exemplar -> Jaeger",
        "scrape targets",
        "rules",
    ] {
        assert_eq!(path(name)["state"], "fail", "{name}");
    }
    assert_eq!(path("Grafana")["state"], "absent");
    assert_evaluated(asked(&nonsense.take()), 1);
    stack.stop().await;
}

#[tokio::test]
async fn without_a_gateway_there_is_nothing_to_follow() {
    let (code, said, _) = doctor(&["--gateway-url", "http://127.0.0.1:9", "--timeout", "1s"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("FAIL    order -> gateway"), "{said}");
    assert!(said.contains("the gateway does not answer"), "{said}");

    let (code, _, said) = doctor(&["--gateway-url", "gateway:8080"]).await;
    assert_eq!(code, 2);
    assert!(
        said.contains("--gateway-url") && said.contains("http://127.0.0.1:9080"),
        "{said}"
    );
}

#[tokio::test]
async fn preflight_names_the_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, said, _) = doctor(&["--preflight", "--ports", &port]).await;
    assert_eq!(code, 1, "{said}");
    let line = said.lines().next().unwrap_or_default();
    assert!(line.starts_with(&format!("FAIL    port {port}")), "{said}");
    assert!(
        line.contains("is in use by e2e") && line.contains("deploy/.env"),
        "{said}"
    );

    let (_, said, _) = doctor(&["--preflight", "--skip-ports", "--json"]).await;
    let report: Value = serde_json::from_str(&said).expect("one JSON object");
    let states: Vec<&str> = report["paths"]
        .as_array()
        .expect("paths")
        .iter()
        .filter_map(|path| path["path"].as_str())
        .collect();
    assert_eq!(states, ["ports", "memory", "disk"]);

    drop(taken);
    let (code, said, _) = doctor(&["--preflight", "--ports", &port]).await;
    // Memory and disk are this machine's; the port is free again.
    assert!(said.starts_with("ok "), "{code} {said}");
    let (code, _, said) = doctor(&["--preflight", "--disk-path", "/no/such/place"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("--disk-path /no/such/place"), "{said}");
}
