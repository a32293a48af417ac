//! OTLP protobuf to the harness's own types.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::{logs::v1 as logs, resource::v1::Resource, trace::v1 as trace};
use prost::Message;
use serde_json::Value;

use super::telemetry::{Attributes, Event, Kind, Link, LogRecord, Span, Status};

/// Body of `POST /v1/traces`.
pub fn spans(body: &[u8]) -> Result<Vec<Span>, prost::DecodeError> {
    let request = ExportTraceServiceRequest::decode(body)?;
    let mut found = Vec::new();
    for of_resource in request.resource_spans {
        let resource = resource_attributes(of_resource.resource);
        for span in of_resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            found.push(one_span(span, &resource));
        }
    }
    Ok(found)
}

/// An answer that says how many items were rejected; empty for none. Spans and log records have the same one.
pub fn rejection(count: i64) -> Vec<u8> {
    let partial_success = (count != 0).then(|| ExportTracePartialSuccess {
        rejected_spans: count,
        error_message: String::new(),
    });
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

/// Body of `POST /v1/logs`.
pub fn log_records(body: &[u8]) -> Result<Vec<LogRecord>, prost::DecodeError> {
    let request = ExportLogsServiceRequest::decode(body)?;
    let mut found = Vec::new();
    for of_resource in request.resource_logs {
        let resource = resource_attributes(of_resource.resource);
        for record in of_resource
            .scope_logs
            .into_iter()
            .flat_map(|scope| scope.log_records)
        {
            found.push(one_record(record, &resource));
        }
    }
    Ok(found)
}

fn one_span(span: trace::Span, resource: &Attributes) -> Span {
    let status = span.status.unwrap_or_default();
    Span {
        trace_id: hex::encode(&span.trace_id),
        span_id: hex::encode(&span.span_id),
        parent_span_id: hex::encode(&span.parent_span_id),
        kind: kind(span.kind),
        service: service(resource),
        resource: resource.clone(),
        attributes: attributes(span.attributes),
        events: span
            .events
            .into_iter()
            .map(|event| Event {
                name: event.name,
                attributes: attributes(event.attributes),
            })
            .collect(),
        links: span.links.into_iter().map(link).collect(),
        status: match status.code {
            1 => Status::Ok,
            2 => Status::Error,
            _ => Status::Unset,
        },
        status_message: status.message,
        name: span.name,
        trace_state: span.trace_state,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
    }
}

fn one_record(record: logs::LogRecord, resource: &Attributes) -> LogRecord {
    LogRecord {
        service: service(resource),
        resource: resource.clone(),
        severity: record.severity_text,
        body: record
            .body
            .map_or_else(String::new, |body| match value(body) {
                Value::String(text) => text,
                other => other.to_string(),
            }),
        trace_id: hex::encode(&record.trace_id),
        span_id: hex::encode(&record.span_id),
        attributes: attributes(record.attributes),
    }
}

fn link(link: trace::span::Link) -> Link {
    Link {
        trace_id: hex::encode(&link.trace_id),
        span_id: hex::encode(&link.span_id),
        attributes: attributes(link.attributes),
    }
}

fn kind(kind: i32) -> Kind {
    match kind {
        1 => Kind::Internal,
        2 => Kind::Server,
        3 => Kind::Client,
        4 => Kind::Producer,
        5 => Kind::Consumer,
        _ => Kind::Unspecified,
    }
}

fn resource_attributes(resource: Option<Resource>) -> Attributes {
    attributes(resource.unwrap_or_default().attributes)
}

fn service(resource: &Attributes) -> String {
    resource
        .get("service.name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs
        .into_iter()
        .map(|pair| (pair.key, pair.value.map_or(Value::Null, value)))
        .collect()
}

fn value(any: AnyValue) -> Value {
    match any.value {
        Some(any_value::Value::StringValue(text)) => text.into(),
        Some(any_value::Value::BoolValue(flag)) => flag.into(),
        Some(any_value::Value::IntValue(number)) => number.into(),
        Some(any_value::Value::DoubleValue(number)) => number.into(),
        Some(any_value::Value::BytesValue(bytes)) => hex::encode(bytes).into(),
        Some(any_value::Value::ArrayValue(array)) => array.values.into_iter().map(value).collect(),
        Some(any_value::Value::KvlistValue(list)) => Value::Object(
            list.values
                .into_iter()
                .map(|pair| (pair.key, pair.value.map_or(Value::Null, value)))
                .collect(),
        ),
        _ => Value::Null,
    }
}
