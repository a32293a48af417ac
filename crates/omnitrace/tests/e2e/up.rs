//! `omnitrace up`: what it says, what it moves, what it refuses.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{Child, Directory, Receiver, Up, database, eventually, http, omnitrace};

#[tokio::test]
async fn everything_is_visible_when_it_says_ready() {
    let directory = Directory::new();
    let mut command = Up::command(&directory);
    command.env_remove("DATABASE_URL").args(["--load", "5"]);
    let mut up = Up {
        child: Child::spawn("up", command),
        directory,
    };
    let ready = up.ready().await;
    let (console, gateway) = (
        ready["console_url"].as_str().unwrap(),
        ready["gateway_url"].as_str().unwrap(),
    );

    let trace_id = ready["trace_id"].as_str().unwrap();
    let trace = get(&format!("{console}/api/traces/{trace_id}")).await;
    let processes = trace["data"][0]["processes"].as_object().unwrap();
    for service in ["gateway", "data", "downstream"] {
        let seen = processes
            .values()
            .any(|process| process["serviceName"] == service);
        assert!(seen, "{service} in {processes:?}");
    }

    order_as_told(ready["try"].as_str().unwrap(), gateway).await;

    // `--load`: more traces than the two above turn up by themselves.
    let search = format!("{console}/api/traces?service=gateway&limit=50");
    eventually("traces of --load", async || {
        let found = get(&search).await;
        (found["data"].as_array()?.len() > 5).then_some(())
    })
    .await;
    stops_in_order(up).await;
}

async fn get(url: &str) -> Value {
    let answer = http().get(url).send().await.unwrap();
    answer.json().await.unwrap()
}

/// Does what the printed command line does.
async fn order_as_told(command: &str, gateway: &str) {
    let start = format!("curl -s -X POST {gateway}/api/orders ");
    assert!(command.starts_with(&start), "{command}");
    let body = command.split(" -d '").nth(1).unwrap();
    let request = http()
        .post(format!("{gateway}/api/orders"))
        .header("content-type", "application/json")
        .body(body.trim_end_matches('\'').to_owned());
    assert_eq!(request.send().await.unwrap().status(), 201, "{command}");
}

async fn stops_in_order(mut up: Up) {
    let status = up.stop().await;
    assert_eq!(status.code(), Some(0), "{}", up.child.output());
    let stopped: Vec<String> = up
        .events()
        .iter()
        .filter(|event| event["event"] == "stopped")
        .map(|event| {
            format!(
                "{} {}",
                event["part"].as_str().unwrap(),
                event["how"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        stopped,
        [
            "probe stopped",
            "gateway stopped",
            "data stopped",
            "downstream stopped",
            "herald stopped",
            "console stopped",
            "postgres stopped"
        ]
    );
    assert_eq!(up.directory.processes(), [] as [String; 0]);
    assert!(
        !up.directory.data().join("state.json").exists(),
        "a stopped stack leaves no state behind"
    );
}

#[tokio::test]
async fn people_read_two_lines() {
    let directory = Directory::new();
    let mut command = omnitrace([
        "--gateway-port=0",
        "--data-port=0",
        "--downstream-port=0",
        "--console-port=0",
        "--herald-port=0",
    ]);
    command.args([
        "--otlp-grpc-port=0",
        "--otlp-http-port=0",
        "--gateway-admin-port=0",
        "--data-admin-port=0",
        "--downstream-admin-port=0",
    ]);
    command
        .current_dir(directory.path())
        .env("DATABASE_URL", database().await.url);
    let mut up = Child::spawn("up", command);
    let ready = up.line("ready: ").await;
    let words: Vec<&str> = ready.split_whitespace().collect();
    assert_eq!(words[..4], ["ready:", "data", "visible", "in"], "{ready}");
    assert!(
        words[4].parse::<f64>().is_ok() && words[5] == "s",
        "{ready}"
    );
    assert_eq!((words[6], words[8]), ("console", "gateway"), "{ready}");
    assert!(
        words[7].starts_with("http://127.0.0.1:") && words[9].starts_with("http://127.0.0.1:"),
        "{ready}"
    );
    let order = up.line("try:   curl -s -X POST ").await;
    assert!(
        order.contains(&format!(
            "{}/api/orders -H 'content-type: application/json' -d '{{",
            words[9]
        )),
        "{order}"
    );
    assert_eq!(up.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_busy_port_is_moved_and_the_printed_url_says_so() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let mut up = without_console(|command| command.arg(format!("--downstream-port={port}"))).await;
    let started = up.started("downstream").await;
    let url = started["url"].as_str().unwrap();
    assert!(!url.ends_with(&format!(":{port}")), "{url}");
    let moved = started["moved"][0].as_str().unwrap();
    assert!(moved.contains(&format!("port {port} is in use")), "{moved}");
    assert!(
        moved.contains(&format!("(pid {})", std::process::id())),
        "{moved}"
    );
    assert_eq!(
        http()
            .get(format!("{url}/quotes/omni-mug"))
            .send()
            .await
            .unwrap()
            .status(),
        200,
        "the printed address answers"
    );
    up.ready().await;
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn two_parts_with_one_port_are_an_error_that_names_both_flags() {
    let directory = Directory::new();
    for (ports, flags) in [
        (
            &["--herald-port=18000", "--console-port=18000"][..],
            ["--herald-port", "--console-port"],
        ),
        (
            &["--gateway-port=8082"],
            ["--gateway-port", "--downstream-port"],
        ),
    ] {
        let mut command = omnitrace(["up", "--data-dir"]);
        command.arg(directory.data()).args(ports);
        let mut up = Child::spawn("up", command);
        assert_eq!(up.wait().await.code(), Some(1), "{ports:?}");
        let said = up.stderr().join("\n");
        for flag in flags {
            assert!(said.contains(flag), "{flag} in {said}");
        }
        assert!(!directory.data().exists(), "nothing is left behind");
    }
}

#[tokio::test]
async fn with_strict_ports_a_busy_port_is_an_error_that_names_it() {
    let busy = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [gateway, downstream] = busy
        .each_ref()
        .map(|busy| busy.local_addr().unwrap().port());
    let mut up = without_console(|command| {
        command
            .arg("--strict-ports")
            .arg(format!("--gateway-port={gateway}"))
            .arg(format!("--downstream-port={downstream}"))
    })
    .await;
    let status = up.child.wait().await;
    assert_eq!(status.code(), Some(1));
    let said = up.child.stderr().join("\n");
    let this = format!("(pid {})", std::process::id());
    for (flag, port) in [
        ("--gateway-port", gateway),
        ("--downstream-port", downstream),
    ] {
        let named = said.lines().find(|line| line.contains(flag));
        let named = named.unwrap_or_else(|| panic!("{flag} in {said}"));
        assert!(
            named.contains(&format!("port {port} is in use by ")),
            "{said}"
        );
        assert!(named.ends_with(&this), "{said}");
    }
    let started = up
        .child
        .stdout()
        .iter()
        .any(|line| line.contains("postgres"));
    assert!(!started, "nothing is started before: {}", up.child.output());
    up.directory.deserted().await;
}

#[tokio::test]
async fn a_second_up_in_the_same_directory_says_that_one_is_running() {
    let mut up = without_console(|command| command).await;
    let ready = up.ready().await;
    let mut second = Child::spawn("second up", Up::command(&up.directory));
    assert_eq!(second.wait().await.code(), Some(1));
    let said = second.stderr().join("\n");
    assert!(
        said.contains(&format!("already running (pid {})", up.child.pid())),
        "{said}"
    );
    assert!(
        said.contains(ready["gateway_url"].as_str().unwrap()),
        "{said}"
    );
    let event = &second.json_lines()[0];
    assert_eq!(event["event"], "error");
    assert_eq!(event["running_pid"], up.child.pid());
    assert_eq!(event["gateway_url"], ready["gateway_url"]);
    let health = omnitrace_health(&up).await;
    assert_eq!(
        health.0,
        Some(0),
        "the first one is not disturbed: {}",
        health.1
    );
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_bad_target_of_herald_ends_it_with_the_name_of_the_variable_and_not_its_secret() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command.env("HERALD_WEBHOOK_URL", "hooks.example.org/s3cret")
    })
    .await;
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    assert!(
        said.contains("HERALD_WEBHOOK_URL: cannot be read"),
        "{said}"
    );
    assert!(!up.child.output().contains("s3cret"), "{said}");
    up.directory.deserted().await;
}

#[tokio::test]
async fn without_a_console_telemetry_goes_to_the_given_collector() {
    let receiver = Receiver::start();
    let directory = Directory::new();
    let endpoint = receiver.url();
    let mut up = Up::start_with(directory, &database().await, |command| {
        command
            .arg("--no-console")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
    })
    .await;
    let ready = up.ready().await;
    assert_eq!(ready["console_url"], Value::Null);
    let trace_id = ready["trace_id"].as_str().unwrap();
    let services = ["gateway", "data", "downstream"];
    receiver
        .wait_for_trace(trace_id, |spans| {
            services
                .iter()
                .all(|name| spans.iter().any(|span| span.service == *name))
        })
        .await;
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn without_a_console_a_collector_must_be_named() {
    let directory = Directory::new();
    let mut command = Up::command(&directory);
    let mut up = Child::spawn("up", {
        command.arg("--no-console");
        command
    });
    assert_eq!(up.wait().await.code(), Some(1));
    assert!(
        up.stderr()
            .join("\n")
            .contains("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "{}",
        up.output()
    );
}

#[tokio::test]
async fn the_users_own_settings_do_not_blind_it() {
    // A quiet log filter would hide the line that `up` waits for; one service name for all would merge them.
    let mut up = without_console(|command| {
        command
            .env("RUST_LOG", "error")
            .env("OTEL_SERVICE_NAME", "mine")
    })
    .await;
    up.ready().await;
    let notes: Vec<Value> = up
        .events()
        .into_iter()
        .filter(|event| event["event"] == "progress")
        .collect();
    assert!(
        notes.iter().any(|note| note["message"]
            .as_str()
            .unwrap()
            .contains("OTEL_SERVICE_NAME is not used")),
        "{notes:?}"
    );
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn logs_and_state_are_private_and_targets_follow_the_format_of_prometheus() {
    let mut up = without_console(|command| command).await;
    up.ready().await;
    let data = up.directory.data();
    for file in ["state.json", "targets.json", "logs/gateway.log"] {
        let mode = std::fs::metadata(data.join(file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let targets: Value =
        serde_json::from_slice(&std::fs::read(data.join("targets.json")).unwrap()).unwrap();
    for (entry, service) in
        targets
            .as_array()
            .unwrap()
            .iter()
            .zip(["downstream", "data", "gateway"])
    {
        assert_eq!(entry["labels"]["service_name"], service);
        let url = format!("http://{}/metrics", entry["targets"][0].as_str().unwrap());
        assert_eq!(http().get(url).send().await.unwrap().status(), 200);
    }
    assert_eq!(up.stop().await.code(), Some(0));
}

/// A stack whose telemetry goes nowhere: quicker to start, and all that many tests need. Nothing listens on port 9.
async fn without_console(
    change: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
) -> Up {
    Up::start_with(Directory::new(), &database().await, |command| {
        change(
            command
                .arg("--no-console")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
                .env("OTEL_SDK_DISABLED", "true"),
        )
    })
    .await
}

async fn omnitrace_health(up: &Up) -> (Option<i32>, String) {
    let mut command = omnitrace(["health"]);
    command.current_dir(up.directory.path());
    let mut health = Child::spawn("health", command);
    (health.wait().await.code(), health.output())
}
