//! A child process that a test started: its output, its ports, its end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{binary, eventually_now};

/// Settings that a developer may have set and that must not change what a test sees.
/// What tells the Postgres finder where to look is kept.
const CLEARED: [&str; 3] = ["OTEL_", "OMNITRACE_", "RUST_"];
const KEPT: [&str; 3] = [
    "OMNITRACE_CACHE_DIR",
    "OMNITRACE_POSTGRES",
    "OMNITRACE_TOOLS",
];

/// `omnitrace …`, with an environment free of the caller's own settings.
pub fn omnitrace<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = without_settings(binary());
    command.args(arguments);
    command
}

/// Any program, with the same environment.
pub fn without_settings(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("DATABASE_URL")
        .env_remove("DATA_URL")
        .env_remove("DOWNSTREAM_URL");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if CLEARED.iter().any(|prefix| name.starts_with(prefix)) && !KEPT.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command
}

/// The addresses of a `listening` line.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The whole line.
    pub line: Value,
    /// `http_addr`, empty when the line has none.
    pub http_addr: String,
    /// `admin_addr`, empty when the line has none.
    pub admin_addr: String,
}

#[derive(Default)]
struct Output {
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// A running process. Dropped: killed and reaped, and its output printed if the test is failing.
pub struct Child {
    name: String,
    process: std::process::Child,
    output: Arc<Mutex<Output>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts `command` with captured output. Its stdin is a pipe that closes when the test dies or
    /// [`Child::close_stdin`] is called; `omnitrace` processes are told so (`OMNITRACE_PARENT_PIPE`).
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command
            .env("OMNITRACE_PARENT_PIPE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let output = Arc::new(Mutex::new(Output::default()));
        let readers = vec![
            collect(process.stdout.take().expect("stdout"), &output, |output| {
                &mut output.stdout
            }),
            collect(process.stderr.take().expect("stderr"), &output, |output| {
                &mut output.stderr
            }),
        ];
        Self {
            name: name.to_owned(),
            process,
            output,
            readers,
            status: None,
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The most memory that the process ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// What of its present memory are pages of files, such as the program: the kernel can drop them and read them again.
    pub fn file_kib(&self) -> u64 {
        self.memory_kib("RssFile:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("a living process");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Lines of stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        self.output.lock().unwrap().stdout.clone()
    }

    /// Lines of stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.output.lock().unwrap().stderr.clone()
    }

    /// Both streams as one text, for assertions about messages.
    pub fn output(&self) -> String {
        let output = self.output.lock().unwrap();
        [output.stdout.as_slice(), output.stderr.as_slice()]
            .concat()
            .join("\n")
    }

    /// Lines of stdout that are JSON objects: a service's log.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for the `listening` line; panics when the process ends before it.
    pub async fn listening(&mut self) -> Listening {
        let line = self
            .wait_for("its `listening` line", |child| {
                child
                    .json_lines()
                    .into_iter()
                    .find(|line| line["message"] == "listening")
            })
            .await;
        let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        Listening {
            http_addr: field("http_addr"),
            admin_addr: field("admin_addr"),
            line,
        }
    }

    /// Waits for a line of stdout that contains `text`.
    pub async fn line(&mut self, text: &str) -> String {
        self.wait_for(&format!("a line with {text:?}"), |child| {
            child.stdout().into_iter().find(|line| line.contains(text))
        })
        .await
    }

    /// Waits until `probe` finds something; panics when the process ends first.
    pub async fn wait_for<T>(&mut self, what: &str, probe: impl Fn(&Self) -> Option<T>) -> T {
        let what = format!("{}: {what}", self.name);
        eventually_now(&what.clone(), || {
            // The order matters: output that came before the end of the process still counts.
            let ended = self.try_wait();
            let found = probe(self);
            if let (None, Some(status)) = (&found, ended) {
                panic!("ended with {status} before {what}\n{}", self.output());
            }
            found
        })
        .await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            kill(Pid::from_raw(self.pid().cast_signed()), signal)
                .unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
        }
    }

    /// Closes the pipe that says "your parent lives".
    pub fn close_stdin(&mut self) {
        self.process.stdin = None;
    }

    /// Waits for the end of the process, all its output read.
    pub async fn wait(&mut self) -> ExitStatus {
        let what = format!("{} (pid {}) ends", self.name, self.pid());
        eventually_now(&what, || self.try_wait()).await
    }

    /// SIGTERM, then [`Child::wait`].
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait().await
    }

    /// The exit status, once the process has ended and its output is complete.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.process.try_wait().expect("wait for child");
            if self.status.is_some() {
                self.join_readers();
            }
        }
        self.status
    }

    /// A grandchild may hold the pipes open for longer than the child lived, so the wait is bounded.
    fn join_readers(&mut self) {
        let start = Instant::now();
        while self.readers.iter().any(|reader| !reader.is_finished())
            && start.elapsed().as_secs() < 2
        {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            self.process.kill().ok();
            self.process.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- output of {} ----\n{}\n----",
                self.name,
                tail(&self.output(), 200)
            );
        }
    }
}

/// Exit code, or 128 + signal as a shell says it.
pub fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn collect(
    stream: impl Read + Send + 'static,
    output: &Arc<Mutex<Output>>,
    lines: fn(&mut Output) -> &mut Vec<String>,
) -> std::thread::JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines(&mut output.lock().unwrap()).push(text);
            line.clear();
        }
    })
}
