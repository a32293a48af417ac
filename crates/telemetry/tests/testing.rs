//! What `telemetry::testing` captures, and what the core does without any feature.

use http::{HeaderMap, HeaderName, HeaderValue};
use telemetry::context::{begin_trace, continue_trace, traceparent};
use telemetry::testing::{Status, capture, capture_async, recorder};
use tracing::Instrument;

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

#[test]
fn a_metric_counts_from_the_beginning_of_the_block() {
    let add = |count| metrics::counter!("captures_total", "of" => "this").increment(count);
    add(40);
    let ((), seen) = capture(|| add(2));
    assert_eq!(seen.metric("captures_total", &[("of", "this")]), 2.0);
    assert_eq!(seen.metric("captures_total", &[("of", "that")]), 0.0);
}

#[test]
fn a_worker_takes_up_a_trace_from_headers() {
    recorder();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = headers("traceparent", parent);
    let span = tracing::info_span!("job");
    continue_trace(&span, &headers);
    drop(span);
    let mut spans = recorder().spans();
    spans.retain(|span| span.name == "job");
    assert_eq!(spans[0].parent_span_id, parent[36..52]);
    assert_eq!(spans[0].trace_id, parent[3..35]);
}

#[test]
fn a_scrape_is_answered_as_its_headers_ask() {
    let metrics = recorder().telemetry().metrics();
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
