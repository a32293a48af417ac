//! The data that the console stores: spans and log records, decoded and flattened.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

pub use crate::attributes::{Attributes, Value};

/// 16 bytes, shown as 32 hex digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub u128);

/// 8 bytes, shown as 16 hex digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u64);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Display for SpanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The sender; all items of one resource share it.
#[derive(Debug, PartialEq)]
pub struct Resource {
    /// `service.name`, or `unknown_service`.
    pub service: String,
    /// All resource attributes.
    pub attributes: Attributes,
}

impl Resource {
    /// The same digest for the same content, given the same state.
    pub fn digest(&self, state: &RandomState) -> u64 {
        let mut hasher = state.build_hasher();
        self.service.hash(&mut hasher);
        for (key, value) in self.attributes.iter() {
            key.hash(&mut hasher);
            value.to_string().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The library that made an item; shared by all items of one group.
#[derive(Debug, Default, PartialEq)]
pub struct Scope {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Attributes.
    pub attributes: Attributes,
}

/// What a span does, as in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Inside one service; also an unspecified kind.
    Internal,
    /// Handles a request.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

impl Kind {
    /// The word that Jaeger and the page use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// Span status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Unset.
    Unset,
    /// The sender has marked it as successful.
    Ok,
    /// Failed, with a message (possibly empty).
    Error(String),
}

/// A point in time inside a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Attributes.
    pub attributes: Attributes,
}

/// A reference to a span elsewhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Link {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: SpanId,
    /// The entries that vendors added to its context.
    pub trace_state: String,
    /// The trace flags, and whether it is of another process, as in the protocol.
    pub flags: u32,
    /// Attributes.
    pub attributes: Attributes,
}

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Parent, local or remote.
    pub parent: Option<SpanId>,
    /// Sender.
    pub resource: Arc<Resource>,
    /// The entries that vendors added to its context.
    pub trace_state: String,
    /// The trace flags, and whether its parent is of another process, as in the protocol.
    pub flags: u32,
    /// Instrumentation scope.
    pub scope: Arc<Scope>,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Nanoseconds since the epoch.
    pub start_ns: u64,
    /// Nanoseconds; zero when the sender's end came before its start.
    pub duration_ns: u64,
    /// Status.
    pub status: Status,
    /// Attributes.
    pub attributes: Attributes,
    /// Events in order of time.
    pub events: Vec<Event>,
    /// Links.
    pub links: Vec<Link>,
    /// The estimated size in memory, computed once because it is read often. 0: not computed yet.
    pub bytes: usize,
}

impl Span {
    /// When it ended: nanoseconds since the epoch.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns)
    }
}

/// One log record.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Nanoseconds since the epoch (observed time when the sender gave none).
    pub time_ns: u64,
    /// Sender.
    pub resource: Arc<Resource>,
    /// Instrumentation scope.
    pub scope: Arc<Scope>,
    /// When the sender observed it, in nanoseconds since the epoch; 0 if unset.
    pub observed_ns: u64,
    /// `TRACE` … `FATAL`, from the severity's number, else from its text; empty if unset.
    pub severity: String,
    /// The severity's number as received; 0 if unset.
    pub severity_number: u8,
    /// The severity's text as it was sent.
    pub severity_text: String,
    /// The trace flags and the rest of them.
    pub flags: u32,
    /// The body as text (JSON for structured bodies).
    pub body: String,
    /// Attributes.
    pub attributes: Attributes,
    /// Trace that it belongs to.
    pub trace_id: Option<TraceId>,
    /// Span that it belongs to.
    pub span_id: Option<SpanId>,
}
