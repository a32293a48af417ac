//! OTLP over HTTP: the client, and what its answers mean for a retry.

use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::Resource;
use prost::Message;
use reqwest::blocking::Response;

use crate::init::InitError;
use crate::metric::Counter;
use crate::names::process::{LOG_BYTES, SPAN_BYTES};
use crate::pipeline::ExportOutcome;
use crate::settings::Exporter;
use crate::{logs, otlp};

/// How long a connection without a request may be used again. Servers close one after 5 s or later, and what is sent just then is
/// lost, or answered with 408.
pub(crate) const IDLE: Duration = Duration::from_secs(2);

/// Most of an answer that is read: all it can say is how many items were rejected, and why.
const MAX_ANSWER: u64 = 64 * 1024;

/// The `User-Agent` that the OTLP specification asks for.
const AGENT: &str = concat!(
    "OTel-OTLP-Exporter-omnitrace-rust/",
    env!("CARGO_PKG_VERSION")
);

/// Makes the function that exports one batch of spans.
pub(crate) fn spans(
    settings: &Exporter,
    resource: &Resource,
) -> Result<impl FnMut(&mut Vec<otlp::Span>) -> ExportOutcome + Send + use<>, InitError> {
    let (mut client, resource) = (Client::new(settings, SPAN_BYTES)?, resource.clone());
    Ok(move |batch: &mut Vec<otlp::Span>| {
        client.take(batch, |batch| otlp::spans(batch, &resource));
        client.send(|body| {
            let answer = ExportTraceServiceResponse::decode(body).ok()?;
            Some(answer.partial_success?.rejected_spans)
        })
    })
}

/// Makes the function that exports one batch of log records.
pub(crate) fn logs(
    settings: &Exporter,
    resource: &Resource,
) -> Result<impl FnMut(&mut Vec<logs::Record>) -> ExportOutcome + Send + use<>, InitError> {
    let (mut client, resource) = (Client::new(settings, LOG_BYTES)?, resource.clone());
    Ok(move |batch: &mut Vec<logs::Record>| {
        client.take(batch, |batch| otlp::logs(batch, &resource));
        client.send(|body| {
            let answer = ExportLogsServiceResponse::decode(body).ok()?;
            Some(answer.partial_success?.rejected_log_records)
        })
    })
}

/// A blocking client for one endpoint, with the batch that it sends.
#[derive(Debug)]
struct Client {
    http: reqwest::blocking::Client,
    endpoint: String,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
    /// Counts their bytes.
    encoded: Counter,
    /// Kept until it need not be sent again.
    body: Bytes,
}

impl Client {
    fn new(settings: &Exporter, encoded: Counter) -> Result<Self, InitError> {
        crate::install_tls();
        encoded.increment(0);
        let (endpoint, timeout) = (settings.endpoint.clone(), settings.timeout);
        let (gzip, headers) = (settings.gzip, headers(settings)?);
        let settings = settings.clone();
        // The blocking client starts a runtime of its own and must not do so inside actix's.
        let http = std::thread::spawn(move || build(&settings))
            .join()
            .map_err(|_| InitError::Thread)??;
        Ok(Self {
            http,
            endpoint,
            headers,
            timeout,
            gzip,
            encoded,
            body: Bytes::new(),
        })
    }

    /// Encodes the batch as the request body and empties it. An empty batch was encoded by an earlier attempt.
    fn take<T>(&mut self, batch: &mut Vec<T>, encode: impl FnOnce(&[T]) -> Vec<u8>) {
        if !batch.is_empty() {
            let body = encode(batch);
            self.encoded.increment(body.len() as u64);
            self.body = if self.gzip { gzipped(&body) } else { body }.into();
            batch.clear();
        }
    }

    /// One attempt. `rejected` reads the number of items that an accepting backend turned down.
    fn send(&mut self, rejected: impl Fn(&[u8]) -> Option<i64>) -> ExportOutcome {
        let request = self.http.post(&self.endpoint);
        let request = request.headers(self.headers.clone());
        let sent = match request.body(self.body.clone()).send() {
            Ok(response) => judge(response, self.timeout, rejected),
            Err(error) => ExportOutcome::Retry {
                after: None,
                error_type: if error.is_timeout() {
                    "timeout"
                } else {
                    "connection"
                },
            },
        };
        if !matches!(sent, ExportOutcome::Retry { .. }) {
            // Megabytes, perhaps, and an idle process sends nothing that would take their place.
            self.body = Bytes::new();
        }
        sent
    }
}

/// Headers of every request; headers from the settings win.
fn headers(settings: &Exporter) -> Result<HeaderMap, InitError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, protobuf);
    if settings.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in &settings.headers {
        let name = HeaderName::try_from(name).map_err(http::Error::from)?;
        headers.insert(
            name,
            HeaderValue::try_from(value).map_err(http::Error::from)?,
        );
    }
    Ok(headers)
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Whether a retry makes sense depends on the status and on `Retry-After` (OTLP specification, "Failures").
fn judge(
    response: Response,
    time: Duration,
    rejected: impl Fn(&[u8]) -> Option<i64>,
) -> ExportOutcome {
    match response.status().as_u16() {
        200..=299 => ExportOutcome::Accepted {
            rejected: rejected(&start_of_body(response, time))
                .and_then(|count| count.try_into().ok())
                .unwrap_or(0),
        },
        429 | 502 | 503 | 504 => ExportOutcome::Retry {
            after: retry_after(response.headers()),
            error_type: "http",
        },
        _ => ExportOutcome::Refused { error_type: "http" },
    }
}

fn build(settings: &Exporter) -> Result<reqwest::blocking::Client, InitError> {
    let mut client = reqwest::blocking::Client::builder()
        .timeout(settings.timeout)
        .pool_idle_timeout(IDLE)
        // Telemetry and credentials must reach the configured endpoint only.
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

/// The part of a successful answer's body that comes in time. A body that is torn, late or endless does not make the export a failure.
fn start_of_body(response: Response, time: Duration) -> Vec<u8> {
    let (mut body, mut chunk) = (Vec::new(), [0; 8192]);
    let (mut start, end) = (response.take(MAX_ANSWER), Instant::now() + time);
    while Instant::now() < end
        && let Ok(count @ 1..) = start.read(&mut chunk)
    {
        body.extend_from_slice(&chunk[..count]);
    }
    body
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
            endpoint: "http://127.0.0.1:1/".to_owned(),
            headers: Vec::new(),
            timeout: Duration::from_secs(5),
            gzip: false,
            certificate: None,
            client_identity: None,
        };
        let mut client = Client::new(&settings, SPAN_BYTES).unwrap();
        let mut batch = vec![()];
        client.take(&mut batch, |_| b"batch".to_vec());
        assert_eq!(batch, []);
        let sent = client.send(|_| None);
        assert!(
            matches!(sent, ExportOutcome::Retry { .. }),
            "nobody listens: {sent:?}"
        );
        client.take(&mut batch, |_| unreachable!("it is made already"));
        assert_eq!(client.body, "batch");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        client.endpoint = format!("http://me:secret@{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"batch") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            sent.unwrap();
            String::from_utf8(request).unwrap()
        });
        let sent = client.send(|_| None);
        assert!(matches!(sent, ExportOutcome::Accepted { .. }), "{sent:?}");
        assert_eq!(client.body, "");
        let request = server.join().unwrap();
        // The login of the endpoint's URL.
        assert!(request.contains("\r\nauthorization: Basic bWU6c2VjcmV0\r\n"));
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
