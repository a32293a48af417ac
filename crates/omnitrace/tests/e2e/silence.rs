//! A database whose connections fall silent, that is frozen, out of reach or exhausted: what the customer is told, what the
//! telemetry says, and how the services recover.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Reply, Stack, Status, Wire, database, eventually};

/// Whether data has work again: requests, relay and sweeper.
async fn works_again(stack: &Stack) {
    eventually("a request succeeds", async || {
        (stack.get_data().await.status == 200).then_some(())
    })
    .await;
    eventually("an order succeeds", async || {
        (stack.order("omni-mug", 1).await.status == 201).then_some(())
    })
    .await;
    let mut books = stack.database.books().await;
    books.settled("omni-mug").await;
    books.delivered().await;
}

async fn used(stack: &Stack) -> f64 {
    let labels = [
        ("db_client_connection_pool_name", "requests"),
        ("db_client_connection_state", "used"),
    ];
    let scrape = stack.scrape("data").await;
    scrape
        .value("db_client_connection_count", &labels)
        .expect("the gauge")
}

/// Server processes that hear of new events, younger than `since`.
async fn listeners(stack: &Stack, since: &str) -> i64 {
    let mut connection = stack.database.connect().await;
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' \
         AND backend_start > $1::timestamptz",
    )
    .bind(since)
    .fetch_one(&mut connection)
    .await
    .expect("pg_stat_activity")
}

/// Server processes of data, each of which took a log-in.
async fn sessions(stack: &Stack) -> Vec<i32> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'omnitrace-data' ORDER BY pid",
    )
    .fetch_all(&mut stack.database.connect().await)
    .await
    .expect("pg_stat_activity")
}

#[tokio::test]
async fn a_caller_who_hangs_up_costs_no_connection() {
    let stack = Stack::start().await;
    stack.get_data().await.expect(200);
    let before = sessions(&stack).await;
    let url = format!("{}/api/data", stack.url("gateway"));
    // At every moment of a request, over and over.
    for n in 0..600 {
        let patience = Duration::from_micros(500 + n % 60 * 250);
        let call = stack.client.get(&url).send();
        tokio::time::timeout(patience, call).await.ok();
    }
    stack.get_data().await.expect(200);
    assert_eq!(sessions(&stack).await, before);
}

#[tokio::test]
async fn connections_that_fall_silent_are_replaced() {
    let database = database().await;
    let wire = Wire::to(&database.url).await;
    let stack = Stack::builder()
        .database(database)
        .env("data", "DATABASE_URL", wire.url())
        .env("data", "OMNITRACE_SWEEP_AFTER_MS", "300")
        .start()
        .await;
    let now: String = sqlx::query_scalar("SELECT now()::text")
        .fetch_one(&mut stack.database.connect().await)
        .await
        .expect("the time");
    assert!(listeners(&stack, "-infinity").await >= 1);
    stack
        .fault_set("data", "slow_query", json!({"ms": 2500}))
        .await
        .expect(200);
    let reads = join_all((0..8).map(|_| stack.get_data()));
    let orders = join_all((0..2).map(|_| stack.order("omni-mug", 1)));
    let silence = async {
        eventually("ten queries are under way", async || {
            (used(&stack).await == 10.0).then_some(())
        })
        .await;
        wire.silence();
        stack.fault_clear("data", "slow_query").await.expect(200);
    };
    let (reads, orders, ()) = tokio::join!(reads, orders, silence);

    for reply in reads.iter().chain(&orders) {
        assert_eq!(reply.status, 504, "{reply:?}");
    }
    // What the deadline cut off is an error, not a caller who went away.
    let cut = |name: &str, trace: &Reply| {
        let (name, trace) = (name.to_owned(), trace.trace_id());
        let receiver = &stack.receiver;
        async move {
            let find = |spans: &[crate::harness::Span]| {
                let found =
                    |span: &&crate::harness::Span| span.name == name && span.trace_id == trace;
                spans.iter().find(found).cloned()
            };
            receiver.wait_for_span(&name, find).await
        }
    };
    for span in [
        cut("SELECT items", &reads[0]).await,
        cut("INSERT orders", &orders[0]).await,
    ] {
        assert_eq!(
            (span.text("error.type").as_str(), span.status),
            ("timeout", Status::Error),
            "{span:#?}"
        );
    }
    works_again(&stack).await;
    eventually("new events are announced again", async || {
        (listeners(&stack, &now).await >= 1).then_some(())
    })
    .await;
    assert_eq!(stack.admin("data", "/ready").await.status, 200);
    stack.stop().await;
}

/// The connection that a request waited for in vain: what its span says, and how often the metric counts it.
async fn told_apart(stack: &Stack, error_type: &str, status: u16, detail: &str) {
    let reply = stack.get_data().await;
    assert_eq!(reply.status, status, "{reply:?}");
    let said = reply.json()["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(said.contains(detail), "{said}");
    let trace = reply.trace_id();
    let find = |spans: &[crate::harness::Span]| {
        let mut spans = spans.iter();
        spans
            .find(|span| span.name == "acquire connection" && span.trace_id == trace)
            .cloned()
    };
    let span = stack
        .receiver
        .wait_for_span("acquire connection", find)
        .await;
    let found = (
        span.text("error.type"),
        span.text("db.system.name"),
        span.status,
    );
    let want = (
        error_type.to_owned(),
        "postgresql".to_owned(),
        Status::Error,
    );
    assert_eq!(found, want, "{span:#?}");
    let labels = [
        ("db_client_connection_pool_name", "requests"),
        ("error_type", error_type),
        ("outcome", "error"),
    ];
    let waits = "db_client_connection_wait_time_seconds_count";
    stack
        .wait_for_metric("data", waits, &labels, |value| value >= 1.0)
        .await;
}

async fn dependency(stack: &Stack) -> Value {
    let ready = stack.admin("data", "/ready").await.expect(200).json();
    assert_eq!(
        (&ready["ready"], &ready["reasons"]),
        (&json!(true), &json!([]))
    );
    let database = &ready["dependencies"][0];
    assert_eq!(database["name"], "database", "{ready}");
    database.clone()
}

/// Without the database the service stays ready: all its instances lack it, and somebody has to say so.
async fn until_the_database_is(stack: &Stack, up: bool) {
    eventually(&format!("the database is up: {up}"), async || {
        (dependency(stack).await["up"] == up).then_some(())
    })
    .await;
    let (value, labels) = (f64::from(u8::from(up)), [("dependency", "database")]);
    stack
        .wait_for_metric("data", "service_dependency_up", &labels, |found| {
            found == value
        })
        .await;
    let scrape = stack.scrape("data").await;
    assert_eq!(scrape.value("service_ready", &[]), Some(1.0));
    let health = crate::harness::omnitrace(["health", "--url", &stack.admin_url("data")]);
    let (code, said, _) = crate::cli::run(health, None).await;
    assert_eq!((code, said.contains("lacks database")), (0, !up), "{said}");
}

#[tokio::test]
async fn no_free_connection_a_silent_server_and_an_unreachable_one_are_told_apart() {
    let database = database().await;
    let mut wire = Wire::to(&database.url).await;
    let stack = Stack::builder()
        .database(database)
        .env("data", "DATABASE_URL", wire.url())
        .start()
        .await;
    until_the_database_is(&stack, true).await;

    stack
        .fault_set("data", "pool_exhaustion", json!({}))
        .await
        .expect(200);
    eventually("no connection is left", async || {
        (used(&stack).await == 10.0).then_some(())
    })
    .await;
    told_apart(
        &stack,
        "pool_timeout",
        503,
        "no database connection is free",
    )
    .await;
    stack
        .fault_clear("data", "pool_exhaustion")
        .await
        .expect(200);
    works_again(&stack).await;
    until_the_database_is(&stack, true).await;

    wire.freeze();
    told_apart(&stack, "timeout", 504, "does not answer").await;
    until_the_database_is(&stack, false).await;
    wire.open().await;
    works_again(&stack).await;
    until_the_database_is(&stack, true).await;

    wire.close().await;
    until_the_database_is(&stack, false).await;
    told_apart(&stack, "connect", 503, "cannot be reached").await;
    wire.open().await;
    works_again(&stack).await;
    until_the_database_is(&stack, true).await;
    let timeouts = [("db_client_connection_pool_name", "requests")];
    let scrape = stack.scrape("data").await;
    assert_eq!(
        scrape.value("db_client_connection_timeouts_total", &timeouts),
        Some(1.0),
        "only the one wait for which no connection was free"
    );
    stack.stop().await;
}

/// The server was restarted, or somebody has ended its processes: the ping before use finds out.
#[tokio::test]
async fn a_killed_connection_is_nobodys_failure() {
    let stack = Stack::start().await;
    let mut connection = stack.database.connect().await;
    for _ in 0..3 {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(&mut connection)
        .await
        .expect("terminated");
        stack.get_data().await.expect(200);
        stack.order("omni-mug", 1).await.expect(201);
    }
    stack.database.books().await.delivered().await;
    stack.stop().await;
}

/// A slow machine takes longer for a log-in than somebody who waits for an answer would wait.
#[tokio::test]
async fn data_starts_although_each_log_in_takes_longer_than_a_second() {
    let database = database().await;
    let wire = Wire::slow(&database.url, Duration::from_millis(1200)).await;
    let stack = Stack::builder()
        .database(database)
        .env("data", "DATABASE_URL", wire.url())
        .env("data", "OMNITRACE_POOL_SIZE", "1")
        .start()
        .await;
    stack.get_data().await.expect(200);
    stack.stop().await;
}
