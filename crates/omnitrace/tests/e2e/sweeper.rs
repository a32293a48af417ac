//! The sweeper settles what was left pending, one order after the other, and says whose it was.

use sqlx::Executor;

use crate::harness::{Kind, Signal, Span, Stack, eventually};

/// More than the sweeper claims at once, twice over.
const CURSED: usize = 40;

/// The only order of this item, as the database shows it.
async fn order_of(stack: &Stack, sku: &str) -> (String, String) {
    let mut connection = stack.database.connect().await;
    sqlx::query_as("SELECT id::text, status FROM omnitrace.orders WHERE sku = $1")
        .bind(sku)
        .fetch_one(&mut connection)
        .await
        .expect("the order")
}

#[tokio::test]
async fn an_order_that_cannot_be_settled_keeps_no_other_from_it_and_each_sweep_names_its_cause() {
    let mut stack = Stack::builder()
        .env("data", "OMNITRACE_SWEEP_AFTER_MS", "300")
        .env("data", "OMNITRACE_SEED_ITEMS", "cursed:100:100,mug:5:100")
        .start()
        .await;
    stack
        .database
        .connect()
        .await
        .execute(
            "CREATE FUNCTION omnitrace.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.sku = 'cursed' AND NEW.status <> OLD.status THEN RAISE 'never'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER refuse BEFORE UPDATE ON omnitrace.orders FOR EACH ROW EXECUTE FUNCTION omnitrace.refuse()",
        )
        .await
        .expect("a trigger");
    stack.kill("downstream", Signal::SIGKILL).await;
    // Those that cannot be settled are the older ones: the sweeper comes to them first.
    for _ in 0..CURSED {
        stack.order("cursed", 1).await.expect(503);
    }
    let cause = stack.order("mug", 1).await.expect(503).trace_id();
    stack.restart("downstream").await;

    eventually("the other order is settled", async || {
        (order_of(&stack, "mug").await.1 == "confirmed").then_some(())
    })
    .await;
    let mut connection = stack.database.connect().await;
    let pending: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM omnitrace.orders WHERE sku = 'cursed' AND status = 'pending'",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the others");
    assert_eq!(pending, CURSED as i64);
    let (id, _) = order_of(&stack, "mug").await;
    let find = |spans: &[Span]| {
        let sweep = |span: &&Span| {
            span.name == "settle pending order"
                && span.text("order_id") == id
                && span.links.iter().any(|link| link.trace_id == cause)
        };
        spans.iter().find(sweep).cloned()
    };
    let what = "the sweep of the order, linked to the request that placed it";
    let sweep = stack.receiver.wait_for_span(what, find).await;
    assert!(sweep.is_root() && sweep.trace_id != cause, "{sweep:#?}");
    assert_eq!(sweep.kind, Kind::Internal);
    stack.stop().await;
}
