//! Runs that are recorded, repeated, broken and interrupted.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{INJECT, report, write};
use crate::cli::run;
use crate::harness::{Child, Directory, Signal, eventually, omnitrace};

const SHORT: &str =
    "title = \"Nothing happens\"\ncontrol = true\nload = 2\nbaseline = \"1s\"\nhold = \"1s\"\n";

/// The record of a run, and its file.
fn record(directory: &Directory, run: &str) -> (PathBuf, Value) {
    let name = format!(".omnitrace/gameday/records/embedded-{run}-1.json");
    let file = directory.path().join(name);
    let text = std::fs::read(&file).expect("a record");
    (file, serde_json::from_slice(&text).expect("JSON"))
}

#[tokio::test]
async fn a_run_is_recorded_and_reported_and_not_repeated() {
    let directory = Directory::new();
    write(&directory, "quiet.toml", SHORT);
    let (code, said, complained) = run(omnitrace(["gameday", "run"]), Some(&directory)).await;
    assert_eq!(code, 0, "{said}\n{complained}");
    assert!(
        said.contains("1 of 1: quiet (embedded, run 1)") && said.contains("min left"),
        "{said}"
    );
    let whole = report(&directory);
    assert_eq!(whole["partial"], false);
    assert_eq!(whole["runs"][0]["broken"], Value::Null, "{whole}");
    assert_eq!(whole["summaries"][0]["controls"], 1);
    // Without a fault nobody knows whether every fault is notified.
    assert!(said.contains("open   recall"), "{said}");
    assert_eq!(whole["summaries"][0]["goals"][0]["met"], Value::Null);
    let page = directory.path().join(".omnitrace/gameday/report.html");
    let page = std::fs::read_to_string(page).expect("report.html");
    assert!(
        page.contains("quiet (control, embedded, run 1)") && !page.contains("<script"),
        "{page}"
    );
    assert!(
        !directory
            .path()
            .join(".omnitrace/gameday/stacks/embedded-quiet-1")
            .exists(),
        "its stack's files are removed"
    );

    for (build, more, repeated) in [
        (None, None, false),
        (Some("another"), Some("--any-build"), false),
        (Some("another"), None, true),
    ] {
        if let Some(build) = build {
            let (file, mut record) = record(&directory, "quiet");
            record["build"] = build.into();
            std::fs::write(file, record.to_string()).expect("a record");
        }
        let command = omnitrace(["gameday", "run"].into_iter().chain(more));
        let (code, said, _) = run(command, Some(&directory)).await;
        assert_eq!(code, 0);
        assert_eq!(
            said.contains("1 of 1:"),
            repeated,
            "{build:?}, {more:?}: {said}"
        );
        let builds = report(&directory)["about"]["build"].clone();
        assert_eq!(
            builds == "another",
            build.is_some() && !repeated,
            "{builds}"
        );
    }
    directory.deserted().await;
}

fn time(directory: &Directory, run: &str, of: &str) -> chrono::DateTime<chrono::FixedOffset> {
    let (_, record) = record(directory, run);
    let time = record["times"][of].as_str().expect("a time");
    chrono::DateTime::parse_from_rfc3339(time).expect("a time")
}

#[tokio::test]
async fn no_other_run_begins_before_one_that_runs_alone_is_taken_back() {
    let directory = Directory::new();
    write(&directory, "a.toml", SHORT);
    write(&directory, "b.toml", &(SHORT.to_owned() + "alone = true\n"));
    let command = omnitrace(["gameday", "run", "--jobs", "2"]);
    let (code, said, complained) = run(command, Some(&directory)).await;
    assert_eq!(code, 0, "{said}\n{complained}");
    let cleared = time(&directory, "b", "cleared");
    assert!(cleared <= time(&directory, "a", "started"), "{said}");
    directory.deserted().await;
}

#[tokio::test]
async fn stacks_side_by_side_do_not_start_at_the_same_time() {
    let directory = Directory::new();
    write(
        &directory,
        "a.toml",
        &SHORT.replace("hold = \"1s\"", "hold = \"8s\""),
    );
    write(&directory, "b.toml", SHORT);
    let command = omnitrace(["gameday", "run", "--jobs", "2"]);
    let (code, said, complained) = run(command, Some(&directory)).await;
    assert_eq!(code, 0, "{said}\n{complained}");
    let began = |run: &str| time(&directory, run, "started");
    let between = began("b") - began("a");
    assert!(between.num_seconds() >= 4, "{between}: {said}");
    assert!(began("b") < time(&directory, "a", "stopped"), "{said}");
    directory.deserted().await;
}

#[tokio::test]
async fn a_command_that_fails_breaks_the_run_and_says_why() {
    let directory = Directory::new();
    for how in ["start", "process"] {
        let failing = format!("\n[[inject]]\n{how} = 'echo no luck >&2; exit 3'\n");
        write(
            &directory,
            &format!("{how}.toml"),
            &(SHORT.to_owned() + &failing),
        );
    }
    let (code, said, _) = run(omnitrace(["gameday", "run"]), Some(&directory)).await;
    assert_eq!(code, 1);
    let why = "broken: `echo no luck >&2; exit 3` failed (exit status: 3): no luck";
    for how in ["start", "process"] {
        let told = |line: &str| line.starts_with(how) && line.ends_with(why);
        assert!(said.lines().any(told), "{how}\n{said}");
    }
    assert_eq!(report(&directory)["summaries"][0]["broken"], 2);
    directory.deserted().await;
}

#[tokio::test]
async fn ctrl_c_takes_everything_back_and_leaves_a_partial_report() {
    let directory = Directory::new();
    write(&directory, "a.toml", SHORT);
    let marks = ["\n[[inject]]\nstart = 'touch $DATA_DIR/../began'\nstop = 'touch $DATA_DIR/../taken-back'\n", INJECT].concat();
    let long = SHORT.replace("hold = \"1s\"", "hold = \"10m\"");
    write(&directory, "b.toml", &(long + &marks));
    let mut command = omnitrace(["gameday", "run"]);
    command.current_dir(directory.path());
    let mut game = Child::spawn("gameday", command);
    let stacks = directory.path().join(".omnitrace/gameday/stacks");
    eventually("the second scenario has begun", async || {
        stacks.join("began").exists().then_some(())
    })
    .await;
    game.signal(Signal::SIGINT);
    let status = game.wait().await;
    assert_eq!(status.code(), Some(1), "{}", game.output());
    assert!(stacks.join("taken-back").exists(), "{}", game.output());
    let whole = report(&directory);
    assert_eq!(
        (&whole["partial"], whole["runs"].as_array().map(Vec::len)),
        (&json!(true), Some(1)),
        "{whole}"
    );
    directory.deserted().await;
}
