//! OTLP over gRPC, as SDKs send it, and as nobody should.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::harness::{Child, DEADLINE, eventually, http, omnitrace};

pub const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// A console that takes OTLP over gRPC.
struct Console {
    child: Child,
    url: String,
    grpc: String,
}

impl Console {
    async fn start(options: &[&str]) -> Self {
        let mut command = omnitrace(["console", "--listen=127.0.0.1:0", "--otlp-grpc-port=0"]);
        command.args(options);
        let mut child = Child::spawn("console", command);
        let listening = child.listening().await;
        let grpc = listening.line["otlp_grpc_addr"].as_str();
        Self {
            url: format!("http://{}", listening.http_addr),
            grpc: grpc.expect("an address").to_owned(),
            child,
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = http().get(format!("{}{path}", self.url)).send().await;
        answer.expect("an answer").json().await.expect("JSON")
    }

    async fn client(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        Client(tonic::client::Grpc::new(
            endpoint.connect().await.expect("a connection"),
        ))
    }

    /// What it answers to a body that is no proper message.
    async fn raw(&self, change: impl FnOnce(&mut Request<Full<Bytes>>)) -> Raw {
        let io = TcpStream::connect(&self.grpc).await.expect("a connection");
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let mut request = Request::post(format!("http://{}{TRACES}", self.grpc))
            .header("content-type", "application/grpc")
            .body(Full::default())
            .expect("a request");
        change(&mut request);
        let answer = sender.send_request(request);
        let answer = tokio::time::timeout(DEADLINE, answer)
            .await
            .expect("in time");
        let (head, body) = answer.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole answer");
        connection.abort();
        let text = |name: &str| {
            let text = body.trailers()?.get(name)?;
            Some(text.to_str().expect("ASCII").to_owned())
        };
        Raw {
            http: head.status,
            code: text("grpc-status").map(|code| Code::from_bytes(code.as_bytes())),
            message: text("grpc-message").unwrap_or_default(),
        }
    }
}

#[derive(Debug)]
struct Raw {
    http: StatusCode,
    code: Option<Code>,
    message: String,
}

/// A sender, as tonic makes one.
#[derive(Clone)]
struct Client(tonic::client::Grpc<Channel>);

impl Client {
    fn gzipping(self) -> Self {
        Self(self.0.send_compressed(CompressionEncoding::Gzip))
    }

    async fn export<M, R>(&mut self, method: &'static str, message: M) -> Result<R, Status>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.expect("a connection");
        let (path, codec) = (PathAndQuery::from_static(method), ProstCodec::default());
        let request = tonic::Request::new(message);
        Ok(self.0.unary(request, path, codec).await?.into_inner())
    }

    async fn traces(&mut self, message: Value) -> Result<ExportTraceServiceResponse, Status> {
        let message: ExportTraceServiceRequest = serde_json::from_value(message).expect("traces");
        self.export(TRACES, message).await
    }
}

fn trace_of(id: &str, names: &[&str]) -> Value {
    let span = |(number, name): (usize, &&str)| {
        json!({"traceId": id, "spanId": format!("{:016x}", number + 1), "name": name, "kind": 2,
            "startTimeUnixNano": "1769860800000000000", "endTimeUnixNano": "1769860800000001000"})
    };
    let spans: Vec<Value> = names.iter().enumerate().map(span).collect();
    json!({"resourceSpans": [{"resource": resource(), "scopeSpans": [{"spans": spans}]}]})
}

fn resource() -> Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": "over-grpc"}}]})
}

fn now_nanos() -> String {
    let now = chrono::Utc::now().timestamp_nanos_opt();
    now.expect("a time").to_string()
}

#[tokio::test]
async fn all_signals_arrive_plain_and_compressed() {
    let mut console = Console::start(&[]).await;
    for (number, mut client) in [console.client().await, console.client().await.gzipping()]
        .into_iter()
        .enumerate()
    {
        let id = format!("{:032x}", number + 1);
        let answer = client.traces(trace_of(&id, &["GET /price"])).await;
        assert_eq!(
            answer.expect("an answer"),
            ExportTraceServiceResponse::default()
        );
        let found = console.get(&format!("/api/traces/{id}")).await;
        let span = &found["data"][0]["spans"][0];
        assert_eq!(span["operationName"], "GET /price", "{found}");

        let log =
            json!({"timeUnixNano": now_nanos(), "body": {"stringValue": format!("line {number}")}});
        let logs = json!({"resourceLogs": [{"resource": resource(), "scopeLogs": [{"logRecords": [log]}]}]});
        let logs: ExportLogsServiceRequest = serde_json::from_value(logs).expect("logs");
        let answer: ExportLogsServiceResponse = client.export(LOGS, logs).await.expect("an answer");
        assert_eq!(answer.partial_success, None);
        let found = console.get("/api/logs?service=over-grpc").await.to_string();
        assert!(found.contains(&format!("line {number}")), "{found}");

        let name = format!("level_{number}");
        let point = json!({"asDouble": 7.5, "timeUnixNano": now_nanos()});
        let metrics = json!({"resourceMetrics": [{"resource": resource(), "scopeMetrics": [
            {"metrics": [{"name": name, "gauge": {"dataPoints": [point]}}]}]}]});
        let metrics: ExportMetricsServiceRequest =
            serde_json::from_value(metrics).expect("metrics");
        let answer: ExportMetricsServiceResponse =
            client.export(METRICS, metrics).await.expect("an answer");
        assert_eq!(answer.partial_success, None);
        let found = console.get(&format!("/api/v1/query?query={name}")).await;
        assert_eq!(found["data"]["result"][0]["value"][1], "7.5", "{found}");
    }
    let stats = console.get("/api/stats").await;
    for method in [TRACES, LOGS, METRICS] {
        assert_eq!(stats["requests"][method]["200"], 2, "{stats}");
    }
    // The connections of both are open, and keep it from nothing.
    assert!(console.child.terminate().await.success());
}

#[tokio::test]
async fn what_is_not_taken_is_counted_and_explained() {
    let console = Console::start(&[]).await;
    let mut message = trace_of(&format!("{:032x}", 7), &["good", "bad"]);
    message["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["spanId"] = "".into();
    let answer = console.client().await.traces(message).await;
    let partial = answer.expect("an answer").partial_success.expect("a count");
    assert_eq!(partial.rejected_spans, 1);
    assert!(
        partial.error_message.starts_with("rejected: 1 "),
        "{partial:?}"
    );
    assert_eq!(console.get("/api/stats").await["rejected_spans"], 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_the_code_that_says_why() {
    let console = Console::start(&["--max-body=1MiB"]).await;
    let mut client = console.client().await;
    // Field 1, two bytes that are no span.
    let garbage: Result<ExportTraceServiceResponse, _> =
        client.export(TRACES, vec![0xff_u8, 0xff]).await;
    assert_eq!(garbage.expect_err("garbage").code(), Code::InvalidArgument);

    let long = "x".repeat(1 << 20);
    let id = format!("{:032x}", 8);
    for mut client in [client.clone(), client.clone().gzipping()] {
        let refused = client.traces(trace_of(&id, &[&long])).await;
        let refused = refused.expect_err("too large");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(refused.message().contains("--max-body"), "{refused}");
        assert!(refused.details().len() < 1 << 10, "{refused}");
    }

    let unknown: Result<ExportTraceServiceResponse, _> = client
        .export(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
            (),
        )
        .await;
    assert_eq!(unknown.expect_err("no method").code(), Code::Unimplemented);

    let zstd = console.raw(|request| {
        *request.body_mut() = Full::from(&b"\x01\0\0\0\x01x"[..]);
        let zstd = "zstd".parse().expect("a value");
        request.headers_mut().insert("grpc-encoding", zstd);
    });
    assert_eq!(zstd.await.code, Some(Code::Unimplemented));
    for (body, why) in [
        (&b""[..], "cut off"),
        (b"\0\0\0", "cut off"),
        (b"\0\0\0\0\x02x", "2 bytes were announced, and 1 came"),
        (
            b"\0\0\0\0\0\0\0\0\0\0",
            "0 bytes were announced, and 5 came",
        ),
        (b"\x01\0\0\0\x01x", "grpc-encoding"),
        (b"\x07\0\0\0\x01x", "flags"),
    ] {
        let answer = console
            .raw(|request| *request.body_mut() = Full::from(body))
            .await;
        assert_eq!(answer.code, Some(Code::InvalidArgument), "{body:?}");
        assert!(answer.message.contains(why), "{body:?}: {answer:?}");
    }
    // Nothing is reserved for four gigabytes, and nothing waited for.
    let announced = b"\0\xff\xff\xff\xff";
    let announced = console.raw(|request| *request.body_mut() = Full::from(&announced[..]));
    assert_eq!(announced.await.code, Some(Code::ResourceExhausted));

    let page = console.raw(|request| {
        let json = "application/json".parse().expect("a value");
        request.headers_mut().insert("content-type", json);
    });
    let page = page.await;
    assert_eq!(page.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{page:?}");
    let head = console.raw(|request| {
        let long = "x".repeat(10_000).parse().expect("a value");
        request.headers_mut().insert("x", long);
    });
    let status = head.await.http;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let rebound = console.raw(|request| {
        let url = format!("http://evil.example{TRACES}");
        *request.uri_mut() = url.parse().expect("a URL");
    });
    let rebound = rebound.await;
    assert_eq!(rebound.code, Some(Code::PermissionDenied), "{rebound:?}");

    let answer = client.traces(trace_of(&id, &["still there"])).await;
    assert_eq!(answer.expect("an answer").partial_success, None);
}

#[tokio::test]
async fn who_finds_no_room_is_told_when_to_come_again() {
    let console = Console::start(&["--memory=8MiB"]).await;
    let address = console.url.trim_start_matches("http://");
    let mut large = TcpStream::connect(address).await.expect("a connection");
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 6000000\r\n\r\n";
    large.write_all(head.as_bytes()).await.expect("sent");
    large.write_all(&vec![b' '; 4 << 20]).await.expect("sent");
    eventually("4 MiB under way", async || {
        let stats = console.get("/api/stats").await;
        (stats["under_way_bytes"].as_u64() >= Some(4 << 20)).then_some(())
    })
    .await;
    let mut client = console.client().await;
    let busy: Result<ExportTraceServiceResponse, _> =
        client.export(TRACES, vec![0_u8; 3 << 20]).await;
    let busy = busy.expect_err("no room");
    assert_eq!(busy.code(), Code::Unavailable, "{busy}");
    let details = String::from_utf8_lossy(busy.details());
    assert!(details.contains("google.rpc.RetryInfo"), "{details}");
    drop(large);
    let id = format!("{:032x}", 9);
    eventually("room again", async || {
        client.traces(trace_of(&id, &["late"])).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_client_of_http_1_is_told_where_to_go_and_a_silent_one_is_let_go() {
    let console = Console::start(&[]).await;
    let connect = || TcpStream::connect(&console.grpc);
    let mut silent = connect().await.expect("a connection");
    let mut other = connect().await.expect("a connection");
    let request = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";
    other.write_all(request).await.expect("sent");
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(
        answer.contains("OTLP over HTTP goes to port 4318"),
        "{answer}"
    );

    let mut byte = [0; 1];
    let end = silent.read(&mut byte);
    let end = tokio::time::timeout(DEADLINE, end).await.expect("an end");
    assert_eq!(end.expect("no error"), 0);
}
