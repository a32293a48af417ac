//! How a stack ends, and how the next one begins after a bad end.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Child, Directory, Signal, Up, database, eventually, http, omnitrace};

/// A stack with a Postgres of its own, whose telemetry goes nowhere.
async fn with_own_postgres(directory: Directory) -> Up {
    let mut command = Up::command(&directory);
    command
        .arg("--no-console")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_SDK_DISABLED", "true");
    Up {
        child: Child::spawn("up", command),
        directory,
    }
}

async fn with_shared_postgres() -> Up {
    Up::start_with(Directory::new(), &database().await, |command| {
        command
            .arg("--no-console")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .env("OTEL_SDK_DISABLED", "true")
    })
    .await
}

fn pid_of(event: &Value) -> Pid {
    Pid::from_raw(i32::try_from(event["pid"].as_i64().unwrap()).unwrap())
}

#[tokio::test]
async fn sigkill_leaves_no_process_and_the_next_up_recovers() {
    let directory = Directory::new();
    let mut up = Up {
        child: Child::spawn("up", Up::command(&directory)),
        directory,
    };
    up.ready().await;
    let running = up.directory.processes();
    for part in ["postgres -D ", "omnitrace console", "omnitrace data"] {
        let runs = running.iter().any(|process| process.contains(part));
        assert!(runs, "{part} in {running:#?}");
    }

    up.child.signal(Signal::SIGKILL);
    up.child.wait().await;
    let directory = up.directory;
    directory.deserted().await;
    let state = directory.data().join("state.json");
    assert!(state.exists(), "a killed stack leaves its state behind");

    let mut next = with_own_postgres(directory).await;
    next.ready().await;
    assert_eq!(next.stop().await.code(), Some(0), "{}", next.child.output());
    next.directory.deserted().await;
}

#[tokio::test]
async fn sigkill_while_it_starts_leaves_no_process_and_the_next_up_recovers() {
    let mut up = with_own_postgres(Directory::new()).await;
    up.event("initdb", |event| {
        event["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("creating a data directory"))
    })
    .await;
    up.child.signal(Signal::SIGKILL);
    up.child.wait().await;
    up.directory.deserted().await;

    let mut next = with_own_postgres(up.directory).await;
    next.ready().await;
    assert_eq!(next.stop().await.code(), Some(0), "{}", next.child.output());
}

#[tokio::test]
async fn sigkill_of_up_and_of_the_supervisor_stops_postgres_too() {
    let mut up = with_own_postgres(Directory::new()).await;
    up.ready().await;
    let state: Value =
        serde_json::from_slice(&std::fs::read(up.directory.data().join("state.json")).unwrap())
            .unwrap();
    let supervisor = state["parts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|part| part["name"] == "postgres")
        .unwrap();
    up.child.signal(Signal::SIGKILL);
    kill(pid_of(supervisor), Signal::SIGKILL).unwrap();
    up.directory.deserted().await;
}

#[tokio::test]
async fn a_child_that_cannot_start_is_reported_with_the_reason() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command
            .arg("--no-console")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .env("OMNITRACE_WORKERS", "many")
    })
    .await;
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    assert!(
        said.contains("downstream ended by itself (exit status: 1)"),
        "{said}"
    );
    assert!(said.contains("OMNITRACE_WORKERS: got \"many\""), "{said}");
}

#[tokio::test]
async fn a_second_ctrl_c_does_not_wait() {
    let mut up = with_shared_postgres().await;
    let ready = up.ready().await;
    let admin = up.started("downstream").await["admin_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let hang = http()
        .put(format!("{admin}/faults/hang"))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(hang.status(), 200);
    // A request that is under way for longer than this test.
    let downstream = up.started("downstream").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let waiting = tokio::spawn(http().get(format!("{downstream}/quotes/omni-mug")).send());
    let gateway = ready["gateway_url"].as_str().unwrap();
    assert_eq!(
        http()
            .get(format!("{gateway}/health"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );

    let start = Instant::now();
    up.child.signal(Signal::SIGINT);
    up.event("stopping", |event| event["event"] == "stopping")
        .await;
    up.child.signal(Signal::SIGINT);
    assert_eq!(
        up.child.wait().await.code(),
        Some(0),
        "{}",
        up.child.output()
    );
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "the drain time-out alone is 10 s"
    );
    assert_eq!(up.directory.processes(), [] as [String; 0]);
    waiting.abort();
}

#[tokio::test]
async fn with_a_dead_console_the_services_wait_for_it_at_the_same_time() {
    // Nobody listens on port 9: each service waits 5 s for its last spans and log records to be taken.
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command
            .arg("--no-console")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    })
    .await;
    up.ready().await;
    let start = Instant::now();
    up.child.signal(Signal::SIGQUIT);
    assert_eq!(
        up.child.wait().await.code(),
        Some(0),
        "{}",
        up.child.output()
    );
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "one after the other they take 15 s: {:?}",
        start.elapsed()
    );
    let ended = |part: &str| {
        let events = up.events();
        let is_end = |event: &&Value| event["event"] == "stopped" && event["part"] == part;
        events.iter().find(is_end).map(|event| event["how"].clone())
    };
    for part in ["gateway", "data", "downstream"] {
        assert_eq!(ended(part), Some(json!("stopped")), "{part}");
    }
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

#[tokio::test]
async fn the_end_of_its_parent_stops_it() {
    let mut up = with_shared_postgres().await;
    up.ready().await;
    up.child.close_stdin();
    assert_eq!(
        up.child.wait().await.code(),
        Some(0),
        "{}",
        up.child.output()
    );
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

#[tokio::test]
async fn what_a_crash_leaves_in_the_data_directory_is_cleared_away() {
    let directory = Directory::new();
    let (mut first, line) = postgres_in(&directory).await;
    first.terminate().await;
    let data = PathBuf::from(line["data"].as_str().unwrap());

    // A postmaster.pid that names a living process which is no postmaster: this one.
    std::fs::write(
        data.join("postmaster.pid"),
        format!("{}\n{}\n", std::process::id(), data.display()),
    )
    .unwrap();
    // An initdb that was killed half-way.
    let half = data.with_file_name("data.new");
    std::fs::create_dir_all(half.join("base")).unwrap();
    let owner = data.metadata().unwrap();
    std::os::unix::fs::chown(half, Some(owner.uid()), Some(owner.gid())).unwrap();
    let (mut second, _) = postgres_in(&directory).await;
    assert!(!data.with_file_name("data.new").exists());
    second.terminate().await;

    // A server that still runs there and that nobody watches.
    let mut orphan = Child::spawn("orphan", orphan(&line, &data));
    eventually("the orphan runs", async || {
        data.join("postmaster.pid").exists().then_some(())
    })
    .await;
    let (mut third, _) = postgres_in(&directory).await;
    orphan.wait().await;
    third.terminate().await;

    // A data directory without a version is none.
    std::fs::remove_file(data.join("PG_VERSION")).unwrap();
    let (mut fourth, _) = postgres_in(&directory).await;
    assert_eq!(fourth.terminate().await.code(), Some(0));
    directory.deserted().await;
}

async fn postgres_in(directory: &Directory) -> (Child, Value) {
    let mut command = omnitrace(["postgres", "--data-dir", ".omnitrace"]);
    command.current_dir(directory.path());
    let mut child = Child::spawn("postgres", command);
    let line = child.listening().await.line;
    (child, line)
}

fn orphan(line: &Value, data: &Path) -> std::process::Command {
    use std::os::unix::process::CommandExt;
    let owner = std::fs::metadata(data).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = free.expect("a free port").port().to_string();
    let mut command =
        std::process::Command::new(Path::new(line["bin"].as_str().unwrap()).join("postgres"));
    command
        .arg("-D")
        .arg(data)
        // Without any socket it would end at once.
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-p",
            &port,
        ])
        .current_dir(data);
    if nix::unistd::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

#[tokio::test]
async fn whoever_stops_it_before_it_is_ready_is_told_that_it_was_not() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| command).await;
    up.started("postgres").await;
    up.child.signal(Signal::SIGINT);
    assert_eq!(
        up.child.wait().await.code(),
        Some(1),
        "{}",
        up.child.output()
    );
    let said = up.child.stderr().join("\n");
    assert!(said.contains("stopped before it was ready"), "{said}");
    up.directory.deserted().await;
}
