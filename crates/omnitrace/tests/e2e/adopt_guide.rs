//! `docs/ADOPT.md`, word for word: each file that it names is written, each command that it shows is typed, in an empty directory
//! beside a clone of this repository's HEAD; then the console has what the page promises.
//!
//! A block is a file when its fence says `file=…`, a command to run to its end when it says `sh`, and one that goes on in a terminal
//! of its own when it says `sh until=…`, which is what it prints when the next block can be read. Ports are those of the page.
//!
//! Ignored by default, since it compiles services (a minute or two) and installs packages: `just adopt`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::killpg;
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{
    Child, Directory, POLL, Scrape, Signal, binary, eventually, http, repository,
};

const PAGE: &str = include_str!("../../../../docs/ADOPT.md");

const CONSOLE: &str = "http://127.0.0.1:8000";

/// Compiling takes longer than anything else here.
const PATIENCE: Duration = Duration::from_secs(1_200);

#[derive(Debug)]
struct Block<'a> {
    /// `sh until=listening`
    info: &'a str,
    text: String,
}

impl<'a> Block<'a> {
    /// `file` of `file=shop/src/main.rs`.
    fn option(&self, name: &str) -> Option<&'a str> {
        let mut words = self.info.split(' ');
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn is_command(&self) -> bool {
        self.info.split(' ').next() == Some("sh")
    }
}

fn blocks() -> Vec<Block<'static>> {
    blocks_of(PAGE)
}

fn blocks_of(page: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(info), false) => found.push(Block {
                info,
                text: String::new(),
            }),
            (None, true) => {
                let block = found.last_mut().expect("it has begun");
                block.text.push_str(line);
                block.text.push('\n');
                continue;
            }
            (None, false) => continue,
            (Some(_), true) => {}
        }
        inside = !inside;
    }
    found
}

/// A reader's machine: the command on the `PATH`, and the repository beside the new services.
struct Machine {
    directory: Directory,
    terminals: Vec<(&'static str, Child)>,
}

impl Machine {
    async fn new() -> Self {
        let machine = Self {
            directory: Directory::new(),
            terminals: Vec::new(),
        };
        // Third-party crates are compiled with the settings of the workspace, in its target directory: most are there already.
        let target = binary()
            .ancestors()
            .nth(2)
            .expect("target directory")
            .to_owned();
        let config = format!(
            "[build]\ntarget-dir = {target:?}\n[net]\ngit-fetch-with-cli = true\n[profile.dev]\ndebug = \"line-tables-only\"\n[profile.dev.package.\"*\"]\ndebug = false\n"
        );
        machine.write(".cargo/config.toml", &config);
        let clone = "git clone --quiet --bare \"file://$SOURCE\" .origin.git && git clone --quiet \"file://$PWD/.origin.git\" omnitrace";
        machine.run(clone).await;
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn spawn(&self, command: &str) -> Child {
        let mut bash = Command::new("bash");
        let own = binary().parent().expect("a directory").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path)));
        bash.args(["-euo", "pipefail", "-c", command])
            .current_dir(self.directory.path())
            .env("PATH", path.expect("a PATH"))
            .env("SOURCE", repository(""))
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let ours = ["OTEL_", "OMNITRACE_", "RUST_LOG", "LISTEN", "DATABASE_URL"];
            if ours.iter().any(|prefix| name.starts_with(prefix)) {
                bash.env_remove(name);
            }
        }
        Child::spawn("bash", bash)
    }

    /// Types a command and waits for its end. One that installs packages may fail twice, as the network does.
    async fn run(&self, command: &str) {
        let installs = ["pip install", "npm install", "go build"];
        let installs = installs.iter().any(|installer| command.contains(installer));
        let mut attempts = 1 + 2 * u32::from(installs);
        loop {
            let mut child = self.spawn(command);
            let status = patiently(command, &mut child, |child| child.try_wait()).await;
            attempts -= 1;
            if status.success() {
                return;
            }
            assert!(attempts > 0, "{command}\n{}", child.output());
            eprintln!("once more: {command}\n{}", child.output());
        }
    }

    /// Types a command into a terminal of its own, and waits until it says something.
    async fn open(&mut self, command: &'static str, said: &str) {
        let mut child = self.spawn(command);
        patiently(command, &mut child, |child| {
            let ended = child.try_wait();
            let heard = child.output().contains(said);
            assert!(heard || ended.is_none(), "{command}\n{}", child.output());
            heard.then_some(())
        })
        .await;
        self.terminals.push((command, child));
    }

    async fn follow(&mut self, block: &'static Block<'static>) {
        match (block.option("file"), block.option("until")) {
            (Some(name), _) if self.path(name).exists() => {
                let there = std::fs::read_to_string(self.path(name)).unwrap();
                assert_eq!(there, block.text, "{name} is not what the page shows");
            }
            (Some(name), _) => self.write(name, &block.text),
            (None, Some(said)) => self.open(&block.text, said).await,
            (None, None) if block.is_command() => self.run(&block.text).await,
            (None, None) => {}
        }
    }

    /// What the terminal shows in which a service was started.
    fn terminal(&self, service: &str) -> &Child {
        let of = |(command, _): &&(&str, Child)| command.contains(&format!("cd {service} "));
        &self.terminals.iter().find(of).expect(service).1
    }
}

/// Nothing of it goes on when the test ends, however it does.
impl Drop for Machine {
    fn drop(&mut self) {
        for (_, child) in &self.terminals {
            killpg(Pid::from_raw(child.pid().cast_signed()), Signal::SIGKILL).ok();
        }
    }
}

async fn patiently<T>(what: &str, child: &mut Child, probe: impl Fn(&mut Child) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe(child) {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}\n{}", child.output());
        tokio::time::sleep(POLL).await;
    }
}

async fn get(path: &str) -> Option<Value> {
    let request = http().get(format!("{CONSOLE}{path}"));
    request.send().await.ok()?.json().await.ok()
}

/// The last trace of a service holds these spans, each as `service operation`, once all have sent them: its id.
async fn trace(service: &str, holds: &[&str]) -> String {
    let search = format!("/api/traces?service={service}&limit=1");
    eventually(&format!("a trace of {service}"), async || {
        let found = get(&search).await?;
        let trace = found["data"].get(0)?.clone();
        let name = |span: &Value| {
            let process = span["processID"].as_str()?;
            let service = trace["processes"][process]["serviceName"].as_str()?;
            Some(format!("{service} {}", span["operationName"].as_str()?))
        };
        let spans: Vec<String> = trace["spans"].as_array()?.iter().filter_map(name).collect();
        let id = trace["traceID"].as_str()?.to_owned();
        let holds_all = holds
            .iter()
            .all(|name| spans.iter().any(|span| span == name));
        holds_all.then_some(id)
    })
    .await
}

/// The operations of a service that have a trace: neither `/metrics` nor `/ready`.
async fn operations(service: &str) -> Vec<String> {
    let found = get(&format!("/api/operations?service={service}"))
        .await
        .expect("an answer");
    let operations = found["data"].as_array().expect("operations").iter();
    let names = operations.map(|one| one["name"].as_str().expect("a name").to_owned());
    names.collect()
}

/// The log line of a trace, in the terminal and in the console.
async fn logged(terminal: &Child, message: &str, service: &str) {
    let lines = terminal.json_lines();
    let mut lines = lines.iter().rev();
    let line = lines
        .find(|line| line["message"] == message)
        .expect(message);
    let trace_id = line["trace_id"].as_str().expect("a trace id");
    let found = eventually("the line in the console", async || {
        let found = get(&format!("/api/logs?trace_id={trace_id}")).await?;
        found.to_string().contains(message).then_some(found)
    })
    .await;
    assert!(found.to_string().contains(service), "{found}");
}

async fn red(address: &str) {
    let page = http()
        .get(format!("http://{address}/metrics"))
        .send()
        .await
        .unwrap();
    let scrape = Scrape::parse("text/plain", page.text().await.unwrap());
    let route = ("http_route", "/hello/{name}");
    let served = scrape.value(
        "http_server_request_duration_seconds_count",
        &[route, ("outcome", "ok")],
    );
    assert!(served >= Some(1.0), "{served:?}");
    let failed = scrape.value(
        "http_server_request_duration_seconds_count",
        &[route, ("outcome", "cancelled")],
    );
    assert_eq!(failed, Some(0.0), "declared from the start");
}

async fn judged(service: &str) {
    let what = format!("objectives of {service}");
    eventually(&what, async || {
        let answer = get("/api/alerts").await?;
        let objectives = answer["data"]["objectives"].as_array()?;
        let of = |slo: &str| {
            objectives.iter().any(|one| {
                one["service"] == service && one["route"] == "/hello/{name}" && one["slo"] == slo
            })
        };
        (of("availability") && of("latency")).then_some(())
    })
    .await;
}

fn ports_are_free() {
    let port = regex::Regex::new(r"127\.0\.0\.1:(\d+)").unwrap();
    for found in port.captures_iter(PAGE) {
        let bound = std::net::TcpListener::bind(&found[0]);
        assert!(bound.is_ok(), "the page needs {}: {bound:?}", &found[0]);
    }
}

/// What the languages of section 8 need, with the way to it.
const TOOLS: [(&str, &str, &str); 4] = [
    (
        "python3",
        "--version",
        "Python 3.10 with venv (Debian: python3-venv)",
    ),
    ("node", "--version", "Node 18.19 (Debian: nodejs)"),
    ("npm", "--version", "Node's npm (Debian: npm)"),
    ("go", "version", "Go 1.25 (https://go.dev/dl)"),
];

fn tools_are_there() {
    for (tool, version, what) in TOOLS {
        let found = Command::new(tool).arg(version).output();
        assert!(
            found.as_ref().is_ok_and(|found| found.status.success()),
            "the page needs {tool} on the PATH: install {what} or newer: {found:?}"
        );
    }
}

#[test]
fn the_page_shows_what_is_written_by_new_and_tested() {
    let shown = |name: &str| {
        let mut blocks = blocks().into_iter();
        blocks
            .find(|block| block.option("file") == Some(name))
            .expect(name)
            .text
    };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../telemetry/examples");
    for (name, example) in [
        ("shop/src/main.rs", "new_axum.rs"),
        ("stock/src/main.rs", "worker.rs"),
    ] {
        let example = std::fs::read_to_string(examples.join(example)).unwrap();
        assert_eq!(shown(name), example, "{name}");
    }
}

/// Each paragraph of an excerpt stands in the file that it says it is `of`; what is no excerpt is a file that the page has run.
#[test]
fn every_rust_block_of_the_documentation_is_compiled() {
    let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut excerpts = 0;
    for (page, text) in pages() {
        let rust = |block: &Block| block.info.split(' ').next() == Some("rust");
        for block in blocks_of(&text).into_iter().filter(rust) {
            let Some(file) = block.option("of") else {
                let run = block.option("file").is_some() && page.ends_with("ADOPT.md");
                assert!(
                    run,
                    "{}: of which file is this?\n{}",
                    page.display(),
                    block.text
                );
                continue;
            };
            let compiled = repository(&format!("crates/telemetry/tests/{file}"));
            let compiled = unindented(&std::fs::read_to_string(&compiled).expect(file));
            for paragraph in unindented(block.text.trim()).split("\n\n") {
                let found = compiled.contains(paragraph);
                assert!(found, "{}: not in {file}:\n{paragraph}", page.display());
                excerpts += 1;
            }
        }
    }
    assert!(excerpts > 5, "{excerpts}");
}

/// Of the repository, each with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let of = |directory: &str| std::fs::read_dir(repository(directory)).expect(directory);
    ["", "docs", "docs/adr", "docs/runbooks"]
        .into_iter()
        .flat_map(of)
        .map(|entry| entry.expect("a name").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).expect("a page")))
        .collect()
}

#[ignore = "compiles services, needs Python, Node, Go and free ports: just adopt"]
#[tokio::test]
async fn the_page_is_true_word_for_word() {
    tools_are_there();
    ports_are_free();
    let page: &'static [Block] = Box::leak(blocks().into_boxed_slice());
    let mut machine = Machine::new().await;
    for block in page {
        machine.follow(block).await;
    }
    assert_eq!(machine.terminals.len(), 4, "up, shop, orders and stock");
    for (service, address) in [("shop", "127.0.0.1:8090"), ("orders", "127.0.0.1:8091")] {
        red(address).await;
        judged(service).await;
        trace(service, &[&format!("{service} GET /hello/{{name}}")]).await;
        logged(machine.terminal(service), "said hello", service).await;
        assert_eq!(operations(service).await, ["GET /hello/{name}"]);
    }
    trace("stock", &["stock count_stock"]).await;
    logged(machine.terminal("stock"), "counted the stock", "stock").await;
    for (caller, span) in [
        ("caller-python", "GET"),
        ("caller-node", "GET"),
        ("caller-go", "HTTP GET"),
    ] {
        let called = format!("{caller} {span}");
        trace(caller, &[&called, "shop GET /hello/{name}"]).await;
    }
    eventually(
        "seven targets are up, herald and the probe among them",
        async || {
            let targets = get("/api/targets").await?.to_string();
            (targets.matches("\"up\":true").count() == 7).then_some(())
        },
    )
    .await;
    stops(machine).await;
}

/// Ctrl-C in each terminal.
async fn stops(mut machine: Machine) {
    for (command, child) in machine.terminals.iter_mut().rev() {
        killpg(Pid::from_raw(child.pid().cast_signed()), Signal::SIGINT).expect(command);
        patiently(command, child, |child| child.try_wait()).await;
    }
    machine.directory.deserted().await;
}
