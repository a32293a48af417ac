//! `server.address` and `server.port` of a server span.

use std::net::IpAddr;
use std::sync::OnceLock;

use actix_web::dev::ServiceRequest;
use actix_web::http::uri::Authority;

use crate::http_server::header;

/// Longest name that DNS knows.
const MAX_HOST: usize = 253;

/// This service's name, for requests that do not say whom they are for.
static SERVICE: OnceLock<String> = OnceLock::new();

pub(crate) fn configure(service: &str) {
    SERVICE.get_or_init(|| service.to_owned());
}

/// Host and port that the caller asked for, else this service's name and port: the address of the socket may be that of
/// every network. What a proxy says in `Forwarded` is not believed.
pub(crate) fn asked_for(request: &ServiceRequest) -> (String, u16) {
    let of_uri = request.uri().authority().cloned();
    let of_header = || header(request.headers(), "host")?.parse().ok();
    let authority: Option<Authority> = of_uri.or_else(of_header);
    match authority.filter(|authority| is_a_host(bare(authority.host()))) {
        Some(authority) => (
            bare(authority.host()).to_ascii_lowercase(),
            authority.port_u16().unwrap_or(80),
        ),
        None => (
            SERVICE.get().cloned().unwrap_or_default(),
            request.app_config().local_addr().port(),
        ),
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
