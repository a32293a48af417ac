//! Headers that the middleware adds to every response, and its own error responses.

use tracing::Span;

use crate::{context, propagation, spans};

/// Adds the trace id of the request to the response.
pub(super) const SERVER_TIMING: &str = "server-timing";

pub(super) fn server_timing(span: &Span) -> Option<String> {
    let mut text = String::with_capacity(80);
    text.push_str("traceparent;desc=\"");
    let found = propagation::write_traceparent(&spans::context(span), &mut text);
    text.push('"');
    found.then_some(text)
}

pub(super) const PROBLEM: &str = "application/problem+json";

/// The response to a panic: RFC 9457, and nothing about the panic itself.
pub(super) fn panicked(span: &Span) -> String {
    serde_json::json!({
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "The request could not be handled; the trace says why.",
        "trace_id": context::trace_id_of(span),
    })
    .to_string()
}
