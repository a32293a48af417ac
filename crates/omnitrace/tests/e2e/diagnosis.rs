//! What herald concludes while a running stack has a trouble: where the fault is, of what kind, and what to do first.

use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::harness::{Capture, Database, Signal, Up, database, http};
use crate::herald::alert;

/// A stack with requests, and the webhook that its herald tells.
struct Case {
    up: Up,
    webhook: Capture,
    database: Database,
    alerts: usize,
}

impl Case {
    async fn start() -> Self {
        let (webhook, database) = (Capture::answering(&json!({})), database().await);
        let up = crate::evidence::with_load(&webhook, &database).await;
        Self {
            up,
            webhook,
            database,
            alerts: 0,
        }
    }

    /// Waits until herald concludes this of an alert of the gateway that begins now; `kind` is that of its rule.
    async fn concludes(&mut self, kind: &str, expected: &str) {
        let mut seen = Vec::new();
        let start = std::time::Instant::now();
        loop {
            let concluded = self.concluded(kind).await;
            if concluded == expected {
                return;
            }
            if seen.last() != Some(&concluded) {
                seen.push(concluded);
            }
            let late = start.elapsed() > crate::harness::DEADLINE;
            assert!(!late, "{expected} is expected, not {seen:#?}");
        }
    }

    /// `data/postgresql lock, end_session psql`. Each alert has a name of its own, which no rule has.
    async fn concluded(&mut self, kind: &str) -> String {
        self.alerts += 1;
        let name = format!("Trouble{}", self.alerts);
        let mut firing = alert(&name, "firing");
        firing["commonAnnotations"]["kind"] = json!(kind);
        crate::evidence::post(&mut self.up, &firing).await;
        let told = crate::evidence::told(&self.webhook, &name).await;
        let Value::Object(first) = &told["diagnosis"]["first_action"] else {
            panic!("{told:#}");
        };
        let cause = &told["diagnosis"]["causes"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(!text(&cause["why"]).is_empty(), "{told:#}");
        assert!(text(&first["text"]).ends_with('.'), "{told:#}");
        let place = [&cause["service"], &cause["dependency"]].map(text);
        let place: Vec<String> = place.into_iter().filter(|name| !name.is_empty()).collect();
        let [kind, action, target] = [&cause["kind"], &first["do"], &first["target"]].map(text);
        format!("{} {kind}, {action} {target}", place.join("/"))
    }

    async fn fault(&mut self, service: &str, fault: &str, parameters: Value) {
        self.up.fault(service, fault, parameters).await;
    }

    async fn clear(&mut self, service: &str) {
        let all = self.up.faults(service).await;
        http().delete(all).send().await.expect("an answer");
    }

    async fn stop(mut self) {
        assert_eq!(self.up.stop().await.code(), Some(0));
    }
}

#[tokio::test]
async fn calls_that_fail_tell_how_downstream_fails() {
    let mut case = Case::start().await;
    for (fault, expected) in [
        (
            "malformed_body",
            "downstream bad_answer, look_at downstream",
        ),
        (
            "connection_reset",
            "downstream connection, look_at downstream",
        ),
        ("errors", "downstream errors, look_at downstream"),
        ("hang", "downstream unresponsive, restart downstream"),
    ] {
        case.fault("downstream", fault, json!({})).await;
        case.concludes("errors", expected).await;
        case.clear("downstream").await;
    }
    case.up.signal("downstream", Signal::SIGSTOP).await;
    let frozen = "downstream unresponsive, restart downstream";
    case.concludes("errors", frozen).await;
    case.up.signal("downstream", Signal::SIGCONT).await;
    case.stop().await;
}

#[tokio::test]
async fn slow_statements_locks_and_an_exhausted_pool_are_told_apart() {
    let mut case = Case::start().await;
    case.fault("data", "slow_query", json!({"ms": 700})).await;
    let slow = "data/postgresql slow_statement, look_at data";
    case.concludes("latency", slow).await;
    case.clear("data").await;

    let mut holder = case.database.connect().await;
    for statement in [
        "SET application_name = 'nightly export'",
        "BEGIN",
        "LOCK TABLE omnitrace.items IN ACCESS EXCLUSIVE MODE",
    ] {
        holder.execute(statement).await.expect(statement);
    }
    let held = "data/postgresql lock, end_session nightly export";
    case.concludes("latency", held).await;
    holder.close().await.expect("the session ends");
    case.stop().await;
}

#[tokio::test]
async fn a_pool_that_its_own_service_exhausts_is_not_blamed_on_the_database() {
    let mut case = Case::start().await;
    case.fault("data", "pool_exhaustion", json!({})).await;
    case.concludes("errors", "data pool, look_at data").await;
    case.stop().await;
}
