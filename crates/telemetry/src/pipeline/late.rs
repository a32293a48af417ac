//! Items that come while the pipeline ends.

use std::sync::mpsc;

use super::*;

#[test]
fn what_comes_while_the_last_batch_is_being_sent_is_sent_too() {
    let (sent, received) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let settings = Batch {
        delay: Duration::from_secs(3600),
        max_queue: 9,
        max_batch: 2,
        timeout: Duration::from_secs(9),
    };
    let pipeline = Pipeline::start(settings, SPANS, move |batch: &mut Vec<u8>| {
        sent.send(batch.clone()).unwrap();
        let _ = gate.recv();
        ExportOutcome::Accepted { rejected: 0 }
    })
    .unwrap();
    pipeline.push(1);
    let end = Instant::now() + Duration::from_secs(20);
    pipeline.close(end);
    assert_eq!(received.recv().unwrap(), [1]);
    pipeline.push(2);
    drop(release);
    assert_eq!(pipeline.finish(end), 0);
    assert_eq!(received.recv().unwrap(), [2]);
    pipeline.push(3);
    assert_eq!(pipeline.finish(end), 1, "nobody sends it any more");
}
