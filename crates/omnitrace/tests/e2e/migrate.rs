//! `omnitrace migrate`: the job before a roll-out, which old and new services survive.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use sqlx::Executor;

use crate::cli::run;
use crate::harness::{Database, Stack, database, eventually, omnitrace};

const MIGRATIONS: &str = "SELECT count(*) FROM omnitrace._sqlx_migrations WHERE success";

fn job(database: &Database) -> Command {
    let mut command = omnitrace(["migrate"]);
    command.env("DATABASE_URL", &database.url);
    command
}

async fn succeeds(database: &Database) {
    let (code, said, complained) = run(job(database), None).await;
    assert_eq!(code, 0, "{complained}");
    assert_eq!(said, "the schema omnitrace is up to date");
}

async fn number(database: &Database, query: &'static str) -> i64 {
    let mut connection = database.connect().await;
    sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .expect(query)
}

/// Orders and reads without a pause until the test has seen enough; none may fail.
struct Shoppers {
    enough: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(Stack, usize)>,
}

impl Shoppers {
    fn start(stack: Stack) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&enough);
        let task = tokio::spawn(async move {
            let sku = stack.sku().await;
            let mut rounds = 0;
            while !seen.load(Ordering::Relaxed) {
                stack.order(&sku, 1).await.expect(201);
                stack.get_data().await.expect(200);
                rounds += 1;
            }
            (stack, rounds)
        });
        Self { enough, task }
    }

    async fn stop(self) -> (Stack, usize) {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.expect("no request failed")
    }
}

#[tokio::test]
async fn jobs_at_the_same_time_make_the_schema_once() {
    let database = database().await;
    join_all((0..4).map(|_| succeeds(&database))).await;
    let files = std::fs::read_dir(crate::harness::repository("crates/data/migrations"));
    let files = i64::try_from(files.unwrap().count()).unwrap();
    assert_eq!(number(&database, MIGRATIONS).await, files);
    let items = "SELECT count(*) FROM omnitrace.items WHERE stock = initial_stock";
    assert_eq!(number(&database, items).await, 5);
    let stack = Stack::builder().database(database).start().await;
    let sku = stack.sku().await;
    stack.order(&sku, 1).await.expect(201);
}

#[tokio::test]
async fn no_request_fails_while_jobs_run_and_no_order_changes() {
    let stack = Stack::start().await;
    let database = stack.database.clone();
    let orders = "SELECT count(*) FROM omnitrace.orders WHERE status = 'confirmed'";
    let shoppers = Shoppers::start(stack);
    for _ in 0..3 {
        let before = number(&database, orders).await;
        succeeds(&database).await;
        eventually("orders go on", async || {
            (number(&database, orders).await > before).then_some(())
        })
        .await;
    }
    let (_, rounds) = shoppers.stop().await;
    let sold = number(&database, orders).await;
    assert_eq!(usize::try_from(sold).unwrap(), rounds);
}

/// What the job of a newer release does to the services of this one, and what this one's job finds after a rollback.
#[tokio::test]
async fn services_and_jobs_of_this_release_survive_the_job_of_a_newer_one() {
    let stack = Stack::start().await;
    let database = stack.database.clone();
    let shoppers = Shoppers::start(stack);
    let newer = "ALTER TABLE omnitrace.orders ADD COLUMN gift text; \
        INSERT INTO omnitrace._sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (9999, 'of a newer release', true, '', 0)";
    let mut connection = database.connect().await;
    connection.execute(newer).await.expect("the newer schema");
    let before = number(&database, "SELECT count(*) FROM omnitrace.orders").await;
    eventually("orders go on", async || {
        let now = number(&database, "SELECT count(*) FROM omnitrace.orders").await;
        (now > before).then_some(())
    })
    .await;
    succeeds(&database).await;
    shoppers.stop().await;
    let again = Stack::builder().database(database).start().await;
    let sku = again.sku().await;
    again.order(&sku, 1).await.expect(201);
}

#[tokio::test]
async fn a_job_that_cannot_work_fails_and_names_the_variable() {
    let (code, _, complained) = run(omnitrace(["migrate"]), None).await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("DATABASE_URL: is not set"),
        "{complained}"
    );
    let mut wrong = database().await;
    let mut url = url::Url::parse(&wrong.url).unwrap();
    url.set_path("no_such_database");
    wrong.url = url.into();
    let (code, _, complained) = run(job(&wrong), None).await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("DATABASE_URL: no connection to ")
            && complained.contains("no_such_database"),
        "{complained}"
    );
}
