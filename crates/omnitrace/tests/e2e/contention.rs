//! More buyers than items, and services that die in between: nothing is sold twice, nothing is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use serde_json::json;

use crate::harness::{Account, Customer, Database, POLL, Reply, Signal, Stack, Tally, eventually};

/// Looks at the account over and over while a test runs.
struct Auditor {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<usize>,
}

impl Auditor {
    /// Starts to look at one item's account.
    fn start(database: &Database, sku: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (database, stopped) = (database.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut books = database.books().await;
            let mut looks = 0;
            while !stopped.load(Ordering::Relaxed) {
                balanced(&books.account(sku).await);
                looks += 1;
                tokio::time::sleep(POLL).await;
            }
            looks
        });
        Self { stop, task }
    }

    /// Panics if the account was ever wrong, or was not looked at while things happened.
    async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self
            .task
            .await
            .expect("every look found a balanced account");
        assert!(looks >= 10, "only {looks} looks");
    }
}

/// What holds at every moment, not only at the end: each piece is in stock, reserved or sold.
fn balanced(account: &Account) {
    assert!(
        (0..=account.initial).contains(&account.stock),
        "{account:?}"
    );
    assert_eq!(
        account.stock + account.pending + account.confirmed,
        account.initial,
        "{account:?}"
    );
}

fn count(replies: &[Reply], status: u16) -> i64 {
    replies
        .iter()
        .filter(|reply| reply.status == status)
        .count()
        .try_into()
        .unwrap()
}

#[tokio::test]
async fn the_last_items_are_sold_exactly_once() {
    const BUYERS: usize = 100;
    let stack = Stack::builder()
        .env(
            "data",
            "OMNITRACE_SEED_ITEMS",
            "single:20:100,triple:20:100",
        )
        .start()
        .await;
    let auditors = [
        Auditor::start(&stack.database, "single"),
        Auditor::start(&stack.database, "triple"),
    ];
    let customer = Customer::of(&stack);
    let keys: Vec<String> = (0..BUYERS).map(|buyer| format!("buyer-{buyer}")).collect();
    let triple_keys: Vec<String> = keys.iter().map(|key| format!("{key}-triple")).collect();

    // As many at once as the service has database connections; more would only queue for those.
    let singles = iter(&keys).map(|key| customer.order("single", 1, key));
    let triples = iter(&triple_keys).map(|key| customer.order("triple", 3, key));
    let (singles, triples) = (singles.buffer_unordered(8), triples.buffer_unordered(8));
    let (singles, triples): (Vec<Reply>, Vec<Reply>) =
        tokio::join!(singles.collect(), triples.collect());

    for auditor in auditors {
        auditor.finish().await;
    }
    for (replies, sold) in [(&singles, 20), (&triples, 6)] {
        assert_eq!(
            (count(replies, 201), count(replies, 409)),
            (sold, BUYERS as i64 - sold),
            "{replies:?}"
        );
        let refused = replies.iter().find(|reply| reply.status == 409).unwrap();
        refused.problem(409, "out-of-stock");
    }
    let mut books = stack.database.books().await;
    let settled = |stock, confirmed| Account {
        initial: 20,
        stock,
        pending: 0,
        confirmed,
        declined: 0,
    };
    assert_eq!(books.account("single").await, settled(0, 20));
    assert_eq!(books.account("triple").await, settled(2, 18));
    assert_eq!(
        books.orders().await.len(),
        26,
        "a refused order leaves no row"
    );
    stack.stop().await;
}

/// Even a service with a bug cannot sell what is not there: the database itself refuses.
#[tokio::test]
async fn the_database_refuses_a_negative_stock() {
    let stack = Stack::builder()
        .only(&["data"])
        .env("data", "DOWNSTREAM_URL", "http://127.0.0.1:1")
        .env("data", "OMNITRACE_SEED_ITEMS", "mug:5:100")
        .start()
        .await;
    let mut books = stack.database.books().await;
    let checks = books.checks("items").await;
    assert!(
        checks.iter().any(|check| check.contains("stock >= 0")),
        "{checks:?}"
    );
    for impossible in [-1, 6] {
        let refused = books
            .try_set_stock("mug", impossible)
            .await
            .expect_err("a CHECK constraint");
        assert!(refused.contains("check constraint"), "{refused}");
    }
    books
        .try_set_stock("mug", 0)
        .await
        .expect("an empty shelf is fine");
    stack.stop().await;
}

const ITEMS: i64 = 60;
const CUSTOMERS: usize = 8;
const ORDERS_EACH: usize = 16;

/// One order after the other; the last answer by key.
async fn shop(client: &Customer, customer: usize) -> Vec<(String, Reply)> {
    let mut told = Vec::new();
    for order in 0..ORDERS_EACH {
        let key = format!("{customer}-{order}");
        let reply = client.order("mug", 1, &key).await;
        told.push((key, reply));
    }
    told
}

/// Kills `victim` twice while customers order, and checks the books.
async fn survives_the_death_of(victim: &'static str) {
    let mut stack = Stack::builder()
        .env("downstream", "OMNITRACE_DECLINE_SHARE", "0.2")
        .env("data", "OMNITRACE_SWEEP_AFTER_MS", "300")
        .env("data", "OMNITRACE_SEED_ITEMS", &format!("mug:{ITEMS}:100"))
        .start()
        .await;
    let auditor = Auditor::start(&stack.database, "mug");
    let client = Customer::of(&stack);
    let tally: Arc<Tally> = Arc::clone(&client.tally);
    let customers = join_all((0..CUSTOMERS).map(|customer| shop(&client, customer)));
    let killer = async {
        for round in 0..2 {
            let enough = 15 + round * 30;
            reaches("answers", || tally.answers() >= enough).await;
            stack.kill(victim, Signal::SIGKILL).await;
            // Long enough dead for every customer to have noticed.
            let enough = tally.failures() + CUSTOMERS;
            reaches("failures", || tally.failures() >= enough).await;
            stack.restart(victim).await;
        }
    };
    let (told, ()) = tokio::join!(customers, killer);
    let told: BTreeMap<String, Reply> = told.into_iter().flatten().collect();
    let account = stack.database.books().await.settled("mug").await;
    auditor.finish().await;
    agree(&stack.database, &told, &account).await;
    stack.stop().await;
}

async fn reaches(what: &str, enough: impl Fn() -> bool) {
    eventually(&format!("enough {what}"), async || enough().then_some(())).await;
}

/// The customers and the database tell the same story.
async fn agree(database: &Database, told: &BTreeMap<String, Reply>, account: &Account) {
    assert_eq!(told.len(), CUSTOMERS * ORDERS_EACH);
    balanced(account);
    assert_eq!(account.pending, 0);
    assert!(account.confirmed <= ITEMS, "{account:?}");
    assert_eq!(account.confirmed + account.stock, ITEMS, "{account:?}");

    let orders = database.books().await.orders().await;
    let mut by_key = BTreeMap::new();
    for order in &orders {
        let key = order.key.clone().expect("every order had a key");
        assert_eq!(
            by_key.insert(key.clone(), order),
            None,
            "two orders with the key {key}"
        );
    }
    for (key, reply) in told {
        let order = by_key.get(key);
        match reply.status {
            201 => {
                let order = order.unwrap_or_else(|| panic!("{key}: no order, although {reply:?}"));
                assert_eq!(
                    (order.status.as_str(), &json!(order.id)),
                    ("confirmed", &reply.json()["id"]),
                    "{key}"
                );
            }
            402 => assert_eq!(
                order.map(|order| order.status.as_str()),
                Some("declined"),
                "{key}"
            ),
            _ => assert_eq!(
                order, None,
                "{key}: told that nothing is left, yet there is an order"
            ),
        }
    }
    let confirmed = told.values().filter(|reply| reply.status == 201).count();
    assert_eq!(
        i64::try_from(confirmed).unwrap(),
        account.confirmed,
        "nobody was charged without being told"
    );
}

#[tokio::test]
async fn data_is_killed_while_customers_order() {
    survives_the_death_of("data").await;
}

#[tokio::test]
async fn downstream_is_killed_while_customers_order() {
    survives_the_death_of("downstream").await;
}

/// Customers who give up leave orders behind whose payment nobody has asked for: the sweeper does.
#[tokio::test]
async fn abandoned_orders_are_settled() {
    let mut stack = Stack::builder()
        .env("data", "OMNITRACE_SWEEP_AFTER_MS", "300")
        .env("data", "OMNITRACE_SEED_ITEMS", "mug:5:100")
        .start()
        .await;
    stack.kill("downstream", Signal::SIGKILL).await;
    for status in [503, 503, 503, 503, 503, 409, 409] {
        stack.order("mug", 1).await.expect(status);
    }
    let mut books = stack.database.books().await;
    let reserved = Account {
        initial: 5,
        stock: 0,
        pending: 5,
        confirmed: 0,
        declined: 0,
    };
    assert_eq!(books.account("mug").await, reserved);

    // Nor does it help to kill data as well: the orders are in the database.
    stack.kill("data", Signal::SIGKILL).await;
    assert_eq!(books.account("mug").await, reserved);
    stack.restart("downstream").await;
    stack.restart("data").await;

    let account = books.settled("mug").await;
    assert_eq!(
        account,
        Account {
            pending: 0,
            confirmed: 5,
            ..reserved
        }
    );
    let settled = [("status", "confirmed"), ("settled_by", "sweeper")];
    stack
        .wait_for_metric("data", "orders_settled_total", &settled, |value| {
            value == 5.0
        })
        .await;
    stack.stop().await;
}
