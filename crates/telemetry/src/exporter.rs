//! OTLP over HTTP: the client, and what its answers mean for a retry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prost::Message;

use crate::init::InitError;
use crate::pipeline::Sent;
use crate::settings::Exporter;

/// A log record with the scope that emitted it.
pub(crate) type LogItem = (SdkLogRecord, opentelemetry::InstrumentationScope);

/// Makes the function that exports one batch of spans.
pub(crate) fn spans(
    settings: &Exporter,
    resource: &Resource,
) -> Result<impl FnMut(&[SpanData]) -> Sent + Send + use<>, InitError> {
    let client = Client::new(settings)?;
    let mut exporter =
        configured(SpanExporter::builder().with_http(), settings, &client).build()?;
    exporter.set_resource(resource);
    Ok(move |batch: &[SpanData]| {
        let result = futures_util::FutureExt::now_or_never(exporter.export(batch.to_vec()));
        client.verdict(result, |body| {
            let answer = ExportTraceServiceResponse::decode(body).ok()?;
            Some(answer.partial_success?.rejected_spans)
        })
    })
}

/// Makes the function that exports one batch of log records.
pub(crate) fn logs(
    settings: &Exporter,
    resource: &Resource,
) -> Result<impl FnMut(&[LogItem]) -> Sent + Send + use<>, InitError> {
    let client = Client::new(settings)?;
    let mut exporter = configured(LogExporter::builder().with_http(), settings, &client).build()?;
    exporter.set_resource(resource);
    Ok(move |batch: &[LogItem]| {
        let borrowed: Vec<_> = batch
            .iter()
            .map(|(record, scope)| (record, scope))
            .collect();
        let result =
            futures_util::FutureExt::now_or_never(exporter.export(LogBatch::new(&borrowed)));
        client.verdict(result, |body| {
            let answer = ExportLogsServiceResponse::decode(body).ok()?;
            Some(answer.partial_success?.rejected_log_records)
        })
    })
}

/// Everything is said outright: left alone, the builder would read the environment.
fn configured<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    settings: &Exporter,
    client: &Client,
) -> B {
    let builder = builder
        .with_http_client(client.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&settings.endpoint)
        .with_timeout(settings.timeout)
        .with_headers(settings.headers.iter().cloned().collect());
    if settings.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    }
}

/// A blocking client that remembers its last answer: the exporter reports only that something failed, but whether a
/// retry makes sense depends on the status and on `Retry-After` (OTLP specification, "Failures").
#[derive(Debug, Clone)]
struct Client {
    http: reqwest::blocking::Client,
    last: Arc<Mutex<Answer>>,
}

#[derive(Debug, Default)]
enum Answer {
    #[default]
    None,
    Failed {
        timed_out: bool,
    },
    Status {
        code: u16,
        retry_after: Option<Duration>,
        body: Bytes,
    },
}

impl Client {
    fn new(settings: &Exporter) -> Result<Self, InitError> {
        crate::install_tls();
        let settings = settings.clone();
        // The blocking client starts a runtime of its own and must not do so inside actix's.
        let http = std::thread::spawn(move || build(&settings))
            .join()
            .map_err(|_| InitError::Thread)??;
        Ok(Self {
            http,
            last: Arc::default(),
        })
    }

    fn remember(&self, answer: Answer) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// `rejected` reads the number of items that an accepting backend turned down.
    fn verdict(
        &self,
        result: Option<OTelSdkResult>,
        rejected: impl Fn(&[u8]) -> Option<i64>,
    ) -> Sent {
        let last = std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner));
        match (last, result) {
            (Answer::Status { body, .. }, Some(Ok(()))) => Sent::Accepted {
                rejected: rejected(&body)
                    .and_then(|count| count.try_into().ok())
                    .unwrap_or(0),
            },
            (
                Answer::Status {
                    code: 429 | 502 | 503 | 504,
                    retry_after,
                    ..
                },
                _,
            ) => Sent::Retry {
                after: retry_after,
                error_type: "http",
            },
            (Answer::Failed { timed_out }, _) => Sent::Retry {
                after: None,
                error_type: if timed_out { "timeout" } else { "connection" },
            },
            _ => Sent::Refused { error_type: "http" },
        }
    }
}

fn build(settings: &Exporter) -> Result<reqwest::blocking::Client, InitError> {
    let mut client = reqwest::blocking::Client::builder()
        .timeout(settings.timeout)
        .no_proxy();
    if let Some(path) = &settings.certificate {
        let pem = read("OTEL_EXPORTER_OTLP_CERTIFICATE", path)?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| {
            InitError::Certificate {
                variable: "OTEL_EXPORTER_OTLP_CERTIFICATE",
                path: path.clone(),
                problem: error.to_string(),
            }
        })?;
        client = client.tls_certs_only(roots);
    }
    if let Some((certificate, key)) = &settings.client_identity {
        let mut pem = read("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)?;
        pem.push(b'\n');
        pem.extend(read("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)?);
        let identity =
            reqwest::Identity::from_pem(&pem).map_err(|error| InitError::Certificate {
                variable: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                path: certificate.clone(),
                problem: error.to_string(),
            })?;
        client = client.identity(identity);
    }
    Ok(client.build()?)
}

fn read(variable: &'static str, path: &std::path::Path) -> Result<Vec<u8>, InitError> {
    std::fs::read(path).map_err(|error| InitError::Certificate {
        variable,
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = reqwest::blocking::Request::try_from(request)
            .and_then(|request| self.http.execute(request));
        let answer = sent.and_then(|response| {
            let (code, retry_after) = (response.status(), retry_after(&response));
            response.bytes().map(|body| (code, retry_after, body))
        });
        match answer {
            Ok((code, retry_after, body)) => {
                self.remember(Answer::Status {
                    code: code.as_u16(),
                    retry_after,
                    body: body.clone(),
                });
                Ok(Response::builder().status(code).body(body)?)
            }
            Err(error) => {
                self.remember(Answer::Failed {
                    timed_out: error.is_timeout(),
                });
                Err(error.into())
            }
        }
    }
}

/// Seconds only: the HTTP-date form is not worth a clock comparison here.
fn retry_after(response: &reqwest::blocking::Response) -> Option<Duration> {
    let seconds: u64 = response
        .headers()
        .get("retry-after")?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}
