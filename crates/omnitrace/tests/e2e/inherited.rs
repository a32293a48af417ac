//! What the caller's shell says about telemetry, and what becomes of it in `omnitrace up`.

use serde_json::Value;

use crate::harness::{Child, Directory, Up, database};

#[tokio::test]
async fn what_would_keep_telemetry_from_the_console_is_not_used_and_named() {
    let variables = [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_PROPAGATORS", "baggage"),
    ];
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command
            .envs(variables)
            // These are used, and `up` gets along with them.
            .env("RUST_LOG", "warn")
            .env("OMNITRACE_TRUST_CALLERS", "none")
    })
    .await;
    up.ready().await;
    let notes: Vec<String> = up
        .events()
        .iter()
        .filter(|event| event["event"] == "progress" && event["part"] == "up")
        .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        .filter(|message| message.contains("not used"))
        .collect();
    for (name, _) in variables {
        let named = |note: &String| note.split([',', ' ']).any(|word| word == name);
        assert!(notes.iter().any(named), "{name} in {notes:#?}");
    }
    let log = std::fs::read_to_string(up.directory.data().join("logs/data.log")).unwrap();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let quiet = |line: &Value| line["level"] != "INFO" || line["target"] == "service::run";
    assert!(
        lines.into_iter().all(|line| quiet(&line)),
        "RUST_LOG is heeded: {log}"
    );
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_sampler_that_keeps_the_probe_is_used() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0.001")
    })
    .await;
    up.ready().await;
    assert!(
        !up.child.output().contains("not used"),
        "{}",
        up.child.output()
    );
    assert_eq!(up.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_value_that_cannot_be_used_is_named_before_anything_starts() {
    for (name, value) in [
        ("RUST_LOG", "data=loud"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OMNITRACE_TRUST_CALLERS", "some"),
    ] {
        let directory = Directory::new();
        let mut command = Up::command(&directory);
        command.env(name, value);
        let mut up = Child::spawn("up", command);
        assert_eq!(up.wait().await.code(), Some(1), "{name}");
        let said = up.stderr().join("\n");
        assert!(said.starts_with(&format!("error: {name}: ")), "{said}");
        let started = |event: &Value| event["event"] == "started";
        assert!(!up.json_lines().iter().any(started), "{}", up.output());
    }
}

#[tokio::test]
async fn without_console_a_switched_off_sdk_needs_no_collector() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command.arg("--no-console").env("OTEL_SDK_DISABLED", "true")
    })
    .await;
    up.ready().await;
    assert_eq!(up.stop().await.code(), Some(0));
}
