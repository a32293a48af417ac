//! The game day: its scenario files, and whole runs of it.

use serde_json::{Value, json};

use crate::cli::run;
use crate::harness::{Child, Directory, Signal, eventually, http, omnitrace, repository};

const TRUTH: &str = "[truth]\nservice = \"data\"\nkind = [\"down\"]\nalerts = [\"ServiceDown data\"]\naction = [\"restart data\"]\n";
const INJECT: &str = "[[inject]]\nprocess = \"sleep 600\"\n";

fn write(directory: &Directory, name: &str, text: &str) {
    let scenarios = directory.path().join("gameday");
    std::fs::create_dir_all(&scenarios).expect("a directory");
    std::fs::write(scenarios.join(name), text).expect("a file");
}

/// What `omnitrace gameday check` says of one file.
async fn checked(text: &str) -> (i32, String) {
    let directory = Directory::new();
    write(&directory, "it.toml", text);
    let (code, said, complained) = run(omnitrace(["gameday", "check"]), Some(&directory)).await;
    (code, said + &complained)
}

#[tokio::test]
async fn a_mistake_in_a_scenario_is_an_error_with_file_line_and_key() {
    let whole = format!("title = \"x\"\n{INJECT}{TRUTH}");
    assert_eq!(
        checked(&whole).await.0,
        0,
        "it is right before it is spoiled"
    );
    let cases = [
        (
            whole.replace("title", "name"),
            "line 1: ",
            "unknown field `name`",
        ),
        (whole.replace("\"x\"", "\" \""), "line 1: ", "`title`"),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nload = 1001"),
            "line 2: ",
            "`load`: 1001 is not between 0 and 1000",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nbaseline = \"soon\""),
            "line 2: ",
            "\"soon\" is no time",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\npatience = \"2h\""),
            "line 1: ",
            "`patience`: at most 15 min",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nreplicas = { probe = 2 }"),
            "line 2: ",
            "`replicas`: probe cannot have several instances",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nreplicas = { data = 9 }"),
            "line 2: ",
            "allowed: 1 to 8",
        ),
        (
            whole.replace(
                "title = \"x\"",
                "title = \"x\"\nnot_in = { standard = \"\" }",
            ),
            "line 2: ",
            "`not_in.standard`: say why",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nnot_in = { cloud = \"y\" }"),
            "line 2: ",
            "unknown variant `cloud`",
        ),
        (
            whole.replace(
                "title = \"x\"",
                "title = \"x\"\nenvironment = { \"A=B\" = \"y\" }",
            ),
            "line 2: ",
            "`environment`: \"A=B\" is no variable",
        ),
        (
            whole.replace("process = \"sleep 600\"", "service = \"data\""),
            "line 2: ",
            "belong to a `fault`",
        ),
        (
            whole.replace("process = \"sleep 600\"", "fault = \"errors\""),
            "line 2: ",
            "`service` is missing",
        ),
        (
            whole.replace("process = \"sleep 600\"", "stop = \"true\""),
            "line 2: ",
            "`stop` belongs to a `start`",
        ),
        (
            whole.replace("process = \"sleep 600\"", "process = \"a\"\nload = 5"),
            "line 2: ",
            "exactly one of",
        ),
        (
            whole.replace("process = \"sleep 600\"", "load = 0"),
            "line 2: ",
            "`load`: 0 is not between 1 and 1000",
        ),
        (
            whole.replace(
                "process = \"sleep 600\"",
                "fault = \"x\"\nservice = \"data\"\nparameters = { ms = \"y\" }",
            ),
            "line 2: ",
            "ms is string, allowed is a number",
        ),
        (
            whole.replace("[\"down\"]", "[\"sad\"]"),
            "line 4: ",
            "`kind`: \"sad\" is unknown; allowed: bad_answer, ",
        ),
        (
            whole.replace("[\"down\"]", "[]"),
            "line 4: ",
            "`kind`: at least one",
        ),
        (
            whole.replace("restart data", "restart"),
            "line 4: ",
            "\"restart\" is not two words; expected such as \"restart downstream\"",
        ),
        (
            whole.replace("restart data", "pray data"),
            "line 4: ",
            "`action`: \"pray\" is unknown",
        ),
        (
            whole.replace("ServiceDown data", "ServiceDown"),
            "line 4: ",
            "`alerts`: \"ServiceDown\" is not two words",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\ncontrol = true"),
            "",
            "a control has none",
        ),
        (
            format!("title = \"x\"\n{INJECT}"),
            "line 1: ",
            "`truth` is missing",
        ),
        (
            format!("title = \"x\"\n{TRUTH}"),
            "line 1: ",
            "`[[inject]]` is missing",
        ),
        ("title = \"x".to_owned(), "line 1: ", ""),
    ];
    for (text, line, why) in cases {
        let (code, said) = checked(&text).await;
        assert_eq!(code, 1, "{text}\n{said}");
        assert!(
            said.contains("gameday/it.toml, ") && said.contains(line) && said.contains(why),
            "{line:?} and {why:?} in {said}\n{text}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_and_the_way_out() {
    let directory = Directory::new();
    let (code, _, said) = run(omnitrace(["gameday", "check"]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("cannot read the scenarios in gameday") && said.contains("--scenarios"),
        "{said}"
    );
    write(
        &directory,
        "some-thing.toml",
        "title = \"x\"\ncontrol = true\n",
    );
    let (code, _, said) = run(
        omnitrace(["gameday", "run", "--only", "some-*,other"]),
        Some(&directory),
    )
    .await;
    assert_eq!(code, 1);
    assert!(
        said.contains("--only other: no such scenario; there are: some-thing"),
        "{said}"
    );
    let (code, _, said) = run(omnitrace(["gameday", "report"]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("nothing was run yet in .omnitrace/gameday: `omnitrace gameday run`"),
        "{said}"
    );
}

#[tokio::test]
async fn every_scenario_of_the_repository_is_right_and_there_are_as_many_controls() {
    let (code, said, complained) = run(
        omnitrace([
            "gameday",
            "check",
            "--scenarios",
            &repository("gameday").display().to_string(),
        ]),
        None,
    )
    .await;
    assert_eq!(code, 0, "{complained}");
    let controls = said
        .lines()
        .filter(|line| line.contains(" control: "))
        .count();
    let all = said.lines().filter(|line| line.contains("yes")).count();
    assert!(
        all - controls >= 18 && controls >= all - controls,
        "{controls} of {all} are controls\n{said}"
    );
}

const SHORT: &str =
    "title = \"Nothing happens\"\ncontrol = true\nload = 2\nbaseline = \"1s\"\nhold = \"1s\"\n";

fn report(directory: &Directory) -> Value {
    let file = directory.path().join(".omnitrace/gameday/gameday.json");
    let text = std::fs::read(file).expect("gameday.json");
    serde_json::from_slice(&text).expect("JSON")
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

    let (code, said, _) = run(omnitrace(["gameday", "run"]), Some(&directory)).await;
    assert_eq!(code, 0);
    assert!(!said.contains("1 of 1:"), "finished before: {said}");
    directory.deserted().await;
}

#[tokio::test]
async fn no_other_run_begins_before_one_that_runs_alone_is_taken_back() {
    let directory = Directory::new();
    write(&directory, "a.toml", SHORT);
    write(&directory, "b.toml", &(SHORT.to_owned() + "alone = true\n"));
    let command = omnitrace(["gameday", "run", "--jobs", "2"]);
    let (code, said, complained) = run(command, Some(&directory)).await;
    assert_eq!(code, 0, "{said}\n{complained}");
    let time = |run: &str, of: &str| {
        let file = format!(".omnitrace/gameday/records/embedded-{run}-1.json");
        let text = std::fs::read(directory.path().join(file)).expect("a record");
        let record: Value = serde_json::from_slice(&text).expect("JSON");
        let time = record["times"][of].as_str().expect("a time").to_owned();
        chrono::DateTime::parse_from_rfc3339(&time).expect("a time")
    };
    assert!(time("b", "cleared") <= time("a", "started"), "{said}");
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
