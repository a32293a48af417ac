//! A lock that somebody holds in the database is named as a lock, and hurts only those who need what is locked.

use futures_util::future::join_all;
use sqlx::{Connection, Executor, PgConnection};

use crate::harness::{Stack, Status, eventually};

/// Another session, which has locked a table.
async fn lock(stack: &Stack, table: &'static str) -> PgConnection {
    let mut holder = stack.database.connect().await;
    for statement in ["SET application_name = 'somebody'", "BEGIN", table] {
        holder.execute(statement).await.expect(statement);
    }
    holder
}

/// Waits until this many statements wait for that session.
async fn waiting(
    stack: &Stack,
    (operation, collection): (&str, &str),
    enough: impl Fn(f64) -> bool,
) {
    let labels = [
        ("db_operation_name", operation),
        ("db_collection_name", collection),
        ("lock_holder", "somebody"),
    ];
    let metric = "db_client_lock_waiting_statements";
    stack.wait_for_metric("data", metric, &labels, enough).await;
}

#[tokio::test]
async fn a_lock_on_orders_is_named_and_leaves_connections_to_the_others() {
    let stack = Stack::start().await;
    let holder = lock(
        &stack,
        "LOCK TABLE omnitrace.orders IN ACCESS EXCLUSIVE MODE",
    )
    .await;

    // More of them than there are connections, while others look at items.
    let orders = join_all((0..20).map(|_| stack.order("omni-mug", 1)));
    let others = async {
        waiting(&stack, ("INSERT", "orders"), |count| count >= 8.0).await;
        for _ in 0..5 {
            stack.get_data().await.expect(200);
        }
    };
    let (replies, ()) = tokio::join!(orders, others);

    let detail = |text: &str| {
        let named = |reply: &&crate::harness::Reply| {
            let problem = reply.problem(503, "dependency-unavailable");
            problem["detail"].as_str().unwrap().contains(text)
        };
        replies.iter().filter(named).count()
    };
    let (locked, waited) = (
        detail("holds a lock"),
        detail("no database connection is free"),
    );
    assert!(locked >= 8, "{locked} of 20");
    assert_eq!(locked + waited, 20);
    let find = |spans: &[crate::harness::Span]| {
        let refused = |span: &&crate::harness::Span| {
            span.name == "INSERT orders" && span.text("error.type") == "55P03"
        };
        spans.iter().find(refused).cloned()
    };
    let span = stack
        .receiver
        .wait_for_span("a span that names the lock", find)
        .await;
    assert_eq!(span.status, Status::Error);
    eventually("the log names the holder", async || {
        let lines = stack.log_lines("data");
        let named = |line: &&serde_json::Value| {
            line["message"] == "statements wait for a lock in the database"
                && line["holder_application"] == "somebody"
                && line["statement"] == "INSERT orders"
        };
        lines.iter().any(|line| named(&line)).then_some(())
    })
    .await;

    holder.close().await.expect("the end of the lock");
    waiting(&stack, ("INSERT", "orders"), |count| count == 0.0).await;
    stack.order("omni-mug", 1).await.expect(201);
    stack.stop().await;
}

/// The relay waits too: that keeps neither the lock from being named nor anybody from seeing that the database is well.
#[tokio::test]
async fn a_lock_on_the_outbox_blinds_nobody() {
    let stack = Stack::start().await;
    for _ in 0..8 {
        stack.order("omni-mug", 1).await.expect(201);
    }
    let holder = lock(
        &stack,
        "LOCK TABLE omnitrace.outbox IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let orders = join_all((0..20).map(|_| stack.order("omni-mug", 1)));
    let watch = async {
        waiting(&stack, ("INSERT", "outbox"), |count| count >= 1.0).await;
        // The relay's own statement has no names.
        waiting(&stack, ("", ""), |count| count >= 1.0).await;
        let ready = stack.admin("data", "/ready").await.expect(200).json();
        assert_eq!(ready["dependencies"][0]["up"], true, "{ready}");
        stack.get_data().await.expect(200);
    };
    let (replies, ()) = tokio::join!(orders, watch);
    for reply in &replies {
        // The lock, no connection, or both together until the request's time was up.
        assert!(matches!(reply.status, 503 | 504), "{reply:?}");
    }
    holder.close().await.expect("the end of the lock");
    let mut books = stack.database.books().await;
    books.settled("omni-mug").await;
    books.delivered().await;
    stack.stop().await;
}

/// Those that queue for a row wait for the first of the queue, which is one of ours, and only that one for the holder.
#[tokio::test]
async fn the_holder_of_a_row_is_named_to_all_who_queue_for_it() {
    let stack = Stack::start().await;
    let holder = lock(
        &stack,
        // What an update takes: the order's insert, whose foreign key looks at the row, does not wait for it.
        "SELECT FROM omnitrace.items WHERE sku = 'omni-mug' FOR NO KEY UPDATE",
    )
    .await;
    let orders = join_all((0..6).map(|_| stack.order("omni-mug", 1)));
    let watch = waiting(&stack, ("UPDATE", "items"), |count| count >= 4.0);
    let (replies, ()) = tokio::join!(orders, watch);
    for reply in &replies {
        assert!(matches!(reply.status, 503 | 504), "{reply:?}");
    }
    holder.close().await.expect("the end of the lock");
    stack.stop().await;
}
