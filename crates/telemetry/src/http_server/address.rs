//! `url.scheme`, `server.address` and `server.port` of a server span.

use std::net::IpAddr;
use std::sync::OnceLock;

use http::uri::Authority;

/// Longest name that DNS knows.
const MAX_HOST: usize = 253;

/// This service's name, for requests without a host.
static SERVICE: OnceLock<String> = OnceLock::new();

pub(crate) fn configure(service: &str) {
    SERVICE.get_or_init(|| service.to_owned());
}

/// The scheme in the request's URI (always present with HTTP/2), else the listener's. `Forwarded` and
/// `X-Forwarded-Proto` are ignored, since any client can send them.
pub(super) fn scheme(of_uri: Option<&str>, tls: bool) -> &'static str {
    match of_uri {
        Some("https") => "https",
        Some("http") => "http",
        _ if tls => "https",
        _ => "http",
    }
}

/// Host and port that the caller asked for, else this service's name and port: the socket may listen on
/// all networks. Forwarding headers are ignored here too.
pub(super) fn asked_for(
    scheme: &str,
    authority: Option<&str>,
    own_port: Option<u16>,
) -> (String, Option<u16>) {
    let usual = if scheme == "https" { 443 } else { 80 };
    let authority: Option<Authority> = authority.and_then(|text| text.parse().ok());
    match authority.filter(|authority| is_a_host(bare(authority.host()))) {
        Some(authority) => (
            bare(authority.host()).to_ascii_lowercase(),
            Some(authority.port_u16().unwrap_or(usual)),
        ),
        None => (SERVICE.get().cloned().unwrap_or_default(), own_port),
    }
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_a_host(host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    (1..=MAX_HOST).contains(&host.len()) && !address.is_some_and(|ip| ip.is_unspecified())
}
