//! The samples that rules read: windows over hours, and last samples.

use super::*;
use crate::answer::Answers;
use crate::budget::Budget;
use crate::prometheus;

/// The longest window of the demo rules, in seconds.
const WINDOW: u64 = 288 * 60;

/// One sample more than the window has, so that none is missing at its start.
const FIRST: i64 = 1_000_000_000;

/// Counters of one name, with a sample per second; each grows at its own pace, and starts again once.
fn counters(count: usize, limit: u64) -> SeriesStore {
    let store = SeriesStore::new(limit);
    let first = FIRST.unsigned_abs() * 1_000;
    store.replace("a:1", &own(), flood("m", count), first);
    for second in 1..=WINDOW {
        let at_ms = FIRST + second as i64 * 1_000;
        store.next(at_ms, |number| counter(number as u64, second));
    }
    store
}

/// Grows by one every second, third, … tenth second, from 1000 on, and in the end from 0 on.
fn counter(number: u64, second: u64) -> f64 {
    let restart = WINDOW / 2 + number;
    match second < restart {
        true => (1_000 + second / pace(number)) as f64,
        false => ((second - restart) / pace(number)) as f64,
    }
}

fn pace(number: u64) -> u64 {
    2 + number % 9
}

/// What a counter grows by from the first sample of the window to the last, as Prometheus extrapolates it to the whole window.
fn increase(number: u64) -> f64 {
    let restart = WINDOW / 2 + number;
    let before = counter(number, restart - 1) - counter(number, 1);
    let grown = before + counter(number, WINDOW);
    grown * WINDOW as f64 / (WINDOW - 1) as f64
}

async fn asked(store: &SeriesStore, memory: u64, text: &str, at_ms: i64) -> promql::Value {
    let expression = promql::parse(text).expect("an expression");
    let answers = Answers::new(Budget::new(memory));
    let store = store.clone();
    let job = move || {
        prometheus::evaluated(
            &expression,
            &store,
            answers.begin(),
            (at_ms, prometheus::MAX_TIME),
        )
    };
    let found = tokio::task::spawn_blocking(job).await;
    found.expect("no panic").expect("an answer")
}

async fn are_evaluated(count: usize, memory: u64) {
    let limit = Budget::new(memory).series();
    let store = counters(count, limit);
    assert_eq!(store.lost(), Lost::default());
    assert!(store.bytes() <= limit);
    let at_ms = FIRST + WINDOW as i64 * 1_000;
    let started = Instant::now();
    let text = "sum(increase(m[288m])) / (sum(count_over_time(m[288m])) > 0)";
    let found = asked(&store, memory, text, at_ms).await;
    println!(
        "{count} series: {:?}, {} bytes held",
        started.elapsed(),
        store.bytes()
    );
    let promql::Value::Vector(found) = found else {
        panic!("{found:?}");
    };
    let wanted: f64 = (0..count as u64).map(increase).sum();
    let got = found[0].1.value * WINDOW as f64 * count as f64;
    assert!((got / wanted - 1.0).abs() < 1e-12, "{got} is not {wanted}");
}

/// More samples than a question may read.
#[tokio::test]
async fn a_window_over_hours_is_evaluated_for_many_series() {
    are_evaluated(150, 128 << 20).await;
}

#[tokio::test]
#[ignore = "takes long without optimisation: docs/CONSOLE.md tells how to run it"]
async fn a_window_over_hours_is_evaluated_for_a_thousand_series() {
    are_evaluated(1_000, 2 << 30).await;
}

/// The cost counts only the samples that a short window reads, not the whole chunks.
#[tokio::test]
async fn a_short_window_over_many_series_takes_only_what_it_reads() {
    let store = SeriesStore::new(64 << 20);
    let first = FIRST.unsigned_abs() * 1_000;
    store.replace("a:1", &own(), flood("m", 300), first);
    for second in 1..700 {
        store.next(FIRST + second * 1_000, |_| second as f64);
    }
    let at_ms = FIRST + 699_000;
    let half_a_minute = at_ms - 29_999..=at_ms;
    let sizes = store.sizes(&[], half_a_minute, Detail::All);
    assert!(sizes.flatten().all(|(_, samples)| samples == 30));
    // All chunks would be 3 MB.
    let found = asked(&store, 4 << 20, "sum(avg_over_time(m[30s]))", at_ms).await;
    let promql::Value::Vector(found) = found else {
        panic!("{found:?}");
    };
    assert_eq!(found[0].1.value, 300.0 * 684.5);
}
