//! A span as the protocol has it becomes one of ours.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1 as proto;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::attribute::{MAX_ATTRIBUTES, attributes};
use super::values::{MAX_NAME, MAX_TEXT, cut, span_id, trace_id};
use crate::model::{
    Attributes, Event, Kind, Link, Resource, Scope, Span, SpanId, Status, TraceId, Value,
};
use crate::store::cost;

/// Says by how much a span ends before it begins.
const ENDS_EARLY: &str = "console.ends_before_start_ns";
/// Says how many events or links are missing, as Jaeger's own exporter names it.
pub(crate) const DROPPED_EVENTS: &str = "otel.dropped_events_count";
pub(crate) const DROPPED_LINKS: &str = "otel.dropped_links_count";

/// The ids of its trace, itself and its parent.
type Ids = (TraceId, SpanId, Option<SpanId>);

/// A span as it was sent.
pub(super) struct SentSpan {
    /// Or the reason to reject it.
    pub ids: Result<Ids, &'static str>,
    pub name: String,
    pub attributes: Attributes,
    /// The other fields.
    pub rest: proto::Span,
}

impl From<proto::Span> for SentSpan {
    fn from(mut rest: proto::Span) -> Self {
        let sent = std::mem::take(&mut rest.attributes);
        Self {
            ids: ids([&rest.trace_id, &rest.span_id, &rest.parent_span_id]),
            name: cut(std::mem::take(&mut rest.name), MAX_NAME),
            attributes: attributes(sent, rest.dropped_attributes_count),
            rest,
        }
    }
}

/// The ids of a span's trace, itself and its parent, or the reason to reject it.
pub(super) fn ids([trace, own, parent]: [&[u8]; 3]) -> Result<Ids, &'static str> {
    let trace = trace_id(trace).ok_or("invalid_trace_id")?;
    let own = span_id(own).ok_or("invalid_span_id")?;
    // Some senders write zeros for "none". Any other invalid id is an error.
    match span_id(parent) {
        None if !parent.is_empty() && parent != [0; 8] => Err("invalid_parent_span_id"),
        parent => Ok((trace, own, parent)),
    }
}

/// Converts one span; the error is the reason for its rejection.
pub(super) fn convert(
    resource: &Arc<Resource>,
    scope: &Arc<Scope>,
    sent: SentSpan,
) -> Result<Span, &'static str> {
    let (trace_id, span_id, parent) = sent.ids?;
    let (span, mut attributes) = (sent.rest, sent.attributes);
    let (events, dropped_events) = events(span.events, span.dropped_events_count);
    let (links, dropped_links) = links(span.links, span.dropped_links_count);
    note_dropped(&mut attributes, DROPPED_EVENTS, dropped_events);
    note_dropped(&mut attributes, DROPPED_LINKS, dropped_links);
    note_negative(
        &mut attributes,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    );
    let mut span = Span {
        trace_id,
        span_id,
        parent,
        resource: resource.clone(),
        trace_state: cut(span.trace_state, MAX_NAME),
        flags: span.flags,
        scope: scope.clone(),
        name: sent.name,
        kind: kind(span.kind),
        start_ns: span.start_time_unix_nano,
        duration_ns: span
            .end_time_unix_nano
            .saturating_sub(span.start_time_unix_nano),
        status: status(span.status),
        attributes,
        events,
        links,
        bytes: 0,
    };
    span.bytes = cost::span(&span);
    Ok(span)
}

/// A length cannot be negative here. An attribute keeps the difference; pages show it, and a saved trace contains it.
fn note_negative(attributes: &mut Attributes, start_ns: u64, end_ns: u64) {
    if end_ns < start_ns {
        let early = (start_ns - end_ns).into();
        attributes.push(ENDS_EARLY, Value::Number(&early));
    }
}

fn note_dropped(attributes: &mut Attributes, key: &'static str, dropped: u64) {
    if dropped > 0 {
        attributes.push(key, Value::Number(&dropped.into()));
    }
}

fn events(sent: Vec<proto::span::Event>, dropped: u32) -> (Vec<Event>, u64) {
    let dropped = u64::from(dropped) + sent.len().saturating_sub(MAX_ATTRIBUTES) as u64;
    let mut events: Vec<Event> = sent
        .into_iter()
        .take(MAX_ATTRIBUTES)
        .map(|event| Event {
            name: cut(event.name, MAX_NAME),
            time_ns: event.time_unix_nano,
            attributes: attributes(event.attributes, event.dropped_attributes_count),
        })
        .collect();
    events.sort_by_key(|event| event.time_ns);
    (events, dropped)
}

/// Drops links that point nowhere, together with the surplus.
fn links(sent: Vec<proto::span::Link>, dropped: u32) -> (Vec<Link>, u64) {
    let count = sent.len();
    let links: Vec<Link> = sent
        .into_iter()
        .take(MAX_ATTRIBUTES)
        .filter_map(|link| {
            Some(Link {
                trace_id: trace_id(&link.trace_id)?,
                span_id: span_id(&link.span_id)?,
                trace_state: cut(link.trace_state, MAX_NAME),
                flags: link.flags,
                attributes: attributes(link.attributes, link.dropped_attributes_count),
            })
        })
        .collect();
    let dropped = u64::from(dropped) + (count - links.len()) as u64;
    (links, dropped)
}

fn kind(kind: i32) -> Kind {
    match SpanKind::try_from(kind) {
        Ok(SpanKind::Server) => Kind::Server,
        Ok(SpanKind::Client) => Kind::Client,
        Ok(SpanKind::Producer) => Kind::Producer,
        Ok(SpanKind::Consumer) => Kind::Consumer,
        Ok(SpanKind::Internal | SpanKind::Unspecified) | Err(_) => Kind::Internal,
    }
}

fn status(status: Option<proto::Status>) -> Status {
    let Some(status) = status else {
        return Status::Unset;
    };
    match StatusCode::try_from(status.code) {
        Ok(StatusCode::Ok) => Status::Ok,
        Ok(StatusCode::Error) => Status::Error(cut(status.message, MAX_TEXT)),
        Ok(StatusCode::Unset) | Err(_) => Status::Unset,
    }
}
