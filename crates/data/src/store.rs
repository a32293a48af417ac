//! Every SQL statement of the service.
//!
//! Statements of requests run through [`Statement::run`] and have spans. Those that only look whether there is
//! something to do run on the raw pool: a poll a second would bury the traces that matter.

use std::sync::Arc;
use std::time::Duration;

use api::types::{NewOrder, Order, OrderEvent, OrderEventKind, OrderStatus};
use sqlx::postgres::PgListener;
use sqlx::types::Json;
use telemetry::db::{Pool, Statement, Tx};
use uuid::Uuid;

use crate::database::Database;
use crate::errors::StoreError;
use crate::faults::Faults;
use crate::rows::{CausedRow, Claimed, Item, KeyedRow, OrderRow, Pending, Placement};

type Result<T> = std::result::Result<T, StoreError>;

/// The only schema that is touched.
pub(crate) const SCHEMA: &str = "omnitrace";

/// Where the trigger of the outbox announces events.
const CHANNEL: &str = "omnitrace_outbox";

/// How long a relay may work on events that it has claimed before another may: longer than a batch takes.
const EVENT_LEASE: Duration = Duration::from_secs(10);

/// As above, for orders and a sweeper; two that settle the same order do no harm.
const ORDER_LEASE: Duration = Duration::from_secs(5);

/// How long delivered events are kept, for those who want to look.
const KEEP_DELIVERED: Duration = Duration::from_secs(3600);

const GET_ITEM: Statement = Statement::new(
    "SELECT",
    "items",
    "SELECT sku, name, unit_price_cents, stock FROM items \
     WHERE sku = coalesce($1, (SELECT min(sku) FROM items))",
);

/// As [`GET_ITEM`], when the fault `slow_query` is on.
const GET_ITEM_SLOWLY: Statement = Statement::new(
    "SELECT",
    "items",
    "SELECT i.sku, i.name, i.unit_price_cents, i.stock FROM pg_sleep($2) CROSS JOIN items i \
     WHERE i.sku = coalesce($1, (SELECT min(sku) FROM items))",
);

/// No row: the item does not exist, or an order with this key does.
const INSERT_ORDER: Statement = Statement::new(
    "INSERT",
    "orders",
    "INSERT INTO orders (id, sku, quantity, unit_price_cents, customer_email, idempotency_key, traceparent) \
     SELECT $1, i.sku, $3, i.unit_price_cents, $4, $5, $6 FROM items i WHERE i.sku = $2 \
     ON CONFLICT (idempotency_key) DO NOTHING \
     RETURNING id, sku, quantity, status, unit_price_cents, created_at",
);

/// As [`INSERT_ORDER`], when the fault `slow_query` is on.
const INSERT_ORDER_SLOWLY: Statement = Statement::new(
    "INSERT",
    "orders",
    "INSERT INTO orders (id, sku, quantity, unit_price_cents, customer_email, idempotency_key, traceparent) \
     SELECT $1, i.sku, $3, i.unit_price_cents, $4, $5, $6 FROM pg_sleep($7) CROSS JOIN items i WHERE i.sku = $2 \
     ON CONFLICT (idempotency_key) DO NOTHING \
     RETURNING id, sku, quantity, status, unit_price_cents, created_at",
);

/// The condition is what keeps the stock from going below zero, however many buyers there are.
const RESERVE_STOCK: Statement = Statement::new(
    "UPDATE",
    "items",
    "UPDATE items SET stock = stock - $2 WHERE sku = $1 AND stock >= $2",
);

const RELEASE_STOCK: Statement = Statement::new(
    "UPDATE",
    "items",
    "UPDATE items SET stock = stock + $2 WHERE sku = $1",
);

const ORDER_BY_KEY: Statement = Statement::new(
    "SELECT",
    "orders",
    "SELECT id, sku, quantity, status, unit_price_cents, created_at, customer_email FROM orders \
     WHERE idempotency_key = $1",
);

/// The condition lets only one of those who drive an order on settle it.
const SETTLE: Statement = Statement::new(
    "UPDATE",
    "orders",
    "UPDATE orders SET status = $2, settled_at = now() WHERE id = $1 AND status = 'pending' \
     RETURNING id, sku, quantity, status, unit_price_cents, created_at, traceparent",
);

const INSERT_EVENT: Statement = Statement::new(
    "INSERT",
    "outbox",
    "INSERT INTO outbox (id, event, traceparent) VALUES ($1, $2, $3)",
);

const MARK_DELIVERED: Statement = Statement::new(
    "UPDATE",
    "outbox",
    "UPDATE outbox SET delivered_at = now() WHERE id = $1",
);

const GET_ORDER: Statement = Statement::new(
    "SELECT",
    "orders",
    "SELECT id, sku, quantity, status, unit_price_cents, created_at FROM orders WHERE id = $1",
);

const LIST_ORDERS: Statement = Statement::new(
    "SELECT",
    "orders",
    "SELECT id, sku, quantity, status, unit_price_cents, created_at FROM orders \
     WHERE id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ORDER BY id DESC LIMIT $2",
);

const STATEMENTS: &[Statement] = &[
    GET_ITEM,
    INSERT_ORDER,
    RESERVE_STOCK,
    ORDER_BY_KEY,
    SETTLE,
    INSERT_EVENT,
    MARK_DELIVERED,
    GET_ORDER,
];

const CLAIM_PENDING: &str = "UPDATE orders SET claimed_until = now() + make_interval(secs => $3) WHERE id IN ( \
         SELECT id FROM orders WHERE status = 'pending' AND created_at < now() - make_interval(secs => $1) \
         AND (claimed_until IS NULL OR claimed_until < now()) \
         ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     RETURNING id, sku, quantity, status, unit_price_cents, created_at, traceparent";

const CLAIM_EVENTS: &str = "UPDATE outbox \
     SET next_attempt_at = now() + make_interval(secs => $2), attempts = attempts + 1 WHERE id IN ( \
         SELECT id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at <= now() \
         ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED) \
     RETURNING id, event, traceparent, attempts";

const POSTPONE_EVENT: &str =
    "UPDATE outbox SET next_attempt_at = now() + make_interval(secs => $2) WHERE id = $1";

const BACKLOG: &str = "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 \
     FROM outbox WHERE delivered_at IS NULL";

const PURGE: &str = "DELETE FROM outbox WHERE delivered_at < now() - make_interval(secs => $1)";

/// For the fault `lock_contention`. Not FOR UPDATE: the foreign key of an order's insert would wait too, and hide the
/// reservation's wait.
pub(crate) const LOCK_ITEMS: &str = "SELECT FROM items ORDER BY sku FOR NO KEY UPDATE";

/// Held until the connection is closed; the number is any that nobody else uses.
pub(crate) const LOCK_SCHEMA: &str = "SELECT pg_advisory_lock(8029479110281224547)";

/// True when the schema is there.
pub(crate) const SCHEMA_EXISTS: &str =
    "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'omnitrace')";

/// Not "IF NOT EXISTS": that needs the right to create schemas even where there is nothing to create.
pub(crate) const CREATE_SCHEMA: &str = "CREATE SCHEMA omnitrace";

/// Adds items that do not exist yet: skus, stocks, prices.
pub(crate) const SEED: &str = "INSERT INTO items (sku, name, unit_price_cents, initial_stock, stock) \
     SELECT sku, initcap(replace(sku, '-', ' ')), price, stock, stock \
     FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS seed (sku, stock, price) \
     ON CONFLICT (sku) DO NOTHING";

/// The database, as the rest of the service sees it.
#[derive(Clone)]
pub(crate) struct Store {
    requests: Pool,
    background: Pool,
    faults: Arc<Faults>,
}

impl Store {
    /// Wraps an open database.
    pub(crate) fn new(database: Database, faults: Arc<Faults>) -> Self {
        telemetry::db::declare_statements(STATEMENTS);
        Self {
            requests: database.requests,
            background: database.background,
            faults,
        }
    }

    /// The item, or any when `sku` is not given.
    pub(crate) async fn item(&self, sku: Option<&str>) -> Result<Option<Item>> {
        let mut connection = self.requests.acquire().await?;
        let (statement, sleep) = match self.faults.slow_query() {
            None => (GET_ITEM, None),
            Some(sleep) => (GET_ITEM_SLOWLY, Some(sleep.as_secs_f64())),
        };
        let mut query = sqlx::query_as(statement.sql).bind(sku);
        if let Some(seconds) = sleep {
            query = query.bind(seconds);
        }
        Ok(statement
            .run(query.fetch_optional(&mut *connection))
            .await?)
    }

    /// Transaction 1: stores the order as pending and reserves its stock, or does neither.
    pub(crate) async fn place(
        &self,
        order: &NewOrder,
        key: Option<&str>,
        traceparent: Option<String>,
    ) -> Result<Placement> {
        let mut tx = self.requests.begin().await?;
        let Some(placed) = self.insert_order(&mut tx, order, key, traceparent).await? else {
            let existing = existing(&mut tx, order, key).await?;
            tx.rollback().await?;
            return Ok(existing);
        };
        let reserve = sqlx::query(RESERVE_STOCK.sql)
            .bind(&placed.sku)
            .bind(i64::from(order.quantity));
        if RESERVE_STOCK
            .run(reserve.execute(&mut *tx))
            .await?
            .rows_affected()
            == 0
        {
            tx.rollback().await?;
            return Ok(Placement::OutOfStock);
        }
        tx.commit().await?;
        Ok(Placement::New(placed))
    }

    async fn insert_order(
        &self,
        tx: &mut Tx,
        order: &NewOrder,
        key: Option<&str>,
        traceparent: Option<String>,
    ) -> Result<Option<Order>> {
        let (statement, sleep) = match self.faults.slow_query() {
            None => (INSERT_ORDER, None),
            Some(sleep) => (INSERT_ORDER_SLOWLY, Some(sleep.as_secs_f64())),
        };
        let mut query = sqlx::query_as(statement.sql)
            .bind(Uuid::now_v7())
            .bind(&order.sku)
            .bind(i32::try_from(order.quantity).unwrap_or(i32::MAX))
            .bind(order.customer_email.reveal())
            .bind(key)
            .bind(traceparent);
        if let Some(seconds) = sleep {
            query = query.bind(seconds);
        }
        let row: Option<OrderRow> = statement.run(query.fetch_optional(&mut **tx)).await?;
        Ok(row.map(Order::try_from).transpose()?)
    }

    /// Transaction 2, paid: confirms the order and writes its event. `None` when it is settled already.
    pub(crate) async fn confirm(&self, id: Uuid) -> Result<Option<Order>> {
        let mut tx = self.requests.begin().await?;
        let Some(Pending { order, traceparent }) =
            settle(&mut tx, id, OrderStatus::Confirmed).await?
        else {
            tx.rollback().await?;
            return Ok(None);
        };
        let event = OrderEvent {
            id: Uuid::now_v7(),
            kind: OrderEventKind::Confirmed,
            order,
        };
        let insert = sqlx::query(INSERT_EVENT.sql)
            .bind(event.id)
            .bind(Json(&event))
            .bind(traceparent);
        INSERT_EVENT.run(insert.execute(&mut *tx)).await?;
        tx.commit().await?;
        Ok(Some(event.order))
    }

    /// Transaction 2, not paid: declines the order and releases its stock. `None` when it is settled already.
    pub(crate) async fn decline(&self, id: Uuid) -> Result<Option<Order>> {
        let mut tx = self.requests.begin().await?;
        let Some(Pending { order, .. }) = settle(&mut tx, id, OrderStatus::Declined).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let release = sqlx::query(RELEASE_STOCK.sql)
            .bind(&order.sku)
            .bind(i64::from(order.quantity));
        RELEASE_STOCK.run(release.execute(&mut *tx)).await?;
        tx.commit().await?;
        Ok(Some(order))
    }

    /// One order.
    pub(crate) async fn order(&self, id: Uuid) -> Result<Option<Order>> {
        let mut connection = self.requests.acquire().await?;
        let query = sqlx::query_as(GET_ORDER.sql).bind(id);
        let row: Option<OrderRow> = GET_ORDER
            .run(query.fetch_optional(&mut *connection))
            .await?;
        Ok(row.map(Order::try_from).transpose()?)
    }

    /// Orders older than `after`, newest first.
    pub(crate) async fn orders(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<Order>> {
        let mut connection = self.requests.acquire().await?;
        let query = sqlx::query_as(LIST_ORDERS.sql)
            .bind(after)
            .bind(i64::from(limit));
        let rows: Vec<OrderRow> = LIST_ORDERS.run(query.fetch_all(&mut *connection)).await?;
        Ok(rows
            .into_iter()
            .map(Order::try_from)
            .collect::<std::result::Result<_, _>>()?)
    }

    /// Claims orders that have been pending for `age`. Another sweeper gets others.
    pub(crate) async fn claim_pending(&self, age: Duration, limit: i64) -> Result<Vec<Pending>> {
        let query = sqlx::query_as(CLAIM_PENDING)
            .bind(age.as_secs_f64())
            .bind(limit)
            .bind(ORDER_LEASE.as_secs_f64());
        let rows: Vec<CausedRow> = query.fetch_all(self.background.raw()).await?;
        Ok(rows
            .into_iter()
            .map(Pending::try_from)
            .collect::<std::result::Result<_, _>>()?)
    }

    /// Claims events that are due. Another relay gets others.
    pub(crate) async fn claim_events(&self, limit: i64) -> Result<Vec<Claimed>> {
        let query = sqlx::query_as(CLAIM_EVENTS)
            .bind(limit)
            .bind(EVENT_LEASE.as_secs_f64());
        Ok(query.fetch_all(self.background.raw()).await?)
    }

    /// The event has arrived.
    pub(crate) async fn mark_delivered(&self, id: Uuid) -> Result<()> {
        let mut connection = self.background.acquire().await?;
        let query = sqlx::query(MARK_DELIVERED.sql).bind(id);
        MARK_DELIVERED.run(query.execute(&mut *connection)).await?;
        Ok(())
    }

    /// The event did not arrive: not before `delay` again.
    pub(crate) async fn postpone(&self, id: Uuid, delay: Duration) -> Result<()> {
        sqlx::query(POSTPONE_EVENT)
            .bind(id)
            .bind(delay.as_secs_f64())
            .execute(self.background.raw())
            .await?;
        Ok(())
    }

    /// How many events wait, and for how many seconds the oldest has.
    pub(crate) async fn backlog(&self) -> Result<(i64, f64)> {
        Ok(sqlx::query_as(BACKLOG)
            .fetch_one(self.background.raw())
            .await?)
    }

    /// Forgets events that were delivered long ago.
    pub(crate) async fn purge(&self) -> Result<()> {
        sqlx::query(PURGE)
            .bind(KEEP_DELIVERED.as_secs_f64())
            .execute(self.background.raw())
            .await?;
        Ok(())
    }

    /// Hears of new events.
    pub(crate) async fn listen(&self) -> Result<PgListener> {
        let mut listener = PgListener::connect_with(self.background.raw()).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    /// Asks the server for a sign of life.
    pub(crate) async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1")
            .execute(self.background.raw())
            .await?;
        Ok(())
    }
}

/// Why nothing was inserted.
async fn existing(tx: &mut Tx, order: &NewOrder, key: Option<&str>) -> Result<Placement> {
    let Some(key) = key else {
        return Ok(Placement::UnknownSku);
    };
    let query = sqlx::query_as(ORDER_BY_KEY.sql).bind(key);
    let row: Option<KeyedRow> = ORDER_BY_KEY.run(query.fetch_optional(&mut **tx)).await?;
    let Some(KeyedRow {
        order: row,
        customer_email,
    }) = row
    else {
        return Ok(Placement::UnknownSku);
    };
    let stored = Order::try_from(row)?;
    let same = stored.sku == order.sku
        && stored.quantity == order.quantity
        && customer_email == order.customer_email.reveal();
    Ok(if same {
        Placement::Existing(stored)
    } else {
        Placement::KeyReused
    })
}

async fn settle(tx: &mut Tx, id: Uuid, status: OrderStatus) -> Result<Option<Pending>> {
    let query = sqlx::query_as(SETTLE.sql).bind(id).bind(status.as_str());
    let row: Option<CausedRow> = SETTLE.run(query.fetch_optional(&mut **tx)).await?;
    Ok(row.map(Pending::try_from).transpose()?)
}
