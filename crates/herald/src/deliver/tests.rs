use serde_json::json;

use super::*;
use crate::backend_tls::BackendTls;
use crate::payload::tests::example;
use crate::queue::Accepted;
use crate::settings::{Sites, Sources};
use crate::spool::Spool;

struct Case {
    root: tempfile::TempDir,
    deliverer: Deliverer,
}

impl Case {
    fn new() -> Self {
        // As the executable does; another test may have.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let spool = Spool::open(root.path(), &["test"]).unwrap();
        let patience = Duration::from_secs(5);
        let collector = Collector::new(&Sources::default(), &BackendTls::default(), patience);
        let deliverer = Deliverer {
            queue: Arc::new(Queue::open(spool, vec!["test"], 10).unwrap()),
            collector: Arc::new(collector.unwrap()),
            links: Links::new(Sites::default()),
            give_up_after: Duration::from_secs(60),
        };
        Self { root, deliverer }
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

    async fn attempt(&self, call: fn(&Notification<'_>) -> Attempt) -> Work {
        let work = self.deliverer.queue.next("test").await;
        let (_running, stop) = watch::channel(false);
        self.deliverer
            .attempt(&Target::call("test", call), work, stop)
            .await;
        work
    }

    fn files(&self, kind: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.path().join(kind).join("test")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
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
