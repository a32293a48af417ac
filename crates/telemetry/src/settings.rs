//! Typed telemetry settings, read from the standard `OTEL_*` variables through a look-up function.
//!
//! Stricter than the OpenTelemetry specification, which warns and carries on: a value that cannot be used stops the
//! start with an error that names the variable. Telemetry that is silently off is found out during an incident.

mod unsupported;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::synthetic::Token;

/// A variable with a bad value: its name, the value, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct SettingError {
    /// The environment variable.
    pub variable: String,
    /// What was found and what is allowed.
    pub problem: String,
}

/// Looks a variable up; `None` when it is unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything [`crate::init()`] needs. No part of this crate reads the environment by itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `OTEL_SDK_DISABLED`: no spans and no exported logs; context still passes through.
    pub disabled: bool,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, percent-decoded.
    pub resource_attributes: Vec<(String, String)>,
    /// Where spans go; `None` when `OTEL_TRACES_EXPORTER` is `none`.
    pub traces: Option<Exporter>,
    /// Where log records go; `None` when `OTEL_LOGS_EXPORTER` is `none`.
    pub logs: Option<Exporter>,
    /// False when `OTEL_METRICS_EXPORTER` is `none`: nothing is counted.
    pub metrics: bool,
    /// `OTEL_TRACES_SAMPLER` and `_ARG`.
    pub sampler: Sampler,
    /// `OTEL_BSP_*`.
    pub span_queue: Batch,
    /// `OTEL_BLRP_*`.
    pub log_queue: Batch,
    /// `OTEL_PROPAGATORS` holds `tracecontext`.
    pub propagate_trace: bool,
    /// `OTEL_PROPAGATORS` holds `baggage`.
    pub propagate_baggage: bool,
    /// `OMNITRACE_TRUST_CALLERS`: `all` continues a caller's trace, `none` starts a new one and links to it.
    pub trust_callers: bool,
    /// `OMNITRACE_BAGGAGE_ALLOW`: baggage keys that are passed on; `None` means all.
    pub baggage_allow: Option<Vec<String>>,
    /// `OMNITRACE_PROBE_TOKEN`: what marks the requests of a probe; `None`: there are none.
    pub probe_token: Option<Token>,
    /// `RUST_LOG`: filter of the log output only, never of spans.
    pub log_filter: String,
    /// `OMNITRACE_LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `OMNITRACE_EXEMPLAR_INTERVAL_MS`: at most one new exemplar per series and bucket in this time.
    pub exemplar_interval: Duration,
}

/// One signal's OTLP/HTTP exporter.
#[derive(Debug, Clone)]
pub struct Exporter {
    /// Full URL, path included.
    pub endpoint: String,
    /// Extra request headers.
    pub headers: Vec<(String, String)>,
    /// Time-out of one attempt.
    pub timeout: Duration,
    /// gzip the body.
    pub gzip: bool,
    /// PEM file with the certificates to trust.
    pub certificate: Option<PathBuf>,
    /// PEM files of this client's certificate and key.
    pub client_identity: Option<(PathBuf, PathBuf)>,
}

/// Head sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Follow the parent's decision.
    pub parent_based: bool,
    /// Share of new traces that are kept, 0 to 1.
    pub ratio: f64,
}

/// A bounded export queue.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Longest wait before a batch is sent.
    pub delay: Duration,
    /// Items kept; more are dropped and counted.
    pub max_queue: usize,
    /// Items in one request.
    pub max_batch: usize,
    /// Longest time one batch is tried, retries included.
    pub timeout: Duration,
}

/// Shape of the log lines on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl Settings {
    /// Reads the variables through `lookup` (for a service: `&|name| std::env::var(name).ok()`).
    /// As the specification demands, an empty value counts as unset.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, SettingError> {
        let vars = Vars { lookup };
        unsupported::check(&vars)?;
        let (propagate_trace, propagate_baggage) = propagators(&vars)?;
        Ok(Self {
            disabled: vars.boolean("OTEL_SDK_DISABLED")?,
            service_name: vars.get("OTEL_SERVICE_NAME"),
            resource_attributes: vars.pairs("OTEL_RESOURCE_ATTRIBUTES")?,
            traces: signal(&vars, "TRACES", "/v1/traces")?,
            logs: signal(&vars, "LOGS", "/v1/logs")?,
            metrics: metrics(&vars)?,
            sampler: sampler(&vars)?,
            span_queue: batch(&vars, "OTEL_BSP", Duration::from_secs(5))?,
            log_queue: batch(&vars, "OTEL_BLRP", Duration::from_secs(1))?,
            propagate_trace,
            propagate_baggage,
            trust_callers: vars
                .choice("OMNITRACE_TRUST_CALLERS", &[("all", true), ("none", false)])?
                .unwrap_or(true),
            baggage_allow: baggage_allow(&vars),
            probe_token: probe_token(&vars)?,
            log_filter: log_filter(&vars)?,
            log_format: vars
                .choice(
                    "OMNITRACE_LOG_FORMAT",
                    &[
                        ("auto", LogFormat::Auto),
                        ("json", LogFormat::Json),
                        ("text", LogFormat::Text),
                    ],
                )?
                .unwrap_or(LogFormat::Auto),
            exemplar_interval: vars
                .millis("OMNITRACE_EXEMPLAR_INTERVAL_MS", Duration::from_secs(15))?,
        })
    }

    /// Whether spans or their ids leave the process: by an exporter, or by propagation to called services.
    pub(crate) fn needs_spans(&self) -> bool {
        let exported = self.traces.is_some() && !self.disabled;
        exported || self.propagate_trace || self.propagate_baggage || self.probe_token.is_some()
    }
}

struct Vars<'a> {
    lookup: Lookup<'a>,
}

fn error<T>(variable: &str, problem: impl Into<String>) -> Result<T, SettingError> {
    Err(SettingError {
        variable: variable.to_owned(),
        problem: problem.into(),
    })
}

impl Vars<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn parse<T: FromStr>(&self, name: &str, allowed: &str) -> Result<Option<T>, SettingError> {
        self.get(name)
            .map_or(Ok(None), |value| match value.parse() {
                Ok(parsed) => Ok(Some(parsed)),
                Err(_) => error(
                    name,
                    format!("{value:?} is not allowed here; give {allowed}"),
                ),
            })
    }

    fn choice<T: Copy>(
        &self,
        name: &str,
        allowed: &[(&str, T)],
    ) -> Result<Option<T>, SettingError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match allowed
            .iter()
            .find(|(text, _)| text.eq_ignore_ascii_case(&value))
        {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let texts: Vec<_> = allowed.iter().map(|(text, _)| *text).collect();
                error(
                    name,
                    format!(
                        "{value:?} is not supported; give one of {}",
                        texts.join(", ")
                    ),
                )
            }
        }
    }

    fn boolean(&self, name: &str) -> Result<bool, SettingError> {
        Ok(self
            .choice(name, &[("true", true), ("false", false)])?
            .unwrap_or(false))
    }

    fn millis(&self, name: &str, default: Duration) -> Result<Duration, SettingError> {
        Ok(self
            .parse(name, "a whole number of milliseconds")?
            .map_or(default, Duration::from_millis))
    }

    /// A positive number that fits the queue sizes.
    fn size(&self, name: &str, default: usize) -> Result<usize, SettingError> {
        match self.parse(name, "a whole number from 1 to 1000000")? {
            None => Ok(default),
            Some(size @ 1..=1_000_000) => Ok(size),
            Some(size) => error(
                name,
                format!("{size} is out of range; give a whole number from 1 to 1000000"),
            ),
        }
    }

    /// `key=value,key=value`, values percent-encoded (W3C Baggage octets).
    fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, SettingError> {
        let Some(text) = self.get(name) else {
            return Ok(Vec::new());
        };
        text.split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    Ok((key.trim().to_owned(), percent_decode(name, value.trim())?))
                }
                _ => error(
                    name,
                    "a part is not of the form key=value; give key1=value1,key2=value2".to_owned(),
                ),
            })
            .collect()
    }
}

fn percent_decode(name: &str, value: &str) -> Result<String, SettingError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code =
            (*first == b'%').then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()));
        match code {
            None => {
                bytes.push(*first);
                rest = tail;
            }
            Some(Some(hex)) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                bytes.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
                rest = &tail[2..];
            }
            Some(_) => {
                return error(
                    name,
                    "a % is not followed by two hex digits; write %25 for a plain %",
                );
            }
        }
    }
    String::from_utf8(bytes).or_else(|_| error(name, "a percent-encoded value is not UTF-8"))
}

/// The signal's variable wins over the general one.
fn signal_or_general(vars: &Vars<'_>, signal: &str, suffix: &str) -> (String, Option<String>) {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}");
    match vars.get(&own) {
        Some(value) => (own, Some(value)),
        None => {
            let general = format!("OTEL_EXPORTER_OTLP_{suffix}");
            let value = vars.get(&general);
            (general, value)
        }
    }
}

/// The value is a secret: it is not repeated.
fn probe_token(vars: &Vars<'_>) -> Result<Option<Token>, SettingError> {
    const NAME: &str = "OMNITRACE_PROBE_TOKEN";
    let Some(text) = vars.get(NAME) else {
        return Ok(None);
    };
    match Token::new(&text) {
        Some(token) => Ok(Some(token)),
        None => error(
            NAME,
            "cannot be used; give 16 or more visible ASCII characters, such as those of `openssl rand -hex 16`",
        ),
    }
}

/// Metrics are pulled from `/metrics` and never pushed; `none`: nothing is counted.
fn metrics(vars: &Vars<'_>) -> Result<bool, SettingError> {
    let choices = [("prometheus", true), ("none", false)];
    let wanted = vars.choice("OTEL_METRICS_EXPORTER", &choices)?;
    Ok(wanted.unwrap_or(true))
}

/// The signal's exporter, unless it is switched off. A value that cannot be used is an error in any case.
fn signal(vars: &Vars<'_>, signal: &str, path: &str) -> Result<Option<Exporter>, SettingError> {
    let choices = [("otlp", true), ("none", false)];
    let wanted = vars.choice(&format!("OTEL_{signal}_EXPORTER"), &choices)?;
    let exporter = exporter(vars, signal, path)?;
    Ok(wanted.unwrap_or(true).then_some(exporter))
}

fn exporter(vars: &Vars<'_>, signal: &str, path: &str) -> Result<Exporter, SettingError> {
    check_protocol(vars, signal)?;
    let name = |suffix| signal_or_general(vars, signal, suffix).0;
    let file = |suffix| signal_or_general(vars, signal, suffix);
    let (certificate, client_certificate, client_key) = (
        file("CERTIFICATE"),
        file("CLIENT_CERTIFICATE"),
        file("CLIENT_KEY"),
    );
    for (variable, path) in [&certificate, &client_certificate, &client_key] {
        readable(variable, path.as_deref())?;
    }
    let client_identity = match (client_certificate, client_key) {
        ((_, Some(certificate)), (_, Some(key))) => Some((certificate.into(), key.into())),
        ((_, None), (_, None)) => None,
        ((set, Some(_)), (missing, None)) | ((missing, None), (set, Some(_))) => {
            return error(
                &missing,
                format!("is unset, but {set} is set; a client certificate needs both"),
            );
        }
    };
    Ok(Exporter {
        endpoint: endpoint(vars, signal, path)?,
        headers: headers(vars, &name("HEADERS"))?,
        timeout: positive(
            &name("TIMEOUT"),
            vars.millis(&name("TIMEOUT"), Duration::from_secs(10))?,
        )?,
        gzip: vars
            .choice(&name("COMPRESSION"), &[("gzip", true), ("none", false)])?
            .unwrap_or(false),
        certificate: certificate.1.map(PathBuf::from),
        client_identity,
    })
}

fn check_protocol(vars: &Vars<'_>, signal: &str) -> Result<(), SettingError> {
    match signal_or_general(vars, signal, "PROTOCOL") {
        (name, Some(value)) if value != "http/protobuf" => error(
            &name,
            format!(
                "{value:?} is not spoken; give http/protobuf and point the endpoint at the OTLP/HTTP port, usually 4318"
            ),
        ),
        _ => Ok(()),
    }
}

fn endpoint(vars: &Vars<'_>, signal: &str, path: &str) -> Result<String, SettingError> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    // A signal's own endpoint is used as it is; the general one gets the signal's path appended.
    let (name, value, path) = match vars.get(&own) {
        Some(value) => (own, value, ""),
        None => {
            let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
            (
                name.to_owned(),
                vars.get(name)
                    .unwrap_or_else(|| "http://localhost:4318".to_owned()),
                path,
            )
        }
    };
    match url::Url::parse(&value) {
        Ok(url) if url.fragment().is_some() => error(
            &name,
            "an endpoint has no fragment: remove it from the `#` on",
        ),
        Ok(mut url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            if path.is_empty() {
                return Ok(value);
            }
            // Before the query, if there is one.
            let whole = format!("{}{path}", url.path().trim_end_matches('/'));
            url.set_path(&whole);
            Ok(url.into())
        }
        _ => error(
            &name,
            format!(
                "{:?} is no http:// or https:// URL; give one like http://localhost:4318",
                redact::redact(&value)
            ),
        ),
    }
}

fn headers(vars: &Vars<'_>, name: &str) -> Result<Vec<(String, String)>, SettingError> {
    let headers = vars.pairs(name)?;
    for (key, value) in &headers {
        let valid = http::header::HeaderName::try_from(key).is_ok()
            && http::header::HeaderValue::try_from(value).is_ok();
        if !valid {
            return error(
                name,
                format!("{key:?} or its value is no valid HTTP header"),
            );
        }
    }
    Ok(headers)
}

fn positive(name: &str, duration: Duration) -> Result<Duration, SettingError> {
    if duration.is_zero() {
        error(name, "0 would let nothing through; give at least 1")
    } else {
        Ok(duration)
    }
}

fn readable(variable: &str, path: Option<&str>) -> Result<(), SettingError> {
    match path.map(std::fs::File::open) {
        Some(Err(problem)) => error(
            variable,
            format!("{:?} cannot be read: {problem}", path.unwrap_or_default()),
        ),
        _ => Ok(()),
    }
}

fn sampler(vars: &Vars<'_>) -> Result<Sampler, SettingError> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let named = vars.choice(
        NAME,
        &[
            ("always_on", (false, Some(1.0))),
            ("always_off", (false, Some(0.0))),
            ("traceidratio", (false, None)),
            ("parentbased_always_on", (true, Some(1.0))),
            ("parentbased_always_off", (true, Some(0.0))),
            ("parentbased_traceidratio", (true, None)),
        ],
    )?;
    let argument: Option<f64> = vars.parse(ARGUMENT, "a number from 0 to 1")?;
    if argument.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
        return error(ARGUMENT, "is out of range; give a number from 0 to 1");
    }
    let (parent_based, fixed) = named.unwrap_or((true, Some(1.0)));
    if fixed.is_some() && argument.is_some() {
        return error(
            ARGUMENT,
            format!(
                "has no meaning for this {NAME}; give traceidratio or parentbased_traceidratio"
            ),
        );
    }
    Ok(Sampler {
        parent_based,
        ratio: fixed.or(argument).unwrap_or(1.0),
    })
}

fn batch(vars: &Vars<'_>, prefix: &str, delay: Duration) -> Result<Batch, SettingError> {
    let name = |suffix| format!("{prefix}_{suffix}");
    let max_queue = vars.size(&name("MAX_QUEUE_SIZE"), 2048)?;
    let max_batch = vars.size(&name("MAX_EXPORT_BATCH_SIZE"), 512.min(max_queue))?;
    if max_batch > max_queue {
        return error(
            &name("MAX_EXPORT_BATCH_SIZE"),
            format!(
                "{max_batch} is more than {} ({max_queue}); give at most that",
                name("MAX_QUEUE_SIZE")
            ),
        );
    }
    Ok(Batch {
        delay: vars.millis(&name("SCHEDULE_DELAY"), delay)?,
        max_queue,
        max_batch,
        timeout: positive(
            &name("EXPORT_TIMEOUT"),
            vars.millis(&name("EXPORT_TIMEOUT"), Duration::from_secs(30))?,
        )?,
    })
}

fn propagators(vars: &Vars<'_>) -> Result<(bool, bool), SettingError> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let text = vars
        .get(NAME)
        .unwrap_or_else(|| "tracecontext,baggage".to_owned());
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| !["tracecontext", "baggage", "none"].contains(name))
    {
        return error(
            NAME,
            format!("{unknown:?} is not supported; give tracecontext, baggage, both, or none"),
        );
    }
    if names.contains(&"none") && names.len() > 1 {
        return error(NAME, "none stands alone; give none, or a list without it");
    }
    Ok((names.contains(&"tracecontext"), names.contains(&"baggage")))
}

fn baggage_allow(vars: &Vars<'_>) -> Option<Vec<String>> {
    // Set but empty is meaningful here: nothing passes.
    let text = (vars.lookup)("OMNITRACE_BAGGAGE_ALLOW")?;
    let keys: Vec<String> = text
        .split(',')
        .map(|key| key.trim().to_owned())
        .filter(|key| !key.is_empty())
        .collect();
    (!keys.iter().any(|key| key == "*")).then_some(keys)
}

fn log_filter(vars: &Vars<'_>) -> Result<String, SettingError> {
    let filter = vars.get("RUST_LOG").unwrap_or_else(|| "info".to_owned());
    match crate::logs::check_filter(&filter) {
        Ok(()) => Ok(filter),
        Err(problem) => error(
            "RUST_LOG",
            format!(
                "{filter:?} is no filter ({problem}); give a level or target=level, as in info,data=debug"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::from_lookup(&|name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_bad_value_names_its_variable() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "maybe"),
            ("OTEL_RESOURCE_ATTRIBUTES", "novalue"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://x"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/v1/traces#a"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x/#a"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "bad header=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "-1"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_TRACES_EXPORTER", "console"),
            ("OTEL_LOGS_EXPORTER", "otlp,console"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"),
            ("OTEL_CONFIG_FILE", "/etc/otel.yaml"),
            ("RUST_LOG", "data=loud"),
            ("OMNITRACE_TRUST_CALLERS", "some"),
            ("OMNITRACE_LOG_FORMAT", "xml"),
        ] {
            let message = read(&[(name, value)]).expect_err(name).to_string();
            assert!(message.starts_with(&format!("{name}: ")), "{message}");
        }
    }

    #[test]
    fn spans_are_made_for_an_exporter_or_a_propagator() {
        const OFF: (&str, &str) = ("OTEL_PROPAGATORS", "none");
        for (vars, needed) in [
            (&[][..], true),
            (&[OFF], true),
            (&[("OTEL_TRACES_EXPORTER", "none")], true),
            (&[("OTEL_SDK_DISABLED", "true")], true),
            (&[OFF, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[OFF, ("OTEL_SDK_DISABLED", "true")], false),
        ] {
            assert_eq!(read(vars).unwrap().needs_spans(), needed, "{vars:?}");
        }
    }

    #[test]
    fn client_certificate_needs_its_key() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let message = read(&[("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", file)])
            .expect_err("key missing")
            .to_string();
        assert!(
            message.starts_with("OTEL_EXPORTER_OTLP_CLIENT_KEY: "),
            "{message}"
        );
    }

    #[test]
    fn the_signal_wins_and_paths_follow_the_specification() {
        let settings = read(&[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://me:secret@collector:4318/in/?tenant=a",
            ),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:9/in"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "77"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=a%20b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version=2,team=ops"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", ""),
        ])
        .unwrap();
        let (traces, logs) = (settings.traces.unwrap(), settings.logs.unwrap());
        assert_eq!(
            traces.endpoint,
            "http://me:secret@collector:4318/in/v1/traces?tenant=a"
        );
        assert_eq!(logs.endpoint, "http://logs:9/in");
        assert_eq!(traces.timeout, Duration::from_secs(10));
        assert_eq!(logs.timeout, Duration::from_millis(77));
        assert_eq!(traces.headers, [("x-team".to_owned(), "a b".to_owned())]);
        assert_eq!(settings.resource_attributes.len(), 2);
        assert_eq!(
            settings.sampler,
            Sampler {
                parent_based: true,
                ratio: 0.25
            }
        );
        assert_eq!(settings.span_queue.max_queue, 2048);
    }
}
