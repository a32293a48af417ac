use super::*;
use crate::model::{Attributes, Link, Resource, Status};

fn resource(service: &str) -> Arc<Resource> {
    Arc::new(Resource {
        service: service.into(),
        attributes: vec![("service.name".into(), service.into())].into(),
    })
}

fn span(trace: u128, id: u64) -> Span {
    Span {
        trace_id: TraceId(trace),
        span_id: SpanId(id),
        parent: None,
        resource: resource("shop"),
        trace_state: String::new(),
        flags: 0,
        scope: Arc::default(),
        name: "GET /".into(),
        kind: Kind::Server,
        start_ns: 0,
        duration_ns: 1,
        status: Status::Unset,
        attributes: vec![("text".into(), "x".repeat(1_000).into())].into(),
        events: Vec::new(),
        links: Vec::new(),
        bytes: 0,
    }
}

fn log(trace: Option<u128>, time_ns: u64, severity: &str) -> LogRecord {
    LogRecord {
        time_ns,
        resource: resource("shop"),
        scope: Arc::default(),
        observed_ns: 0,
        severity: severity.into(),
        severity_number: 0,
        severity_text: String::new(),
        flags: 0,
        body: format!("line {time_ns}"),
        attributes: Attributes::default(),
        trace_id: trace.map(TraceId),
        span_id: None,
    }
}

fn times(logs: &[Arc<LogRecord>]) -> Vec<u64> {
    logs.iter().map(|log| log.time_ns).collect()
}

fn free(_: usize) -> Result<(), ()> {
    Ok(())
}

fn logs_of(store: &Store, filter: &LogFilter) -> Vec<Arc<LogRecord>> {
    store.logs(filter, free).expect("room")
}

fn any(limit: usize) -> LogFilter {
    LogFilter {
        limit,
        ..LogFilter::default()
    }
}

#[test]
fn the_oldest_whole_traces_make_room() {
    let store = Store::new(100_000);
    for trace in 1..=200 {
        store.add_spans(vec![span(trace, 1), span(trace, 2)]);
        let stats = store.stats();
        assert!(stats.bytes <= stats.limit_bytes, "{stats:?}");
    }
    let stats = store.stats();
    assert_eq!(stats.spans, stats.traces * 2);
    assert_eq!(stats.traces + stats.evicted_traces, 200);
    assert!(stats.traces > 10, "{stats:?}");
    let expected: Vec<TraceId> = (201 - u128::from(stats.traces)..=200)
        .rev()
        .map(TraceId)
        .collect();
    assert_eq!(store.traces_newest_first().collect::<Vec<_>>(), expected);
    assert!(store.trace(TraceId(1)).is_none());
}

#[test]
fn the_estimate_falls_to_nothing_with_the_last_trace() {
    let store = Store::new(1_000_000);
    store.add_logs(vec![log(None, 1, "INFO"), log(Some(7), 1, "INFO")]);
    let mut linked = span(1, 1);
    linked.links.push(Link {
        trace_id: TraceId(9),
        span_id: SpanId(1),
        ..Link::default()
    });
    store.add_spans(vec![linked, span(2, 1)]);
    let mut state = store.write();
    assert!(state.stats().bytes > 3_000);
    state.clear();
    assert_eq!(state.stats().bytes, 0);
    assert_eq!(
        (
            state.stats().spans,
            state.stats().logs,
            state.stats().traces
        ),
        (0, 0, 0)
    );
    assert!(state.operations.services("").is_empty() && state.linked_from(TraceId(9)).is_empty());
}

#[test]
fn a_span_that_comes_again_replaces_the_earlier_one() {
    let store = Store::new(1_000_000);
    store.add_spans(vec![span(1, 1)]);
    let once = store.stats();
    let mut again = span(1, 1);
    again.resource = resource("shop");
    store.add_spans(vec![again.clone(), again.clone()]);
    assert_eq!(store.stats(), once);
    again.duration_ns = 5;
    store.add_spans(vec![again.clone()]);
    let held = store.trace(TraceId(1)).expect("it").spans;
    again.bytes = held[0].bytes;
    assert_eq!(held, [Arc::new(again.clone())]);
    // The two sides of a call may share an id.
    again.kind = Kind::Client;
    store.add_spans(vec![again.clone(), again]);
    assert_eq!(store.trace(TraceId(1)).expect("it").spans.len(), 2);
    let mut operations = Vec::new();
    let _ = store.operations("shop", |name, kind| {
        operations.push((name.to_owned(), kind));
        Ok::<(), ()>(())
    });
    assert_eq!(
        operations,
        [
            ("GET /".to_owned(), Kind::Client),
            ("GET /".to_owned(), Kind::Server)
        ]
    );
}

#[test]
fn a_giant_trace_is_capped_and_the_others_stay() {
    let store = Store::new(100_000);
    store.add_spans(vec![span(1, 1)]);
    store.add_spans((1..=1_000).map(|id| span(2, id)).collect());
    store.add_logs((1..=1_000).map(|time| log(Some(2), time, "INFO")).collect());
    let giant = store.trace(TraceId(2)).expect("it");
    assert!(giant.spans.len() > 5 && giant.spans.len() as u64 + giant.dropped_spans == 1_000);
    let stats = store.stats();
    assert_eq!(stats.dropped_spans, giant.dropped_spans);
    assert_eq!(stats.dropped_logs + giant.logs.len() as u64, 1_000);
    assert!(store.trace(TraceId(1)).is_some());

    let store = Store::new(1 << 30);
    store.add_spans(
        (1..=MAX_TRACE_SPANS as u64 + 3)
            .map(|id| span(2, id))
            .collect(),
    );
    assert_eq!(store.trace(TraceId(2)).expect("it").dropped_spans, 3);
}

#[test]
fn logs_may_come_before_their_spans() {
    let store = Store::new(1_000_000);
    store.add_logs(vec![log(Some(1), 5, "INFO")]);
    assert!(store.trace(TraceId(1)).is_none() && store.traces_newest_first().next().is_none());
    assert_eq!(store.stats().traces, 0);
    store.add_spans(vec![span(1, 1)]);
    assert_eq!(times(&store.trace(TraceId(1)).expect("it").logs), [5]);
    assert_eq!(store.stats().traces, 1);
}

#[test]
fn logs_without_a_trace_have_a_ring() {
    let store = Store::new(100_000);
    store.add_spans(vec![span(1, 1)]);
    store.add_logs((1..=1_000).map(|time| log(None, time, "INFO")).collect());
    let stats = store.stats();
    assert!(stats.logs > 5 && stats.logs + stats.evicted_logs == 1_000);
    assert!(stats.bytes < 20_000, "a tenth and one span: {stats:?}");
    assert_eq!(times(&logs_of(&store, &any(2))), [1_000, 999]);
    assert!(store.trace(TraceId(1)).is_some());
}

#[test]
fn logs_are_filtered() {
    let store = Store::new(1_000_000);
    store.add_logs(vec![
        log(Some(1), 1, "INFO"),
        log(Some(1), 3, "ERROR"),
        log(None, 2, "WARN"),
        log(Some(2), 4, ""),
    ]);
    assert_eq!(times(&logs_of(&store, &any(10))), [4, 3, 2, 1]);
    assert_eq!(
        times(&logs_of(
            &store,
            &LogFilter {
                min_severity: Some(4),
                ..any(10)
            }
        )),
        [3, 2]
    );
    assert_eq!(
        times(&logs_of(
            &store,
            &LogFilter {
                trace_id: Some(TraceId(1)),
                ..any(1)
            }
        )),
        [3]
    );
    assert!(
        logs_of(
            &store,
            &LogFilter {
                service: Some("other".into()),
                ..any(10)
            }
        )
        .is_empty()
    );
    assert!(
        logs_of(
            &store,
            &LogFilter {
                trace_id: Some(TraceId(3)),
                ..any(10)
            }
        )
        .is_empty()
    );
}

#[test]
fn links_are_found_backwards_while_their_trace_is_here() {
    let store = Store::new(100_000);
    let mut linked = span(2, 1);
    for target in [1, 2] {
        linked.links.push(Link {
            trace_id: TraceId(target),
            span_id: SpanId(1),
            ..Link::default()
        });
    }
    store.add_spans(vec![linked.clone(), linked]);
    assert_eq!(store.linked_from(TraceId(1)), [(TraceId(2), SpanId(1))]);
    assert!(
        store.linked_from(TraceId(2)).is_empty(),
        "links inside a trace are no news"
    );
    store.add_spans((10..200).map(|trace| span(trace, 1)).collect());
    assert!(store.trace(TraceId(2)).is_none() && store.linked_from(TraceId(1)).is_empty());
}

#[test]
fn resources_are_shared_and_go() {
    let store = Store::new(200_000);
    let of = |trace: u128, service: &str| Span {
        resource: resource(service),
        ..span(trace, 1)
    };
    store.add_spans(vec![of(1, "a"), of(2, "a"), of(3, "b")]);
    let at = |trace| {
        store.trace(TraceId(trace)).expect("it").spans[0]
            .resource
            .clone()
    };
    assert!(Arc::ptr_eq(&at(1), &at(2)) && !Arc::ptr_eq(&at(1), &at(3)));
    for trace in 10..2_000 {
        let mut span = of(trace, &format!("service {trace}"));
        span.resource = Arc::new(Resource {
            service: format!("{trace}"),
            attributes: vec![("x".into(), "y".repeat(1_000).into())].into(),
        });
        store.add_spans(vec![span]);
    }
    let stats = store.stats();
    assert!(
        stats.bytes <= stats.limit_bytes && stats.traces > 20,
        "{stats:?}"
    );
    let mut services = 0;
    let _ = store.services(|_| {
        services += 1;
        Ok::<(), ()>(())
    });
    assert!((1..=stats.traces).contains(&services), "{services}");
}

#[test]
fn severities_have_ranks() {
    assert_eq!(
        ["trace", "Debug", "INFO", "WARN", "ERROR", "FATAL", "", "?"].map(severity_rank),
        [1, 2, 3, 4, 5, 6, 0, 0]
    );
}

/// The index of an id, and what is compared: also when very many share it.
#[test]
fn spans_of_one_id_are_told_apart_by_kind_and_service() {
    let store = Store::new(2 << 20);
    let of = |kind, service: &str| Span {
        kind,
        resource: resource(service),
        attributes: Attributes::default(),
        ..span(1, 1)
    };
    let all = || {
        (0..300).flat_map(|i| {
            let service = format!("{i}");
            [of(Kind::Server, &service), of(Kind::Client, &service)]
        })
    };
    store.add_spans(all().collect());
    store.add_spans(all().collect());
    assert_eq!(store.trace(TraceId(1)).expect("it").spans.len(), 600);
}

#[test]
fn a_flood_drops_what_is_its_own() {
    let store = Store::new(400_000);
    let of = |trace: u128, service: &str| Span {
        resource: resource(service),
        ..span(trace, 1)
    };
    let quiet: Vec<Span> = (1..=50).map(|trace| of(trace, "quiet")).collect();
    store.add_spans(quiet);
    store.add_spans((1_000..10_000).map(|trace| of(trace, "loud")).collect());
    // A flood of names shares one place when all others are taken.
    let names = (10_000..20_000).map(|trace| of(trace, &format!("name {trace}")));
    store.add_spans(names.collect());
    let kept = (1..=50).filter(|trace| store.trace(TraceId(*trace)).is_some());
    assert!(kept.count() >= 10, "a 32nd of the budget at least");
    let stats = store.stats();
    assert!(stats.bytes <= stats.limit_bytes && stats.evicted_traces > 10_000);
}

#[test]
fn resources_are_on_the_account_of_who_sends_them() {
    let store = Store::new(400_000);
    store.add_spans((1..=20).map(|trace| span(trace, 1)).collect());
    for pod in 0..2_000 {
        let mut line = log(None, pod, "INFO");
        let large = ("pod".into(), format!("{pod}{}", "x".repeat(2_000)).into());
        line.resource = Arc::new(Resource {
            service: "jobs".into(),
            attributes: vec![large].into(),
        });
        store.add_logs(vec![line]);
    }
    let stats = store.stats();
    assert!(stats.bytes <= stats.limit_bytes, "{stats:?}");
    assert_eq!((stats.traces, stats.evicted_traces), (20, 0));
    assert!(
        stats.logs > 50 && stats.logs + stats.evicted_logs == 2_000,
        "{stats:?}"
    );
    assert_eq!(times(&logs_of(&store, &any(1))), [1_999]);
}

#[test]
fn what_finds_no_room_is_answered() {
    let store = Store::new(1 << 30);
    let spans = (1..=MAX_TRACE_SPANS as u64 + 3).map(|id| Span {
        attributes: Attributes::default(),
        ..span(2, id)
    });
    assert_eq!(store.add_spans(spans.collect()), 3);
    let store = Store::new(100_000);
    let logs = (1..=1_000).map(|time| log(Some(2), time, "INFO"));
    let refused = store.add_logs(logs.collect());
    assert_eq!(refused, store.stats().dropped_logs);
    assert!(refused > 100);
}

/// Also those of a trace with very many, and of one that goes meanwhile.
#[test]
fn logs_are_looked_at_in_parts() {
    let store = Store::new(64 << 20);
    let of = |trace, times: std::ops::Range<u64>| times.map(move |time| log(trace, time, ""));
    store.add_logs(of(None, 0..5).chain(of(Some(1), 5..10_005)).collect());
    store.add_logs(of(None, 10_005..10_010).collect());
    let batches: Vec<_> = store.log_batches().collect();
    assert!(batches.len() > 2 && batches.iter().all(|batch| batch.len() <= 4_096));
    let all: Vec<u64> = batches.iter().flat_map(|batch| times(batch)).collect();
    assert_eq!(all, (0..10_010).collect::<Vec<_>>());
    let mut batches = store.log_batches();
    let first = batches.next().expect("a part");
    store.write().clear();
    store.add_logs(vec![log(None, 1, "")]);
    let rest: usize = batches.map(|batch| batch.len()).sum();
    assert_eq!((first.len(), rest), (4_096, 1));
}
