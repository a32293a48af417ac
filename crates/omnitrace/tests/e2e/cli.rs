//! The commands for a running stack: `fault` and `health`.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Child, Directory, Signal, Stack, Up, database, eventually, omnitrace};

/// Runs a command to its end: exit code, stdout, stderr.
pub async fn run(mut command: Command, directory: Option<&Directory>) -> (i32, String, String) {
    if let Some(directory) = directory {
        command.current_dir(directory.path());
    }
    let mut child = Child::spawn("command", command);
    let status = child.wait().await;
    (
        status.code().unwrap_or(-1),
        child.stdout().join("\n"),
        child.stderr().join("\n"),
    )
}

async fn stack() -> Up {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command
            .arg("--no-console")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .env("OTEL_SDK_DISABLED", "true")
    })
    .await;
    up.ready().await;
    up
}

#[tokio::test]
async fn faults_are_listed_set_and_cleared_by_name() {
    let mut up = stack().await;
    let here = Some(&up.directory);

    let (code, listed, _) = run(omnitrace(["fault", "list"]), here).await;
    assert_eq!(code, 0);
    for expected in [
        "gateway\n",
        "data\n",
        "downstream\n",
        "  latency ",
        "  pool_exhaustion ",
        " 1 to 10000 ms, default 500",
    ] {
        assert!(listed.contains(expected), "{expected:?} in\n{listed}");
    }
    assert!(!listed.contains("ON:"), "{listed}");

    let (code, said, _) = run(
        omnitrace([
            "fault",
            "set",
            "downstream",
            "latency",
            "ms=400",
            "--for",
            "60s",
        ]),
        here,
    )
    .await;
    assert_eq!(code, 0);
    assert!(said.starts_with("downstream: latency ms=400"), "{said}");
    assert!(said.contains("ends in 60 s"), "{said}");

    let (_, listed, _) = run(omnitrace(["fault", "list", "downstream", "--json"]), here).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let faults = listed["downstream"].as_array().unwrap();
    let latency = faults
        .iter()
        .find(|fault| fault["name"] == "latency")
        .unwrap();
    assert_eq!(latency["active"]["parameters"]["ms"], 400);

    let (code, said, _) = run(omnitrace(["fault", "clear"]), here).await;
    assert_eq!((code, said.lines().count()), (0, 3), "{said}");
    let (_, listed, _) = run(omnitrace(["fault", "list"]), here).await;
    assert!(!listed.contains("ON:"), "{listed}");
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn what_is_not_allowed_is_explained() {
    let mut up = stack().await;
    let here = Some(&up.directory);
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["set", "downstream", "latncy"],
            &["fault: unknown", "latency"],
        ),
        (
            &["set", "downstream", "latency", "ms=-4"],
            &["ms: allowed: a whole number from"],
        ),
        (
            &["set", "downstream", "latency", "sec=4"],
            &["sec: unknown; allowed: ms"],
        ),
        (
            &["set", "downstream", "latency", "--for", "30h"],
            &["expires_in_s", "3600"],
        ),
        (
            &["set", "upstream", "latency"],
            &[
                "no running service \"upstream\"",
                "downstream, data, gateway",
            ],
        ),
        (
            &["set", "downstream", "../metrics"],
            &["not the name of a fault"],
        ),
    ];
    for (arguments, expected) in cases {
        let (code, _, said) = run(omnitrace([&["fault"], arguments].concat()), here).await;
        assert_eq!(code, 1, "{arguments:?}: {said}");
        for part in expected {
            let times = said.matches(part).count();
            assert_eq!(times, 1, "{arguments:?}: {part:?} in\n{said}");
        }
    }
    let (code, _, said) = run(
        omnitrace(["fault", "set", "downstream", "latency", "400"]),
        here,
    )
    .await;
    assert_eq!(code, 2);
    assert!(said.contains("name=value"), "{said}");
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_service_is_also_reached_by_its_admin_address() {
    let stack = Stack::start().await;
    let admin = stack.admin_url("downstream");
    let (code, said, _) = run(
        omnitrace(["fault", "set", "downstream", "errors", "--admin", &admin]),
        None,
    )
    .await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        stack
            .scrape("downstream")
            .await
            .value("fault_active", &[("fault", "errors")]),
        Some(1.0)
    );
    let (code, ..) = run(
        omnitrace(["fault", "clear", "downstream", "errors", "--admin", &admin]),
        None,
    )
    .await;
    assert_eq!(code, 0);
    assert_eq!(
        stack
            .scrape("downstream")
            .await
            .value("fault_active", &[("fault", "errors")]),
        Some(0.0)
    );

    let public = stack.url("downstream");
    let (code, _, said) = run(omnitrace(["fault", "list", "--admin", &public]), None).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is that an admin address?"), "{said}");
    stack.stop().await;
}

#[tokio::test]
async fn health_has_a_line_for_each_part_and_fails_when_one_is_not_ready() {
    let mut up = stack().await;
    let here = Some(&up.directory);
    let (code, said, _) = run(omnitrace(["health"]), here).await;
    // The three services, and the probe.
    assert_eq!((code, said.lines().count()), (0, 4), "{said}");
    assert!(said.lines().all(|line| line.contains(" ready ")), "{said}");

    let gone = up.started("gateway").await["admin_url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(up.stop().await.code(), Some(0));
    let (code, said, _) = run(omnitrace(["health", "--url", &gone]), None).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("NOT READY") && said.contains("nothing listens there"),
        "{said}"
    );
    let (code, said, _) = run(omnitrace(["health", "--json", "--url", &gone]), None).await;
    assert_eq!(code, 1);
    assert_eq!(
        serde_json::from_str::<Value>(&said).unwrap()["healthy"],
        false
    );
}

#[tokio::test]
async fn health_says_why_a_service_is_not_ready() {
    let mut stack = Stack::start().await;
    let data = stack.admin_url("data");
    let (code, said, _) = run(omnitrace(["health", "--url", &data]), None).await;
    assert_eq!(code, 0, "{said}");
    stack
        .fault_set(
            "data",
            "readiness_flap",
            serde_json::json!({"period_ms": 60_000}),
        )
        .await
        .expect(200);
    crate::harness::eventually("health fails", async || {
        let (code, said, _) = run(omnitrace(["health", "--url", &data]), None).await;
        (code == 1 && said.contains("503")).then_some(())
    })
    .await;
    stack.kill("data", Signal::SIGTERM).await;
}

#[tokio::test]
async fn without_a_stack_the_commands_say_how_to_start_one() {
    let directory = Directory::new();
    for arguments in [
        ["health"].as_slice(),
        &["fault", "list"],
        &["fault", "set", "data", "slow_query"],
    ] {
        let (code, _, said) = run(omnitrace(arguments), Some(&directory)).await;
        assert_eq!(code, 1, "{arguments:?}");
        assert!(
            said.contains("no stack runs in .omnitrace") && said.contains("omnitrace up"),
            "{said}"
        );
    }
    // A stack that was here and is gone.
    let mut command = Up::command(&directory);
    let mut up = Child::spawn("up", {
        command.arg("--no-console");
        command
    });
    up.wait().await;
    std::fs::create_dir_all(directory.data()).unwrap();
    let (code, _, said) = run(omnitrace(["health"]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(said.contains("no stack runs in .omnitrace"), "{said}");
}

/// Free of the caller's own addresses.
async fn ask(up: &Up, arguments: &[&str]) -> (i32, String, String) {
    let mut command = omnitrace(arguments.iter().copied());
    for name in ["PROMETHEUS_URL", "LOKI_URL", "HERALD_URL", "DATABASE_URL"] {
        command.env_remove(name);
    }
    run(command, Some(&up.directory)).await
}

#[tokio::test]
async fn what_runbooks_ask_is_asked_of_the_stack_that_runs() {
    let mut up = Up::start().await;
    let found = eventually("the services are scraped", async || {
        let (code, said, complained) = ask(&up, &["query", "up{job=\"services\"}"]).await;
        assert_eq!((code, complained.as_str()), (0, ""));
        (said.lines().count() == 4).then_some(said)
    })
    .await;
    assert!(
        found.contains("service_name=data} 1") || found.contains("}  1"),
        "{found}"
    );
    let (code, said, _) = ask(&up, &["query", "vector(7)", "up == 7"]).await;
    assert_eq!(
        (code, said.as_str()),
        (0, "vector(7)\n  {}  7\nup == 7\n  (nothing)")
    );
    let (code, _, complained) = ask(&up, &["query", "sum("]).await;
    assert_eq!(code, 1);
    assert!(
        complained.starts_with("error: sum( at http://127.0.0.1:"),
        "{complained}"
    );
    eventually("a log line of data", async || {
        let (code, said, _) = ask(&up, &["query", "--logs", "{service_name=\"data\"}"]).await;
        (code == 0 && said.contains("  data  ")).then_some(())
    })
    .await;
    // Herald has a port of its own choice here.
    let (code, said, _) = ask(&up, &["alerts"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    let (code, _, complained) = ask(&up, &["query", "up"]).await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("start one with `omnitrace up`"),
        "{complained}"
    );
}

#[tokio::test]
async fn what_a_service_logs_is_shown_and_changed() {
    let up = stack().await;
    let (code, said, _) = ask(&up, &["log-level", "data"]).await;
    assert_eq!(code, 0);
    assert!(
        said.starts_with("data: ") && said.ends_with(",info"),
        "{said}"
    );
    let (code, said, _) = ask(&up, &["log-level", "data", "info,data::store=error"]).await;
    assert_eq!(code, 0);
    assert!(said.contains("data::store=error"), "{said}");
    let (code, said, _) = ask(&up, &["log-level", "data", "--json"]).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &said["service"]), (0, &json!("data")));
    let (code, _, complained) = ask(&up, &["log-level", "data", "data=loud"]).await;
    assert_eq!(code, 1);
    assert!(complained.starts_with("error: data: "), "{complained}");
    let (code, _, complained) = ask(&up, &["log-level", "shop"]).await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("running: downstream, data, gateway"),
        "{complained}"
    );
}

#[tokio::test]
async fn sql_is_run_in_the_database_that_is_named() {
    let database = database().await;
    let sql = async |statement: &str| {
        let mut command = omnitrace(["sql", statement]);
        command.env("DATABASE_URL", &database.url);
        run(command, None).await
    };
    let (code, said, complained) =
        sql("SELECT 1 AS one, NULL AS none, 'a\u{1b}[2J' AS text; SELECT 2, 3, 4").await;
    assert_eq!(code, 0, "{complained}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines.len()), ("one | none | text", 3), "{said}");
    assert!(
        lines[1].starts_with("1 |  | a") && !said.contains('\u{1b}'),
        "{said}"
    );
    assert_eq!(sql("SELECT 1 WHERE false").await.1, "(no rows)");
    let (code, _, complained) = sql("SELEC").await;
    assert_eq!(code, 1);
    assert!(complained.contains("syntax error"), "{complained}");
}

#[tokio::test]
async fn what_runs_is_shown_followed_and_stopped() {
    let mut up = stack().await;
    let gateway = up.started("gateway").await;
    let omnitrace = |arguments: &[&str]| omnitrace(arguments.iter().copied());
    {
        let here = Some(&up.directory);
        let (code, shown, _) = run(omnitrace(&["status"]), here).await;
        assert_eq!(code, 0, "{shown}");
        let line = shown.lines().find(|line| line.contains("gateway"));
        let line = line.unwrap_or_else(|| panic!("the gateway in {shown}"));
        for field in ["url", "admin_url"] {
            let url = gateway[field].as_str().expect("a URL");
            assert!(line.contains(url), "{url} in {line}");
        }
        let (_, shown, _) = run(omnitrace(&["status", "--json"]), here).await;
        let shown: Value = serde_json::from_str(&shown).expect("one JSON object");
        assert_eq!(
            (&shown["ready"], &shown["database_url"]),
            (&json!(true), &json!(null))
        );
        let mut parts = shown["parts"].as_array().expect("parts").iter();
        let part = parts.find(|part| part["part"] == "gateway").expect("it");
        assert_eq!(
            (&part["pid"], &part["running"]),
            (&gateway["pid"], &json!(true))
        );

        logs_are_shown(&up.directory).await;

        let (code, said, complained) = run(omnitrace(&["stop"]), here).await;
        assert_eq!(code, 0, "{complained}");
        assert!(said.starts_with("stopped: process "), "{said}");
    }
    assert_eq!(
        up.child.wait().await.code(),
        Some(0),
        "{}",
        up.child.output()
    );
    let here = Some(&up.directory);
    for command in ["status", "stop"] {
        let (code, _, complained) = run(omnitrace(&[command]), here).await;
        assert_eq!(code, 1);
        assert!(
            complained.contains("no stack runs in .omnitrace; start one"),
            "{complained}"
        );
    }
    let (code, left, _) = run(omnitrace(&["logs", "gateway"]), here).await;
    assert_eq!(
        (code, left.is_empty()),
        (0, false),
        "what has ended is still told"
    );
}

async fn logs_are_shown(directory: &Directory) {
    let here = Some(directory);
    let (code, shown, _) = run(omnitrace(["logs", "-n", "1"]), here).await;
    assert_eq!(code, 0, "{shown}");
    for part in ["gateway", "data", "downstream"] {
        let prefix = format!("{part:<10} | 20");
        let lines = shown.lines().filter(|line| line.starts_with(&prefix));
        assert_eq!(
            lines.count(),
            1,
            "a line of {part}, with its time, in\n{shown}"
        );
    }
    let (_, raw, _) = run(omnitrace(["logs", "data", "--json"]), here).await;
    let first = raw.lines().next().expect("a line");
    let first: Value = serde_json::from_str(first).expect("as it was written");
    assert!(first["timestamp"].is_string(), "{first}");
    let (code, _, complained) = run(omnitrace(["logs", "shop"]), here).await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("no part \"shop\" has run here; there are: data, "),
        "{complained}"
    );

    // It ends when its reader does.
    let program = omnitrace(["logs"]);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("\"$0\" logs --follow | head -1")
        .arg(program.get_program());
    let (_, followed, _) = run(command, here).await;
    assert_eq!(followed.lines().count(), 1, "{followed}");
}

#[tokio::test]
async fn a_shell_gets_its_completions() {
    let (code, script, _) = run(omnitrace(["completions", "bash"]), None).await;
    assert_eq!(code, 0);
    assert!(script.contains("complete -F _omnitrace"), "{script}");
}
