//! The current trace, as text.

use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::propagation;

/// Trace id of the current span, 32 hex digits; `None` outside a trace.
pub fn trace_id() -> Option<String> {
    trace_id_of(&Span::current())
}

/// W3C `traceparent` of the current span; `None` outside a trace.
pub fn traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

pub(crate) fn trace_id_of(span: &Span) -> Option<String> {
    span_context(span).map(|context| context.trace_id().to_string())
}

pub(crate) fn traceparent_of(span: &Span) -> Option<String> {
    propagation::traceparent(&span.context())
}

fn span_context(span: &Span) -> Option<SpanContext> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.clone())
}
