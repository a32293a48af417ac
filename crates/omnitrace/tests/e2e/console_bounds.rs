//! The console's bound on memory and on waiting, under attack: a process of its own, whose peak memory Linux knows.
//!
//! The short ones run with all tests; `just attack` runs the long ones, with release code, and prints a table.

mod bodies;
mod connections;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Child, eventually, http, omnitrace};
use connections::{followers, heads, streams};

const MIB: u64 = 1 << 20;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked for while an attack goes on.
const WATCHED: [&str; 3] = ["/ready", "/api/stats", "/api/console/traces?limit=5"];

/// A console with a budget of so many MiB.
struct Console {
    child: Child,
    address: SocketAddr,
    /// Of OTLP over gRPC.
    grpc: SocketAddr,
    budget: u64,
}

/// What became of an attack.
struct Outcome {
    /// A row of the table in docs/SECURITY.md.
    name: String,
    budget_mib: u64,
    peak_mib: u64,
    /// How long each of what is [`WATCHED`] took, shortest first.
    waits: Vec<Duration>,
}

impl Console {
    async fn start(budget_mib: u64) -> Self {
        let memory = format!("{budget_mib}MiB");
        let mut command = omnitrace(["console", "--listen", "127.0.0.1:0", "--memory", &memory]);
        command.arg("--otlp-grpc-port=0");
        let mut child = Child::spawn("console", command);
        let listening = child.listening().await;
        let grpc = listening.line["otlp_grpc_addr"].as_str();
        let parse = |address: &str| address.parse().expect("an address");
        Self {
            address: parse(&listening.http_addr),
            grpc: parse(grpc.expect("an address")),
            budget: budget_mib * MIB,
            child,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a gzipped protobuf body; answers the status.
    async fn send(&self, path: &str, gzipped: Vec<u8>) -> u16 {
        let request = http().post(self.url(path)).body(gzipped);
        let request = request.header("content-type", "application/x-protobuf");
        let response = request.header("content-encoding", "gzip").send().await;
        let response = response.expect("an answer");
        let status = response.status().as_u16();
        response.bytes().await.expect("a whole answer");
        status
    }

    /// Ends it, and says what it cost.
    async fn outcome(self, name: impl Into<String>, watch: Watch) -> Outcome {
        let waits = watch.stop().await;
        let status = http().get(self.url("/ready")).send().await;
        assert_eq!(status.expect("still there").status(), 200);
        let outcome = Outcome {
            name: name.into(),
            budget_mib: self.budget / MIB,
            peak_mib: self.child.peak_kib() / 1024,
            waits,
        };
        println!("{}", outcome.row());
        outcome
    }
}

impl Outcome {
    /// A quarter more than the budget, and 64 MiB.
    fn most_mib(&self) -> u64 {
        self.budget_mib * 5 / 4 + 64
    }

    fn check(&self) {
        let (name, peak, most) = (&self.name, self.peak_mib, self.most_mib());
        assert!(peak <= most, "{name}: {peak} MiB, allowed are {most}");
    }

    /// A row of the table in docs/SECURITY.md.
    fn row(&self) -> String {
        let (name, budget, peak, most) =
            (&self.name, self.budget_mib, self.peak_mib, self.most_mib());
        let count = self.waits.len();
        let ms = |at: usize| self.waits.get(at).map_or(0, Duration::as_millis);
        let (p99, longest) = (ms(count * 99 / 100), ms(count.saturating_sub(1)));
        format!("| {name} | {budget} | {peak} | {most} | {count} | {p99} ms | {longest} ms |")
    }
}

/// What stands above the rows.
const HEADER: &str = "\
| attack | budget MiB | peak RSS MiB | allowed MiB | asked meanwhile | p99 | longest |
|---|---|---|---|---|---|---|";

/// Asks for what is [`WATCHED`], over and over.
struct Watch {
    is_over: Arc<AtomicBool>,
    waits: JoinHandle<Vec<Duration>>,
}

impl Watch {
    fn start(console: &Console) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, urls) = (is_over.clone(), WATCHED.map(|path| console.url(path)));
        let waits = tokio::spawn(async move {
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                for url in &urls {
                    // A connection for each, so that those who are not connected yet are watched, too.
                    let client = http();
                    let started = Instant::now();
                    let answer = client.get(url).send().await.expect("an answer");
                    answer.bytes().await.expect("a whole answer");
                    waits.push(started.elapsed());
                }
            }
            waits.sort();
            waits
        });
        Self { is_over, waits }
    }

    async fn stop(self) -> Vec<Duration> {
        self.is_over.store(true, Ordering::Relaxed);
        self.waits.await.expect("no panic")
    }
}

/// Small bodies that become large when they are decoded.
async fn expansion(budget_mib: u64, rounds: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    let watch = Watch::start(&console);
    for _ in 0..rounds {
        let bodies = [
            ("/v1/metrics", bodies::labels_times_quantiles()),
            ("/v1/traces", bodies::empty_attributes()),
            ("/v1/traces", bodies::empty_spans_of_a_long_resource()),
        ];
        for (path, body) in &bodies {
            assert_eq!(console.send(path, body.clone()).await, 200, "{path}");
        }
        let sent = bodies.map(|(path, body)| console.send(path, body));
        let statuses = futures_util::future::join_all(sent).await;
        assert!(
            statuses.iter().all(|status| [200, 503].contains(status)),
            "{statuses:?}"
        );
    }
    console
        .outcome("bodies that grow when decoded: labels for each of 512 quantiles, empty attributes, large resources", watch)
        .await
}

/// Spans with as many links as are kept, each to another trace.
async fn links(budget_mib: u64, rounds: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    let watch = Watch::start(&console);
    for round in 0..rounds {
        let body = bodies::linked_spans(round, 400);
        assert_eq!(console.send("/v1/traces", body).await, 200);
    }
    console
        .outcome("spans with 128 links to traces that nobody knows", watch)
        .await
}

/// A sender, an operation and a trace for each span.
async fn names(budget_mib: u64, rounds: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    let watch = Watch::start(&console);
    for round in 0..rounds {
        let body = bodies::senders(round, 5_000);
        assert_eq!(console.send("/v1/traces", body).await, 200);
    }
    console
        .outcome("a sender, an operation and a trace for each span", watch)
        .await
}

/// Work that would be quadratic: spans of one id, groups of one sender with many series, log records with own resources.
async fn repetition(budget_mib: u64, count: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    assert_eq!(
        console.send("/v1/traces", bodies::one_trace(9_000)).await,
        200
    );
    console.send("/v1/metrics", bodies::series(5_000)).await;
    let watch = Watch::start(&console);
    for (path, body) in [
        ("/v1/traces", bodies::spans_of_one_id(count)),
        ("/v1/metrics", bodies::groups_of_one_sender(count)),
        ("/v1/logs", bodies::logs_with_resources(count / 10, 1_700)),
    ] {
        assert_eq!(console.send(path, body).await, 200, "{path}");
    }
    let name = format!(
        "{count} spans of one id, {count} groups of one sender, {} log records with own resources",
        count / 10
    );
    console.outcome(name, watch).await
}

/// Uploads that stop before their end.
async fn uploads(budget_mib: u64, count: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    let watch = Watch::start(&console);
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(console.address)
            .await
            .expect("a connection");
        let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 60000000\r\n\r\n";
        let body = [head.as_bytes(), &vec![b' '; 4 << 20]].concat();
        // The console may close a refused connection.
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.write_all(&body)).await;
        open.push(stream);
    }
    let sent =
        async || (console.send("/v1/traces", bodies::one_trace(10)).await == 200).then_some(());
    eventually("a small body is taken", sent).await;
    let name = format!("{count} uploads that stop after 4 MiB");
    console.outcome(name, watch).await
}

/// Readers that ask for much and take nothing.
async fn readers(budget_mib: u64, count: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    for round in 0..budget_mib / 4 {
        let body = bodies::long_spans(round, 100);
        console.send("/v1/traces", body).await;
    }
    let watch = Watch::start(&console);
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(console.address)
            .await
            .expect("a connection");
        let request = "GET /api/traces?service=long&limit=1500 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it takes the request");
        open.push(stream);
    }
    // Clients that read get answers meanwhile.
    for stream in &open {
        let begins = tokio::time::timeout(PATIENCE, stream.readable());
        begins.await.expect("an answer in time").expect("an answer");
    }
    let name = format!("{count} readers that take nothing");
    console.outcome(name, watch).await
}

/// Questions of LogQL that are much work: regular expressions over long lines, and a matrix of as many series and steps as there may be.
async fn queries(budget_mib: u64, lines: usize, count: usize) -> Outcome {
    let console = Console::start(budget_mib).await;
    let body = bodies::logs_with_resources(lines, 1_700);
    assert_eq!(console.send("/v1/logs", body).await, 200);
    let watch = Watch::start(&console);
    let question = async |query: &str, step: &str| {
        let request = http().get(console.url("/loki/api/v1/query_range"));
        let request = request.query(&[("query", query), ("step", step), ("limit", "5000")]);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        answer.bytes().await.expect("a whole answer");
        status
    };
    let questions = [
        (r#"{service_name="jobs"} |~ "(l+i+)*(n|ne)+x$""#, "60"),
        (
            r#"{service_name=~"(j|o|b|s)+"} |~ "(?i)(.*l.*){40}y""#,
            "60",
        ),
        (
            r#"count_over_time({service_name="jobs"} | pod=~".*x.*"[1h])"#,
            "1",
        ),
        (
            r#"sum by (pod) (count_over_time({service_name="jobs"}[5m]))"#,
            "1",
        ),
    ];
    let asked = questions.iter().cycle().take(count);
    let asked = asked.map(|(query, step)| question(query, step));
    // As many at once as a few people and their dashboards send.
    let mut asked = futures_util::stream::iter(asked).buffer_unordered(40);
    while let Some(status) = asked.next().await {
        assert!([200, 400, 503].contains(&status), "{status}");
    }
    drop(asked);
    let name = format!("{count} expensive questions of LogQL, 40 at once, about {lines} lines");
    console.outcome(name, watch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn small_bodies_stay_small() {
    expansion(8, 2).await.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_names_are_in_the_budget() {
    links(8, 10).await.check();
    names(8, 10).await.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn repetition_is_in_the_budget() {
    repetition(32, 20_000).await.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_finishes_is_in_the_budget() {
    uploads(8, 40).await.check();
    readers(16, 40).await.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_much_work_are_in_the_budget() {
    queries(8, 300, 8).await.check();
}

/// Prints the table of docs/SECURITY.md.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: just attack"]
async fn attack() {
    println!("{HEADER}");
    let outcomes = [
        expansion(8, 20).await,
        expansion(64, 20).await,
        links(64, 60).await,
        names(64, 60).await,
        repetition(256, 300_000).await,
        uploads(64, 200).await,
        readers(256, 40).await,
        heads(8, 3_000).await,
        heads(256, 3_000).await,
        streams(8, 1_000).await,
        followers(8, 150, 20).await,
        queries(64, 10_000, 400).await,
    ];
    outcomes.iter().for_each(Outcome::check);
}
