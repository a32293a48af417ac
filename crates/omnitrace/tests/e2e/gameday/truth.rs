//! Scenarios and controls of the repository, with the truth hidden.

use serde_json::json;

use super::{report, write};
use crate::harness::{Directory, http, omnitrace, repository};

#[tokio::test]
async fn hidden_faults_are_on_and_no_metric_shows_it() {
    let mut up = crate::harness::Up::start_with(
        Directory::new(),
        &crate::harness::database().await,
        |command| {
            command
                .arg("--no-console")
                .env("OTEL_SDK_DISABLED", "true")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
                .env("OMNITRACE_FAULTS", "hidden")
        },
    )
    .await;
    up.ready().await;
    up.fault("downstream", "errors", json!({"share": 1})).await;
    let admin = up.started("downstream").await["admin_url"]
        .as_str()
        .expect("an address")
        .to_owned();
    let metrics = http()
        .get(format!("{admin}/metrics"))
        .send()
        .await
        .expect("metrics")
        .text()
        .await
        .expect("text");
    assert!(
        metrics.contains("http_server_request_duration_seconds") && !metrics.contains("fault"),
        "{metrics}"
    );
}

/// For seven runs of one to two minutes, two at a time, on a slow machine.
const MINUTES: std::time::Duration = std::time::Duration::from_secs(1200);

/// A scenario of the repository with a short beginning, that does not wait for the end of its alerts.
fn copy(directory: &Directory, name: &str, as_name: &str, more: &str) {
    let file = repository(&format!("gameday/{name}.toml"));
    let scenario = std::fs::read_to_string(file).expect("the scenario");
    let (title, rest) = scenario.split_once('\n').expect("a title");
    write(
        directory,
        &format!("{as_name}.toml"),
        &format!("{title}\nbaseline = \"30s\"\nresolve = \"1s\"\n{more}\n{rest}"),
    );
}

#[tokio::test]
#[ignore = "takes minutes: just test-gameday"]
async fn scenarios_and_controls_reach_their_goals_and_the_truth_is_hidden() {
    let directory = Directory::new();
    for name in [
        "downstream-errors",
        "downstream-killed",
        "data-log-storm",
        "control-idle",
        "control-restart-data",
        "control-analyst",
    ] {
        copy(&directory, name, name, "");
    }
    // What a scenario sets comes after what the game day sets.
    copy(
        &directory,
        "downstream-errors",
        "shown",
        "environment = { OMNITRACE_FAULTS = \"on\" }",
    );
    for shared in ["docs", "dashboards"] {
        std::os::unix::fs::symlink(repository(shared), directory.path().join(shared))
            .expect("a link");
    }
    let mut command = omnitrace(["gameday", "run", "--jobs", "2"]);
    command.current_dir(directory.path());
    let ended = tokio::process::Command::from(command).output();
    let output = tokio::time::timeout(MINUTES, ended)
        .await
        .expect("it ends in time")
        .expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let whole = report(&directory);
    assert!(output.status.success(), "{said}\n{whole:#}");
    assert_eq!(
        (
            &whole["summaries"][0]["recall"]["hits"],
            &whole["summaries"][0]["controls"]
        ),
        (&json!(4), &json!(3))
    );
    let first_told = |name: &str| {
        let runs = whole["runs"].as_array().expect("runs");
        let run = runs
            .iter()
            .find(|run| run["scenario"] == name)
            .expect("the run");
        (
            run["episodes"][0]["title"].clone(),
            run["diagnosis"]["causes"].clone(),
            run["diagnosis"]["action"].clone(),
        )
    };
    assert_eq!(
        first_told("downstream-errors"),
        first_told("shown"),
        "without the answer key people are told the same"
    );
}
