//! Spans of `tracing`, from their beginning to the export queue.
//!
//! In place of `tracing-opentelemetry` and the SDK's tracer, which make a builder, a span and an exported span of each, under
//! three locks. Other OpenTelemetry libraries read the same: the context of the span that is entered is current. They can
//! write nothing to it.

use std::cell::RefCell;
use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TraceFlags};
use opentelemetry::{Context, ContextGuard};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SamplingDecision, ShouldSample};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::subscriber::Interest;
use tracing::{Metadata, Span, Subscriber};
use tracing_subscriber::layer::Context as LayerContext;
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use tracing_subscriber::{Layer, Registry};

use super::LinkedSampler;
use super::record::{Fields, Record, Value};
use crate::pipeline::Pipeline;
use crate::{otlp, synthetic, targets};

thread_local! {
    /// Spans that are entered on this thread, the innermost last.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

struct Entered {
    id: Id,
    _guard: ContextGuard,
    /// Whether its end is of interest.
    recorded: bool,
}

/// The layer that makes spans.
pub(crate) struct SpanLayer {
    /// `None`: no spans are made, and the caller's context is passed on unchanged.
    pub(crate) sampler: Option<LinkedSampler>,
    /// `None`: spans are not exported, but log lines and outgoing requests carry their ids.
    pub(crate) pipeline: Option<Pipeline<otlp::Span>>,
}

/// A span that has not ended. It starts, and can have no other parent, once it is entered, or its context is asked for.
struct Open {
    started: bool,
    /// Its own, or its parent's until it starts.
    context: Context,
    /// `None`: it is not sampled.
    record: Option<Record>,
}

impl SpanLayer {
    fn start<'a>(&self, open: &'a mut Open) -> &'a Context {
        if let (false, Some(record)) = (open.started, &mut open.record) {
            // Code that suppresses telemetry, such as an exporter, makes no spans.
            let suppressed = open.context.is_telemetry_suppressed();
            let sampler = self.sampler.as_ref().filter(|_| !suppressed);
            let own = sampler.map(|sampler| {
                let span = open.context.span();
                own_context(sampler, &open.context, span.span_context(), record)
            });
            let sampled = own.as_ref().is_some_and(SpanContext::is_sampled);
            if sampled && synthetic::is(&open.context) {
                let (key, value) = synthetic::ATTRIBUTE;
                let attributes = &mut record.fields.attributes;
                attributes.text(key, |texts| texts.push_str(value));
            }
            if !sampled && let Some(record) = open.record.take() {
                record.fields.attributes.reuse();
            }
            if let Some(own) = own {
                open.context = open.context.with_remote_span_context(own);
            }
        }
        open.started = true;
        &open.context
    }

    /// The context of a span that this layer has seen.
    fn context_of<'a, S: LookupSpan<'a>>(&self, span: &SpanRef<'a, S>) -> Option<Context> {
        let mut extensions = span.extensions_mut();
        let open = extensions.get_mut::<Open>()?;
        Some(self.start(open).clone())
    }

    fn end(&self, mut open: Open) {
        self.start(&mut open);
        if let (Some(record), Some(pipeline)) = (open.record, &self.pipeline) {
            let record = record.ended(open.context.span().span_context());
            pipeline.push(otlp::Span::of(&record));
            record.fields.attributes.reuse();
        }
    }
}

/// Runs a function on the record of a span, if the span has one.
fn record<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, act: impl FnOnce(&mut Record)) {
    let mut extensions = span.extensions_mut();
    let open = extensions.get_mut::<Open>();
    if let Some(record) = open.and_then(|open| open.record.as_mut()) {
        act(record);
    }
}

/// Events are not this layer's.
fn traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() || !targets::is_of(metadata.target(), targets::LIBRARIES)
}

/// Decides whether a span is sampled, and gives it its ids.
fn own_context(
    sampler: &LinkedSampler,
    context: &Context,
    parent: &SpanContext,
    record: &mut Record,
) -> SpanContext {
    let ids = RandomIdGenerator::default();
    let trace_id = if parent.is_valid() {
        record.parent = parent.span_id();
        record.parent_is_remote = parent.is_remote();
        parent.trace_id()
    } else {
        ids.new_trace_id()
    };
    let link = record.links.first().cloned().map(Link::with_context);
    let Fields { name, kind, .. } = &record.fields;
    let kind = kind.as_ref().unwrap_or(&SpanKind::Internal);
    let links = link.as_slice();
    let verdict = sampler.should_sample(Some(context), trace_id, name, kind, &[], links);
    let flags = match verdict.decision {
        SamplingDecision::RecordAndSample => parent.trace_flags().with_sampled(true),
        _ => TraceFlags::default(),
    };
    let span_id = ids.new_span_id();
    SpanContext::new(trace_id, span_id, flags, false, verdict.trace_state)
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    /// Spans are never filtered by verbosity: a quiet log must not break a trace. Libraries' own spans stay out.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if traced(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _layer: LayerContext<'_, S>) -> bool {
        traced(metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, layer: LayerContext<'_, S>) {
        let context = match attributes.parent() {
            Some(parent) => layer.span(parent).and_then(|span| self.context_of(&span)),
            None if attributes.is_contextual() => Some(Context::current()),
            None => None,
        };
        let metadata = attributes.metadata();
        let mut fields = Fields::new(metadata.name(), metadata.fields().len());
        // Before the lock: a value may do anything when it is shown.
        attributes.record(&mut fields);
        let Some(span) = layer.span(id) else { return };
        span.extensions_mut().insert(Open {
            started: false,
            context: context.unwrap_or_default(),
            record: Some(Record::new(fields)),
        });
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, layer: LayerContext<'_, S>) {
        let mut later = Fields::later();
        values.record(&mut later);
        if let Some(span) = layer.span(id) {
            record(&span, |record| record.fields.absorb(&mut later));
        }
        later.attributes.reuse();
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, layer: LayerContext<'_, S>) {
        let cause = layer.span(follows).and_then(|span| self.context_of(&span));
        if let (Some(cause), Some(span)) = (cause, layer.span(id)) {
            record(&span, |record| {
                record.link(cause.span().span_context().clone())
            });
        }
    }

    fn on_enter(&self, id: &Id, layer: LayerContext<'_, S>) {
        let Some(span) = layer.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Open>() else {
            return;
        };
        let context = self.start(open).clone();
        let recorded = open.record.is_some();
        drop(extensions);
        let entered = Entered {
            id: id.clone(),
            _guard: context.attach(),
            recorded,
        };
        ENTERED.with_borrow_mut(|all| all.push(entered));
    }

    fn on_exit(&self, id: &Id, layer: LayerContext<'_, S>) {
        let left = ENTERED.with_borrow_mut(|entered| {
            let at = entered.iter().rposition(|entered| entered.id == *id)?;
            Some(entered.remove(at))
        });
        if left.is_some_and(|left| left.recorded)
            && let Some(span) = layer.span(id)
        {
            record(&span, |record| record.end = SystemTime::now());
        }
    }

    fn on_close(&self, id: Id, layer: LayerContext<'_, S>) {
        let Some(span) = layer.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        if let Some(open) = open {
            self.end(open);
        }
    }
}

/// Does something with a span that this process's layer has seen.
fn with_span<T>(
    span: &Span,
    act: impl FnOnce(&SpanLayer, &SpanRef<'_, Registry>) -> Option<T>,
) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch)| {
        let layer = dispatch.downcast_ref::<SpanLayer>()?;
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        act(layer, &span)
    });
    found.flatten()
}

fn with_record(span: &Span, act: impl FnOnce(&mut Record)) {
    with_span(span, |_, span| {
        record(span, act);
        Some(())
    });
}

/// What a span passes on; an empty context if it is none.
pub(crate) fn context(span: &Span) -> Context {
    with_span(span, |layer, span| layer.context_of(span)).unwrap_or_default()
}

/// Chooses the parent of a span that has not started.
pub(crate) fn set_parent(span: &Span, parent: Context) {
    with_span(span, |_, span| {
        let mut extensions = span.extensions_mut();
        let open = extensions.get_mut::<Open>()?;
        if !open.started {
            open.context = parent;
        }
        Some(())
    });
}

/// Gives a span that has not started, and all that is done in it, a value.
pub(crate) fn set_value<T: Send + Sync + 'static>(span: &Span, value: T) {
    with_span(span, |_, span| {
        let mut extensions = span.extensions_mut();
        let open = extensions.get_mut::<Open>()?;
        if !open.started {
            open.context = open.context.with_value(value);
        }
        Some(())
    });
}

/// Links a span to what caused it.
pub(crate) fn link(span: &Span, cause: SpanContext) {
    with_record(span, |record| record.link(cause));
}

/// What entering and leaving a span does: it ends now, unless it is left again. With the status of an HTTP answer, if there is one.
pub(crate) fn leave(span: &Span, status: Option<u16>) {
    with_record(span, |record| {
        record.end = SystemTime::now();
        if let Some(status) = status {
            let attributes = &mut record.fields.attributes;
            attributes.push("http.response.status_code", Value::Int(status.into()));
        }
    });
}

/// Enters `span` whenever `work` goes on. `Instrument` would take a handle of its own, and enter once more to drop what has ended.
#[cfg(feature = "sqlx")]
pub(crate) async fn within<F: Future>(span: &Span, work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|task| span.in_scope(|| work.as_mut().poll(task))).await
}

/// Adds an attribute that is true.
pub(crate) fn mark(span: &Span, key: &'static str) {
    with_record(span, |record| {
        record.fields.attributes.push(key, Value::Bool(true))
    });
}
