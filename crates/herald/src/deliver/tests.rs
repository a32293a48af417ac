use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::backend_tls::BackendTls;
use crate::payload::tests::example;
use crate::queue::Accepted;
use crate::settings::{LinkBases, Sources};
use crate::spool::Spool;

type Call = fn(&Notification<'_>) -> Attempt;

struct Case {
    root: tempfile::TempDir,
    deliverer: Deliverer,
}

impl Case {
    fn new() -> Self {
        // Another test may have installed it already; the executable does the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["test"]).unwrap();
        let patience = Duration::from_secs(5);
        let collector = Collector::new(&Sources::default(), &BackendTls::default(), patience);
        let deliverer = Deliverer {
            queue: Arc::new(Queue::open(spool, vec!["test"], 10).unwrap()),
            collector: Arc::new(collector.unwrap()),
            links: Links::new(LinkBases::default()),
            give_up_after: Duration::from_secs(60),
        };
        Self { root, deliverer }
    }

    /// Opens the directory as the next process would.
    fn again(&mut self) {
        let nothing = tempfile::tempdir().unwrap();
        let queue = |root| {
            let spool = Spool::open(root, &["test"]).unwrap();
            Arc::new(Queue::open(spool, vec!["test"], 10).unwrap())
        };
        self.deliverer.queue = queue(nothing.path());
        self.deliverer.queue = queue(self.root.path());
    }

    /// Changes a time in a file of the queue.
    fn set(&self, key: &str, member: &str, time: DateTime<Utc>) {
        let path = self.root.path().join(format!("queue/test/{key}.json"));
        let mut stored: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert!(stored[member].is_string(), "{stored}");
        stored[member] = json!(time);
        std::fs::write(path, stored.to_string()).unwrap();
    }

    async fn accept(&self, status: &str) -> String {
        let mut payload = example();
        payload["status"] = status.into();
        let body = payload.to_string().into();
        match self.deliverer.queue.accept(body).await.unwrap() {
            Accepted::New(stored) => stored.key,
            Accepted::Pending(key) => panic!("pending as {key}"),
        }
    }

    async fn attempt(&self, call: Call) -> Work {
        let work = self.deliverer.queue.next("test").await;
        let (_running, stop) = watch::channel(false);
        let worker = Worker::new(Target::call("test", call), stop);
        self.deliverer.process(&worker, work).await;
        work
    }

    fn files(&self, kind: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.path().join(kind).join("test")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

/// A log that panics a number of times at a line with these words. It simulates a failure outside of the delivery itself.
struct Panicking {
    words: &'static str,
    times: AtomicUsize,
}

impl Panicking {
    fn at(words: &'static str, times: usize) -> tracing::subscriber::DefaultGuard {
        let times = AtomicUsize::new(times);
        tracing::subscriber::set_default(Self { words, times })
    }
}

impl Visit for &Panicking {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let left = |times: usize| times.checked_sub(1);
        if format!("{value:?}").contains(self.words)
            && self
                .times
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
                .is_ok()
        {
            panic!("at {value:?}");
        }
    }
}

impl Subscriber for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn what_panics_beside_the_delivery_is_repeated_then_set_aside_and_holds_its_group_up_no_longer()
 {
    let later: Call = |_| Attempt::Later("busy".into(), None);
    let cases: [(_, _, Call); 2] = [
        ("not delivered", "settled", later),
        ("cannot be read", "loaded", |_| Attempt::Delivered),
    ];
    for (words, when, call) in cases {
        for times in [1, 2] {
            let case = Case::new();
            let first = case.accept("firing").await;
            let next = case.accept("resolved").await;
            let file = case.root.path().join(format!("queue/test/{first}.json"));
            if when == "loaded" {
                // Herald does not follow a link; the file may be there another time.
                std::fs::rename(&file, case.root.path().join("away")).unwrap();
                std::os::unix::fs::symlink("away", &file).unwrap();
            }
            let log = Panicking::at(words, times);
            case.attempt(call).await;
            drop(log);
            let aside = case.files("failed").contains(&format!("{first}.json"));
            assert_eq!(aside, times == 2, "{when}, {times} panics");
            if aside {
                let work = case.attempt(|_| Attempt::Delivered).await;
                assert_eq!(work.key.to_string(), next, "{when}");
            } else {
                let work = case.deliverer.queue.next("test").await;
                assert_eq!(work.key.to_string(), first, "{when}: it is tried again");
            }
        }
    }
}

#[tokio::test]
async fn a_delivery_that_panics_with_its_evidence_is_repeated_without() {
    let case = Case::new();
    case.accept("firing").await;
    case.attempt(|notification| {
        let missing = serde_json::to_value(&notification.evidence.missing).unwrap();
        if missing[0]["reason"] != json!("left out: with it the delivery failed, see herald's log")
        {
            panic!("as evidence may make it");
        }
        Attempt::Delivered
    })
    .await;
    assert_eq!(
        (case.files("queue").len(), case.files("failed").len()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_delivery_that_always_panics_is_set_aside_and_holds_its_group_up_no_longer() {
    let case = Case::new();
    let poison = case.accept("firing").await;
    let next = case.accept("resolved").await;
    case.attempt(|_| panic!("whatever it is sent with")).await;
    assert_eq!(case.files("failed"), [format!("{poison}.json")]);
    let work = case.attempt(|_| Attempt::Delivered).await;
    assert_eq!(work.key.to_string(), next);
    assert_eq!(case.files("queue"), [] as [String; 0]);
}

#[tokio::test]
async fn what_panics_even_when_it_is_set_aside_is_tried_again() {
    let case = Case::new();
    let key = case.accept("firing").await;
    let log = Panicking::at("it is kept in failed/", 1);
    let attempt = case.attempt(|_| panic!("whatever it is sent with"));
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_err();
    drop(log);
    let again = case.attempt(|_| Attempt::Delivered);
    let again = tokio::time::timeout(Duration::from_secs(10), again).await;
    assert_eq!(again.expect("it waits for no restart").key.to_string(), key);
    assert_eq!(case.files("queue"), [] as [String; 0]);
}

#[tokio::test]
async fn evidence_does_not_wait_for_a_target_that_hangs_with_large_notifications() {
    let case = Case::new();
    case.accept("firing").await;
    let work = case.deliverer.queue.next("test").await;
    let (_running, stop) = watch::channel(false);
    let worker = Worker::new(Target::call("test", |_| Attempt::Delivered), stop);
    let _hanging = worker
        .room
        .acquire_many(BYTES_AT_ONCE as u32)
        .await
        .unwrap();
    let evidence = case.deliverer.evidence(&worker, work);
    let evidence = tokio::time::timeout(Duration::from_secs(10), evidence).await;
    assert!(evidence.expect("it is not held up").is_some());
}

#[tokio::test]
async fn what_has_not_arrived_in_time_is_set_aside() {
    let mut case = Case::new();
    let key = case.accept("firing").await;
    let busy: Call = |_| Attempt::Later("busy".into(), None);
    case.attempt(busy).await;
    assert_eq!(case.files("queue").len(), 1, "it has a minute");
    case.deliverer.give_up_after = Duration::ZERO;
    case.attempt(busy).await;
    assert_eq!(case.files("failed"), [format!("{key}.json")]);
}

#[tokio::test]
async fn what_a_silence_held_back_for_long_is_not_given_up_at_the_first_failure_after_a_restart() {
    let busy: Call = |_| Attempt::Later("busy".into(), None);
    for runs_out in [true, false] {
        let mut case = Case::new();
        let key = case.accept("firing").await;
        case.set(&key, "accepted", Utc::now() - TimeDelta::hours(1));
        let asked = json!({
            "matchers": [{"name": "service", "value": "gateway"}],
            "endsAt": Utc::now() + TimeDelta::hours(1), "by": "ada", "comment": "we know"
        });
        let queue = case.deliverer.queue.clone();
        let silence = queue.silences.add(serde_json::from_value(asked).unwrap());
        case.attempt(busy).await;
        assert!(queue.silences.expire(silence.unwrap().id).unwrap());
        if runs_out {
            // While herald is away.
            case.set(&key, "held_until", Utc::now());
        } else {
            queue.release();
            case.attempt(busy).await;
        }
        drop(queue);
        case.again();
        case.attempt(busy).await;
        assert_eq!(case.files("queue").len(), 1, "{runs_out}");
        case.deliverer.give_up_after = Duration::ZERO;
        case.again();
        case.attempt(busy).await;
        assert_eq!(case.files("failed").len(), 1, "{runs_out}: one day it is");
    }
}
