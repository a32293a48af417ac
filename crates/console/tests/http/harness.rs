//! Starts a console on a free port and speaks to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use console::{Access, Notify, OtlpPort, Settings};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that is being waited for.
const POLL: Duration = Duration::from_millis(20);

/// A running console; stopped at the end of the test.
pub struct Running {
    pub url: String,
    pub address: SocketAddr,
    pub client: Client,
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("a whole body").to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {:?}", self.text()))
    }
}

pub fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        otlp_grpc: OtlpPort::Off,
        otlp_http: OtlpPort::Off,
        memory_bytes: 64 << 20,
        max_body_bytes: 4 << 20,
        targets_file: None,
        rules_file: None,
        state_file: None,
        notify: Notify::default(),
        herald_url: None,
        access: Access::default(),
        scrape_interval: Duration::from_millis(50),
        allowed_hosts: "host.docker.internal".parse().expect("hosts"),
        allowed_origins: "http://localhost:4200".parse().expect("origins"),
        parent_pipe: false,
    }
}

impl Running {
    pub fn start() -> Self {
        Self::with(settings())
    }

    pub fn with_memory(memory_bytes: u64) -> Self {
        Self::with(Settings {
            memory_bytes,
            ..settings()
        })
    }

    pub fn scraping(targets_file: PathBuf) -> Self {
        Self::with(Settings {
            targets_file: Some(targets_file),
            ..settings()
        })
    }

    pub fn with(settings: Settings) -> Self {
        // Built with the rest of the workspace, reqwest has TLS but chooses no library for it; the executable does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let console = console::start(settings)?;
                sender.send((console.address, console.handle.clone()))?;
                console.stopped().await
            })
        });
        let (address, handle) = receiver.recv().expect("a console that starts");
        Self {
            url: format!("http://{address}"),
            address,
            client: Client::builder().no_proxy().build().expect("a client"),
            handle,
            thread: Some(thread),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::to(self.client.get(format!("{}{path}", self.url))).await
    }

    /// The JSON of a good answer.
    pub async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    pub fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.url));
        request.header("content-type", content_type).body(body)
    }

    pub async fn send_json(&self, path: &str, body: &Value) -> Reply {
        Reply::to(self.post(path, "application/json", body.to_string().into_bytes())).await
    }

    pub async fn send_protobuf(&self, path: &str, body: Vec<u8>) -> Reply {
        Reply::to(self.post(path, "application/x-protobuf", body)).await
    }

    /// Sends OTLP JSON that must be taken whole.
    pub async fn take(&self, path: &str, body: &Value) {
        let reply = self.send_json(path, body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (200, "{}"),
            "{path}"
        );
    }

    /// Sends metrics, written as JSON, as protobuf; answers how many data points are rejected, and why.
    pub async fn send_metrics(&self, body: &Value) -> (i64, String) {
        let request: ExportMetricsServiceRequest =
            serde_json::from_value(body.clone()).expect("OTLP");
        let reply = self
            .send_protobuf("/v1/metrics", request.encode_to_vec())
            .await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let answer = ExportMetricsServiceResponse::decode(reply.body.as_slice());
        let told = answer
            .expect("protobuf")
            .partial_success
            .unwrap_or_default();
        (told.rejected_data_points, told.error_message)
    }

    /// Sends metrics that must be taken whole.
    pub async fn take_metrics(&self, body: &Value) {
        assert_eq!(self.send_metrics(body).await, (0, String::new()));
    }

    /// The only row of a trace that has one span.
    pub async fn row(&self, trace_id: &str) -> Value {
        let trace = self.json(&format!("/api/console/traces/{trace_id}")).await;
        assert_eq!(trace["rows"].as_array().map(Vec::len), Some(1), "{trace}");
        trace["rows"][0].clone()
    }

    /// Waits until what `path` answers is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let answer = self.json(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{path} still answers {answer:#}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to stop once what is under way is answered.
    pub fn drain(&self) {
        drop(self.handle.stop(true));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The command is in the channel once the future is made; there is no runtime here to wait on.
        drop(self.handle.stop(false));
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended
                .expect("a thread")
                .expect("no panic")
                .expect("a clean end");
        }
    }
}

/// The value of an attribute in a list of `{key, value}`.
pub fn attribute<'a>(list: &'a Value, key: &str) -> &'a Value {
    let entries = list.as_array().map_or(&[][..], Vec::as_slice);
    let found = entries.iter().find(|entry| entry["key"] == key);
    found.map_or(&Value::Null, |entry| &entry["value"])
}
