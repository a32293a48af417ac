//! Herald's settings. It reads no environment: the command line passes them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use service::settings::{SettingError, base_url, wrong};
use url::Url;

use crate::access::Secret;
use crate::backend_tls::BackendTls;
use crate::front_tls::FrontTls;
use crate::links::without_login;
use crate::setting_files::read;

/// The settings as texts; an empty text counts as unset.
#[derive(Debug, Default, Clone)]
pub struct RawSettings {
    /// `PROMETHEUS_URL`.
    pub prometheus_url: Option<String>,
    /// `JAEGER_URL`.
    pub jaeger_url: Option<String>,
    /// `LOKI_URL`.
    pub loki_url: Option<String>,
    /// `GRAFANA_URL`, for links only.
    pub grafana_url: Option<String>,
    /// `JAEGER_PUBLIC_URL`: Jaeger's address for a person's browser.
    pub jaeger_public_url: Option<String>,
    /// `RUNBOOKS_URL`: the address below which runbooks lie that alerts name by a path.
    pub runbooks_url: Option<String>,
    /// `HERALD_SLACK_WEBHOOK_URL`.
    pub slack_url: Option<String>,
    /// `HERALD_SLACK_WEBHOOK_URL_FILE`: a file with that URL.
    pub slack_url_file: Option<PathBuf>,
    /// `HERALD_WEBHOOK_URL`.
    pub webhook_url: Option<String>,
    /// `HERALD_WEBHOOK_URL_FILE`.
    pub webhook_url_file: Option<PathBuf>,
    /// `HERALD_WATCHDOG_URL`: the receiver that raises the alarm when the alert that always fires stops.
    pub watchdog_url: Option<String>,
    /// `HERALD_WATCHDOG_URL_FILE`.
    pub watchdog_url_file: Option<PathBuf>,
    /// `HERALD_SECRET`: the token that Alertmanager sends as `Authorization: Bearer …`; separate several with spaces.
    pub secret: Option<String>,
    /// `HERALD_SECRET_FILE`: a file with it; several stand on lines of their own.
    pub secret_file: Option<PathBuf>,
}

/// Settings of [`crate::run()`].
#[derive(Debug)]
pub struct Settings {
    /// Its `service.version`, unless `OTEL_RESOURCE_ATTRIBUTES` says otherwise.
    pub build: &'static str,
    /// The listening address. Port 0 chooses a free port, which the log line `listening` names.
    pub listen: SocketAddr,
    /// `HERALD_ALLOWED_HOSTS`: names that the webhook answers to, besides addresses and `localhost`.
    pub allowed_hosts: listen::Hosts,
    /// Certificates of the listener.
    pub tls: FrontTls,
    /// The directory that keeps notifications until they are delivered.
    pub state_dir: PathBuf,
    /// Backends, links and targets.
    pub raw: RawSettings,
    /// Certificates for backends.
    pub backend_tls: BackendTls,
    /// How long the collection of evidence may hold a notification up.
    pub evidence_timeout: Duration,
    /// The maximum number of notifications that wait for one target. Herald refuses further ones, and Alertmanager retries
    /// them.
    pub queue_limit: usize,
    /// A notification that could not be delivered for so long is set aside.
    pub give_up_after: Duration,
    /// After all targets have accepted nothing for this long, the alert that always fires is not passed on.
    pub silent_after: Duration,
    /// Standard input is a pipe from the parent: shut down at its end.
    pub parent_pipe: bool,
    /// Everything `OTEL_*`.
    pub telemetry: telemetry::Settings,
}

/// The backends of evidence.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sources {
    pub(crate) prometheus: Option<Url>,
    pub(crate) jaeger: Option<Url>,
    pub(crate) loki: Option<Url>,
}

/// The base URLs of links.
#[derive(Debug, Default, Clone)]
pub(crate) struct LinkBases {
    pub(crate) grafana: Option<Url>,
    pub(crate) jaeger: Option<Url>,
    pub(crate) runbooks: Option<Url>,
}

/// A URL that contains a token. No output contains it.
#[derive(Clone)]
pub(crate) struct SecretUrl(Url);

impl SecretUrl {
    /// The URL, for the request itself.
    pub(crate) fn reveal(&self) -> Url {
        self.0.clone()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.host_str().unwrap_or_default())
    }
}

/// The targets of notifications.
#[derive(Debug, Default, Clone)]
pub(crate) struct Targets {
    pub(crate) slack: Option<SecretUrl>,
    pub(crate) webhook: Option<SecretUrl>,
    /// The receiver of the alert that always fires; no other target gets that alert.
    pub(crate) watchdog: Option<SecretUrl>,
}

impl RawSettings {
    pub(crate) fn sources(&self) -> Result<Sources, SettingError> {
        Ok(Sources {
            prometheus: site("PROMETHEUS_URL", self.prometheus_url.as_deref())?,
            jaeger: site("JAEGER_URL", self.jaeger_url.as_deref())?,
            loki: site("LOKI_URL", self.loki_url.as_deref())?,
        })
    }

    pub(crate) fn sites(&self) -> Result<LinkBases, SettingError> {
        let jaeger = site("JAEGER_PUBLIC_URL", self.jaeger_public_url.as_deref())?;
        let jaeger = match jaeger {
            Some(url) => Some(url),
            None => site("JAEGER_URL", self.jaeger_url.as_deref())?,
        };
        let grafana = site("GRAFANA_URL", self.grafana_url.as_deref())?;
        let runbooks = site("RUNBOOKS_URL", self.runbooks_url.as_deref())?;
        Ok(LinkBases {
            grafana: grafana.map(without_login),
            jaeger: jaeger.map(without_login),
            runbooks: runbooks.map(without_login),
        })
    }

    pub(crate) fn targets(&self) -> Result<Targets, SettingError> {
        let read = |name, value: &Option<String>, file: &Option<PathBuf>| {
            secret(name, value.as_deref(), file.as_ref())
        };
        Ok(Targets {
            slack: read(
                "HERALD_SLACK_WEBHOOK_URL",
                &self.slack_url,
                &self.slack_url_file,
            )?,
            webhook: read(
                "HERALD_WEBHOOK_URL",
                &self.webhook_url,
                &self.webhook_url_file,
            )?,
            watchdog: read(
                "HERALD_WATCHDOG_URL",
                &self.watchdog_url,
                &self.watchdog_url_file,
            )?,
        })
    }
}

impl RawSettings {
    /// The secrets that Alertmanager may send. A setting without a secret is an error, because it would admit every client.
    pub(crate) fn secrets(&self) -> Result<Arc<[Secret]>, SettingError> {
        let from_file = contents("HERALD_SECRET_FILE", self.secret_file.as_ref())?;
        let allowed = "allowed: 16 to 512 letters, digits and signs, without spaces; several are separated by spaces or lines";
        let blank =
            |text: &Option<String>| text.as_deref().is_some_and(|text| text.trim().is_empty());
        if blank(&from_file) {
            return Err(wrong(
                "HERALD_SECRET_FILE",
                format!("the file is empty; {allowed}"),
            ));
        }
        if blank(&self.secret) && self.secret.as_deref() != Some("") {
            return Err(wrong(
                "HERALD_SECRET",
                format!("holds only blanks; {allowed}"),
            ));
        }
        let texts = [
            ("HERALD_SECRET", &self.secret),
            ("HERALD_SECRET_FILE", &from_file),
        ];
        let each = texts.iter().flat_map(|(variable, text)| {
            let words = text.iter().flat_map(|text| text.split_whitespace());
            words.map(|word| Secret::new(word).ok_or_else(|| wrong(variable, allowed)))
        });
        each.collect()
    }
}

/// The secret that a client of herald sends: the first one, from the same variable or file.
///
/// # Errors
/// When herald could not use them either.
pub fn secret_to_show(
    secret: Option<String>,
    secret_file: Option<PathBuf>,
) -> Result<Option<String>, SettingError> {
    let raw = RawSettings {
        secret,
        secret_file,
        ..RawSettings::default()
    };
    Ok(raw.secrets()?.first().map(Secret::reveal))
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// The base URL of a backend, perhaps below a path. A user and password in it are sent as basic authentication.
fn site(variable: &str, text: Option<&str>) -> Result<Option<Url>, SettingError> {
    let Some(text) = given(text) else {
        return Ok(None);
    };
    base_url(text).map(Some).ok_or_else(|| {
        let example = "allowed: http(s)://[user:password@]host[:port][/path] without query";
        wrong(variable, example)
    })
}

/// The text of a file, if one is named.
fn contents(variable: &str, file: Option<&PathBuf>) -> Result<Option<String>, SettingError> {
    let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(None);
    };
    let text = String::from_utf8(read(variable, path)?);
    let problem = |_| wrong(variable, format!("{} is not UTF-8", path.display()));
    text.map(Some).map_err(problem)
}

fn secret(
    variable: &str,
    value: Option<&str>,
    file: Option<&PathBuf>,
) -> Result<Option<SecretUrl>, SettingError> {
    let from_file = contents(&format!("{variable}_FILE"), file)?;
    let text = given(value).or_else(|| given(from_file.as_deref()));
    let Some(text) = text else { return Ok(None) };
    // The value contains a token, so the error does not repeat it.
    let url = Url::parse(text).ok();
    let http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    url.filter(http)
        .map(|url| Some(SecretUrl(url)))
        .ok_or_else(|| wrong(variable, "cannot be read; allowed: an http(s) URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_none_and_a_bad_url_names_its_variable_without_the_secret() {
        let raw = RawSettings {
            slack_url: Some(" ".to_owned()),
            loki_url: Some(String::new()),
            ..RawSettings::default()
        };
        assert!(raw.targets().unwrap().slack.is_none() && raw.sources().unwrap().loki.is_none());
        let raw = RawSettings {
            slack_url: Some("hooks.slack.example/T0/s3cret".to_owned()),
            ..RawSettings::default()
        };
        let error = raw.targets().unwrap_err().to_string();
        assert!(
            error.starts_with("HERALD_SLACK_WEBHOOK_URL: ") && !error.contains("s3cret"),
            "{error}"
        );
        let raw = RawSettings {
            jaeger_url: Some("jaeger:16686".to_owned()),
            ..RawSettings::default()
        };
        assert!(
            raw.sources()
                .unwrap_err()
                .to_string()
                .starts_with("JAEGER_URL: allowed: http")
        );
    }

    #[test]
    fn a_secret_comes_from_a_file_too_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slack");
        let raw = RawSettings {
            slack_url_file: Some(path.clone()),
            ..RawSettings::default()
        };
        assert!(
            raw.targets()
                .unwrap_err()
                .to_string()
                .starts_with("HERALD_SLACK_WEBHOOK_URL_FILE: cannot read")
        );
        std::fs::write(&path, "https://hooks.slack.example/T0/s3cret\n").unwrap();
        let targets = raw.targets().unwrap();
        assert_eq!(
            targets.slack.as_ref().unwrap().reveal().path(),
            "/T0/s3cret"
        );
        assert!(!format!("{targets:?}").contains("s3cret"));
    }
}
