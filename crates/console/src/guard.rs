//! What stands in front of every handler: counting, the Host check, security headers.

use std::net::{IpAddr, SocketAddr};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use crate::counters::Counters;

/// The page loads nothing from elsewhere and cannot be framed.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The address that the console listens on, and further names that it was told to answer to.
#[derive(Debug, Clone)]
pub(crate) struct Listening(pub SocketAddr, pub Vec<String>);

/// The middleware.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let route = request
        .match_pattern()
        .unwrap_or_else(|| "unmatched".into());
    let counting = request
        .app_data::<web::Data<Counters>>()
        .map(|counters| counters.request(route));
    let listening = request
        .app_data::<web::Data<Listening>>()
        .map(|listening| listening.get_ref());
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let is_api = is_api(request.path());
    let mut response = match host_error(host, listening) {
        Some(why) => request.into_response(
            HttpResponse::Forbidden()
                .content_type("text/plain; charset=utf-8")
                .body(why),
        ),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    if let Some(mut counting) = counting {
        counting.status = Some(response.status().as_u16());
    }
    add_headers(response.headers_mut(), is_api);
    Ok(response)
}

fn is_api(path: &str) -> bool {
    path.starts_with("/api")
        || path.starts_with("/v1/")
        || path.starts_with("/loki/")
        || path.starts_with("/otlp/")
        || matches!(path, "/metrics" | "/ready" | "/live")
}

fn add_headers(headers: &mut HeaderMap, is_api: bool) {
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Why the `Host` header is refused. A page elsewhere may point its own name at this address and then read everything as its
/// own ("DNS rebinding"); such a request names that page's host. Only names that cannot be pointed here by others are
/// taken: `localhost`, loopback addresses, and the address that the console was told to listen on (any address when it was
/// told to listen on all: an address in a URL cannot be rebound), and the names that the operator vouches for.
fn host_error(host: Option<&str>, listening: Option<&Listening>) -> Option<String> {
    let Some(host) = host else {
        return Some("the Host header is missing\n".into());
    };
    let is_allowed = host_name(host).is_some_and(|name| match name.parse::<IpAddr>() {
        Ok(address) => {
            let own = listening.map(|own| own.0.ip());
            address.to_canonical().is_loopback()
                || own.is_some_and(|own| own == address || own.is_unspecified())
        }
        Err(_) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let is_own = |own: &Listening| own.1.iter().any(|own| own.eq_ignore_ascii_case(&name));
            name == "localhost" || name.ends_with(".localhost") || listening.is_some_and(is_own)
        }
    });
    (!is_allowed).then(|| {
        let own = listening.map_or_else(|| "localhost".into(), |own| own.0.to_string());
        format!(
            "the Host header {host:?} is not this console: use http://{own} or http://localhost, or start it with --host NAME \
             (other names are refused, so that no web page can read telemetry through DNS rebinding)\n"
        )
    })
}

/// The name or address without port and brackets.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host
            .split_once(':')
            .map_or((host, ""), |(name, _)| (name, &host[name.len()..])),
    };
    let is_port = |port: &str| {
        port.strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok())
    };
    (port.is_empty() || is_port(port)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(host: &str, listening: &str) -> bool {
        let listening = listening.parse().expect("an address");
        host_error(Some(host), Some(&Listening(listening, vec!["Loki".into()]))).is_none()
    }

    #[test]
    fn own_names_pass() {
        for host in [
            "localhost",
            "localhost:8000",
            "LocalHost.:1",
            "a.localhost",
            "127.0.0.1:8000",
            "127.1.2.3",
            "[::1]:8000",
            "[::1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(passes(host, "127.0.0.1:8000"), "{host}");
        }
        assert!(passes("10.0.0.5:8000", "10.0.0.5:8000"));
        assert!(passes("10.0.0.5:8000", "0.0.0.0:8000"));
        assert!(passes("loki:3100", "0.0.0.0:3100"));
    }

    #[test]
    fn other_names_do_not() {
        for host in [
            "",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "10.0.0.5",
            "[::2]:1",
            "localhost:port",
            "[::1",
            "localhost evil",
            "notlocalhost",
            "loki.evil.example",
            "evil.loki",
            "2130706433",
        ] {
            assert!(!passes(host, "127.0.0.1:8000"), "{host}");
        }
        assert!(!passes("evil.example", "0.0.0.0:8000"));
        assert!(host_error(None, None).is_some());
    }
}
