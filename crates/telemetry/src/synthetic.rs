//! Synthetic requests: those of a probe. Users' numbers do not hold them.
//!
//! A request is one when its header [`HEADER`] holds the token that this process was given (`OMNITRACE_PROBE_TOKEN`), so that nobody else
//! can take a request out of the numbers. The mark is on the request's span, and goes on with every request that is made for it.

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

/// What a probe and those that it asks know, and nobody else. Not shown by `Debug`.
#[derive(Debug, Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// At least 16 visible ASCII characters: who can guess it can hide requests.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_token = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value = HeaderValue::from_str(text).ok().filter(|_| is_token)?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// Takes as long for any text of the same length.
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

/// In the context of a span: it is a synthetic request, or made for one.
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

/// Makes a span that has not been entered one of a synthetic request, and all that is done in it.
pub fn mark(span: &Span) {
    spans::set_value(span, Synthetic);
}

/// Whether the current span is one of a synthetic request, or of what is done for it.
pub fn is_current() -> bool {
    Context::map_current(is)
}

/// The same of a span.
pub(crate) fn is_of(span: &Span) -> bool {
    TOKEN.get().is_some() && is(&spans::context(span))
}

pub(crate) fn is(context: &Context) -> bool {
    context.get::<Synthetic>().is_some()
}

/// Tells who is called next.
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
