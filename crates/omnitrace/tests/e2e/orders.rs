//! Orders as a customer sees them: placed, read, listed page by page, and never placed twice.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Customer, Reply, Stack};

fn order_of(sku: &str, quantity: u32) -> Value {
    json!({"sku": sku, "quantity": quantity, "customer_email": "ada@example.com"})
}

#[tokio::test]
async fn an_order_is_placed_and_read_back() {
    let stack = Stack::builder()
        .env("data", "OMNITRACE_SEED_ITEMS", "mug:10:1290,shirt:5:2490")
        .start()
        .await;
    stack.get("/health").await.expect(200);
    let item = stack.get("/api/data?sku=shirt").await.expect(200).json();
    assert_eq!((&item["sku"], &item["stock"]), (&json!("shirt"), &json!(5)));
    assert!(item["quote"]["price_cents"].as_i64() > Some(0), "{item}");

    let placed = stack.order("shirt", 2).await.expect(201);

    let order = placed.json();
    let members: Vec<&String> = order.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "id",
            "sku",
            "quantity",
            "status",
            "unit_price_cents",
            "created_at"
        ],
        "no more, in particular no e-mail address"
    );
    assert_eq!(order["sku"], "shirt");
    assert_eq!(order["quantity"], 2);
    assert_eq!(order["status"], "confirmed");
    assert_eq!(order["unit_price_cents"], 2490);
    let location = placed.header("location").to_owned();
    assert_eq!(
        location,
        format!("/api/orders/{}", order["id"].as_str().unwrap())
    );
    assert_eq!(stack.get(&location).await.expect(200).json(), order);
    assert_eq!(placed.header("idempotent-replayed"), "");

    let account = stack.database.books().await.account("shirt").await;
    assert_eq!((account.stock, account.confirmed), (3, 2));
    let item = stack.get("/api/data?sku=shirt").await.expect(200).json();
    assert_eq!(item["stock"], 3);
    stack.stop().await;
}

/// Follows `next_cursor` to the end; the ids of each page.
async fn pages(stack: &Stack, limit: usize, mut between: impl AsyncFnMut()) -> Vec<Vec<String>> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = stack
            .get(&format!("/api/orders?limit={limit}{cursor}"))
            .await
            .expect(200)
            .json();
        let ids = page["orders"].as_array().unwrap().iter();
        pages.push(
            ids.map(|order| order["id"].as_str().unwrap().to_owned())
                .collect(),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
        assert_eq!(
            pages.last().unwrap().len(),
            limit,
            "only the last page may be short"
        );
        between().await;
    }
}

#[tokio::test]
async fn pages_show_every_order_once() {
    const ORDERS: usize = 23;
    let stack = Stack::start().await;
    assert_eq!(
        pages(&stack, 5, async || ()).await,
        [[] as [String; 0]],
        "no orders: one empty page"
    );
    let placed = futures_util::stream::iter(0..ORDERS)
        .map(|_| stack.order("omni-mug", 1))
        .buffer_unordered(4);
    let placed: Vec<Reply> = placed.collect().await;
    let ids: BTreeSet<String> = placed
        .into_iter()
        .map(|reply| reply.expect(201).json()["id"].as_str().unwrap().to_owned())
        .collect();

    // 23 is no multiple of 5, 4 * 6 - 1 ends short by one, and 1 is the smallest page.
    for limit in [5, 6, 1, ORDERS, 100] {
        let shown = pages(&stack, limit, async || ()).await.concat();
        assert!(
            shown.is_sorted_by(|newer, older| newer > older),
            "newest first, none repeated: {shown:?}"
        );
        assert_eq!(
            shown.into_iter().collect::<BTreeSet<_>>(),
            ids,
            "limit {limit}"
        );
    }
    let default = stack.get("/api/orders").await.expect(200).json();
    assert_eq!(
        default["orders"].as_array().unwrap().len(),
        20,
        "the default page size"
    );
    for order in default["orders"].as_array().unwrap() {
        assert_eq!(order.get("customer_email"), None);
    }

    // Orders that come in while somebody pages are newer than the cursor: they shift nothing.
    let shown = pages(&stack, 6, async || {
        drop(stack.order("omni-mug", 1).await.expect(201))
    })
    .await
    .concat();
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), ids);
    stack.stop().await;
}

#[tokio::test]
async fn cursors_and_limits_that_nobody_gave_out_are_refused() {
    let stack = Stack::start().await;
    for _ in 0..2 {
        stack.order("omni-mug", 1).await.expect(201);
    }
    let page = stack.get("/api/orders?limit=1").await.expect(200).json();
    let good = page["next_cursor"].as_str().expect("a cursor").to_owned();
    let truncated = &good[..good.len() - 2];
    for bad in [
        "",
        "!",
        "AAAA",
        "%00",
        "1%20OR%201=1",
        truncated,
        &format!("{good}AA"),
        &good.replace('A', "%2B"),
    ] {
        let reply = stack
            .get(&format!("/api/orders?limit=1&cursor={bad}"))
            .await;
        reply.problem(422, "invalid-request");
        assert_eq!(reply.invalid_fields(), ["cursor"], "{bad:?}");
    }
    for bad in ["0", "101", "-1", "1.5", "ten", "", "99999999999"] {
        let reply = stack.get(&format!("/api/orders?limit={bad}")).await;
        reply.problem(422, "invalid-request");
        assert_eq!(reply.invalid_fields(), ["limit"], "{bad:?}");
    }
    let reply = stack.get("/api/orders?page=2").await;
    reply.problem(422, "invalid-request");
    assert_eq!(reply.invalid_fields(), ["page"]);
    stack.stop().await;
}

#[tokio::test]
async fn a_key_makes_one_order_however_often_it_is_sent() {
    let stack = Stack::builder()
        .env(
            "data",
            "OMNITRACE_SEED_ITEMS",
            "mug:1000:1290,shirt:1000:2490",
        )
        .start()
        .await;
    let mut books = stack.database.books().await;
    let first = stack
        .post_order(&order_of("mug", 2), Some("key-1"))
        .await
        .expect(201);
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = stack
        .post_order(&order_of("mug", 2), Some("key-1"))
        .await
        .expect(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("location"), first.header("location"));
    assert_ne!(again.trace_id(), first.trace_id());

    // The key belongs to that one request: another body under it is a client's bug, whatever differs.
    let other_email = json!({"sku": "mug", "quantity": 2, "customer_email": "eve@example.com"});
    for other in [order_of("mug", 3), order_of("shirt", 2), other_email] {
        let reply = stack.post_order(&other, Some("key-1")).await;
        reply.problem(422, "idempotency-key-reused");
    }
    // Members in another order are the same request.
    let reordered = stack
        .request(reqwest::Method::POST, "/api/orders")
        .header("Idempotency-Key", "key-1")
        .header("content-type", "application/json")
        .body(r#"{"customer_email":"ada@example.com", "quantity":2, "sku":"mug"}"#);
    assert_eq!(stack.send(reordered).await.expect(201).json(), first.json());
    // Another key, and none at all, are other orders.
    let second = stack
        .post_order(&order_of("mug", 2), Some("key-2"))
        .await
        .expect(201);
    let third = stack
        .post_order(&order_of("mug", 2), None)
        .await
        .expect(201);
    let ids: BTreeSet<String> = [&first, &second, &third]
        .map(|reply| reply.json()["id"].to_string())
        .into();
    assert_eq!(ids.len(), 3);
    assert_eq!(books.account("mug").await.confirmed, 6);
    assert_eq!(books.account("shirt").await.stock, 1000);

    fifty_at_once(&stack).await;
    stack.stop().await;
}

/// All fifty are under way before the first is answered: the database decides, not a look before the insert. Those
/// that the service is too busy for come back, as a good client does.
async fn fifty_at_once(stack: &Stack) {
    let customer = Customer::of(stack);
    let mut books = stack.database.books().await;
    let before = (books.orders().await.len(), books.account("shirt").await);
    let replies = join_all((0..50).map(|_| customer.order("shirt", 1, "fifty"))).await;

    let ids: BTreeSet<String> = replies
        .iter()
        .map(|reply| reply.clone().expect(201).json()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let new = |reply: &&Reply| reply.header("idempotent-replayed").is_empty();
    let placed = replies.iter().filter(new).count();
    assert!(placed <= 1, "one may have placed it, not {placed}");
    assert_eq!(books.orders().await.len(), before.0 + 1);
    assert_eq!(books.account("shirt").await.stock, before.1.stock - 1);

    // Two bodies race for one key: one wins, all of the others are told.
    let replies = join_all((0..20).map(|n| customer.order("shirt", 1 + n % 2, "race"))).await;
    let winner = replies.iter().find(|reply| reply.status == 201);
    let winner = winner.expect("one wins").json();
    for (quantity, reply) in [1, 2].into_iter().cycle().zip(&replies) {
        if winner["quantity"] == quantity {
            assert_eq!(reply.clone().expect(201).json()["id"], winner["id"]);
        } else {
            reply.problem(422, "idempotency-key-reused");
        }
    }
    assert_eq!(books.orders().await.len(), before.0 + 2);
}
