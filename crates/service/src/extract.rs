//! The parts of a request for handlers: typed, bounded, and with errors that name the faulty member.

use actix_web::dev::Payload;
use actix_web::error::{PathError, PayloadError};
use actix_web::http::header;
use actix_web::web::{self, Bytes};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Ready, ready};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Error as PathToError;

use crate::error::ApiError;
use crate::problem::{self, FieldError};

/// Largest body that is read.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;

/// Names the request as a whole, where no member can be named.
const WHOLE: &str = "(request)";

/// Extractor settings of every application.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(BODY_LIMIT))
        .app_data(web::PathConfig::default().error_handler(path));
}

/// A JSON object in the body. 400 when it is not JSON, 413 when it is too large, 422 when it has the wrong shape.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if !is_json(request) {
            let detail = "the content type is not application/json";
            return ready(Err(ApiError::new(problem::BAD_REQUEST, detail))).boxed_local();
        }
        let body = Bytes::from_request(request, payload);
        async move { parse(&body.await.map_err(unreadable)?).map(Self) }.boxed_local()
    }
}

/// The parameters of the query string. 422 when one is unknown or has the wrong type.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let result = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs));
        ready(result.map(Self).map_err(|error| wrong_shape(&error)))
    }
}

fn is_json(request: &HttpRequest) -> bool {
    // A header that cannot be read is none.
    let mime = request.mime_type().ok().flatten();
    mime.is_some_and(|mime| mime.essence_str() == header::ContentType::json().0.essence_str())
}

/// Parses a JSON object. It first checks that the text is JSON, so that half a document is not reported as a wrong shape.
///
/// # Errors
/// 400 when it is not JSON, 422 when it has the wrong shape.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let not_text = |_| ApiError::new(problem::BAD_REQUEST, "the body is not JSON (not UTF-8)");
    let body = std::str::from_utf8(body).map_err(not_text)?;
    serde_json::from_str::<IgnoredAny>(body).map_err(|error| not_json(&error))?;
    // serde would take an array for a struct, member by member.
    if !body.trim_start().starts_with('{') {
        return Err(ApiError::invalid(vec![FieldError::new(
            WHOLE,
            "allowed: a JSON object",
        )]));
    }
    let mut json = serde_json::Deserializer::from_str(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| match error.inner() {
        inner if inner.is_data() => wrong_shape(&error),
        inner => not_json(inner),
    })
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let place = format!("line {} column {}", error.line(), error.column());
    ApiError::new(
        problem::BAD_REQUEST,
        format!("the body is not JSON ({place})"),
    )
}

fn unreadable(error: actix_web::Error) -> ApiError {
    match error.as_error() {
        Some(PayloadError::Overflow) => ApiError::new(
            problem::PAYLOAD_TOO_LARGE,
            format!("allowed: {BODY_LIMIT} bytes"),
        ),
        _ => ApiError::new(problem::BAD_REQUEST, "the body could not be read")
            .with_source(error.to_string()),
    }
}

fn path(_error: PathError, _request: &HttpRequest) -> actix_web::Error {
    let detail = "no such resource: its id in the path does not have the right form";
    ApiError::new(problem::NOT_FOUND, detail).into()
}

fn wrong_shape<E: std::fmt::Display>(error: &PathToError<E>) -> ApiError {
    let message = error.inner().to_string();
    let path = error.path().to_string();
    let field = match named(&message) {
        Some(field) => field,
        None if path == "." => WHOLE,
        None => &path,
    };
    ApiError::invalid(vec![FieldError::new(field, complaint(&message))])
}

/// The member that serde names: "missing field `sku`", "unknown field `size`, expected …".
fn named(message: &str) -> Option<&str> {
    let starts = ["missing field `", "unknown field `", "duplicate field `"];
    let rest = starts
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    rest.split_once('`').map(|(name, _)| name)
}

/// The problem without the value, which may be personal. serde repeats it in "invalid type: string \"…\", expected u32".
fn complaint(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or_default();
    let kind = |start: &str| message.starts_with(start);
    match message.rsplit_once("expected ") {
        Some((_, expected)) if kind("invalid") => format!("expected {expected}"),
        Some((_, expected)) if kind("unknown field") => format!(
            "unknown; allowed: {}",
            expected.trim_start_matches("one of ")
        ),
        _ if kind("missing field") => "missing".to_owned(),
        _ if kind("duplicate field") => "given twice".to_owned(),
        // For a parameter: "invalid digit found in string" and the like.
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only its type matters")]
        quantity: u32,
        #[expect(dead_code, reason = "only its type matters")]
        email: Option<String>,
    }

    fn rejected(text: &str) -> (u16, String) {
        let error = parse::<Body>(text.as_bytes()).unwrap_err();
        (error.kind().status, error.detail().to_owned())
    }

    #[test]
    fn broken_json_and_a_wrong_shape_are_told_apart() {
        for (text, detail) in [
            ("", "the body is not JSON (line 1 column 0)"),
            ("{\"quantity\":", "the body is not JSON (line 1 column 12)"),
            ("{\"size\":1} x", "the body is not JSON (line 1 column 12)"),
            (
                "{\"quantity\":1} x",
                "the body is not JSON (line 1 column 16)",
            ),
        ] {
            assert_eq!(rejected(text), (400, detail.to_owned()));
        }
        for (text, detail) in [
            ("{}", "quantity: missing"),
            (
                "{\"quantity\":1,\"size\":2}",
                "size: unknown; allowed: `quantity` or `email`",
            ),
            ("{\"quantity\":1,\"quantity\":2}", "quantity: given twice"),
            ("{\"quantity\":-1}", "quantity: expected u32"),
            ("{\"quantity\":1.5}", "quantity: expected u32"),
            ("[1, null]", "(request): allowed: a JSON object"),
            ("null", "(request): allowed: a JSON object"),
        ] {
            assert_eq!(rejected(text), (422, detail.to_owned()));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_json() {
        for body in [b"\"\xff\"".as_slice(), b"{\"quantity\":1,\"\xff\":1}"] {
            assert_eq!(parse::<Body>(body).unwrap_err().kind().status, 400);
        }
    }

    #[test]
    fn a_value_is_never_repeated() {
        for value in [
            "someone@example.org",
            "expected someone@example.org",
            "a\u{60}someone@example.org",
        ] {
            let (_, detail) = rejected(&format!("{{\"quantity\":\"{value}\"}}"));
            assert_eq!(detail, "quantity: expected u32");
        }
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, field) in [
            ("quantity=x", "quantity"),
            ("quantity=", "quantity"),
            ("quantity=1&page=2", "page"),
        ] {
            let request = TestRequest::with_uri(&format!("/?{query}")).to_http_request();
            let error = Query::<Body>::extract(&request).into_inner().unwrap_err();
            assert!(
                error.detail().starts_with(&format!("{field}: ")),
                "{query}: {error}"
            );
        }
    }
}
