use std::sync::mpsc;

use super::*;
use crate::pace::FIRST_BACKOFF;

fn settings(max_queue: usize, timeout: Duration) -> Batch {
    Batch {
        delay: Duration::from_secs(3600),
        max_queue,
        max_batch: 2.min(max_queue),
        timeout,
    }
}

#[test]
fn a_full_queue_drops_and_a_flush_sends_the_rest() {
    let (sent, received) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let pipeline = Pipeline::start(
        settings(2, Duration::from_secs(9)),
        SPANS,
        move |batch: &mut Vec<u8>| {
            sent.send(batch.clone()).unwrap();
            let _ = gate.recv();
            ExportOutcome::Accepted { rejected: 0 }
        },
    )
    .unwrap();
    pipeline.push(1);
    pipeline.push(2);
    assert_eq!(received.recv().unwrap(), [1, 2]);
    for item in 3..=5 {
        pipeline.push(item);
    }
    assert_eq!(
        pipeline.pending(),
        4,
        "two in flight, two queued, one dropped"
    );
    drop(release);
    assert!(pipeline.flush(Duration::from_secs(20)));
    assert_eq!(received.recv().unwrap(), [3, 4]);
    assert_eq!(pipeline.shutdown(Duration::from_secs(20)), 1);
}

#[test]
fn a_failure_is_retried_and_a_refusal_is_not() {
    let mut answers = vec![
        ExportOutcome::Refused { error_type: "http" },
        ExportOutcome::Accepted { rejected: 1 },
        ExportOutcome::Retry {
            after: Some(Duration::from_millis(1)),
            error_type: "connection",
        },
    ];
    let pipeline = Pipeline::start(
        settings(2, Duration::from_secs(9)),
        SPANS,
        move |_: &mut Vec<u8>| answers.pop().unwrap(),
    )
    .unwrap();
    pipeline.push(1);
    pipeline.push(2);
    assert!(pipeline.flush(Duration::from_secs(20)));
    pipeline.push(3);
    assert!(pipeline.flush(Duration::from_secs(20)));
    assert_eq!(
        pipeline.shutdown(Duration::from_secs(20)),
        2,
        "one rejected, one refused"
    );
}

#[test]
fn shutdown_with_a_dead_backend_keeps_its_deadline_and_counts() {
    let pipeline = Pipeline::start(
        settings(10, Duration::from_secs(3600)),
        SPANS,
        |_: &mut Vec<u8>| ExportOutcome::Retry {
            after: Some(Duration::from_secs(3600)),
            error_type: "connection",
        },
    )
    .unwrap();
    for item in 0..5 {
        pipeline.push(item);
    }
    assert_eq!(pipeline.shutdown(Duration::from_millis(50)), 5);
}

/// A pipeline whose backend gives these answers, last first, and the times at which it was asked.
fn answering(
    timeout: Duration,
    mut answers: Vec<ExportOutcome>,
) -> (Pipeline<u8>, mpsc::Receiver<Instant>) {
    let (asked, times) = mpsc::channel();
    let pipeline = Pipeline::start(settings(10, timeout), SPANS, move |_: &mut Vec<u8>| {
        asked.send(Instant::now()).unwrap();
        answers.pop().unwrap()
    });
    (pipeline.unwrap(), times)
}

fn busy(after: Duration) -> ExportOutcome {
    ExportOutcome::Retry {
        after: Some(after),
        error_type: "http",
    }
}

/// The pauses between attempts.
fn pauses(times: mpsc::Receiver<Instant>) -> Vec<Duration> {
    let times: Vec<Instant> = times.try_iter().collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_backend_that_says_at_once_is_not_asked_in_a_loop() {
    let accepted = ExportOutcome::Accepted { rejected: 0 };
    let answers = vec![accepted, busy(Duration::ZERO), busy(Duration::ZERO)];
    let (pipeline, times) = answering(Duration::from_secs(60), answers);
    pipeline.push(1);
    assert!(pipeline.flush(Duration::from_secs(20)));
    let pauses = pauses(times);
    assert!(
        pauses[0] >= FIRST_BACKOFF && pauses[1] >= FIRST_BACKOFF * 2,
        "{pauses:?}"
    );
    assert_eq!(pipeline.shutdown(Duration::from_secs(20)), 0);
}

#[test]
fn a_pause_is_kept_although_time_is_up_and_by_the_next_batch_too() {
    let asked = Duration::from_millis(600);
    let accepted = || ExportOutcome::Accepted { rejected: 0 };
    let answers = vec![accepted(), busy(asked), busy(asked)];
    let (pipeline, times) = answering(Duration::from_millis(1), answers);
    for item in 0..4 {
        pipeline.push(item);
    }
    assert!(pipeline.flush(Duration::from_secs(20)));
    let pauses = pauses(times);
    assert!(pauses.iter().all(|pause| *pause >= asked), "{pauses:?}");
    assert_eq!(pauses.len(), 2, "one batch was tried twice, the next once");
    assert_eq!(
        pipeline.shutdown(Duration::from_secs(20)),
        2,
        "the first one"
    );
}
