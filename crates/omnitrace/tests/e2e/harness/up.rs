//! `omnitrace up` as a user starts it, in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Instant;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;

use super::{
    Child, DEADLINE, Database, POLL, Reply, Signal, database, eventually, http, omnitrace,
};

/// A directory for one stack, removed at the end.
///
/// Open to all whatever the umask: when the tests run as root, Postgres runs as another user.
pub struct Directory {
    inner: tempfile::TempDir,
}

impl Directory {
    /// An empty one that every user may enter.
    pub fn new() -> Self {
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let inner = tempfile::Builder::new()
            .prefix("omnitrace-test-")
            .permissions(open_to_all)
            .tempdir()
            .expect("a directory");
        Self { inner }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.inner.path()
    }

    /// Where `up` keeps its files when it is started here.
    pub fn data(&self) -> PathBuf {
        self.path().join(".omnitrace")
    }

    /// Processes that were started here: all children of `up` inherit its working directory, and
    /// Postgres works in its data directory, which is below.
    pub fn processes(&self) -> Vec<String> {
        let here = self.path().canonicalize().expect("the directory");
        let works_here = |process: &PathBuf| {
            std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&here))
        };
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .map(|entry| entry.path())
            .filter(works_here)
            .map(|process| {
                let command = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
                format!("{} {}", process.display(), command.replace('\0', " "))
            })
            .collect()
    }

    /// Waits until nothing that was started here runs any more.
    pub async fn deserted(&self) {
        let start = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "still running: {left:#?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A running `omnitrace up --json`.
pub struct Up {
    /// The process.
    pub child: Child,
    /// Where it was started.
    pub directory: Directory,
}

impl Up {
    /// `omnitrace up --json`, all ports free ones, to be started in `directory`.
    pub fn command(directory: &Directory) -> Command {
        let mut command = Self::command_with_default_otlp(directory);
        command.args(["--otlp-grpc-port=0", "--otlp-http-port=0"]);
        command
    }

    /// The same, but for the ports of OTLP, which the caller must hold.
    pub fn command_with_default_otlp(directory: &Directory) -> Command {
        let ports = [
            "gateway",
            "data",
            "downstream",
            "console",
            "herald",
            "gateway-admin",
            "data-admin",
            "downstream-admin",
        ];
        let mut command = omnitrace(["up", "--json"]);
        command
            .args(ports.map(|name| format!("--{name}-port=0")))
            .current_dir(directory.path());
        command
    }

    /// Starts one on a database of the shared Postgres; with the console, ready when this returns.
    pub async fn start() -> Self {
        let mut up = Self::start_with(Directory::new(), &database().await, |command| command).await;
        up.ready().await;
        up
    }

    /// Starts one on `database` and returns at once.
    pub async fn start_with(
        directory: Directory,
        database: &Database,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let mut command = Self::command(&directory);
        change(command.env("DATABASE_URL", &database.url));
        Self {
            child: Child::spawn("up", command),
            directory,
        }
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.child.json_lines()
    }

    /// Waits for an event that satisfies `matches`.
    pub async fn event(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.child
            .wait_for(what, |child| {
                child.json_lines().into_iter().find(|event| matches(event))
            })
            .await
    }

    /// Waits for the event `ready`: fields `gateway_url`, `console_url`, `trace_id` of the probe.
    pub async fn ready(&mut self) -> Value {
        self.event("ready", |event| event["event"] == "ready").await
    }

    /// Waits until a part has started: fields `url`, `admin_url`, `pid`, `moved`.
    pub async fn started(&mut self, part: &str) -> Value {
        self.event(&format!("{part} started"), |event| {
            event["event"] == "started" && event["part"] == part
        })
        .await
    }

    /// Where the faults of a service are switched.
    pub async fn faults(&mut self, service: &str) -> String {
        let admin = self.started(service).await["admin_url"].clone();
        format!("{}/faults", admin.as_str().expect("a URL"))
    }

    /// Switches a fault on.
    pub async fn fault(&mut self, service: &str, fault: &str, parameters: Value) {
        let url = format!("{}/{fault}", self.faults(service).await);
        let answer = http().put(url).json(&parameters).send().await;
        Reply::read(answer.expect("an answer")).await.expect(200);
    }

    /// Sends a signal to a part as it was started.
    pub async fn signal(&mut self, part: &str, signal: Signal) {
        let pid = self.started(part).await["pid"].as_i64().expect("a pid");
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("it runs");
    }

    /// Ctrl-C, and the end of the process.
    pub async fn stop(&mut self) -> ExitStatus {
        self.child.signal(Signal::SIGINT);
        self.child.wait().await
    }
}

/// Waits until the console finds series, as Prometheus would.
pub async fn until_there_is(console: &str, expression: &str) {
    let mut url = url::Url::parse(&format!("{console}/api/v1/query")).expect("a URL");
    url.query_pairs_mut().append_pair("query", expression);
    eventually(expression, async || {
        let answer = http().get(url.clone()).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        let found = answer["data"]["result"].as_array()?;
        (!found.is_empty()).then_some(())
    })
    .await;
}
