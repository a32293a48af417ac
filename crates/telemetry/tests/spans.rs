//! Spans of `tracing` as they leave the process: what users of `#[instrument]` and `info_span!` may count on.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use telemetry::context::{begin_trace, trace_id, traceparent};
use telemetry::testing::{Capture, Span, Status, capture};
use tracing::field::Empty;

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name}: {spans:#?}"))
}

fn only(seen: &Capture) -> Span {
    let [span] = &seen.spans()[..] else {
        panic!("{:#?}", seen.spans())
    };
    span.clone()
}

#[tracing::instrument(fields(order.total = 1.5, paid = true, kept = 7_u64))]
fn take(order: i64, customer: &str) {
    tracing::info_span!("store", otel.kind = "client").in_scope(|| {});
}

#[test]
fn a_function_with_arguments_is_a_span_with_attributes_and_children() {
    let ((), seen) = capture(|| take(7, "c-42"));
    let spans = seen.spans();
    let (take, store) = (named(&spans, "take"), named(&spans, "store"));
    assert_eq!((take.kind, store.kind), ("internal", "client"));
    assert_eq!(store.parent_span_id, take.span_id);
    assert!(take.start <= store.start && store.end <= take.end);
    for (key, value) in [
        ("order", "7"),
        ("customer", "c-42"),
        ("order.total", "1.5"),
        ("paid", "true"),
        ("kept", "7"),
    ] {
        assert_eq!(take.attributes[key], value, "{key}");
    }
}

#[test]
fn the_fields_of_opentelemetry_say_what_a_span_is_whenever_they_are_recorded() {
    let ((), seen) = capture(|| {
        let span = tracing::info_span!(
            "job",
            otel.name = Empty,
            otel.kind = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty
        );
        span.record("otel.name", "nightly")
            .record("otel.kind", "Consumer");
        span.record("otel.status_code", "error");
        span.in_scope(|| span.record("otel.status_description", "no disk"));
    });
    let span = only(&seen);
    assert_eq!((span.name.as_str(), span.kind), ("nightly", "consumer"));
    assert_eq!(span.status, Status::Error("no disk".to_owned()));
    assert!(span.attributes.is_empty(), "{span:#?}");
}

#[test]
fn what_is_said_to_be_fine_stays_fine() {
    let ((), seen) = capture(|| {
        let span = tracing::info_span!("job", otel.status_code = "OK");
        span.in_scope(|| span.record("otel.status_code", "ERROR"));
    });
    assert_eq!(only(&seen).status, Status::Ok);
}

#[derive(Debug)]
struct Refused(&'static str, Option<Box<Refused>>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[test]
fn an_error_is_an_exception_with_its_causes_and_none_of_them_leaks() {
    let ((), seen) = capture(|| {
        let cause = Refused("password=hunter2 is wrong", None);
        let error = Refused("ada@example.com was refused", Some(Box::new(cause)));
        let error: &(dyn Error + 'static) = &error;
        tracing::info_span!("login", error).in_scope(|| {});
    });
    let span = only(&seen);
    for key in ["error", "exception.message"] {
        assert_eq!(span.attributes[key], "[redacted] was refused");
    }
    let causes = &span.attributes["exception.stacktrace"];
    assert_eq!(causes, "[\"password=[redacted] is wrong\"]");
}

#[test]
fn the_value_of_a_secret_is_redacted_whatever_its_type() {
    let ((), seen) = capture(|| {
        let span = tracing::info_span!("login", password = 1234, token = "t", pin.secret = Empty);
        span.in_scope(|| span.record("pin.secret", 5.0));
    });
    for (key, value) in only(&seen).attributes {
        assert_eq!(value, "[redacted]", "{key}");
    }
}

#[test]
fn attributes_and_links_have_a_limit() {
    let ((), seen) = capture(|| {
        let span = tracing::info_span!("loop", n = Empty);
        let cause = traceparent();
        for n in 0..1000 {
            span.record("n", n);
            begin_trace(&span, cause.as_deref());
        }
    });
    let span = only(&seen);
    assert_eq!(span.attributes["n"], "127", "the first 128 are kept");
    assert_eq!(span.links.len(), 128);
}

#[test]
fn what_a_span_follows_from_is_a_link() {
    let ((), seen) = capture(|| {
        let cause = tracing::info_span!("cause");
        let effect = tracing::info_span!("effect");
        effect.follows_from(&cause);
    });
    let spans = seen.spans();
    let cause = named(&spans, "cause");
    let ids = (cause.trace_id.clone(), cause.span_id.clone());
    assert_eq!(named(&spans, "effect").links, [ids]);
}

#[test]
fn a_parent_is_the_one_that_is_named_or_the_one_that_is_entered() {
    let ((), seen) = capture(|| {
        let parent = tracing::info_span!("parent");
        let _other = tracing::info_span!("other").entered();
        tracing::info_span!(parent: &parent, "named").in_scope(|| {});
        tracing::info_span!("entered").in_scope(|| {});
    });
    let spans = seen.spans();
    let id = |name| named(&spans, name).span_id.clone();
    assert_eq!(named(&spans, "named").parent_span_id, id("parent"));
    assert_eq!(named(&spans, "entered").parent_span_id, id("other"));
}

#[test]
fn spans_that_are_left_out_of_order_and_entered_twice_leave_nothing_behind() {
    let (after, seen) = capture(|| {
        let before = traceparent();
        let (one, two) = (tracing::info_span!("one"), tracing::info_span!("two"));
        let (first, second) = (one.enter(), two.enter());
        drop(first);
        tracing::info!("inside");
        let (again, twice) = (one.enter(), one.enter());
        drop((second, again, twice));
        (before, traceparent())
    });
    assert!(after.0.is_some());
    assert_eq!(after.0, after.1, "the block's own span is current again");
    let spans = seen.spans();
    assert_eq!(seen.logs()[0].span_id, named(&spans, "two").span_id);
}

#[test]
fn a_span_that_moves_between_threads_is_current_where_it_is_entered() {
    let (traces, _seen) = capture(|| {
        let here = trace_id();
        let span = tracing::info_span!("moves");
        let there = std::thread::spawn(move || {
            let outside = trace_id();
            (outside, span.in_scope(trace_id))
        });
        (here, there.join().expect("a thread"))
    });
    assert!(traces.0.is_some());
    assert_eq!(traces.1, (None, traces.0));
}

#[test]
fn ids_are_never_given_twice() {
    let ((), seen) = capture(|| {
        for _ in 0..1000 {
            drop(tracing::info_span!("one"));
        }
    });
    let ids: BTreeSet<_> = seen.spans().into_iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), 1000);
}

/// A value that makes a span and a log line while it is shown.
struct Busy;

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info_span!("busy").in_scope(|| tracing::info!("shown"));
        f.write_str("busy")
    }
}

#[test]
fn a_value_may_do_anything_while_it_is_shown() {
    let ((), seen) = capture(|| {
        let span = tracing::info_span!("work", first = ?Busy, second = Empty);
        span.in_scope(|| span.record("second", tracing::field::debug(Busy)));
    });
    let spans = seen.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let work = named(&spans, "work");
    assert_eq!(work.attributes["first"], "busy");
    assert_eq!(work.attributes["second"], "busy");
}

#[test]
fn whoever_suppresses_telemetry_makes_no_spans() {
    let ((), seen) = capture(|| {
        let suppressed = opentelemetry::Context::enter_telemetry_suppressed_scope();
        tracing::info_span!("within").in_scope(|| tracing::info_span!("child").in_scope(|| {}));
        drop(suppressed);
        tracing::info_span!("after").in_scope(|| {});
    });
    assert_eq!(only(&seen).name, "after");
}
