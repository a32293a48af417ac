//! A process with telemetry, an application that fails in every way, and an OTLP endpoint that keeps the spans.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use telemetry::{ServiceInfo, Settings, Telemetry};

const DEADLINE: Duration = Duration::from_secs(30);

/// Telemetry is one a process, so all tests of this file share it; each has a route of its own.
pub static PROCESS: LazyLock<Process> = LazyLock::new(Process::start);

/// The application under test.
pub struct Process {
    address: SocketAddr,
    telemetry: Telemetry,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// How often requests of a route ended in one way: method, status, `error_type`, `outcome`, count.
pub type Count = (String, String, String, String, u64);

/// An answer, or what came of it before the connection ended.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Process {
    fn start() -> Self {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let collector = collector(Arc::clone(&spans));
        let settings = Settings::from_lookup(&|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{collector}")),
            "OTEL_BSP_SCHEDULE_DELAY" => Some("20".to_owned()),
            "RUST_LOG" => Some("off".to_owned()),
            _ => None,
        })
        .expect("settings");
        let info = ServiceInfo {
            name: "red".to_owned(),
            version: "1".to_owned(),
        };
        let telemetry = telemetry::init(info, &settings).expect("telemetry");
        Self {
            address: in_thread(application),
            telemetry,
            spans,
        }
    }

    /// Sends a request and reads the answer to its end.
    pub fn request(&self, method: &str, path: &str) -> Answer {
        let mut stream = self.open(method, path, "connection: close\r\n");
        let mut bytes = Vec::new();
        // A reset connection is an answer too: an empty one.
        stream.read_to_end(&mut bytes).ok();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        Answer {
            status: head
                .get(9..12)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Sends the head of a request as it is, and waits for the end of the answer.
    pub fn send(&self, head: &str) {
        let mut stream = TcpStream::connect(self.address).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        write!(stream, "{head}\r\nconnection: close\r\n\r\n").expect("send");
        std::io::copy(&mut stream, &mut std::io::sink()).expect("an answer");
    }

    /// Sends a request and leaves the reading to the caller; dropping the stream hangs up.
    pub fn open(&self, method: &str, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n"
        )
        .expect("send");
        stream
    }

    /// Waits until requests of `route` were counted, and for the span of each; returns both. What is counted
    /// twice shows, because a span is exported after its request was counted.
    pub fn ended(&self, route: &str, requests: usize) -> (Vec<Count>, Vec<Span>) {
        let spans = self.spans_with("http.route", route, requests);
        (self.counts(route), spans)
    }

    /// Waits for so many spans with this attribute.
    pub fn spans_with(&self, name: &str, value: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans with {name} {value:?}"), || {
            let spans = self.spans.lock().unwrap().clone();
            let found: Vec<Span> = spans
                .into_iter()
                .filter(|span| attribute(span, name) == value)
                .collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// What the registry says about a route, series at zero left out.
    pub fn counts(&self, route: &str) -> Vec<Count> {
        self.counts_of("http_server_request", "http_route", route)
    }

    /// What the registry says about calls of a template.
    pub fn calls(&self, template: &str) -> Vec<Count> {
        self.counts_of("http_client_request", "url_template", template)
    }

    fn counts_of(&self, what: &str, label: &str, is: &str) -> Vec<Count> {
        let of = |labels: &BTreeMap<String, String>, name: &str| labels[name].clone();
        self.samples(&format!("{what}_duration_seconds_count"))
            .into_iter()
            .filter(|(labels, value)| labels[label] == is && *value > 0.0)
            .map(|(labels, value)| {
                (
                    of(&labels, "http_request_method"),
                    of(&labels, "http_response_status_code"),
                    of(&labels, "error_type"),
                    of(&labels, "outcome"),
                    value as u64,
                )
            })
            .collect()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests of a route in progress.
    pub fn active(&self, route: &str) -> f64 {
        self.samples("http_server_active_requests")
            .into_iter()
            .filter(|(labels, _)| labels["http_route"] == route)
            .map(|(_, value)| value)
            .sum()
    }

    fn samples(&self, metric: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let text = self.telemetry.metrics().render(None).body;
        let rows = text
            .lines()
            .filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
        rows.map(|row| {
            let (labels, value) = row.rsplit_once("} ").expect("a sample");
            let pairs = labels.split("\",").map(|pair| {
                let (name, value) = pair.split_once("=\"").expect("a label");
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            (pairs.collect(), value.parse().expect("a number"))
        })
        .collect()
    }
}

/// A span's attribute as text; empty when absent.
pub fn attribute(span: &Span, name: &str) -> String {
    let pair = span.attributes.iter().find(|pair| pair.key == name);
    match pair.and_then(|pair| pair.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// As spans say it.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_nanos() as u64
}

/// Looks until there is something; panics after a while.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn collector(spans: Arc<Mutex<Vec<Span>>>) -> SocketAddr {
    let keep = move |body: web::Bytes| {
        let spans = Arc::clone(&spans);
        async move {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|of| of.scope_spans);
            spans
                .lock()
                .unwrap()
                .extend(scopes.flat_map(|scope| scope.spans));
            HttpResponse::Ok().finish()
        }
    };
    in_thread(move |listener| {
        let app = move || App::new().route("/v1/traces", web::post().to(keep.clone()));
        HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .listen(listener)
            .expect("listen")
            .run()
    })
}

fn application(listener: TcpListener) -> Server {
    let app = || {
        App::new()
            .configure(super::routes)
            .wrap(telemetry::http_server::Red)
            .wrap(telemetry::http_server::tracing_logger())
    };
    let server = HttpServer::new(app)
        .workers(1)
        // As the services have it: a client that hangs up cancels its request.
        .h1_allow_half_closed(false)
        .disable_signals();
    server.listen(listener).expect("listen").run()
}

/// Serves on a free port, in a thread of its own, as long as the process lives.
fn in_thread(server: impl FnOnce(TcpListener) -> Server + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move { server(listener).await })
    });
    address
}
