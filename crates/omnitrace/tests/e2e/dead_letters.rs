//! Events that downstream refuses, or that another version has written: they keep no other from its delivery, and are set
//! aside until somebody has them delivered again. And the relay's own work: claims, counting, purging.

use serde_json::{Value, json};
use sqlx::{Executor, PgConnection};
use uuid::Uuid;

use crate::cli::run;
use crate::harness::{Stack, eventually, omnitrace};

async fn store(connection: &mut PgConnection, event: &str) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query("INSERT INTO omnitrace.outbox (id, event) VALUES ($1, $2::jsonb)")
        .bind(id)
        .bind(event)
        .execute(connection)
        .await
        .expect("an event");
    id
}

/// `delivered`, `set aside` or `waits`.
async fn state(connection: &mut PgConnection, id: Uuid) -> String {
    sqlx::query_scalar(
        "SELECT CASE WHEN delivered_at IS NOT NULL THEN 'delivered' WHEN set_aside_at IS NOT NULL THEN 'set aside' \
         ELSE 'waits' END FROM omnitrace.outbox WHERE id = $1",
    )
    .bind(id)
    .fetch_one(connection)
    .await
    .expect("the event")
}

async fn until(connection: &mut PgConnection, id: Uuid, wanted: &str) {
    eventually(&format!("{id} is {wanted}"), async || {
        (state(connection, id).await == wanted).then_some(())
    })
    .await;
}

/// An event as this version writes it.
fn event(id: Uuid) -> Value {
    json!({"id": id, "type": "order.confirmed", "order": {
        "id": Uuid::now_v7(), "sku": "mug", "quantity": 1, "status": "confirmed", "unit_price_cents": 100,
        "created_at": "2026-01-01T00:00:00Z"
    }})
}

/// `omnitrace outbox …` on this stack's database: exit code, standard output, standard error.
async fn outbox(stack: &Stack, arguments: &[&str]) -> (i32, String, String) {
    let mut command = omnitrace([&["outbox"], arguments].concat());
    command.env("DATABASE_URL", &stack.database.url);
    run(command, None).await
}

async fn listed(stack: &Stack) -> Vec<Value> {
    let (code, said, error) = outbox(stack, &["list", "--json"]).await;
    assert_eq!(code, 0, "{error}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    said["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn what_is_refused_for_ever_is_set_aside_and_can_be_retried() {
    let stack = Stack::start().await;
    let mut connection = stack.database.connect().await;
    let deep = "[".repeat(500) + &"]".repeat(500);
    let mut poison = Vec::new();
    for bad in [
        "{}",
        "null",
        "\"text\"",
        "[1, 2]",
        &deep,
        r#"{"type": "order.teleported"}"#,
    ] {
        poison.push(store(&mut connection, bad).await);
    }
    let mut newer = event(Uuid::now_v7());
    newer["gift_wrap"] = json!({"paper": "blue"});
    newer["order"]["loyalty_points"] = json!(7);
    let newer = store(&mut connection, &newer.to_string()).await;

    // All in one batch with an order of today.
    stack.order("omni-mug", 1).await.expect(201);
    until(&mut connection, newer, "delivered").await;
    for id in &poison {
        until(&mut connection, *id, "set aside").await;
    }
    let waiting = poison.len() as f64;
    let dead = "outbox_dead_letter_events";
    stack
        .wait_for_metric("data", dead, &[], |value| value == waiting)
        .await;
    stack
        .wait_for_metric("data", "outbox_pending_events", &[], |value| value == 0.0)
        .await;

    let events = listed(&stack).await;
    let ids: Vec<String> = events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), poison.len(), "{events:?}");
    for event in &events {
        let refusal = event["refusal"].as_str().unwrap();
        assert!(refusal.starts_with("downstream answered 4"), "{event}");
        assert_eq!(event["attempts"], 5, "{event}");
    }
    let (code, said, _) = outbox(&stack, &["list"]).await;
    assert_eq!(
        (code, ids.iter().all(|id| said.contains(id))),
        (0, true),
        "{said}"
    );

    // Mended by hand, it is delivered; the others stay where they are.
    sqlx::query("UPDATE omnitrace.outbox SET event = $2 WHERE id = $1")
        .bind(poison[0])
        .bind(event(poison[0]))
        .execute(&mut connection)
        .await
        .expect("mended");
    let first = poison[0].to_string();
    let (code, said, error) = outbox(&stack, &["retry", &first]).await;
    assert_eq!(
        (code, said.as_str()),
        (0, "1 to be delivered again"),
        "{error}"
    );
    until(&mut connection, poison[0], "delivered").await;
    assert_eq!(listed(&stack).await.len(), poison.len() - 1);

    // What is not there is an error that says where to look.
    let (code, _, error) = outbox(&stack, &["retry", &first]).await;
    assert_eq!(code, 1);
    assert!(
        error.contains(&first) && error.contains("outbox list"),
        "{error}"
    );
    let (code, said, _) = outbox(&stack, &["retry", "--all", "--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, said["retried"].as_array().unwrap().len()),
        (0, poison.len() - 1)
    );
    until(&mut connection, poison[1], "set aside").await;
    stack.stop().await;
}

#[tokio::test]
async fn the_command_says_what_it_needs() {
    for (arguments, wanted) in [
        (["outbox", "list"].as_slice(), "DATABASE_URL is not set"),
        (&["outbox", "retry"], "--all"),
        (&["outbox", "retry", "7"], "invalid value '7'"),
    ] {
        let directory = crate::harness::Directory::new();
        let (code, _, error) = run(omnitrace(arguments), Some(&directory)).await;
        assert_ne!(code, 0);
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
    for (url, wanted) in [
        (
            "postgres://me:secret@127.0.0.1:9/none",
            "no connection to 127.0.0.1:9",
        ),
        ("mysql://me:secret@127.0.0.1:9/none", "allowed: postgres://"),
    ] {
        let mut command = omnitrace(["outbox", "list"]);
        command.env("DATABASE_URL", url);
        let (code, _, error) = run(command, None).await;
        assert_eq!(code, 1);
        assert!(
            error.contains(wanted) && !error.contains("secret"),
            "{error}"
        );
    }
}

/// Counts the statements that change the outbox, the rows that each deletes, and can forbid deleting.
const WATCH: &str = "CREATE TABLE public.claims (at timestamptz DEFAULT clock_timestamp()); \
    CREATE TABLE public.purged (count bigint); \
    CREATE FUNCTION public.claimed() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN INSERT INTO public.claims DEFAULT VALUES; RETURN NULL; END $$; \
    CREATE FUNCTION public.purged() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN INSERT INTO public.purged SELECT count(*) FROM gone; RETURN NULL; END $$; \
    CREATE TRIGGER claimed AFTER UPDATE ON omnitrace.outbox FOR EACH STATEMENT EXECUTE FUNCTION public.claimed(); \
    CREATE TRIGGER purged AFTER DELETE ON omnitrace.outbox REFERENCING OLD TABLE AS gone \
        FOR EACH STATEMENT EXECUTE FUNCTION public.purged()";

async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(connection)
        .await
        .expect(sql)
}

#[tokio::test]
async fn a_burst_of_notifications_is_one_claim_and_old_events_go_in_batches() {
    let mut stack = Stack::start().await;
    let mut connection = stack.database.connect().await;
    connection.execute(WATCH).await.expect("triggers");
    stack.kill("data", crate::harness::Signal::SIGTERM).await;
    connection
        .execute(
            "INSERT INTO omnitrace.outbox (id, event, delivered_at) \
             SELECT gen_random_uuid(), '{}', now() - interval '2 hours' FROM generate_series(1, 2500)",
        )
        .await
        .expect("old events");
    stack.restart("data").await;
    eventually("old events are gone", async || {
        (number(&mut connection, "SELECT count(*) FROM omnitrace.outbox").await == 0).then_some(())
    })
    .await;
    let most = number(&mut connection, "SELECT max(count) FROM public.purged").await;
    assert!(most <= 1000, "{most} at once");

    let before = number(&mut connection, "SELECT count(*) FROM public.claims").await;
    // Each another text: Postgres makes one of equal ones.
    connection
        .execute("SELECT pg_notify('omnitrace_outbox', n::text) FROM generate_series(1, 1000) n")
        .await
        .expect("notified");
    stack.order("omni-mug", 1).await.expect(201);
    stack.database.books().await.delivered().await;
    let claims = number(&mut connection, "SELECT count(*) FROM public.claims").await - before;
    assert!(claims < 100, "{claims} claims after 1000 notifications");
    stack.stop().await;
}

/// Housekeeping fails, delivery does not: no event waits for it.
#[tokio::test]
async fn an_outbox_that_cannot_be_purged_delivers() {
    let mut stack = Stack::start().await;
    let mut connection = stack.database.connect().await;
    connection
        .execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$; \
             CREATE TRIGGER refuse BEFORE DELETE ON omnitrace.outbox FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()",
        )
        .await
        .expect("a trigger");
    stack.restart("data").await;
    let complains = |stack: &Stack, text: &str| {
        let lines = stack.log_lines("data");
        lines.iter().any(|line| {
            line["message"]
                .as_str()
                .is_some_and(|said| said.contains(text))
        })
    };
    eventually("purging fails", async || {
        complains(&stack, "neither be counted nor purged").then_some(())
    })
    .await;
    for _ in 0..3 {
        stack.order("omni-mug", 1).await.expect(201);
    }
    stack.database.books().await.delivered().await;
    assert!(!complains(&stack, "order events wait for delivery"));
    stack.stop().await;
}
