//! Checks `Host` and `Origin` of a request.
//!
//! A web page elsewhere may point its own name at this address and then read and change everything as if it were its own
//! ("DNS rebinding"). Its requests name that page's host. An IP address in a URL cannot be pointed elsewhere, nor can
//! `localhost`; any other name has to be configured.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, HeaderName, ORIGIN};

/// The host that a `Host` header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An IP address.
    Address(IpAddr),
    /// A name, in lower case and without a dot at its end.
    Name(String),
}

/// A host, and the port if one is given.
type Authority = (Host, Option<u16>);

impl Host {
    fn named(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=253).contains(&text.len()) && text.bytes().all(is_part);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    fn is_localhost(&self) -> bool {
        matches!(self, Self::Name(name) if name == "localhost" || name.ends_with(".localhost"))
    }
}

/// Reads `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`; a user (`user@name`) is not allowed in it.
fn authority(text: &str) -> Option<Authority> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (Host::Address(IpAddr::V6(address).to_canonical()), port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (Host::named(name)?, port)
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        _ => None,
    }
}

/// Names that a listener answers to, beside `localhost` and IP addresses. Written `ops.example,gateway`, without ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Host>);

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let read = |part: &str| match authority(part) {
            Some((host, None)) => Ok(host),
            _ => Err(format!(
                "got {part:?}; allowed: names or addresses without a port, several separated by commas, such as ops.example,gateway"
            )),
        };
        parts.map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No `Host` header, more than one, or one that names nothing.
    Unreadable,
    /// The request is for another host.
    Host,
    /// A web page of somebody else sent it.
    Origin,
}

impl Refusal {
    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "allowed: one Host header with a name or an address",
            Self::Host => {
                "the Host header names somebody else (DNS rebinding): use an IP address, localhost or a configured name"
            }
            Self::Origin => "a web page of another origin sent this",
        })
    }
}

impl Hosts {
    /// True when no name is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is it one of the configured names?
    pub fn contains(&self, host: &Host) -> bool {
        self.0.contains(host)
    }

    /// The host of a request: an address, `localhost`, or a configured name.
    ///
    /// # Errors
    /// It names another, or none.
    pub fn host(&self, head: &RequestHead) -> Result<Host, Refusal> {
        self.target(head).map(|(host, _)| host)
    }

    /// Checks the host as [`Hosts::host`] does. If a web page sent the request, the page must come from this listener, or
    /// from a configured name.
    ///
    /// # Errors
    /// It is meant for somebody else, or comes from somebody else's page.
    pub fn check(&self, head: &RequestHead) -> Result<(), Refusal> {
        let target = self.target(head)?;
        let is_own = |origin: &str| {
            let rest = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            rest.and_then(authority)
                .is_some_and(|origin| origin == target || self.contains(&origin.0))
        };
        let mut origins = head.headers().get_all(ORIGIN);
        let all_own = origins.all(|origin| origin.to_str().is_ok_and(is_own));
        all_own.then_some(()).ok_or(Refusal::Origin)
    }

    fn target(&self, head: &RequestHead) -> Result<Authority, Refusal> {
        let named = only(head, HOST).and_then(authority);
        // In the absolute form of a request, the target counts and not the header (RFC 9112, 3.2.2).
        let target = match (named, head.uri.authority()) {
            (Some(_), Some(target)) => authority(target.as_str()),
            (named, _) => named,
        };
        let target = target.ok_or(Refusal::Unreadable)?;
        let is_ours = match &target.0 {
            Host::Address(_) => true,
            name => name.is_localhost() || self.contains(name),
        };
        if is_ours {
            Ok(target)
        } else {
            Err(Refusal::Host)
        }
    }
}

/// The value of a header that is given exactly once.
fn only(head: &RequestHead, name: HeaderName) -> Option<&str> {
    let mut values = head.headers().get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn hosts() -> Hosts {
        "ops.example, Gateway.,10.0.0.5".parse().unwrap()
    }

    fn check(uri: &str, headers: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let mut request = TestRequest::with_uri(uri);
        for header in headers {
            request = request.append_header(*header);
        }
        hosts().check(request.to_http_request().head())
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_answered() {
        for host in [
            "localhost",
            "LocalHost.:9080",
            "a.localhost",
            "127.0.0.1:9080",
            "127.0.0.1.",
            "10.1.2.3",
            "[::1]:9080",
            "[2001:db8::1]",
            "[::ffff:127.0.0.1]:1",
            "ops.example:443",
            "OPS.example.",
            "gateway",
            "localhost:",
        ] {
            assert_eq!(check("/faults", &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "evil.example",
            "evil.example:9080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "xops.example",
            "ops.example.evil",
            "2130706433",
            "0x7f.1",
            "localhost..",
        ] {
            assert_eq!(
                check("/faults", &[("host", host)]),
                Err(Refusal::Host),
                "{host}"
            );
        }
        for host in [
            "",
            ":9080",
            "localhost:port",
            "localhost:+80",
            "localhost:99999",
            "[::1",
            "::1",
            "[::1]x",
            "[127.0.0.1]",
            "localhost evil",
            "a@localhost",
            "localhost,evil.example",
            "localhost/",
            "[fe80::1%25lo]",
        ] {
            assert_eq!(
                check("/faults", &[("host", host)]),
                Err(Refusal::Unreadable),
                "{host}"
            );
        }
        assert_eq!(check("/faults", &[]), Err(Refusal::Unreadable));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(check("/faults", &twice), Err(Refusal::Unreadable));
    }

    #[test]
    fn the_absolute_form_counts_before_the_header() {
        let host = [("host", "localhost")];
        assert_eq!(check("http://localhost:9080/faults", &host), Ok(()));
        assert_eq!(
            check("http://evil.example/faults", &host),
            Err(Refusal::Host)
        );
        assert_eq!(
            check("http://localhost/faults", &[("host", "evil.example")]),
            Ok(())
        );
        assert_eq!(
            check("http://localhost/faults", &[]),
            Err(Refusal::Unreadable)
        );
        assert_eq!(
            check("http://localhost@evil.example/faults", &host),
            Err(Refusal::Unreadable)
        );
    }

    #[test]
    fn a_page_must_be_the_listeners_own_or_of_a_configured_name() {
        let from =
            |origin: &str| check("/faults", &[("host", "localhost:9080"), ("origin", origin)]);
        for origin in [
            "http://localhost:9080",
            "http://LOCALHOST:9080",
            "https://ops.example",
            "http://ops.example:3000",
        ] {
            assert_eq!(from(origin), Ok(()), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "http://127.0.0.1:9080",
            "null",
            "",
            "localhost:9080",
            "file://",
            "http://localhost:9080/x",
            "http://localhost:9080 http://evil.example",
            "http://ops.example@evil.example",
        ] {
            assert_eq!(from(origin), Err(Refusal::Origin), "{origin}");
        }
        let two = [
            ("host", "localhost:1"),
            ("origin", "http://localhost:1"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(check("/faults", &two), Err(Refusal::Origin));
    }

    #[test]
    fn a_name_in_the_settings_has_no_port_and_no_scheme() {
        assert!(
            "".parse::<Hosts>().unwrap().is_empty() && " , ".parse::<Hosts>().unwrap().is_empty()
        );
        for bad in [
            "ops.example:80",
            "http://ops.example",
            "*",
            "*.example",
            "a b",
            "ops.example/x",
        ] {
            let error = bad.parse::<Hosts>().unwrap_err();
            assert!(
                error.starts_with("got ") && error.contains("without a port"),
                "{bad}: {error}"
            );
        }
    }
}
