//! The encoder writes the same bytes as the generated types.

use std::time::Duration;

use opentelemetry::trace::{Link, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use prost::Message;
use tracing::Event as LogEvent;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;
use crate::logs::Record;

fn resource() -> Resource {
    let attributes = [
        KeyValue::new("service.name", "shop"),
        KeyValue::new("process.pid", 4711),
    ];
    Resource::builder_empty()
        .with_schema_url(attributes, SCHEMA_URL)
        .build()
}

fn context(state: &[(&str, &str)], remote: bool) -> SpanContext {
    let state = TraceState::from_key_value(state.iter().copied()).unwrap();
    SpanContext::new(
        TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        remote,
        state,
    )
}

/// Lengths of texts at which a length takes another byte, and others.
const LENGTHS: [usize; 12] = [
    0, 1, 110, 124, 125, 126, 127, 128, 129, 4096, 16_380, 20_000,
];

/// Some values of each kind.
fn attributes() -> spans::Attributes {
    let mut attributes = spans::Attributes::default();
    for length in LENGTHS {
        attributes.text("text", |texts| texts.push_str(&"x".repeat(length)));
    }
    for (key, value) in [
        ("yes", spans::Value::Bool(true)),
        ("no", spans::Value::Bool(false)),
        ("zero", spans::Value::Int(0)),
        ("negative", spans::Value::Int(-1)),
        ("large", spans::Value::Int(i64::MAX)),
        ("float", spans::Value::Float(0.0)),
        ("", spans::Value::Float(1.5)),
        (
            "texts",
            spans::Value::Texts(vec!["a".into(), String::new()]),
        ),
        ("none", spans::Value::Texts(Vec::new())),
    ] {
        attributes.push(key, value);
    }
    attributes
}

fn span(kind: Option<SpanKind>, status: Status) -> spans::Record {
    let start = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    let mut attributes = attributes();
    attributes.dropped = 1;
    spans::Record {
        context: context(&[("a", "1"), ("b", "2")], false),
        parent: SpanId::from(7),
        parent_is_remote: true,
        start,
        end: start + Duration::from_millis(3),
        fields: spans::Fields {
            name: "GET /orders/{id}".into(),
            kind,
            status,
            attributes,
        },
        links: vec![context(&[], true), context(&[("c", "3")], false)],
        dropped_links: 200,
    }
}

/// Only the required fields.
fn bare() -> spans::Record {
    spans::Record {
        context: context(&[], false),
        parent: SpanId::INVALID,
        parent_is_remote: false,
        fields: spans::Fields::default(),
        links: Vec::new(),
        dropped_links: 0,
        ..span(None, Status::Unset)
    }
}

/// The same for the SDK.
fn of_sdk(span: &spans::Record) -> SpanData {
    let fields = &span.fields;
    let value = |value: &spans::Value| match value {
        spans::Value::Bool(value) => Value::Bool(*value),
        spans::Value::Int(value) => Value::I64(*value),
        spans::Value::Float(value) => Value::F64(*value),
        spans::Value::Text(text) => Value::from(fields.attributes.read(text).to_owned()),
        spans::Value::Texts(texts) => {
            let texts = texts.iter().cloned().map(StringValue::from);
            Value::Array(Array::String(texts.collect()))
        }
    };
    let attributes = fields.attributes.iter();
    let links = span.links.iter().cloned().map(Link::with_context);
    let mut links_of_sdk = SpanLinks::default();
    links_of_sdk.links = links.collect();
    links_of_sdk.dropped_count = span.dropped_links;
    SpanData {
        span_context: span.context.clone(),
        parent_span_id: span.parent,
        parent_span_is_remote: span.parent_is_remote,
        span_kind: fields.kind.clone().unwrap_or(SpanKind::Internal),
        name: fields.name.clone(),
        start_time: span.start,
        end_time: span.end,
        attributes: attributes
            .map(|(key, one)| KeyValue::new(key.to_owned(), value(one)))
            .collect(),
        dropped_attributes_count: fields.attributes.dropped,
        events: SpanEvents::default(),
        links: links_of_sdk,
        status: fields.status.clone(),
        instrumentation_scope: InstrumentationScope::builder(crate::SCOPE)
            .with_schema_url(SCHEMA_URL)
            .build(),
    }
}

#[test]
fn spans_as_the_generated_types_write_them() {
    let batches = [
        vec![bare()],
        vec![span(Some(SpanKind::Server), Status::Ok), bare()],
        vec![
            span(Some(SpanKind::Client), Status::error("it broke")),
            span(Some(SpanKind::Producer), Status::error("")),
            span(Some(SpanKind::Consumer), Status::Unset),
            span(Some(SpanKind::Internal), Status::Unset),
        ],
    ];
    for batch in batches {
        let resource = resource();
        let made: Vec<Span> = batch.iter().map(Span::of).collect();
        let written = spans(&made, &resource);
        let batch = batch.iter().map(of_sdk).collect();
        let of_resource = ResourceAttributesWithSchema::from(&resource);
        let wanted = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &of_resource),
        };
        let read = ExportTraceServiceRequest::decode(written.as_slice()).unwrap();
        assert_eq!(read, wanted);
        assert_eq!(written, wanted.encode_to_vec());
    }
}

/// Exports what is logged.
#[derive(Default, Clone)]
struct Seen(std::sync::Arc<std::sync::Mutex<Vec<Record>>>);

impl<S: tracing::Subscriber> Layer<S> for Seen {
    fn on_event(&self, event: &LogEvent<'_>, _context: Context<'_, S>) {
        self.0.lock().unwrap().push(Record::new(event, 0));
    }
}

#[test]
fn log_records_with_all_that_they_hold() {
    let seen = Seen::default();
    let subscriber = tracing_subscriber::registry().with(seen.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(target: "shop::stock", text = "", number = -1, yes = true, "gone");
        tracing::debug!(float = 0.5, large = u64::MAX, "found");
    });
    let mut records = std::mem::take(&mut *seen.0.lock().unwrap());
    records[1].trace = Some((TraceId::from(1), SpanId::from(2), TraceFlags::SAMPLED));
    let written = logs(&records, &resource());
    let read = ExportLogsServiceRequest::decode(written.as_slice()).unwrap();
    assert_eq!(read.encode_to_vec(), written);
    let [of_resource] = &read.resource_logs[..] else {
        panic!("{read:?}")
    };
    let resource = of_resource.resource.as_ref().unwrap();
    assert_eq!(resource.attributes.len(), 2);
    let scopes = of_resource.scope_logs.iter().map(|scope| {
        let [record] = &scope.log_records[..] else {
            panic!("{scope:?}")
        };
        (scope.scope.as_ref().unwrap().name.as_str(), record)
    });
    let scopes: Vec<_> = scopes.collect();
    let values = |index: usize| -> Vec<_> {
        let attributes = scopes[index].1.attributes.iter();
        let value = |value: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>| {
            value.clone().unwrap().value.unwrap()
        };
        attributes
            .map(|one| (one.key.as_str(), value(&one.value)))
            .collect()
    };
    let (found, gone) = (scopes[1].1, scopes[0].1);
    assert_eq!(scopes[0].0, "shop::stock");
    assert_eq!(scopes[1].0, module_path!());
    assert_eq!(
        (gone.severity_number, gone.severity_text.as_str()),
        (17, "ERROR")
    );
    assert_eq!(
        (found.severity_number, found.severity_text.as_str()),
        (5, "DEBUG")
    );
    assert_eq!(found.trace_id, TraceId::from(1).to_bytes());
    assert_eq!(found.span_id, SpanId::from(2).to_bytes());
    assert_eq!((found.flags, gone.flags, gone.trace_id.len()), (1, 0, 0));
    assert!(found.time_unix_nano > 0 && found.time_unix_nano == found.observed_time_unix_nano);
    let text = |text: &str| any_value::Value::StringValue(text.to_owned());
    assert_eq!(found.body.clone().unwrap().value, Some(text("found")));
    assert_eq!(
        values(0)[..3],
        [
            ("text", text("")),
            ("number", any_value::Value::IntValue(-1)),
            ("yes", any_value::Value::BoolValue(true)),
        ]
    );
    assert_eq!(
        values(1),
        [
            ("float", any_value::Value::DoubleValue(0.5)),
            ("large", any_value::Value::DoubleValue(u64::MAX as f64)),
        ]
    );
}
