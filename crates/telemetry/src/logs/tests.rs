use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;

use super::filter::filter;
use super::*;

#[derive(Default, Clone)]
struct Seen(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber> Layer<S> for Seen {
    fn on_event(&self, event: &Event<'_>, _context: LayerContext<'_, S>) {
        self.0.lock().unwrap().push(event.metadata().target());
    }
}

/// Targets of the events that pass.
fn passing(directives: &str) -> Vec<&'static str> {
    let seen = Seen::default();
    let layer = seen.clone().with_filter(filter(directives).unwrap());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::error!(target: "sqlx::query", "");
        tracing::error!(target: "sqlx_core::pool", "");
        tracing::error!(target: "sqlx_foo::query", "");
        tracing::info!(target: "actix_server::worker", "");
        tracing::info!(target: "actix_server_side", "");
        tracing::error!(target: "actix_http::h1", "");
        tracing::error!(target: "actix_https::h1", "");
    });
    std::mem::take(&mut *seen.0.lock().unwrap())
}

/// JSON lines of the events.
#[derive(Default, Clone)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: LayerContext<'_, S>) {
        self.0.lock().unwrap().push(Record::new(event, 0).json());
    }
}

#[test]
fn no_key_stands_in_a_line_twice() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(
            timestamp = 1,
            fields.timestamp = 2,
            fields.order = 3,
            "taken"
        );
    });
    let line = lines.0.lock().unwrap().concat();
    for field in [
        r#""fields.timestamp":1"#,
        r#""fields.fields.timestamp":2"#,
        r#""fields.order":3"#,
    ] {
        assert!(line.contains(field), "{line}");
    }
    assert_eq!(line.matches(r#""fields.timestamp""#).count(), 1, "{line}");
}

#[test]
fn libraries_are_quiet_and_not_whoever_begins_like_them() {
    let others = ["sqlx_foo::query", "actix_server_side", "actix_https::h1"];
    assert_eq!(passing("info"), others);
    assert_eq!(passing("info,sqlx_foo=debug"), others, "that names another");
    let with_sqlx = passing("info,sqlx=debug");
    assert_eq!(with_sqlx[..2], ["sqlx::query", "sqlx_core::pool"]);
    assert_eq!(with_sqlx[2..], others);
}

#[test]
fn a_span_that_the_filter_names_lets_events_through_as_long_as_it_does() {
    let (filter, level) = LogFilter::new("off").unwrap();
    let seen = Seen::default();
    let layers = tracing_subscriber::registry()
        .with(LogLayer::new(filter, Output::Unwritten, None))
        .with(seen.clone());
    let log = |when| {
        tracing::info_span!("order", id = 7).in_scope(|| tracing::info!(target: "inside", when));
        tracing::info!(target: "outside", when);
    };
    tracing::subscriber::with_default(layers, || {
        log("before");
        for directives in ["off,[order]=info", "off,[order{id=7}]=info"] {
            level.set(directives).unwrap();
            log("meanwhile");
        }
        level.set("off").unwrap();
        log("after");
    });
    assert_eq!(*seen.0.lock().unwrap(), ["inside", "inside"]);
}

#[test]
fn of_two_changes_at_once_one_is_in_force_as_a_whole() {
    let (filter, level) = LogFilter::new("off").unwrap();
    for round in 0..5_000 {
        std::thread::scope(|scope| {
            for directives in ["info", "[span]=debug"] {
                let level = &level;
                scope.spawn(move || level.set(directives).unwrap());
            }
        });
        let names_spans = level.get().contains('[');
        assert_eq!(filter.of_spans().is_some(), names_spans, "round {round}");
    }
}
