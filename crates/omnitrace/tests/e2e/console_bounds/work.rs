//! Work that grows with what is sent and no faster: four times as much takes about four times the processor. Quadratic work
//! takes sixteen times, on a busy machine too, since what others use is not counted.

use std::time::Duration;

use super::{Console, bodies};

/// Enough for anything that is asked here, so that nothing makes room for anything else.
const BUDGET_MIB: u64 = 256;

/// How much more work four times as much may be.
const MOST: u32 = 8;

/// Less is too little to compare, in ticks of 10 ms.
const LEAST: Duration = Duration::from_millis(100);

/// How often each is measured.
const RUNS: usize = 3;

/// Linux counts in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A body and where it goes.
type Body = (&'static str, Vec<u8>);

/// What the process has used of processors, in all its threads, those that have ended too.
fn used(console: &Console) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", console.child.pid()));
    let stat = stat.expect("a living process");
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    // User and system time are fields 14 and 15, the state behind the name is field 3.
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u32>().expect("a number"));
    TICK * ticks.sum::<u32>()
}

/// What they cost a console that has had a small one of each before: the first request of a process costs more.
async fn work(small: Vec<Body>, bodies: Vec<Body>) -> Duration {
    let console = Console::start(BUDGET_MIB).await;
    for (path, body) in small {
        assert_eq!(console.send(path, body).await, 200, "{path}");
    }
    let before = used(&console);
    for (path, body) in bodies {
        assert_eq!(console.send(path, body).await, 200, "{path}");
    }
    used(&console) - before
}

/// The least of some runs, since a busy machine only adds to what work costs.
async fn least(count: usize, bodies: &impl Fn(usize) -> Vec<Body>) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..RUNS {
        least = least.min(work(bodies(1), bodies(count)).await);
    }
    least
}

async fn is_linear(mut count: usize, bodies: impl Fn(usize) -> Vec<Body>) {
    let mut once = least(count, &bodies).await;
    // On a fast machine.
    while once < LEAST {
        count *= 2;
        once = least(count, &bodies).await;
    }
    let fourfold = least(4 * count, &bodies).await;
    let found = format!("{count}: {once:?}, four times as many: {fourfold:?}");
    println!("{found}");
    assert!(fourfold < MOST * once, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_one_id() {
    is_linear(2_500, |count| {
        let trace = bodies::one_trace(count as u64);
        let copies = bodies::spans_of_one_id(10 * count);
        vec![("/v1/traces", trace), ("/v1/traces", copies)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_one_sender() {
    is_linear(2_500, |count| {
        let series = bodies::series(count);
        let groups = bodies::groups_of_one_sender(4 * count);
        vec![("/v1/metrics", series), ("/v1/metrics", groups)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_records_with_own_resources() {
    is_linear(10_000, |count| {
        vec![("/v1/logs", bodies::logs_with_resources(count, 10))]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_spans() {
    is_linear(500, |count| {
        vec![("/v1/traces", bodies::linked_spans(0, count as u64))]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_of_labels() {
    is_linear(2_500, |count| {
        vec![("/v1/metrics", bodies::sets_of_labels(count))]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quantiles() {
    is_linear(80, |count| vec![("/v1/metrics", bodies::quantiles(count))]).await;
}
