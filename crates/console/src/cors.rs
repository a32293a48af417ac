//! Which origins may send OTLP from a browser: web applications on other servers use an SDK that runs there. These origins
//! may not read anything.

use std::str::FromStr;

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::ingest::is_intake;

/// How long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Origins, written `http://localhost:4200,https://shop.example`.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<String>);

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim);
        parts
            .filter(|part| !part.is_empty())
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn origin(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    match rest {
        Some(host) if !host.is_empty() && host.bytes().all(is_host) => {
            Ok(without_default_port(text.to_ascii_lowercase()))
        }
        _ => Err(format!(
            "got {text:?}; allowed: http(s)://host[:port] without a path, several separated by commas"
        )),
    }
}

/// Browsers leave it out.
fn without_default_port(origin: String) -> String {
    let port = if origin.starts_with("http:") {
        ":80"
    } else {
        ":443"
    };
    origin
        .strip_suffix(port)
        .map(str::to_owned)
        .unwrap_or(origin)
}

impl Origins {
    /// The origin of a request to the intake, when it is one of these.
    pub(crate) fn allowed(&self, head: &RequestHead) -> Option<HeaderValue> {
        let origin = head.headers().get(ORIGIN)?;
        let path = head.uri.path();
        let is_allowed = is_intake(path)
            && self
                .0
                .iter()
                .any(|known| known.as_bytes() == origin.as_bytes());
        is_allowed.then(|| origin.clone())
    }
}

/// The preflight request, by which a browser asks whether a page may send this request.
pub(crate) fn is_preflight(head: &RequestHead) -> bool {
    head.method == Method::OPTIONS && head.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Yes. Whatever headers an SDK was told to send are none of our business.
pub(crate) fn preflight(head: &RequestHead) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("POST");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(wanted) = head.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

/// Tells the browser that the page may have the answer.
pub(crate) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("Origin"));
    // `navigator.sendBeacon`, which SDKs use, always sends credentials; here they mean nothing.
    let credentials = HeaderValue::from_static("true");
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let Origins(known) = "http://A.example:80, https://b.example:443,http://c.example:443"
            .parse()
            .expect("origins");
        let written = [
            "http://a.example",
            "https://b.example",
            "http://c.example:443",
        ];
        assert_eq!(known, written);
    }
}
