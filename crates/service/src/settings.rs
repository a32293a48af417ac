//! Settings from the environment. This file is the only one that reads it.
//!
//! An empty variable counts as unset. A bad value is a start-up error that names the variable, what it got
//! and what is allowed.
use std::cell::RefCell;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::host_guard::{HostGuard, OPEN};
use telemetry::ServiceInfo;
pub use telemetry::SettingError;
use url::Url;

/// Reads one variable; the error means that its value is not text.
type Lookup = Box<dyn Fn(&str) -> Result<Option<String>, String>>;

/// Typed access to environment variables.
pub struct Env {
    lookup: Lookup,
}

impl Env {
    /// The environment of this process.
    pub fn process() -> Self {
        Self {
            lookup: Box::new(|name| match std::env::var(name) {
                Ok(value) => Ok(Some(value)),
                Err(std::env::VarError::NotPresent) => Ok(None),
                Err(std::env::VarError::NotUnicode(_)) => Err("is not valid UTF-8".to_owned()),
            }),
        }
    }

    /// Names of the variables of this process, as far as they are text.
    pub fn process_names() -> Vec<String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        names.collect()
    }

    /// The same environment without the variables that are `hidden`.
    pub fn without(self, hidden: impl Fn(&str) -> bool + 'static) -> Self {
        let lookup = move |name: &str| match hidden(name) {
            true => Ok(None),
            false => (self.lookup)(name),
        };
        Self {
            lookup: Box::new(lookup),
        }
    }

    /// A fixed environment, for tests.
    pub fn of<const N: usize>(pairs: [(&'static str, &'static str); N]) -> Self {
        Self {
            lookup: Box::new(move |name| {
                Ok(pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned()))
            }),
        }
    }

    /// The variable's text; `None` when unset or empty.
    pub fn text(&self, name: &str) -> Result<Option<String>, SettingError> {
        let value = (self.lookup)(name).map_err(|problem| wrong(name, problem))?;
        Ok(value
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
    }

    /// A variable without which the service cannot start; `hint` says what to set.
    pub fn required(&self, name: &str, hint: &str) -> Result<String, SettingError> {
        self.text(name)?
            .ok_or_else(|| wrong(name, format!("is not set; {hint}")))
    }

    /// A number in a range.
    pub fn number<T>(
        &self,
        name: &str,
        default: T,
        allowed: RangeInclusive<T>,
    ) -> Result<T, SettingError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        match text.parse::<T>() {
            Ok(value) if allowed.contains(&value) => Ok(value),
            _ => Err(wrong(
                name,
                format!(
                    "got {text:?}; allowed: a number from {} to {} (default {default})",
                    allowed.start(),
                    allowed.end()
                ),
            )),
        }
    }

    /// A duration in whole milliseconds.
    pub fn millis(
        &self,
        name: &str,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, SettingError> {
        self.number(name, default, allowed)
            .map(Duration::from_millis)
    }

    /// An address to listen on, `ip:port`; port 0 takes any free port.
    pub fn listen_addr(&self, name: &str, default: SocketAddr) -> Result<SocketAddr, SettingError> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        text.parse().map_err(|_| {
            wrong(name, format!("got {text:?}; allowed: ip:port, such as 0.0.0.0:8080 or [::]:8080 (default {default})"))
        })
    }

    /// The base URL of another service.
    pub fn base_url(&self, name: &str, default: &str) -> Result<String, SettingError> {
        let text = self.text(name)?.unwrap_or_else(|| default.to_owned());
        let plain =
            |url: &Url| url.scheme() == "http" && url.path() == "/" && url.username().is_empty();
        match base_url(&text).filter(plain) {
            Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
            None => {
                // A URL with a user in it may hold a password too.
                let got = if text.contains('@') {
                    "a URL with a user".to_owned()
                } else {
                    format!("{text:?}")
                };
                Err(wrong(
                    name,
                    format!(
                        "got {got}; allowed: http://host[:port] without a path (default {default})"
                    ),
                ))
            }
        }
    }

    /// A switch: unset or `0` is off, `1` is on.
    pub fn switch(&self, name: &str) -> Result<bool, SettingError> {
        match self.text(name)?.as_deref() {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(text) => Err(wrong(
                name,
                format!("got {text:?}; allowed: 1 (on) or 0 (off, the default)"),
            )),
        }
    }

    /// A feature that is on unless it is switched off: `on` or `off`.
    pub fn unless_off(&self, name: &str) -> Result<bool, SettingError> {
        match self.text(name)?.as_deref() {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(text) => Err(wrong(
                name,
                format!("got {text:?}; allowed: on (the default) or off"),
            )),
        }
    }

    /// The names that a listener answers to.
    fn host_guard(
        &self,
        name: &'static str,
        open: &'static [&'static str],
    ) -> Result<HostGuard, SettingError> {
        let hosts = self.text(name)?.unwrap_or_default().parse();
        let hosts = hosts.map_err(|problem: String| wrong(name, problem))?;
        Ok(HostGuard::new(hosts, name, open))
    }

    /// The descriptors that [`crate::Sockets::hand_on`] has told of.
    fn descriptors(&self) -> Result<Option<[i32; 2]>, SettingError> {
        let Some(text) = self.text(LISTENERS)? else {
            return Ok(None);
        };
        let numbers = text.split(',').filter_map(|number| number.parse().ok());
        match numbers.collect::<Vec<i32>>()[..] {
            [http, admin] if http > 2 && admin > 2 => Ok(Some([http, admin])),
            _ => {
                let problem = "do not set it: it is between a process and its successor";
                Err(wrong(LISTENERS, format!("got {text:?}; {problem}")))
            }
        }
    }

    /// The settings of the telemetry crate, which never reads the environment itself.
    pub fn telemetry(&self) -> Result<telemetry::Settings, SettingError> {
        let unreadable = RefCell::new(None);
        let settings = telemetry::Settings::from_lookup(&|name| {
            (self.lookup)(name).unwrap_or_else(|problem| {
                unreadable
                    .borrow_mut()
                    .get_or_insert_with(|| wrong(name, problem));
                None
            })
        });
        match unreadable.into_inner() {
            Some(error) => Err(error),
            None => settings,
        }
    }
}

/// A base for paths: an http(s) URL, perhaps with a path, without query and fragment.
pub fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_base = url.query().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_base).then_some(url)
}

/// Error for a variable that cannot be used.
pub fn wrong(variable: &str, problem: impl Into<String>) -> SettingError {
    SettingError {
        variable: variable.to_owned(),
        problem: problem.into(),
    }
}

/// Descriptors of the two listening sockets, `7,8`. Set by the process that hands them on.
pub(crate) const LISTENERS: &str = "OMNITRACE_INHERITED_LISTENERS";

/// Whether faults can be switched on.
pub(crate) const FAULTS: &str = "OMNITRACE_FAULTS";

/// Resource attribute of the release.
const VERSION: &str = "service.version";

/// The differences between the common settings of two services.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Role, and `service.name` unless `OTEL_SERVICE_NAME` says otherwise.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// Port of the service's own API.
    pub http_port: u16,
    /// Port of the private listener.
    pub admin_port: u16,
    /// The API is public: it accepts any host name unless some are configured.
    pub public: bool,
}

/// The settings that every service has.
#[derive(Debug)]
pub struct Settings {
    /// The identity of the service.
    pub info: ServiceInfo,
    /// `OMNITRACE_HTTP_ADDR`: the listening address of the service's API.
    pub http_addr: SocketAddr,
    /// `OMNITRACE_ADMIN_ADDR`: the listening address for health, metrics and faults.
    pub admin_addr: SocketAddr,
    /// `OMNITRACE_HTTP_ALLOWED_HOSTS`: host names that the API accepts, besides addresses and `localhost`.
    pub http_host_guard: Option<HostGuard>,
    /// `OMNITRACE_ADMIN_ALLOWED_HOSTS`: the same for the private listener.
    pub admin_host_guard: HostGuard,
    /// `OMNITRACE_FAULTS` \[on\]: whether `/faults` has an effect.
    pub faults: bool,
    /// `OMNITRACE_WORKERS` \[2\]: threads that serve the API.
    pub workers: usize,
    /// `OMNITRACE_DRAIN_TIMEOUT_MS` \[10000\]: how long requests in progress may take after SIGTERM.
    pub drain_timeout: Duration,
    /// `OMNITRACE_DRAIN_DELAY_MS` \[0\]: how long it still accepts requests after SIGTERM, while `/ready` says that it drains.
    pub drain_delay: Duration,
    /// `OMNITRACE_PARENT_PIPE`: standard input is a pipe from the parent; its end means "stop".
    pub parent_pipe: bool,
    /// Listening sockets of the process that has started this one.
    pub(crate) inherited: Option<[i32; 2]>,
    /// Everything `OTEL_*`.
    pub telemetry: telemetry::Settings,
}

impl Settings {
    /// The version that telemetry reports.
    pub fn version(&self) -> &str {
        let attributes = self.telemetry.resource_attributes.iter();
        let mut versions = attributes.filter(|(name, _)| name == VERSION);
        versions
            .next()
            .map_or(&self.info.version, |(_, version)| version)
    }

    /// Reports another version, whatever was set.
    pub fn set_version(&mut self, version: String) {
        self.telemetry
            .resource_attributes
            .retain(|(name, _)| name != VERSION);
        self.info.version = version;
    }

    /// Reads the common settings.
    pub fn from_env(env: &Env, defaults: &Defaults) -> Result<Self, SettingError> {
        let http_host_guard = env.host_guard("OMNITRACE_HTTP_ALLOWED_HOSTS", &[])?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self {
            info: ServiceInfo {
                name: defaults.name.to_owned(),
                version: defaults.version.to_owned(),
            },
            http_addr: env.listen_addr("OMNITRACE_HTTP_ADDR", local(defaults.http_port))?,
            admin_addr: env.listen_addr("OMNITRACE_ADMIN_ADDR", local(defaults.admin_port))?,
            http_host_guard: match defaults.public {
                true => http_host_guard.if_named(),
                false => Some(http_host_guard),
            },
            admin_host_guard: env.host_guard("OMNITRACE_ADMIN_ALLOWED_HOSTS", OPEN)?,
            faults: env.unless_off(FAULTS)?,
            workers: env.number("OMNITRACE_WORKERS", 2, 1..=64)?,
            drain_timeout: env.millis("OMNITRACE_DRAIN_TIMEOUT_MS", 10_000, 0..=600_000)?,
            drain_delay: env.millis("OMNITRACE_DRAIN_DELAY_MS", 0, 0..=600_000)?,
            parent_pipe: env.switch("OMNITRACE_PARENT_PIPE")?,
            inherited: env.descriptors()?,
            telemetry: env.telemetry()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_number_names_variable_value_and_range() {
        let error = Env::of([("OMNITRACE_WORKERS", "many")])
            .number("OMNITRACE_WORKERS", 2, 1..=64)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "OMNITRACE_WORKERS: got \"many\"; allowed: a number from 1 to 64 (default 2)"
        );
        Env::of([("OMNITRACE_WORKERS", "65")])
            .number("OMNITRACE_WORKERS", 2, 1..=64)
            .unwrap_err();
        Env::of([("SHARE", "NaN")])
            .number("SHARE", 0.0, 0.0..=1.0)
            .unwrap_err();
    }

    #[test]
    fn descriptors_are_two_and_none_of_the_standard_ones() {
        let read = |text| Env::of([(LISTENERS, text)]).descriptors();
        assert_eq!(read("7,8").unwrap(), Some([7, 8]));
        assert_eq!(Env::of([]).descriptors().unwrap(), None);
        for bad in ["7", "0,8", "7,8,9", "a,b", "-1,8"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.starts_with(LISTENERS), "{error}");
        }
    }

    #[test]
    fn empty_is_unset() {
        assert_eq!(
            Env::of([("OMNITRACE_WORKERS", " ")])
                .number("OMNITRACE_WORKERS", 2, 1..=64)
                .unwrap(),
            2
        );
        let error = Env::of([("DATABASE_URL", "")])
            .required("DATABASE_URL", "set it to postgres://…")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "DATABASE_URL: is not set; set it to postgres://…"
        );
    }

    #[test]
    fn a_base_url_is_plain_http_without_a_path() {
        let read =
            |text| Env::of([("DATA_URL", text)]).base_url("DATA_URL", "http://127.0.0.1:8081");
        assert_eq!(read("http://data:8081/").unwrap(), "http://data:8081");
        assert_eq!(read("").unwrap(), "http://127.0.0.1:8081");
        for bad in [
            "https://data",
            "data:8081",
            "http://data/v1",
            "http://user@data",
            "http://data/#x",
            "http://",
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(
                error.starts_with("DATA_URL: got") && error.contains("http://host[:port]"),
                "{error}"
            );
        }
    }

    #[test]
    fn addresses_and_switches_are_checked() {
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        let env = Env::of([
            ("OMNITRACE_HTTP_ADDR", "localhost"),
            ("OMNITRACE_PARENT_PIPE", "yes"),
            (FAULTS, "0"),
        ]);
        let faults = env.unless_off(FAULTS).unwrap_err().to_string();
        assert_eq!(
            faults,
            "OMNITRACE_FAULTS: got \"0\"; allowed: on (the default) or off"
        );
        assert!(
            env.listen_addr("OMNITRACE_HTTP_ADDR", default)
                .unwrap_err()
                .to_string()
                .contains("ip:port")
        );
        assert!(
            env.switch("OMNITRACE_PARENT_PIPE")
                .unwrap_err()
                .to_string()
                .contains("1 (on)")
        );
    }
}
