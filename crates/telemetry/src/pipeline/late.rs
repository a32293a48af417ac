//! Items that come while the pipeline ends, and later.

use std::sync::mpsc::{self, Receiver, Sender};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::*;

/// A pipeline that has been closed while the export of its first item hangs, until `release` is dropped.
struct Closed {
    pipeline: Pipeline<u8>,
    end: Instant,
    sent: Receiver<Vec<u8>>,
    release: Option<Sender<()>>,
    recorder: PrometheusRecorder,
}

impl Closed {
    fn start() -> Self {
        let (sender, sent) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let settings = Batch {
            delay: Duration::from_secs(3600),
            max_queue: 9,
            max_batch: 2,
            timeout: Duration::from_secs(9),
        };
        let send = move |batch: &mut Vec<u8>| {
            sender.send(batch.clone()).unwrap();
            let _ = gate.recv();
            ExportOutcome::Accepted { rejected: 0 }
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        let start = || Pipeline::start(settings, SPANS, send).unwrap();
        let pipeline = metrics::with_local_recorder(&recorder, start);
        pipeline.push(1);
        let end = Instant::now() + Duration::from_secs(20);
        pipeline.close(end);
        assert_eq!(sent.recv().unwrap(), [1]);
        Self {
            pipeline,
            end,
            sent,
            release: Some(release),
            recorder,
        }
    }

    /// How many items were taken, came too late, and found the queue full.
    fn processed(&self) -> [u64; 3] {
        let text = self.recorder.handle().render();
        ["", "already_shutdown", "queue_full"].map(|error_type| {
            let series = format!("{}{{error_type=\"{error_type}\"}} ", SPAN_PROCESSED.name());
            let count = text.lines().find_map(|line| line.strip_prefix(&series));
            count.expect(&series).parse().unwrap()
        })
    }
}

#[test]
fn what_comes_while_the_last_batch_is_being_sent_is_sent_too() {
    let mut closed = Closed::start();
    closed.pipeline.push(2);
    closed.release = None;
    assert_eq!(closed.pipeline.finish(closed.end), 0);
    assert_eq!(closed.sent.recv().unwrap(), [2]);
    closed.pipeline.push(3);
    assert_eq!(
        closed.pipeline.finish(closed.end),
        1,
        "nobody sends it any more"
    );
    assert_eq!(closed.processed(), [2, 1, 0]);
}

#[test]
fn what_comes_after_the_deadline_is_late_although_an_export_hangs() {
    let closed = Closed::start();
    assert_eq!(closed.pipeline.finish(Instant::now()), 1);
    closed.pipeline.push(2);
    assert_eq!(closed.processed(), [1, 1, 0]);
}
