//! `omnitrace up --standard` as a user starts it: collector, Jaeger, Prometheus, Alertmanager and the exporters in one command.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::run;
use crate::doctor::doctor;
use crate::harness::{
    Capture, Child, DEADLINE, Directory, Signal, Up, database, eventually, list, omnitrace,
    repository,
};

/// The parts beside Postgres, which is the tests' own.
const PARTS: [&str; 12] = [
    "loki",
    "jaeger",
    "collector",
    "herald",
    "downstream",
    "data",
    "gateway",
    "postgres-exporter",
    "blackbox",
    "alertmanager",
    "prometheus",
    "probe",
];

const PORTS: [&str; 6] = [
    "jaeger",
    "prometheus",
    "alertmanager",
    "loki",
    "blackbox",
    "postgres-exporter",
];

/// An alert fires within half a minute, and Alertmanager waits for others of its group.
const PAGE: u64 = 2 * DEADLINE.as_secs();

fn standard(command: &mut Command) -> &mut Command {
    command
        .args(["--standard", "--deploy"])
        .arg(repository("deploy"))
        .args(PORTS.map(|name| format!("--{name}-port=0")))
}

async fn start(change: impl FnOnce(&mut Command) -> &mut Command) -> Up {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        change(standard(command))
    })
    .await;
    up.ready().await;
    up
}

/// What a command prints, run beside the stack; it must succeed.
async fn said(up: &Up, arguments: &[&str]) -> String {
    let (code, said, complained) = run(omnitrace(arguments), Some(&up.directory)).await;
    assert_eq!(code, 0, "{arguments:?}: {said}{complained}");
    said
}

/// A command of the runbooks, whose names of parts are those of this stack.
async fn recipe(up: &Up, arguments: &[&str]) {
    let mut command = Command::new(repository("deploy/stack.sh"));
    command
        .args(arguments)
        .env("OMNITRACE_DATA_DIR", up.directory.data())
        .env("OMNITRACE_ENV_FILE", up.directory.path().join(".env"))
        .env("OMNITRACE_STACK", "demo");
    let (code, said, complained) = run(command, None).await;
    assert_eq!(code, 0, "{arguments:?}: {said}{complained}");
}

async fn parts(up: &Up) -> Vec<Value> {
    let status: Value = serde_json::from_str(&said(up, &["status", "--json"]).await).expect("JSON");
    list(&status["parts"])
}

async fn part(up: &Up, name: &str) -> Value {
    let mut parts = parts(up).await.into_iter();
    parts.find(|part| part["part"] == name).expect(name)
}

/// Local addresses, in the kernel's notation, of all sockets that processes of the stack listen on.
fn listening(directory: &Directory) -> BTreeSet<String> {
    let mut sockets = BTreeSet::new();
    for process in directory.processes() {
        let process = process.split(' ').next().expect("its directory").to_owned();
        let open = std::fs::read_dir(Path::new(&process).join("fd"));
        let links = open.into_iter().flatten().flatten();
        let links = links.filter_map(|open| std::fs::read_link(open.path()).ok());
        sockets.extend(links.map(|link| link.display().to_string()));
    }
    let mut found = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).expect("a table of sockets");
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == "0A" && sockets.contains(&format!("socket:[{}]", fields[9])) {
                let (address, _) = fields[1].split_once(':').expect("address and port");
                found.insert(address.to_owned());
            }
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn one_command_runs_the_standard_stack_and_a_fault_is_told_with_its_evidence() {
    let webhook = Capture::answering(&json!({}));
    let mut up = start(|command| {
        let command = command.args(["--load", "10"]);
        command.env("HERALD_WEBHOOK_URL", webhook.url())
    })
    .await;
    let names: Vec<Value> = parts(&up)
        .await
        .iter()
        .map(|part| part["part"].clone())
        .collect();
    assert_eq!(names, PARTS);
    // 127.0.0.1, and the same as an address of IPv6.
    let loopback = ["0100007F", "0000000000000000FFFF00000100007F"].map(str::to_owned);
    let others: Vec<String> = listening(&up.directory)
        .difference(&loopback.into())
        .cloned()
        .collect();
    assert_eq!(others, [] as [String; 0]);

    let health = said(&up, &["health"]).await;
    assert_eq!(health.matches(" ready ").count(), PARTS.len(), "{health}");
    let data_dir = up.directory.data().display().to_string();
    let (code, followed, complained) =
        doctor(&["--data-dir", &data_dir, "--timeout", "120s"]).await;
    assert_eq!(code, 0, "{followed}{complained}");
    for path in [
        "order -> gateway",
        "collector",
        "order -> Jaeger",
        "order -> Loki",
        "order -> Prometheus",
        "exemplar -> Jaeger",
        "span metrics",
        "scrape targets         13 targets up",
        "rules",
        "alert -> Alertmanager",
    ] {
        let line = format!("ok      {path}");
        assert!(followed.contains(&line), "{path} in\n{followed}");
    }
    let of_services = "count by (service_name) (process_start_time_seconds{job=\"services\"})";
    let counted = said(&up, &["query", of_services]).await;
    assert_eq!(counted.lines().count(), 4, "each has its name: {counted}");
    let lines = said(&up, &["query", "--logs", "{service_name=\"data\"}"]).await;
    assert!(lines.contains("  data  "), "{lines}");

    said(
        &up,
        &[
            "fault",
            "set",
            "downstream",
            "errors",
            "share=0.5",
            "--for",
            "5m",
        ],
    )
    .await;
    let page = page(&webhook).await;
    let evidence = &page["evidence"];
    assert_eq!(evidence["missing"], json!([]), "{page:#}");
    let hops = list(&evidence["dependencies"]["failing"]["hops"]);
    assert_eq!(
        hops.last().expect("a hop")["callee"],
        "downstream",
        "of Prometheus: {evidence:#}"
    );
    let worst = &evidence["traces"][0];
    let failed_at = worst["failed_at"].as_str().unwrap_or_default();
    assert!(
        failed_at.starts_with("downstream "),
        "of Jaeger: {evidence:#}"
    );
    let jaeger = part(&up, "jaeger").await["url"].clone();
    let link = page["links"]["traces"][0].as_str().expect("a link");
    assert!(link.starts_with(jaeger.as_str().expect("a URL")), "{link}");
    let first = &evidence["log_lines"][0]["text"];
    assert!(first.is_string(), "of LogQL: {evidence:#}");
    let alerts = said(&up, &["alerts"]).await;
    assert!(alerts.contains("AvailabilityBurnRate"), "{alerts}");

    said(&up, &["stop"]).await;
    let status = up.child.wait().await;
    assert_eq!(status.code(), Some(0), "{}", up.child.output());
    assert_eq!(up.directory.processes(), [] as [String; 0]);
    let killed = |event: &Value| event["event"] == "stopped" && event["how"] != "stopped";
    assert!(!up.events().iter().any(killed), "{}", up.child.output());
}

/// The first page about the gateway's errors.
async fn page(webhook: &Capture) -> Value {
    let start = Instant::now();
    let is_page = |told: &Value| {
        let labels = &told["alerts"][0]["labels"];
        labels["severity"] == "page" && labels["alertname"] == "AvailabilityBurnRate"
    };
    loop {
        let told = webhook
            .take()
            .iter()
            .map(|request| request.json())
            .find(is_page);
        if let Some(told) = told {
            return told;
        }
        assert!(start.elapsed().as_secs() < PAGE, "no page within {PAGE} s");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn parts_of_the_standard_stack_are_restarted_where_they_were_and_end_with_up() {
    let mut up = start(|command| command.args(["--no-probe", "--replicas", "data=2"])).await;
    // The second one ends by the signal, since it has no handler for it.
    for name in ["prometheus", "blackbox", "loki"] {
        let before = part(&up, name).await;
        recipe(&up, &["restart", name]).await;
        let after = part(&up, name).await;
        assert_eq!(
            (&after["url"], &after["restarts"]),
            (&before["url"], &json!(1))
        );
        let died = up.event("its end", |event| {
            event["event"] == "died" && event["part"] == name
        });
        assert_eq!(died.await["how"], "stopped, since somebody asked it to");
    }
    let before = part(&up, "collector").await;
    up.signal("collector", Signal::SIGKILL).await;
    eventually("the collector runs again", async || {
        let after = part(&up, "collector").await;
        (after["pid"] != before["pid"] && after["running"] == true).then_some(())
    })
    .await;
    let data_dir = up.directory.data().display().to_string();
    let (code, followed, complained) =
        doctor(&["--data-dir", &data_dir, "--timeout", "120s"]).await;
    assert_eq!(code, 0, "{followed}{complained}");

    let instances = "count(process_start_time_seconds{service_name=\"data\"})";
    assert_eq!(said(&up, &["query", instances]).await.trim(), "{}  2");

    up.signal("jaeger", Signal::SIGSTOP).await;
    up.child.signal(Signal::SIGKILL);
    up.child.wait().await;
    up.directory.deserted().await;
}

#[tokio::test]
async fn what_the_standard_stack_lacks_is_named_before_anything_starts() {
    let directory = Directory::new();
    let none = directory.path().display().to_string();
    let tools = [
        "otelcol",
        "jaeger",
        "prometheus",
        "alertmanager",
        "blackbox_exporter",
        "postgres_exporter",
        "deploy/tools/build.sh",
        "just stack-tools",
        "OMNITRACE_TOOLS",
    ];
    let deploy = repository("deploy").display().to_string();
    for (arguments, expected) in [
        (&[][..], &["deploy/compose.yaml", "--deploy DIR"][..]),
        (&["--deploy", &none], &["--deploy", "no compose.yaml"]),
        (
            &["--deploy", &deploy, "--data-dir", "of ada"],
            &["--data-dir", "of ada", "allowed are"],
        ),
        (
            &["--deploy", &deploy, "--rules", "none.yml"],
            &["--rules", "none.yml", "No such file"],
        ),
        (&["--deploy", &deploy], &tools),
    ] {
        refused(&directory, arguments, None, expected).await;
    }
    let with_files = ["--deploy", &deploy];
    let expected = ["REMOTE_WRITE_URL", "not a URL"];
    refused(&directory, &with_files, Some("store:8428/write"), &expected).await;
}

/// `up --standard` names what it `expected`, and leaves nothing behind.
async fn refused(
    directory: &Directory,
    arguments: &[&str],
    remote_write: Option<&str>,
    expected: &[&str],
) {
    let mut command = Up::command(directory);
    command
        .arg("--standard")
        .args(arguments)
        .envs(remote_write.map(|url| ("REMOTE_WRITE_URL", url)))
        .env("OMNITRACE_TOOLS", directory.path());
    let mut up = Child::spawn("up", command);
    assert_eq!(up.wait().await.code(), Some(1), "{arguments:?}");
    let said = up.stderr().join("\n");
    for expected in expected {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert!(!directory.data().exists(), "nothing is left behind");
}
