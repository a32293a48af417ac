//! The OTLP endpoint inside the test.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::{StreamExt, stream};

use super::telemetry::{LogRecord, Span, tree};
use super::{decode, eventually_now};

/// One export request, as it came in.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `/v1/traces`, `/v1/logs` or `/v1/metrics`.
    pub path: String,
    /// Header names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Bytes on the wire.
    pub bytes: usize,
    /// The body, inflated but not decoded: to search it for what must not be there.
    pub body: Vec<u8>,
    /// When it came in.
    pub at: Instant,
}

#[derive(Default)]
struct State {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    deliveries: Vec<Delivery>,
    refuse_with: Option<u16>,
    refusal_headers: Vec<(&'static str, String)>,
    endless: bool,
    rejects: i64,
    delay: Duration,
}

/// Receives OTLP/HTTP protobuf (gzip too) on a free port and keeps everything. Stops on drop.
///
/// It runs in a thread of its own, so it outlives no test and blocks none.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: ServerHandle,
}

impl Receiver {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0")
    }

    /// Starts one on a given address, to bring a dead collector back.
    pub fn start_on(address: &str) -> Self {
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("receiver cannot listen on {address}: {error}"));
        let address = listener.local_addr().expect("address of the receiver");
        let state = Arc::new(Mutex::new(State::default()));
        let (send, handle) = mpsc::channel();
        let shared = web::Data::from(Arc::clone(&state));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(shared.clone())
                        .app_data(web::PayloadConfig::new(64 << 20))
                        .default_service(web::to(receive))
                };
                let server = HttpServer::new(app)
                    .workers(1)
                    .disable_signals()
                    .shutdown_timeout(0)
                    .listen(listener)
                    .expect("listen")
                    .run();
                send.send(server.handle()).ok();
                server.await.ok();
            });
        });
        Self {
            address,
            state,
            server: handle.recv().expect("receiver starts"),
        }
    }

    /// What services get as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.state.lock().unwrap().spans.clone()
    }

    /// All log records so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.state.lock().unwrap().logs.clone()
    }

    /// All export requests so far, refused ones too.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.state.lock().unwrap().deliveries.clone()
    }

    /// The spans of one trace, by start time.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans: Vec<Span> = self
            .state
            .lock()
            .unwrap()
            .spans
            .iter()
            .filter(|span| span.trace_id == trace_id)
            .cloned()
            .collect();
        spans.sort_by_key(|span| span.start_ns);
        spans
    }

    /// Forgets everything received so far.
    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap();
        state.spans.clear();
        state.logs.clear();
        state.deliveries.clear();
    }

    /// Answers this status from now on, and keeps nothing (`None`: as usual again).
    pub fn refuse_with(&self, status: Option<u16>) {
        self.state.lock().unwrap().refuse_with = status;
    }

    /// Adds `Retry-After` with this many seconds to every refusal.
    pub fn retry_after(&self, seconds: Option<u64>) {
        let seconds = seconds.map(|seconds| ("retry-after", seconds.to_string()));
        self.state.lock().unwrap().refusal_headers = seconds.into_iter().collect();
    }

    /// Adds this header to every refusal.
    pub fn refuse_saying(&self, name: &'static str, value: String) {
        self.state.lock().unwrap().refusal_headers = vec![(name, value)];
    }

    /// Accepts everything from now on, and answers with a body that has no end.
    pub fn answer_without_end(&self) {
        self.state.lock().unwrap().endless = true;
    }

    /// Reports so many rejected items in every answer from now on.
    pub fn reject(&self, count: i64) {
        self.state.lock().unwrap().rejects = count;
    }

    /// Delays every answer by this time from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// Waits until the spans of a trace satisfy `complete`, and returns them by start time.
    pub async fn wait_for_trace(
        &self,
        trace_id: &str,
        complete: impl Fn(&[Span]) -> bool,
    ) -> Vec<Span> {
        let start = std::time::Instant::now();
        loop {
            let spans = self.trace(trace_id);
            if complete(&spans) {
                return spans;
            }
            assert!(
                start.elapsed() < super::DEADLINE,
                "trace {trace_id} not complete in time; so far:\n{}",
                tree(&spans)
            );
            tokio::time::sleep(super::POLL).await;
        }
    }

    /// Waits until `find` finds something among all spans.
    pub async fn wait_for_span<T>(&self, what: &str, find: impl Fn(&[Span]) -> Option<T>) -> T {
        eventually_now(what, || find(&self.state.lock().unwrap().spans)).await
    }

    /// Waits for a log record.
    pub async fn wait_for_log(
        &self,
        what: &str,
        matches: impl Fn(&LogRecord) -> bool,
    ) -> LogRecord {
        eventually_now(what, || {
            self.state
                .lock()
                .unwrap()
                .logs
                .iter()
                .find(|record| matches(record))
                .cloned()
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; its future only reports the end, and the thread is not ours to wait for.
        drop(self.server.stop(false));
    }
}

async fn receive(
    request: HttpRequest,
    body: web::Bytes,
    state: web::Data<Mutex<State>>,
) -> HttpResponse {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let inflated = inflate(&header("content-encoding"), &body);
    let (refuse_with, refusal_headers, endless, rejects, delay) = {
        let mut state = state.lock().unwrap();
        state.deliveries.push(Delivery {
            path: request.path().to_owned(),
            headers,
            bytes: body.len(),
            body: inflated.clone().unwrap_or_default(),
            at: Instant::now(),
        });
        let headers = state.refusal_headers.clone();
        (
            state.refuse_with,
            headers,
            state.endless,
            state.rejects,
            state.delay,
        )
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if let Some(status) = refuse_with {
        let status = actix_web::http::StatusCode::from_u16(status).expect("a status");
        let mut refusal = HttpResponse::build(status);
        for header in refusal_headers {
            refusal.insert_header(header);
        }
        return refusal.finish();
    }
    match inflated.and_then(|body| keep(&state, request.path(), &body)) {
        Ok(()) if endless => {
            let chunk = web::Bytes::from(vec![0; 64 << 10]);
            // Half a gigabyte is as good, and spares the machine if somebody does read it.
            let body = stream::repeat(Ok::<_, Infallible>(chunk)).take(8192);
            HttpResponse::Ok().streaming(body)
        }
        Ok(()) => HttpResponse::Ok()
            .content_type("application/x-protobuf")
            .body(decode::rejection(rejects)),
        Err(problem) => HttpResponse::BadRequest().body(problem),
    }
}

fn inflate(encoding: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    if encoding != "gzip" {
        return Ok(body.to_vec());
    }
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(body)
        .read_to_end(&mut inflated)
        .map_err(|error| error.to_string())?;
    Ok(inflated)
}

/// A signal's own endpoint may have any path before the usual one.
fn keep(state: &Mutex<State>, path: &str, body: &[u8]) -> Result<(), String> {
    if path.ends_with("/v1/traces") {
        let spans = decode::spans(body).map_err(|error| error.to_string())?;
        state.lock().unwrap().spans.extend(spans);
    } else if path.ends_with("/v1/logs") {
        let logs = decode::log_records(body).map_err(|error| error.to_string())?;
        state.lock().unwrap().logs.extend(logs);
    } else if !path.ends_with("/v1/metrics") {
        return Err(format!("no such endpoint: {path}"));
    }
    Ok(())
}
