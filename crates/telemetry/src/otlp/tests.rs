//! What is written here is what the generated types write.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::{Event, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, StringValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use prost::Message;
use tracing::Event as LogEvent;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;

fn resource() -> Resource {
    let attributes = [
        KeyValue::new("service.name", "shop"),
        KeyValue::new("process.pid", 4711),
    ];
    Resource::builder_empty()
        .with_attributes(attributes)
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

/// One of each kind of value, and texts around the lengths at which a length takes another byte.
fn attributes() -> Vec<KeyValue> {
    let long = [
        0, 1, 110, 124, 125, 126, 127, 128, 129, 4096, 16_380, 20_000,
    ];
    let texts = long.map(|length| KeyValue::new("text", "x".repeat(length)));
    let others = [
        KeyValue::new("yes", true),
        KeyValue::new("no", false),
        KeyValue::new("zero", 0),
        KeyValue::new("negative", -1),
        KeyValue::new("large", i64::MAX),
        KeyValue::new("float", 0.0),
        KeyValue::new("", 1.5),
        KeyValue::new("flags", Value::Array(vec![true, false].into())),
        KeyValue::new("numbers", Value::Array(vec![1, -1, 0].into())),
        KeyValue::new("floats", Value::Array(vec![0.5].into())),
        KeyValue::new(
            "texts",
            Value::Array(vec![StringValue::from("a"), "".into()].into()),
        ),
        KeyValue::new("none", Value::Array(Vec::<StringValue>::new().into())),
    ];
    texts.into_iter().chain(others).collect()
}

fn span(kind: SpanKind, status: Status) -> SpanData {
    let start = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    let mut events = SpanEvents::default();
    events.events = vec![Event::new("event", start, attributes(), 3)];
    events.dropped_count = 2;
    let mut links = SpanLinks::default();
    let link = context(&[], true);
    links.links = vec![Link::new(link, attributes(), 5)];
    links.dropped_count = 200;
    SpanData {
        span_context: context(&[("a", "1"), ("b", "2")], false),
        parent_span_id: SpanId::from(7),
        parent_span_is_remote: true,
        span_kind: kind,
        name: Cow::Borrowed("GET /orders/{id}"),
        start_time: start,
        end_time: start + Duration::from_millis(3),
        attributes: attributes(),
        dropped_attributes_count: 1,
        events,
        links,
        status,
        instrumentation_scope: InstrumentationScope::builder(crate::SCOPE).build(),
    }
}

/// Nothing but what must be.
fn bare() -> SpanData {
    SpanData {
        span_context: context(&[], false),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        name: Cow::Borrowed(""),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        ..span(SpanKind::Internal, Status::Unset)
    }
}

#[test]
fn spans_as_the_generated_types_write_them() {
    let batches = [
        vec![bare()],
        vec![span(SpanKind::Server, Status::Ok), bare()],
        vec![
            span(SpanKind::Client, Status::error("it broke")),
            span(SpanKind::Producer, Status::error("")),
            span(SpanKind::Consumer, Status::Unset),
        ],
    ];
    for batch in batches {
        let resource = resource();
        let written = spans(&batch, &resource);
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
