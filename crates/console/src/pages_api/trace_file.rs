//! `GET /api/traces/{id}/otlp`: a whole trace as OTLP JSON, which any console accepts at `/v1/traces`; `GET /api/v3/traces/{id}`: the same as
//! Jaeger answers it.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::header::{CONTENT_DISPOSITION, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use crate::answer::{Answers, Page, Refused};
use crate::model::{Attributes, Event, Kind, Link, Resource, Scope, Span, Status, Value};
use crate::otlp::{DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS};
use crate::params;
use crate::store::Store;
use crate::view::{blocking, not_here};

/// Attributes that count dropped items, and the fields of the protocol for them. Spans have all of them, other items only
/// the first.
const DROPPED: [(&str, &str); 3] = [
    (DROPPED_ATTRIBUTES, "droppedAttributesCount"),
    (DROPPED_EVENTS, "droppedEventsCount"),
    (DROPPED_LINKS, "droppedLinksCount"),
];

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/traces/{id}/otlp", web::get().to(file));
    config.route("/api/v3/traces/{id}", web::get().to(result));
}

async fn file(
    store: web::Data<Store>,
    id: web::Path<String>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    // A valid id consists of hex digits only.
    let name = format!("attachment; filename=\"trace-{id}.json\"");
    let mut answer = whole(store, id, &answers, |page, export| page.json(&export)).await;
    if let (true, Ok(name)) = (answer.status().is_success(), HeaderValue::from_str(&name)) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    answer
}

async fn result(
    store: web::Data<Store>,
    id: web::Path<String>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    whole(store, id, &answers, |page, result| {
        page.json(&Streamed { result })
    })
    .await
}

async fn whole(
    store: web::Data<Store>,
    id: web::Path<String>,
    answers: &Answers,
    write: fn(Page, Export<'_>) -> Result<Page, Refused>,
) -> HttpResponse {
    blocking(answers, move |mut page| {
        let id = params::trace_id("trace_id", &id)?;
        let trace = store.trace_by_id(id).ok_or_else(|| not_here(id))?;
        page.holds(trace.bytes)?;
        Ok(write(page, Export::of(&trace.spans))?)
    })
    .await
}

/// The envelope of a stream's message.
#[derive(Serialize)]
struct Streamed<'a> {
    result: Export<'a>,
}

/// A request in the format of a sender. It renders each span only while it writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(serialize_with = "resource")]
    resource: &'a Resource,
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    #[serde(serialize_with = "scope")]
    scope: &'a Scope,
    #[serde(serialize_with = "spans")]
    spans: Vec<&'a Span>,
}

impl<'a> Export<'a> {
    /// In order of arrival, grouped as far as neighbours have the same sender and library.
    fn of(spans: &'a [Arc<Span>]) -> Self {
        let mut resource_spans: Vec<ResourceSpans<'a>> = Vec::new();
        let mut known = HashMap::new();
        for span in spans {
            let (resource, scope) = (Arc::as_ptr(&span.resource), Arc::as_ptr(&span.scope));
            let of_resource = *known.entry((resource, None)).or_insert_with(|| {
                resource_spans.push(ResourceSpans {
                    resource: &span.resource,
                    scope_spans: Vec::new(),
                });
                resource_spans.len() - 1
            });
            let scope_spans = &mut resource_spans[of_resource].scope_spans;
            let of_scope = *known.entry((resource, Some(scope))).or_insert_with(|| {
                scope_spans.push(ScopeSpans {
                    scope: &span.scope,
                    spans: Vec::new(),
                });
                scope_spans.len() - 1
            });
            scope_spans[of_scope].spans.push(span);
        }
        Self { resource_spans }
    }
}

fn resource<S: Serializer>(resource: &Resource, serializer: S) -> Result<S::Ok, S::Error> {
    described(json!({}), &resource.attributes, &DROPPED[..1]).serialize(serializer)
}

fn scope<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    let named = json!({"name": scope.name, "version": scope.version});
    described(named, &scope.attributes, &DROPPED[..1]).serialize(serializer)
}

fn spans<S: Serializer>(spans: &[&Span], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(spans.iter().map(|span| shown(span)))
}

fn shown(span: &Span) -> Json {
    let own = json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.span_id.to_string(),
        "parentSpanId": span.parent.map(|id| id.to_string()).unwrap_or_default(),
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": kind(span.kind),
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns().to_string(),
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
        "links": span.links.iter().map(link).collect::<Vec<_>>(),
        "status": status(&span.status),
    });
    described(own, &span.attributes, &DROPPED)
}

fn event(event: &Event) -> Json {
    let own = json!({"timeUnixNano": event.time_ns.to_string(), "name": event.name});
    described(own, &event.attributes, &DROPPED[..1])
}

fn link(link: &Link) -> Json {
    let own = json!({
        "traceId": link.trace_id.to_string(),
        "spanId": link.span_id.to_string(),
        "traceState": link.trace_state,
        "flags": link.flags,
    });
    described(own, &link.attributes, &DROPPED[..1])
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

fn status(status: &Status) -> Json {
    match status {
        Status::Unset => json!({}),
        Status::Ok => json!({"code": 1}),
        Status::Error(message) => json!({"code": 2, "message": message}),
    }
}

/// Adds the attributes. Here the counts of dropped items are attributes; the protocol has the fields `counted` for them.
fn described(mut own: Json, attributes: &Attributes, counted: &[(&str, &str)]) -> Json {
    let mut sent = Vec::with_capacity(attributes.len());
    for (key, value) in attributes.iter() {
        let field = counted.iter().find(|(known, _)| *known == key);
        match field.zip(count(&value)) {
            // A second one is the sender's own attribute of that name.
            Some(((_, field), count)) if own.get(field).is_none() => own[*field] = json!(count),
            _ => sent.push(json!({"key": key, "value": any(value)})),
        }
    }
    own["attributes"] = sent.into();
    own
}

/// The value, if the protocol's field can hold it.
fn count(value: &Value<'_>) -> Option<u32> {
    match value {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        _ => None,
    }
}

/// A value with its type, as the protocol has it.
fn any(value: Value<'_>) -> Json {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({"doubleValue": number}),
        Value::Text(text) => json!({"stringValue": text}),
        Value::Nested(Json::Array(items)) => {
            let values: Vec<Json> = items.iter().map(|item| any(item.into())).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Nested(Json::Object(entries)) => json!({"kvlistValue": {"values": pairs(entries)}}),
        Value::Nested(other) => any(other.into()),
    }
}

fn pairs(entries: &Map<String, Json>) -> Vec<Json> {
    let entries = entries.iter();
    entries
        .map(|(key, value)| json!({"key": key, "value": any(value.into())}))
        .collect()
}
