//! What `telemetry::testing` captures, and what the core does without any feature.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use telemetry::context::{begin_trace, continue_trace, traceparent};
use telemetry::metric::Kind;
use telemetry::testing::{Status, recorder_with};
use telemetry::{ServiceInfo, Settings};
use tracing::Instrument;

fn capture<T>(block: impl FnOnce() -> T) -> (T, telemetry::testing::Capture) {
    recorder_with(&[METRICS]);
    telemetry::testing::capture(block)
}

async fn capture_async<F: Future>(block: F) -> (F::Output, telemetry::testing::Capture) {
    recorder_with(&[METRICS]);
    telemetry::testing::capture_async(block).await
}

fn names(seen: &telemetry::testing::Capture) -> Vec<String> {
    seen.spans().into_iter().map(|span| span.name).collect()
}

fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )])
}

#[test]
fn blocks_side_by_side_do_not_see_each_other() {
    let block = |name: &'static str| {
        let ((), seen) = capture(|| {
            let _span = tracing::info_span!("work", otel.name = name).entered();
            tracing::warn!(name, "done");
        });
        (names(&seen), seen.logs())
    };
    std::thread::scope(|scope| {
        let threads = ["one", "two"].map(|name| (name, scope.spawn(move || block(name))));
        for (name, thread) in threads {
            let (spans, logs) = thread.join().expect("a block");
            assert_eq!(spans, [name]);
            assert_eq!((logs.len(), logs[0].level), (1, "WARN"));
            assert_eq!(logs[0].attributes["name"], name);
        }
    });
}

#[tokio::test]
async fn a_future_is_followed_into_its_tasks_and_into_traces_linked_to_it() {
    let delivery = async {
        let span = tracing::info_span!("delivery", otel.status_code = "ERROR");
        begin_trace(&span, traceparent().as_deref());
        span.in_scope(|| tracing::info!("delivered"));
    };
    let block = async { tokio::spawn(delivery.in_current_span()).await };
    let (joined, seen) = capture_async(block).await;
    joined.expect("the task ends");
    let [span] = &seen.spans()[..] else {
        panic!("{:#?}", seen.spans())
    };
    assert_eq!(span.status, Status::Error(String::new()));
    let logs = seen.logs();
    assert_eq!(logs.len(), 1, "{logs:#?}");
    assert_eq!(logs[0].trace_id, span.trace_id);
    assert_ne!(span.links[0].0, span.trace_id, "a trace of its own");
}

telemetry::label! {
    enum Of { This = "this", That = "that" }
}

telemetry::metrics! {
    /// What a test does.
    CAPTURES: Counter { of: Of } = "captures_total", unit "{capture}";
    /// What it has not done yet.
    WAITING: Gauge = "waiting_captures", unit "{capture}";
    /// How long each took.
    TIME: Histogram { of: Of } = "capture_time_seconds", unit "s", buckets &[1.0];
}

#[test]
fn a_declaration_says_what_stands_there() {
    let [captures, waiting, time] = METRICS else {
        panic!("{METRICS:#?}")
    };
    assert_eq!(captures.help, "What a test does.");
    assert_eq!(
        (captures.name, captures.labels),
        (CAPTURES.name(), &["of"][..])
    );
    assert_eq!((waiting.labels, waiting.unit), (&[][..], "{capture}"));
    assert_eq!((time.kind, time.buckets), (Kind::Histogram, &[1.0][..]));
    assert_eq!(Of::ALL.map(Of::as_str), ["this", "that"]);
}

#[test]
fn a_metric_without_labels_may_be_touched_before_there_is_a_registry() {
    // Nothing yet, or the registry of another test: neither may be remembered for ever.
    WAITING.increment(1.0);
    recorder_with(&[METRICS]);
    WAITING.set(3.0);
    let samples = recorder_with(&[METRICS]).metrics();
    let mut found = samples.iter().filter(|one| one.name == "waiting_captures");
    assert_eq!(found.next().map(|one| one.value), Some(3.0));
}

#[test]
fn a_time_lands_in_the_series_of_its_labels() {
    let ((), seen) = capture(|| {
        let span = tracing::Span::current();
        TIME.observe(Of::This, Duration::from_millis(250), &span);
        TIME.with(Of::That).record(0.5);
    });
    for (of, sum) in [("this", 0.25), ("that", 0.5)] {
        assert_eq!(
            seen.metric("capture_time_seconds_count", &[("of", of)]),
            1.0
        );
        assert_eq!(seen.metric("capture_time_seconds_sum", &[("of", of)]), sum);
        let bucket = [("of", of), ("le", "1")];
        assert_eq!(seen.metric("capture_time_seconds_bucket", &bucket), 1.0);
    }
}

#[test]
fn a_name_with_two_owners_stops_the_start() {
    let info = ServiceInfo {
        name: "twice".to_owned(),
        version: "0".to_owned(),
    };
    let settings = Settings::from_lookup(&|_| None).expect("constant settings");
    let standard = telemetry::names::db::METRICS;
    for (lists, name) in [
        ([METRICS, METRICS], "captures_total"),
        ([METRICS, standard], standard[0].name),
    ] {
        let error = telemetry::init(info.clone(), &settings, &lists);
        let error = error.err().expect("a name with two owners").to_string();
        let want = format!("the metric {name} is declared twice");
        assert!(error.starts_with(&want), "{error}");
    }
}

#[test]
fn a_metric_that_the_macro_did_not_check_is_checked_at_the_start() {
    let info = ServiceInfo {
        name: "unchecked".to_owned(),
        version: "0".to_owned(),
    };
    let settings = Settings::from_lookup(&|_| None).expect("constant settings");
    let mut time = TIME.metric();
    (time.name, time.buckets) = ("own_time_seconds", &[]);
    let error = telemetry::init(info, &settings, &[&[time]]);
    let error = error
        .err()
        .expect("a histogram without buckets")
        .to_string();
    let want = "the metric \"own_time_seconds\" cannot be: histograms";
    assert!(error.starts_with(want), "{error}");
}

#[test]
fn a_metric_counts_from_the_beginning_of_the_block() {
    let add = |count| CAPTURES.with(Of::This).increment(count);
    add(40);
    let ((), seen) = capture(|| add(2));
    assert_eq!(seen.metric("captures_total", &[("of", "this")]), 2.0);
    assert_eq!(seen.metric("captures_total", &[("of", "that")]), 0.0);
}

#[test]
fn a_worker_takes_up_a_trace_from_headers() {
    recorder_with(&[METRICS]);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = headers("traceparent", parent);
    let span = tracing::info_span!("job");
    continue_trace(&span, &headers);
    drop(span);
    let mut spans = recorder_with(&[METRICS]).spans();
    spans.retain(|span| span.name == "job");
    assert_eq!(spans[0].parent_span_id, parent[36..52]);
    assert_eq!(spans[0].trace_id, parent[3..35]);
}

#[test]
fn a_scrape_is_answered_as_its_headers_ask() {
    let metrics = recorder_with(&[METRICS]).telemetry().metrics();
    let plain = metrics.answer(&HeaderMap::new());
    assert_eq!(plain.status(), 200);
    assert!(!plain.body().contains("# EOF"), "{plain:?}");
    let asked = headers("accept", "application/openmetrics-text");
    let open = metrics.answer(&asked);
    let content_type = &open.headers()["content-type"];
    assert!(
        content_type
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(open.body().ends_with("# EOF\n"), "{open:?}");
}
