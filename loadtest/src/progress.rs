//! What is going on, on stderr while it goes on: a table that redraws itself on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::truth::{Counts, Truth};

/// The timeline of a test has about this many points at most, however long it is.
const MOST_POINTS: u64 = 600;
/// Where nobody watches, a line so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One interval of the test.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// End of the interval, seconds since the start.
    pub at_seconds: f64,
    /// Users running then.
    pub users: u64,
    /// Requests in a second.
    pub requests_per_second: f64,
    /// Share of them that failed.
    pub error_share: f64,
    /// Median, ms.
    pub p50_ms: f64,
    /// 95th percentile, ms.
    pub p95_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
}

/// Looks at the books at intervals until dropped or stopped.
pub struct Progress {
    timeline: Arc<Mutex<Vec<Point>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Progress {
    /// Starts to look; `show` to tell as well.
    pub fn start(truth: Arc<Truth>, duration: Duration, show: bool) -> Self {
        let timeline = Arc::new(Mutex::new(Vec::new()));
        let points = Arc::clone(&timeline);
        let task = tokio::spawn(async move {
            let every = Duration::from_secs((duration.as_secs() / MOST_POINTS).max(1));
            let mut ticks = tokio::time::interval(every);
            ticks.tick().await;
            let mut screen = Screen::new(show);
            let started = Instant::now();
            let mut last = started;
            loop {
                ticks.tick().await;
                let now = Instant::now();
                let point = look(&truth, now - started, now - last);
                last = now;
                screen.show(&point, &truth.counts());
                points
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(point);
            }
        });
        Self { timeline, task }
    }

    /// Stops looking; the points so far.
    pub fn stop(self) -> Vec<Point> {
        self.task.abort();
        std::mem::take(&mut *self.timeline.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn look(truth: &Truth, at: Duration, during: Duration) -> Point {
    let recent = truth.recent();
    let requests = recent.micros.len() as f64;
    Point {
        at_seconds: at.as_secs_f64(),
        users: recent.users,
        requests_per_second: requests / during.as_secs_f64().max(0.001),
        error_share: recent.failures as f64 / requests.max(1.0),
        p50_ms: recent.quantile_ms(0.5),
        p95_ms: recent.quantile_ms(0.95),
        p99_ms: recent.quantile_ms(0.99),
    }
}

struct Screen {
    show: bool,
    terminal: bool,
    /// Lines of the table drawn last.
    drawn: usize,
    last_line: Option<Instant>,
}

impl Screen {
    fn new(show: bool) -> Self {
        Self {
            show,
            terminal: std::io::stderr().is_terminal(),
            drawn: 0,
            last_line: None,
        }
    }

    fn show(&mut self, point: &Point, counts: &Counts) {
        let due = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if !self.show || (!self.terminal && !due(self.last_line)) {
            return;
        }
        let mut text = String::new();
        if self.terminal && self.drawn > 0 {
            // Up to the first line of the table drawn last, and clear from there.
            text = format!("\x1b[{}A\x1b[J", self.drawn);
        }
        let lines = if self.terminal {
            table(point, counts)
        } else {
            vec![line(point)]
        };
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        self.last_line = Some(Instant::now());
        // Nobody may be reading any more; the test goes on.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn line(point: &Point) -> String {
    format!(
        "{:>5.0} s  {} users  {:.1} requests/s  {:.2} % failed  p50 {:.1} ms  p95 {:.1} ms  p99 {:.1} ms",
        point.at_seconds,
        point.users,
        point.requests_per_second,
        point.error_share * 100.0,
        point.p50_ms,
        point.p95_ms,
        point.p99_ms
    )
}

fn table(point: &Point, counts: &Counts) -> Vec<String> {
    let mut lines = vec![line(point)];
    for (series, count) in &counts.requests {
        let status = if series.status.is_empty() {
            "no answer"
        } else {
            &series.status
        };
        lines.push(format!(
            "        {:<5} {:<18} {status:<9} {count:>9}",
            series.method, series.route
        ));
    }
    lines
}
