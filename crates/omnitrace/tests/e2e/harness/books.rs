//! What the database itself says about stock, orders and events, past every service.

use sqlx::{Connection, PgConnection, Row};

use super::{Database, eventually};

/// An item's account. Orders are counted in pieces, not in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Stock at the start.
    pub initial: i64,
    /// Stock now.
    pub stock: i64,
    /// Ordered, payment not known yet.
    pub pending: i64,
    /// Ordered and paid.
    pub confirmed: i64,
    /// Ordered, not paid.
    pub declined: i64,
}

/// An order's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub id: String,
    /// `pending`, `confirmed` or `declined`.
    pub status: String,
    /// The key that it was placed with.
    pub key: Option<String>,
}

/// An event in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Event id, `messaging.message.id` of its delivery.
    pub id: String,
    /// `order.confirmed`.
    pub kind: String,
    /// The order it is about.
    pub order_id: String,
    /// It is marked as delivered.
    pub delivered: bool,
    /// How often a relay took it up.
    pub attempts: i32,
}

/// An open connection to look into the books with.
pub struct Books(PgConnection);

impl Database {
    /// Opens the books.
    pub async fn books(&self) -> Books {
        Books(self.connect().await)
    }
}

impl Books {
    /// One item's account, all of it seen at one moment.
    pub async fn account(&mut self, sku: &str) -> Account {
        let row = sqlx::query(
            "SELECT i.initial_stock, i.stock, \
             coalesce(sum(o.quantity) FILTER (WHERE o.status = 'pending'), 0), \
             coalesce(sum(o.quantity) FILTER (WHERE o.status = 'confirmed'), 0), \
             coalesce(sum(o.quantity) FILTER (WHERE o.status = 'declined'), 0) \
             FROM omnitrace.items i LEFT JOIN omnitrace.orders o USING (sku) WHERE i.sku = $1 GROUP BY i.sku",
        )
        .bind(sku)
        .fetch_one(&mut self.0)
        .await
        .unwrap_or_else(|error| panic!("account of {sku}: {error}"));
        Account {
            initial: row.get(0),
            stock: row.get(1),
            pending: row.get(2),
            confirmed: row.get(3),
            declined: row.get(4),
        }
    }

    /// Waits until no order is pending, and returns the item's account then.
    pub async fn settled(&mut self, sku: &str) -> Account {
        eventually("no order is pending any more", async || {
            let account = self.account(sku).await;
            (account.pending == 0).then_some(account)
        })
        .await
    }

    /// Every order, oldest first.
    pub async fn orders(&mut self) -> Vec<OrderRow> {
        sqlx::query("SELECT id::text, status, idempotency_key FROM omnitrace.orders ORDER BY id")
            .fetch_all(&mut self.0)
            .await
            .expect("orders")
            .iter()
            .map(|row| OrderRow {
                id: row.get(0),
                status: row.get(1),
                key: row.get(2),
            })
            .collect()
    }

    /// Every event, oldest first.
    pub async fn events(&mut self) -> Vec<EventRow> {
        sqlx::query(
            "SELECT id::text, event->>'type', event->'order'->>'id', delivered_at IS NOT NULL, attempts \
             FROM omnitrace.outbox ORDER BY id",
        )
        .fetch_all(&mut self.0)
        .await
        .expect("events")
        .iter()
        .map(|row| EventRow {
            id: row.get(0),
            kind: row.get(1),
            order_id: row.get(2),
            delivered: row.get(3),
            attempts: row.get(4),
        })
        .collect()
    }

    /// Waits until every event is marked as delivered, and returns them.
    pub async fn delivered(&mut self) -> Vec<EventRow> {
        eventually("every event is delivered", async || {
            let events = self.events().await;
            events.iter().all(|event| event.delivered).then_some(events)
        })
        .await
    }

    /// The definitions of a table's CHECK constraints.
    pub async fn checks(&mut self, table: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint \
             WHERE contype = 'c' AND convalidated AND conrelid = ('omnitrace.' || $1)::regclass",
        )
        .bind(table)
        .fetch_all(&mut self.0)
        .await
        .expect("constraints")
    }

    /// Tries to set an item's stock behind the service's back; the server's refusal, if it refuses.
    pub async fn try_set_stock(&mut self, sku: &str, stock: i64) -> Result<(), String> {
        let mut tx = self.0.begin().await.expect("begin");
        let result = sqlx::query("UPDATE omnitrace.items SET stock = $2 WHERE sku = $1")
            .bind(sku)
            .bind(stock)
            .execute(&mut *tx)
            .await;
        tx.rollback().await.expect("rollback");
        result.map(drop).map_err(|error| error.to_string())
    }
}
