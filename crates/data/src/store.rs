//! Every SQL statement of the service; those of the faults are in `faults.rs`.
//!
//! Statements of requests run through [`Statement::run`] and have spans. Those of the background, in `background.rs`, mostly
//! have none: a trace per second from polling would hide the important ones.

use std::sync::Arc;

use api::types::{NewOrder, Order, OrderEvent, OrderEventKind, OrderStatus};
use sqlx::postgres::PgConnectOptions;
use sqlx::types::Json;
use telemetry::db::{Pool, Statement, Tx};
use uuid::Uuid;

use crate::errors::StoreError;
use crate::faults::Faults;
use crate::rows::{CausedRow, Item, KeyedRow, OrderRow, Pending, Placement};

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// The only schema that is touched.
pub(crate) const SCHEMA: &str = "omnitrace";

/// The channel on which the trigger of the outbox announces events.
pub(crate) const CHANNEL: &str = "omnitrace_outbox";

const GET_ITEM: Statement = Statement::new(
    "SELECT",
    "items",
    "SELECT sku, name, unit_price_cents, stock FROM items \
     WHERE sku = coalesce($1, (SELECT min(sku) FROM items WHERE sku <> 'omnitrace-probe'))",
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

/// The condition lets only one settle an order, if the request and the sweeper try at the same time.
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

pub(crate) const MARK_DELIVERED: Statement = Statement::new(
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
     WHERE id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND sku <> 'omnitrace-probe' ORDER BY id DESC LIMIT $2",
);

/// All statements with a name.
pub(crate) const STATEMENTS: &[Statement] = &[
    GET_ITEM,
    INSERT_ORDER,
    RESERVE_STOCK,
    RELEASE_STOCK,
    ORDER_BY_KEY,
    SETTLE,
    INSERT_EVENT,
    MARK_DELIVERED,
    GET_ORDER,
    LIST_ORDERS,
];

/// Orders that were never tried come first, so that orders which cannot be settled do not delay others.
pub(crate) const CLAIM_PENDING: &str = "UPDATE orders SET claimed_until = now() + make_interval(secs => $3) WHERE id IN ( \
         SELECT id FROM orders WHERE status = 'pending' AND created_at < now() - make_interval(secs => $1) \
         AND (claimed_until IS NULL OR claimed_until < now()) \
         ORDER BY claimed_until NULLS FIRST, created_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     RETURNING id, sku, quantity, status, unit_price_cents, created_at, traceparent";

pub(crate) const CLAIM_EVENTS: &str = "UPDATE outbox \
     SET next_attempt_at = now() + make_interval(secs => $2), attempts = attempts + 1 WHERE id IN ( \
         SELECT id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at <= now() \
         ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED) \
     RETURNING id, event::text AS event, traceparent, attempts, refusals, \
         coalesce(event->'order'->>'sku' = 'omnitrace-probe', false) AS synthetic";

pub(crate) const POSTPONE_EVENT: &str =
    "UPDATE outbox SET next_attempt_at = now() + make_interval(secs => $2) WHERE id = $1";

/// Counts a refusal; the event is set aside when it has had `$4` of them.
pub(crate) const REFUSE_EVENT: &str = "UPDATE outbox SET refusals = refusals + 1, refusal = $3, \
         set_aside_at = CASE WHEN refusals + 1 >= $4 THEN now() END, \
         next_attempt_at = CASE WHEN refusals + 1 >= $4 THEN 'infinity' ELSE now() + make_interval(secs => $2) END \
     WHERE id = $1 RETURNING set_aside_at IS NOT NULL";

/// Number of waiting events, age of the oldest one in seconds, number of events that are set aside.
pub(crate) const BACKLOG: &str = "SELECT count(*) FILTER (WHERE set_aside_at IS NULL), \
         coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE set_aside_at IS NULL)), 0)::float8, \
         count(set_aside_at) \
     FROM outbox WHERE delivered_at IS NULL";

pub(crate) const PURGE: &str = "DELETE FROM outbox WHERE id IN ( \
         SELECT id FROM outbox WHERE delivered_at < now() - make_interval(secs => $1) ORDER BY delivered_at LIMIT $2)";

/// Deletes old orders of the probe and gives their stock back, so that it never runs out.
pub(crate) const PURGE_PROBES: &str = "WITH old AS ( \
         DELETE FROM orders WHERE id IN ( \
             SELECT id FROM orders WHERE sku = 'omnitrace-probe' AND status <> 'pending' \
             AND created_at < now() - make_interval(secs => $1) ORDER BY created_at LIMIT $2) \
         RETURNING quantity, status) \
     UPDATE items SET stock = stock + (SELECT coalesce(sum(quantity), 0) FROM old WHERE status = 'confirmed') \
     WHERE sku = 'omnitrace-probe' AND EXISTS (SELECT FROM old)";

pub(crate) const LIST_SET_ASIDE: &str = "SELECT id, event->>'type' AS kind, event->'order'->>'id' AS order_id, created_at, set_aside_at, attempts, \
         refusal FROM outbox WHERE set_aside_at IS NOT NULL ORDER BY set_aside_at, id LIMIT $1";

/// Retries the events with these ids, or all. The notification wakes the relay, as after an insert.
pub(crate) const RETRY_SET_ASIDE: &str = "WITH retried AS ( \
         UPDATE outbox SET set_aside_at = NULL, refusals = 0, next_attempt_at = now() \
         WHERE set_aside_at IS NOT NULL AND ($1::uuid[] IS NULL OR id = ANY($1)) RETURNING id) \
     SELECT id FROM retried, pg_notify('omnitrace_outbox', '') ORDER BY id";

/// Our statements that wait for a lock: the statement, the process that holds the lock (0 is a prepared transaction), its
/// application and state, and the time since when. The holder is the process at the end of the chain, which waits for nobody: processes that
/// queue for a row wait for the first of the queue, and the first waits for the holder.
pub(crate) const LOCK_WAITS: &str = "WITH RECURSIVE edges AS MATERIALIZED ( \
         SELECT pid, unnest(pg_blocking_pids(pid)) AS blocker FROM pg_stat_activity \
         WHERE wait_event_type = 'Lock' AND datname = current_database()), \
     chain AS ( \
         SELECT pid AS waiter, blocker FROM edges \
         UNION SELECT chain.waiter, edges.blocker FROM chain JOIN edges ON edges.pid = chain.blocker) \
     SELECT DISTINCT ON (waiting.pid) waiting.query, chain.blocker AS holder_pid, \
         coalesce(holder.application_name, '') AS holder_application, coalesce(holder.state, '') AS holder_state, \
         coalesce(extract(epoch FROM now() - waiting.query_start), 0)::float8 AS seconds \
     FROM chain JOIN pg_stat_activity waiting ON waiting.pid = chain.waiter \
     LEFT JOIN pg_stat_activity holder ON holder.pid = chain.blocker \
     WHERE NOT EXISTS (SELECT FROM edges WHERE edges.pid = chain.blocker) \
       AND waiting.application_name = current_setting('application_name') \
     ORDER BY waiting.pid, chain.blocker";

/// Checks that the database answers.
pub(crate) const PING: &str = "SELECT 1";

/// The lock is held until the connection is closed. The number is arbitrary.
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

/// Connections for the background. Requests cannot take them away.
pub(crate) const BACKGROUND_CONNECTIONS: usize = 5;

/// Those of them that the relay and the sweeper leave to the watch for locks and the probe: who waits for a lock must not keep
/// it from being named.
const WATCHING_CONNECTIONS: usize = 2;

/// Of five connections for requests one is left to the other kind of them, so that who waits for a lock on orders does not
/// keep those from the items who do not need any, and the other way round. See docs/adr/0013.
const SPARED: usize = 5;

/// The database, as the rest of the service sees it.
#[derive(Clone)]
pub(crate) struct Store {
    /// For requests that look up an item: most of their connections.
    items: Pool,
    /// For requests about orders: most of the same connections.
    orders: Pool,
    /// All of them.
    pub(crate) requests: Pool,
    /// For the relay and the sweeper.
    pub(crate) background: Pool,
    /// For looking whether all is well.
    pub(crate) watching: Pool,
    faults: Arc<Faults>,
}

impl Store {
    /// On this many connections for requests, which are opened when they are needed.
    pub(crate) fn new(options: PgConnectOptions, size: usize, faults: Arc<Faults>) -> Self {
        telemetry::db::declare_statements(STATEMENTS);
        let pool = |name, size| {
            Pool::new(
                name,
                options.clone(),
                size,
                api::timeouts::DATA_POOL_ACQUIRE,
            )
        };
        let requests = pool("requests", size);
        let watching = pool("background", BACKGROUND_CONNECTIONS);
        // A pool of one cannot be shared out.
        let most = size - (size / SPARED).max(1).min(size - 1);
        Self {
            items: requests.share(most),
            orders: requests.share(most),
            requests,
            background: watching.share(BACKGROUND_CONNECTIONS - WATCHING_CONNECTIONS),
            watching,
            faults,
        }
    }

    /// The item, or any when `sku` is not given.
    pub(crate) async fn item(&self, sku: Option<&str>) -> Result<Option<Item>> {
        let mut connection = self.items.acquire().await?;
        let query = sqlx::query_as(self.faults.look_up(GET_ITEM)).bind(sku);
        Ok(GET_ITEM.run(query.fetch_optional(&mut *connection)).await?)
    }

    /// Transaction 1: stores the order as pending and reserves its stock, or does neither.
    pub(crate) async fn place(
        &self,
        order: &NewOrder,
        key: Option<&str>,
        traceparent: Option<String>,
    ) -> Result<Placement> {
        let mut tx = self.orders.begin().await?;
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
        let query = sqlx::query_as(self.faults.look_up(INSERT_ORDER))
            .bind(Uuid::now_v7())
            .bind(&order.sku)
            .bind(i32::try_from(order.quantity).unwrap_or(i32::MAX))
            .bind(order.customer_email.reveal())
            .bind(key)
            .bind(traceparent);
        let row: Option<OrderRow> = INSERT_ORDER.run(query.fetch_optional(&mut **tx)).await?;
        Ok(row.map(Order::try_from).transpose()?)
    }

    /// Transaction 2, paid: confirms the order and writes its event. `None` when it is settled already.
    pub(crate) async fn confirm(&self, id: Uuid) -> Result<Option<Order>> {
        let mut tx = self.orders.begin().await?;
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
        let mut tx = self.orders.begin().await?;
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
        let mut connection = self.orders.acquire().await?;
        let query = sqlx::query_as(GET_ORDER.sql).bind(id);
        let row: Option<OrderRow> = GET_ORDER
            .run(query.fetch_optional(&mut *connection))
            .await?;
        Ok(row.map(Order::try_from).transpose()?)
    }

    /// Orders older than `after`, newest first.
    pub(crate) async fn orders(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<Order>> {
        let mut connection = self.orders.acquire().await?;
        let query = sqlx::query_as(LIST_ORDERS.sql)
            .bind(after)
            .bind(i64::from(limit));
        let rows: Vec<OrderRow> = LIST_ORDERS.run(query.fetch_all(&mut *connection)).await?;
        Ok(rows
            .into_iter()
            .map(Order::try_from)
            .collect::<std::result::Result<_, _>>()?)
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
