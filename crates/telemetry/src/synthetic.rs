//! Synthetic requests: the requests of a probe. Metrics about users leave them out.
//!
//! A request is synthetic if its header [`HEADER`] holds the token of this process (`OMNITRACE_PROBE_TOKEN`). Other clients do not know the token, so they
//! cannot hide requests from the metrics. The request's span is marked, and the calls that are made for the request send the token on.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use tracing::Span;

use crate::propagation::Headers;
use crate::spans;

/// Request header that holds the token.
pub const HEADER: &str = "x-omnitrace-probe";

/// Span attribute, and its value for all that is done for what a probe has sent.
pub(crate) const ATTRIBUTE: (&str, &str) = ("user_agent.synthetic.type", "test");

/// The secret that the probe shares with the services. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// At least 16 visible ASCII characters: a client that guesses the token can hide requests.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_token = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value = HeaderValue::from_str(text).ok().filter(|_| is_token)?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// Compares in constant time for texts of the same length.
    fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        let pairs = own.iter().zip(other);
        own.len() == other.len() && pairs.fold(0, |all, (one, other)| all | (one ^ other)) == 0
    }
}

static TOKEN: OnceLock<Token> = OnceLock::new();

/// The first call wins; without a token no request is synthetic.
pub(crate) fn configure(token: Option<Token>) {
    if let Some(token) = token {
        let _ = TOKEN.set(token);
    }
}

/// Marks the context of a span that belongs to a synthetic request.
#[derive(Debug)]
struct Synthetic;

/// Marks the span of a request that was sent with the token.
pub(crate) fn recognise(span: &Span, headers: &impl Headers) {
    let Some(token) = TOKEN.get() else { return };
    let mut given = headers.all(HEADER);
    if given.next().flatten().is_some_and(|text| token.is(text)) && given.next().is_none() {
        mark(span);
    }
}

/// Marks a span that has not been entered yet, and everything inside it, as part of a synthetic request.
pub fn mark(span: &Span) {
    spans::set_value(span, Synthetic);
}

/// Whether the current span is part of a synthetic request.
pub fn is_current() -> bool {
    Context::map_current(is)
}

/// Whether this span is part of a synthetic request.
pub(crate) fn is_of(span: &Span) -> bool {
    TOKEN.get().is_some() && is(&spans::context(span))
}

pub(crate) fn is(context: &Context) -> bool {
    context.get::<Synthetic>().is_some()
}

/// Passes the token on to the called service.
pub(crate) fn inject(headers: &mut HeaderMap) {
    if let Some(Token(token)) = TOKEN.get().filter(|_| is_current()) {
        headers.insert(HEADER, token.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_not_shown() {
        assert!(Token::new("15-letters-long").is_none());
        assert!(Token::new("sixteen letters.").is_none());
        let token = Token::new("sixteen-letters.").unwrap();
        assert!(!format!("{token:?}").contains("sixteen"), "{token:?}");
        for (text, same) in [
            ("sixteen-letters.", true),
            ("sixteen-letters!", false),
            ("sixteen-letters", false),
            ("sixteen-letters..", false),
            ("", false),
        ] {
            assert_eq!(token.is(text), same, "{text}");
        }
    }
}
