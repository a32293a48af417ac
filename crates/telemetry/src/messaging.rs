//! Spans for messages: a delivery is a trace of its own, linked to the request that caused it.
//!
//! Both sides carry the same `messaging.message.id`, so that the hop can be followed either way by search.

use tracing::Span;
use tracing::field::Empty;

use crate::context;

const SYSTEM: &str = "postgresql_outbox";

/// Root span of one delivery: a new trace, with a link to the span whose `traceparent` caused it, sampled as that one was.
pub fn producer_span(destination: &'static str, message_id: &str, cause: Option<&str>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "messaging.send",
        otel.name = format!("send {destination}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = SYSTEM,
        messaging.destination.name = destination,
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.message.id = message_id,
    );
    context::begin_trace(&span, cause);
    span
}

/// Span of the consumer applying a message, inside its server span.
pub fn consumer_span(destination: &'static str, message_id: &str) -> Span {
    tracing::info_span!(
        "messaging.process",
        otel.name = format!("process {destination}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = SYSTEM,
        messaging.destination.name = destination,
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.message.id = message_id,
    )
}

/// Marks the current span as failed, with its `error.type`.
pub fn failed(span: &Span, error_type: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}
