//! Running the executable under test.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::harness::{Child, Receiver, Stack};

/// The load test's executable, its spans sent to `receiver`.
pub fn loadtest(receiver: &Receiver, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["OTEL_", "OMNITRACE_", "LOADTEST_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
        .env_remove("GATEWAY_URL")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
        .args(["--metrics-listen", "127.0.0.1:0"])
        .args(arguments);
    Child::spawn("loadtest", command)
}

/// How a run ended.
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// Both streams.
    pub output: String,
    /// Standard output.
    pub stdout: String,
}

impl Run {
    /// The report printed with `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.output))
    }
}

/// Runs it to its end.
pub async fn finish(mut child: Child) -> Run {
    let status = child.wait().await;
    Run {
        code: status.code().unwrap_or(-1),
        output: child.output(),
        stdout: child.stdout().join("\n"),
    }
}

/// Runs it to its end against a stack, short and busy, with further `arguments`.
pub async fn load(stack: &Stack, arguments: &[&str]) -> Run {
    let target = stack.url("gateway");
    let mut all = vec!["--target", &target, "--users", "8"];
    all.extend(["--think-min-ms", "5", "--think-max-ms", "20"]);
    if !arguments.contains(&"--duration") {
        all.extend(["--duration", "5s"]);
    }
    all.extend(arguments);
    finish(loadtest(&stack.receiver, &all)).await
}

/// A stack whose export queues hold everything.
pub async fn roomy_stack() -> Stack {
    Stack::builder()
        .receiver(Arc::new(Receiver::start()))
        .env_all("OTEL_BSP_MAX_QUEUE_SIZE", "100000")
        .start()
        .await
}
