//! A backend that costs next to nothing: reads OTLP/HTTP, counts, answers 200.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;
use listen::StopSignals;
use prost::Message;
use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::process::{self, Process};

/// An export request, as deep as it takes to count: spans and log records are at the same place.
#[derive(Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Message)]
struct Resource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Message)]
struct Scope {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    items: Vec<Bytes>,
}

/// What has arrived.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Spans.
    pub spans: u64,
    /// Log records.
    pub logs: u64,
    /// Bodies, in bytes.
    pub bytes: u64,
}

impl Received {
    /// What came after `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            spans: self.spans - earlier.spans,
            logs: self.logs - earlier.logs,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

#[derive(Default)]
struct Counters {
    spans: AtomicU64,
    logs: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn take(&self, counter: &AtomicU64, body: Bytes) -> HttpResponse {
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        let Ok(export) = Export::decode(body) else {
            return HttpResponse::BadRequest().finish();
        };
        let scopes = export.resources.iter().flat_map(|one| &one.scopes);
        let items: usize = scopes.map(|scope| scope.items.len()).sum();
        counter.fetch_add(items as u64, Ordering::Relaxed);
        HttpResponse::Ok()
            .content_type("application/x-protobuf")
            .finish()
    }

    fn received(&self) -> Received {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Received {
            spans: read(&self.spans),
            logs: read(&self.logs),
            bytes: read(&self.bytes),
        }
    }
}

/// Runs the sink until standard input ends, or a signal comes.
pub fn run() -> Result<bool> {
    actix_web::rt::System::new().block_on(serve())?;
    Ok(true)
}

async fn serve() -> Result<()> {
    let mut signals = StopSignals::install(true)?;
    let counters = web::Data::new(Counters::default());
    let app = move || {
        App::new()
            .app_data(counters.clone())
            .app_data(web::PayloadConfig::new(64 << 20))
            .route("/v1/traces", web::post().to(spans))
            .route("/v1/logs", web::post().to(logs))
            .route("/", web::get().to(received))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")?;
    let address = server.addrs()[0].to_string();
    println!("{}", json!({"message": "listening", "http_addr": address}));
    tokio::select! {
        ended = server.run() => Ok(ended?),
        _ = signals.next() => Ok(()),
    }
}

async fn spans(counters: web::Data<Counters>, body: web::Bytes) -> HttpResponse {
    counters.take(&counters.spans, body)
}

async fn logs(counters: web::Data<Counters>, body: web::Bytes) -> HttpResponse {
    counters.take(&counters.logs, body)
}

async fn received(counters: web::Data<Counters>) -> HttpResponse {
    HttpResponse::Ok().json(counters.received())
}

/// A sink in a process of its own.
pub struct Sink {
    process: Process,
    /// Where OTLP goes.
    pub url: String,
}

impl Sink {
    /// Starts it.
    pub fn start(directory: &Path) -> Result<Self> {
        let mut command = process::command(&std::env::current_exe()?);
        command.arg("sink");
        let mut process = Process::start("sink", command, directory)?;
        let address = process.listening()?["http_addr"].clone();
        Ok(Self {
            process,
            url: format!("http://{}", address.as_str().unwrap_or_default()),
        })
    }

    /// Its CPU time.
    pub fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    /// What it has received.
    pub async fn received(&self) -> Result<Received> {
        Ok(reqwest::get(&self.url).await?.json().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_counted_wherever_they_are() {
        let scope = |items: usize| Scope {
            items: vec![Bytes::from_static(b"anything"); items],
        };
        let scopes = vec![scope(2), scope(3)];
        let body = Export {
            resources: vec![Resource { scopes }, Resource::default()],
        }
        .encode_to_vec();
        let counters = Counters::default();
        let answer = counters.take(&counters.spans, body.clone().into());
        assert_eq!(answer.status(), 200);
        let received = counters.received();
        assert_eq!((received.spans, received.logs), (5, 0));
        assert_eq!(received.bytes, body.len() as u64);
        let answer = counters.take(&counters.logs, Bytes::from_static(b"\x0a\xff"));
        assert_eq!(answer.status(), 400);
    }
}
