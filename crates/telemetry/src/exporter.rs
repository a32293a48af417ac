//! OTLP over HTTP: the client, and what its answers mean for a retry.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use opentelemetry::InstrumentationScope;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prost::Message;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::init::InitError;
use crate::pipeline::Sent;
use crate::settings::Exporter;

/// Most of an answer that is read: all it can say is how many items were rejected, and why.
const MAX_ANSWER: u64 = 64 * 1024;

/// Makes the function that exports one batch of spans.
pub(crate) fn spans(
    settings: &Exporter,
    resource: &Resource,
) -> Result<impl FnMut(&mut Vec<SpanData>) -> Sent + Send + use<>, InitError> {
    let client = Client {
        again: Some(Arc::default()),
        ..Client::new(settings)?
    };
    let mut exporter =
        configured(SpanExporter::builder().with_http(), settings, &client).build()?;
    exporter.set_resource(resource);
    Ok(move |batch: &mut Vec<SpanData>| {
        // The exporter takes spans for good. What it has made of them is sent again, if need be.
        let result = if batch.is_empty() {
            Some(client.send_again())
        } else {
            exporter.export(std::mem::take(batch)).now_or_never()
        };
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
) -> Result<impl FnMut(&mut Vec<SdkLogRecord>) -> Sent + Send + use<>, InitError> {
    let client = Client::new(settings)?;
    let mut exporter = configured(LogExporter::builder().with_http(), settings, &client).build()?;
    exporter.set_resource(resource);
    let scope = InstrumentationScope::builder(crate::SCOPE).build();
    Ok(move |batch: &mut Vec<SdkLogRecord>| {
        let borrowed: Vec<_> = batch.iter().map(|record| (record, &scope)).collect();
        let result = exporter.export(LogBatch::new(&borrowed)).now_or_never();
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
    timeout: Duration,
    last: Arc<Mutex<Answer>>,
    /// The request that may have to be sent again, where the batch cannot be.
    again: Option<Arc<Mutex<Request<Bytes>>>>,
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
        let (settings, timeout) = (settings.clone(), settings.timeout);
        // The blocking client starts a runtime of its own and must not do so inside actix's.
        let http = std::thread::spawn(move || build(&settings))
            .join()
            .map_err(|_| InitError::Thread)??;
        Ok(Self {
            http,
            timeout,
            last: Arc::default(),
            again: None,
        })
    }

    fn remember(&self, answer: Answer) {
        *lock(&self.last) = answer;
    }

    /// Sends the last request once more.
    fn send_again(&self) -> OTelSdkResult {
        let again = self.again.as_deref();
        let request = again.map_or_else(Request::default, |request| lock(request).clone());
        let sent = self.send(request).map(|response| response.status());
        match sent {
            Ok(status) if status.is_success() => Ok(()),
            failed => Err(OTelSdkError::InternalFailure(format!("{failed:?}"))),
        }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = reqwest::blocking::Request::try_from(request)
            .and_then(|request| self.http.execute(request));
        match sent {
            Ok(response) => {
                let code = response.status();
                let retry_after = retry_after(response.headers());
                let body = start_of_body(response, self.timeout);
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

    /// `rejected` reads the number of items that an accepting backend turned down.
    fn verdict(
        &self,
        result: Option<OTelSdkResult>,
        rejected: impl Fn(&[u8]) -> Option<i64>,
    ) -> Sent {
        let last = std::mem::take(&mut *lock(&self.last));
        let sent = judge(last, result, rejected);
        if let (Some(request), false) = (&self.again, matches!(sent, Sent::Retry { .. })) {
            // Megabytes, perhaps, and an idle process sends nothing that would take their place.
            *lock(request) = Request::default();
        }
        sent
    }
}

fn judge(
    last: Answer,
    result: Option<OTelSdkResult>,
    rejected: impl Fn(&[u8]) -> Option<i64>,
) -> Sent {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build(settings: &Exporter) -> Result<reqwest::blocking::Client, InitError> {
    let mut client = reqwest::blocking::Client::builder()
        .timeout(settings.timeout)
        // What is sent, credentials among it, is for the endpoint alone.
        .redirect(reqwest::redirect::Policy::none())
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
        if roots.is_empty() {
            return Err(InitError::Certificate {
                variable: "OTEL_EXPORTER_OTLP_CERTIFICATE",
                path: path.clone(),
                problem: "the file holds no certificate; give a PEM file".to_owned(),
            });
        }
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
        if let Some(again) = &self.again {
            lock(again).clone_from(&request);
        }
        self.send(request)
    }
}

/// What comes of the body in time. The status says what became of the batch: of a refusal nothing is read, and a body
/// that is torn, late or endless makes no failure of a success.
fn start_of_body(response: reqwest::blocking::Response, time: Duration) -> Bytes {
    let (mut body, mut chunk) = (Vec::new(), [0; 8192]);
    let limit = if response.status().is_success() {
        MAX_ANSWER
    } else {
        0
    };
    let (mut start, end) = (response.take(limit), Instant::now() + time);
    while Instant::now() < end
        && let Ok(count @ 1..) = start.read(&mut chunk)
    {
        body.extend_from_slice(&chunk[..count]);
    }
    body.into()
}

/// What an answer asks for with `Retry-After`, in seconds or until a date: by the sender's own clock, if it shows it. Any
/// length: the caller knows its own ceiling.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let after = text(RETRY_AFTER)?;
    if !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too large a number is a very long time.
        return Some(Duration::from_secs(after.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let left = then.duration_since(now.unwrap_or_else(SystemTime::now));
    Some(left.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_until_it_need_not_be_sent_again() {
        let settings = Exporter {
            endpoint: String::new(),
            headers: Vec::new(),
            timeout: Duration::from_secs(5),
            gzip: false,
            certificate: None,
            client_identity: None,
        };
        let client = Client {
            again: Some(Arc::default()),
            ..Client::new(&settings).unwrap()
        };
        let kept = || lock(client.again.as_deref().unwrap()).body().len();
        let request = Request::post("http://127.0.0.1:1/").body(Bytes::from_static(b"batch"));
        let sent = client.send_bytes(request.unwrap()).now_or_never().unwrap();
        sent.expect_err("nobody listens on port 1");
        let unreachable = Some(Err(OTelSdkError::AlreadyShutdown));
        let sent = client.verdict(unreachable, |_| None);
        assert!(matches!(sent, Sent::Retry { .. }), "{sent:?}");
        assert_eq!(kept(), 5);
        client.remember(Answer::Status {
            code: 200,
            retry_after: None,
            body: Bytes::new(),
        });
        let sent = client.verdict(Some(Ok(())), |_| None);
        assert!(matches!(sent, Sent::Accepted { .. }), "{sent:?}");
        assert_eq!(kept(), 0);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = [(RETRY_AFTER, text), (DATE, now)];
            let headers = headers.map(|(name, value)| (name, value.parse().unwrap()));
            let found = retry_after(&HeaderMap::from_iter(headers));
            assert_eq!(found, seconds.map(Duration::from_secs), "{text:?}");
        }
        // No clock of its own: ours.
        let past = [(RETRY_AFTER, now.parse().unwrap())];
        assert_eq!(
            retry_after(&HeaderMap::from_iter(past)),
            Some(Duration::ZERO)
        );
    }
}
