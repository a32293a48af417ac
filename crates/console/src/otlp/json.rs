//! OTLP as JSON, one item at a time, into the structs of the protobuf encoding.
//!
//! `opentelemetry-proto` has serde implementations too, but they refuse what the mapping allows: `null`, left-out
//! lists (`{"arrayValue":{}}`), empty values (`{}`), unknown fields inside a value, enums by name.

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::resource::v1 as resources;
use opentelemetry_proto::tonic::trace::v1 as trace;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::attribute;
use super::each::{Action, each};
use super::lax::{self, Double, Enum, Id, Integer, List, Names, Text};
use super::values::scope;
use super::{
    Decoder, Origin, Refusal, Signal, UNDECODABLE, elements, json_metrics, origin, resource,
};

/// The maximum text size of an item. JSON needs two to three times the size of protobuf.
const MAX_ITEM: usize = 2 << 20;

/// Shorter than any item that says something.
const MIN_ITEM: usize = 12;

/// The names of the lists at the three outer levels.
struct Lists {
    groups: &'static str,
    scopes: &'static str,
    items: &'static str,
}

impl Signal {
    const fn lists(self) -> Lists {
        match self {
            Self::Traces => Lists {
                groups: "resourceSpans",
                scopes: "scopeSpans",
                items: "spans",
            },
            Self::Logs => Lists {
                groups: "resourceLogs",
                scopes: "scopeLogs",
                items: "logRecords",
            },
            Self::Metrics => Lists {
                groups: "resourceMetrics",
                scopes: "scopeMetrics",
                items: "metrics",
            },
        }
    }
}

/// The resource or scope of a group. A JSON object has no order, so it may stand after the items.
#[derive(Deserialize)]
struct GroupHeader<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Resource {
    attributes: List<KeyValue>,
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Scope {
    name: Text,
    version: Text,
    attributes: List<KeyValue>,
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    key: Text,
    value: Option<AnyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Integer<i64>>,
    double_value: Option<Double>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArrayValue {
    values: List<Option<AnyValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValueList {
    values: List<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Span {
    trace_id: Id,
    span_id: Id,
    parent_span_id: Id,
    trace_state: Text,
    flags: Integer<u32>,
    name: Text,
    kind: Enum<trace::span::SpanKind>,
    start_time_unix_nano: Integer<u64>,
    end_time_unix_nano: Integer<u64>,
    attributes: List<KeyValue>,
    dropped_attributes_count: Integer<u32>,
    events: List<Event>,
    dropped_events_count: Integer<u32>,
    links: List<Link>,
    dropped_links_count: Integer<u32>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    time_unix_nano: Integer<u64>,
    name: Text,
    attributes: List<KeyValue>,
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Link {
    trace_id: Id,
    span_id: Id,
    trace_state: Text,
    flags: Integer<u32>,
    attributes: List<KeyValue>,
    dropped_attributes_count: Integer<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: Text,
    code: Enum<trace::status::StatusCode>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogRecord {
    time_unix_nano: Integer<u64>,
    observed_time_unix_nano: Integer<u64>,
    severity_number: Enum<logs::SeverityNumber>,
    severity_text: Text,
    body: Option<AnyValue>,
    attributes: List<KeyValue>,
    dropped_attributes_count: Integer<u32>,
    trace_id: Id,
    span_id: Id,
    flags: Integer<u32>,
    event_name: Text,
}

impl Names for trace::span::SpanKind {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(Into::into)
    }
}

impl Names for trace::status::StatusCode {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(Into::into)
    }
}

impl Names for logs::SeverityNumber {
    fn number(name: &str) -> Option<i32> {
        Self::from_str_name(name).map(Into::into)
    }
}

/// Whether the outer levels are intact. An error inside an item concerns only that item.
pub(super) fn check(signal: Signal, body: &[u8]) -> Result<(), String> {
    let lists = signal.lists();
    let text = std::str::from_utf8(body).map_err(|why| format!("the body is no JSON: {why}"))?;
    walk(text, "body", lists.groups, &mut |group| {
        walk(group, "resource group", lists.scopes, &mut |scope_group| {
            walk(scope_group, "scope group", lists.items, &mut |_| Ok(()))
        })
    })
}

/// Decodes a request that was checked.
pub(super) fn decode(signal: Signal, body: &[u8], decoder: &mut Decoder<'_>) {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let outcome = walk(text, "body", signal.lists().groups, &mut |group| {
        resource_group(signal, group, decoder)
    });
    debug_assert_eq!(outcome, Ok(()), "it was checked");
}

fn resource_group(signal: Signal, group: &str, decoder: &mut Decoder<'_>) -> Result<(), String> {
    let about: Result<GroupHeader<'_>, Refusal> = parse(group, "resource group");
    let sender = about.and_then(|about| sender::<Resource>(about.resource, "resource"));
    let sender = sender.map(|sender| resource(sender.map(Into::into)));
    if let Ok(sender) = &sender {
        decoder.sender(sender);
    }
    let lists = signal.lists();
    walk(group, "resource group", lists.scopes, &mut |scope_group| {
        let about: Result<GroupHeader<'_>, Refusal> = parse(scope_group, "scope group");
        let scope = about.and_then(|about| self::sender::<Scope>(about.scope, "scope"));
        let scope = scope.map(|sent| self::scope(sent.map(Into::into)));
        let origin = origin(&sender, scope);
        walk(scope_group, "scope group", lists.items, &mut |item| {
            one_item(signal, item, &origin, decoder);
            Ok(())
        })
    })
}

fn one_item(signal: Signal, item: &str, origin: &Origin, decoder: &mut Decoder<'_>) {
    if item.len() < MIN_ITEM {
        decoder.empty(item.len());
        return;
    }
    match signal {
        Signal::Traces => {
            let span = small::<Span>(item, "span").map(trace::Span::from);
            decoder.span(item.len(), origin, span.map(Into::into));
        }
        Signal::Logs => {
            let log = small::<LogRecord>(item, "log record").map(|json| {
                let mut log = logs::LogRecord::from(json);
                let sent = std::mem::take(&mut log.attributes);
                let attributes = attribute::attributes(sent, log.dropped_attributes_count);
                (log, attributes)
            });
            decoder.log(item.len(), origin, log);
        }
        Signal::Metrics => json_metrics::decode(item, origin, decoder),
    }
}

/// The resource or scope, if there is one.
fn sender<'a, T: Deserialize<'a>>(
    text: Option<&'a RawValue>,
    what: &str,
) -> Result<Option<T>, Refusal> {
    text.map(|text| small(text.get(), what)).transpose()
}

/// Visits a list of an object.
fn walk<'a>(
    text: &'a str,
    what: &str,
    name: &'static str,
    action: Action<'_, 'a>,
) -> Result<(), String> {
    each(text, name, action).map_err(|why| format!("the JSON of a {what} cannot be read: {why}"))
}

/// Reads an object that is not too large.
pub(super) fn small<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Refusal> {
    if text.len() > MAX_ITEM || !elements::fit_json(text) {
        return Err(Refusal::too_large(what, MAX_ITEM));
    }
    parse(text, what)
}

/// Reads an object. Serde alone would also accept a list of its fields.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Refusal> {
    let not_read = |why: &dyn std::fmt::Display| {
        let why = format!("the JSON of a {what} cannot be read: {why}");
        Refusal::new(UNDECODABLE, why)
    };
    if !text.trim_start().starts_with('{') {
        return Err(not_read(&"expected an object"));
    }
    serde_json::from_str(text).map_err(|why| not_read(&why))
}

pub(super) fn attributes(list: List<KeyValue>) -> Vec<common::KeyValue> {
    list.0.into_iter().map(Into::into).collect()
}

impl From<KeyValue> for common::KeyValue {
    fn from(json: KeyValue) -> Self {
        Self {
            key: json.key.0,
            value: json.value.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<AnyValue> for common::AnyValue {
    fn from(json: AnyValue) -> Self {
        let array = |list: ArrayValue| {
            let values = list.values.0.into_iter();
            Any::ArrayValue(common::ArrayValue {
                values: values
                    .map(|value| value.unwrap_or_default().into())
                    .collect(),
            })
        };
        let object = |list: KeyValueList| {
            Any::KvlistValue(common::KeyValueList {
                values: attributes(list.values),
            })
        };
        let value = json.string_value.map(Any::StringValue);
        let value = value.or_else(|| json.bool_value.map(Any::BoolValue));
        let value = value.or_else(|| json.int_value.map(|value| Any::IntValue(value.0)));
        let value = value.or_else(|| json.double_value.map(|value| Any::DoubleValue(value.0)));
        let value = value.or_else(|| json.array_value.map(array));
        let value = value.or_else(|| json.kvlist_value.map(object));
        // Shows a text that is not base64 as it is.
        let bytes =
            |text: String| lax::bytes(&text).map_or(Any::StringValue(text), Any::BytesValue);
        let value = value.or_else(|| json.bytes_value.map(bytes));
        Self { value }
    }
}

impl From<Resource> for resources::Resource {
    fn from(json: Resource) -> Self {
        Self {
            attributes: attributes(json.attributes),
            dropped_attributes_count: json.dropped_attributes_count.0,
            ..Self::default()
        }
    }
}

impl From<Scope> for common::InstrumentationScope {
    fn from(json: Scope) -> Self {
        Self {
            name: json.name.0,
            version: json.version.0,
            attributes: attributes(json.attributes),
            dropped_attributes_count: json.dropped_attributes_count.0,
        }
    }
}

impl From<Span> for trace::Span {
    fn from(json: Span) -> Self {
        Self {
            trace_id: json.trace_id.0,
            span_id: json.span_id.0,
            parent_span_id: json.parent_span_id.0,
            trace_state: json.trace_state.0,
            flags: json.flags.0,
            name: json.name.0,
            kind: json.kind.0,
            start_time_unix_nano: json.start_time_unix_nano.0,
            end_time_unix_nano: json.end_time_unix_nano.0,
            attributes: attributes(json.attributes),
            dropped_attributes_count: json.dropped_attributes_count.0,
            events: json.events.0.into_iter().map(Into::into).collect(),
            dropped_events_count: json.dropped_events_count.0,
            links: json.links.0.into_iter().map(Into::into).collect(),
            dropped_links_count: json.dropped_links_count.0,
            status: json.status.map(Into::into),
        }
    }
}

impl From<Event> for trace::span::Event {
    fn from(json: Event) -> Self {
        Self {
            time_unix_nano: json.time_unix_nano.0,
            name: json.name.0,
            attributes: attributes(json.attributes),
            dropped_attributes_count: json.dropped_attributes_count.0,
        }
    }
}

impl From<Link> for trace::span::Link {
    fn from(json: Link) -> Self {
        Self {
            trace_id: json.trace_id.0,
            span_id: json.span_id.0,
            trace_state: json.trace_state.0,
            flags: json.flags.0,
            attributes: attributes(json.attributes),
            dropped_attributes_count: json.dropped_attributes_count.0,
        }
    }
}

impl From<Status> for trace::Status {
    fn from(json: Status) -> Self {
        Self {
            message: json.message.0,
            code: json.code.0,
        }
    }
}

impl From<LogRecord> for logs::LogRecord {
    fn from(json: LogRecord) -> Self {
        Self {
            time_unix_nano: json.time_unix_nano.0,
            observed_time_unix_nano: json.observed_time_unix_nano.0,
            severity_number: json.severity_number.0,
            severity_text: json.severity_text.0,
            body: json.body.map(Into::into),
            attributes: attributes(json.attributes),
            dropped_attributes_count: json.dropped_attributes_count.0,
            trace_id: json.trace_id.0,
            span_id: json.span_id.0,
            flags: json.flags.0,
            event_name: json.event_name.0,
        }
    }
}
