//! Spans and log records as a test wants to read them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Attributes by name; numbers, booleans, strings, arrays as JSON has them.
pub type Attributes = BTreeMap<String, Value>;

/// `SpanKind` of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Not set.
    Unspecified,
    /// Inside one service.
    Internal,
    /// Answers a request.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Receives a message.
    Consumer,
}

/// `Status.code` of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not set.
    Unset,
    /// Declared a success.
    Ok,
    /// An error.
    Error,
}

/// A span that was exported.
#[derive(Debug, Clone)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; empty for a root.
    pub parent_span_id: String,
    /// Span name.
    pub name: String,
    /// Span kind.
    pub kind: Kind,
    /// `service.name` of the resource.
    pub service: String,
    /// All resource attributes.
    pub resource: Attributes,
    /// Span attributes.
    pub attributes: Attributes,
    /// Events in order.
    pub events: Vec<Event>,
    /// Links in order.
    pub links: Vec<Link>,
    /// Status code.
    pub status: Status,
    /// Status description.
    pub status_message: String,
    /// W3C `tracestate`.
    pub trace_state: String,
    /// Start, nanoseconds since 1970.
    pub start_ns: u64,
    /// End, nanoseconds since 1970.
    pub end_ns: u64,
}

impl Span {
    /// Has no parent.
    pub fn is_root(&self) -> bool {
        self.parent_span_id.is_empty()
    }

    /// An attribute as text (`200`, `GET`); empty when absent.
    pub fn text(&self, name: &str) -> String {
        text(&self.attributes, name)
    }
}

/// An event of a span.
#[derive(Debug, Clone)]
pub struct Event {
    /// Event name.
    pub name: String,
    /// Attributes.
    pub attributes: Attributes,
}

/// A link to another span.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Attributes.
    pub attributes: Attributes,
}

/// A log record that was exported.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// `service.name` of the resource.
    pub service: String,
    /// All resource attributes.
    pub resource: Attributes,
    /// `INFO`, `WARN`, …
    pub severity: String,
    /// The body, as text.
    pub body: String,
    /// 32 hex digits; empty outside a trace.
    pub trace_id: String,
    /// 16 hex digits; empty outside a span.
    pub span_id: String,
    /// Attributes.
    pub attributes: Attributes,
}

impl LogRecord {
    /// An attribute as text; empty when absent.
    pub fn text(&self, name: &str) -> String {
        text(&self.attributes, name)
    }
}

/// Panics unless these are all spans of one trace: one at the top, every other's parent there, and for each call
/// that was answered the span of the service that answered it.
#[track_caller]
pub fn complete(spans: &[Span]) {
    let known = |id: &str| spans.iter().any(|span| span.span_id == id);
    let tops = spans.iter().filter(|span| !known(&span.parent_span_id));
    assert_eq!(tops.count(), 1, "not one at the top:\n{}", tree(spans));
    let answered = |span: &&Span| {
        span.kind == Kind::Client && span.attributes.contains_key("http.response.status_code")
    };
    for call in spans.iter().filter(answered) {
        let answers = spans
            .iter()
            .filter(|span| span.parent_span_id == call.span_id && span.kind == Kind::Server);
        assert_eq!(
            answers.count(),
            1,
            "nobody answered {}:\n{}",
            call.name,
            tree(spans)
        );
    }
}

/// One line a span, children under their parents: what a failing test prints.
pub fn tree(spans: &[Span]) -> String {
    let mut lines = Vec::new();
    let known = |id: &str| spans.iter().any(|span| span.span_id == id);
    for span in spans.iter().filter(|span| !known(&span.parent_span_id)) {
        branch(spans, span, 0, &mut lines);
    }
    lines.join("\n")
}

fn branch(spans: &[Span], span: &Span, depth: usize, lines: &mut Vec<String>) {
    let orphan = if depth == 0 && !span.is_root() {
        format!(" (parent {} elsewhere)", span.parent_span_id)
    } else {
        String::new()
    };
    lines.push(format!(
        "{}{} {:?} {}{orphan}",
        "  ".repeat(depth),
        span.service,
        span.kind,
        span.name
    ));
    let mut children: Vec<&Span> = spans
        .iter()
        .filter(|child| child.parent_span_id == span.span_id)
        .collect();
    children.sort_by_key(|child| child.start_ns);
    for child in children {
        branch(spans, child, depth + 1, lines);
    }
}

fn text(attributes: &Attributes, name: &str) -> String {
    match attributes.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}
