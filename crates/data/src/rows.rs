//! Rows of the database, and their conversion to the types of the API.

use api::types::{Order, OrderStatus};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

/// An item.
#[derive(Debug, FromRow)]
pub(crate) struct Item {
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) unit_price_cents: i64,
    pub(crate) stock: i64,
}

/// An order as it is stored.
#[derive(FromRow)]
pub(crate) struct OrderRow {
    id: Uuid,
    sku: String,
    quantity: i32,
    status: String,
    unit_price_cents: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<OrderRow> for Order {
    type Error = sqlx::Error;

    fn try_from(row: OrderRow) -> std::result::Result<Self, sqlx::Error> {
        let unexpected =
            |what: &str| sqlx::Error::Decode(format!("orders.{what} is out of range").into());
        let statuses = [
            OrderStatus::Pending,
            OrderStatus::Confirmed,
            OrderStatus::Declined,
        ];
        let status = statuses
            .into_iter()
            .find(|status| status.as_str() == row.status);
        Ok(Self {
            id: row.id,
            sku: row.sku,
            quantity: u32::try_from(row.quantity).map_err(|_| unexpected("quantity"))?,
            status: status.ok_or_else(|| unexpected("status"))?,
            unit_price_cents: row.unit_price_cents,
            created_at: row.created_at,
        })
    }
}

/// An order with the request that placed it.
#[derive(FromRow)]
pub(crate) struct CausedRow {
    #[sqlx(flatten)]
    pub(crate) order: OrderRow,
    pub(crate) traceparent: Option<String>,
}

/// An order that a sweeper has claimed.
pub(crate) struct Pending {
    pub(crate) order: Order,
    pub(crate) traceparent: Option<String>,
}

/// An order, with the fields that are compared when its key is used again.
#[derive(FromRow)]
pub(crate) struct KeyedRow {
    #[sqlx(flatten)]
    pub(crate) order: OrderRow,
    pub(crate) customer_email: String,
}

/// What became of an attempt to place an order.
pub(crate) enum Placement {
    /// It is stored as pending and its stock reserved.
    New(Order),
    /// An order with this key exists, from the same request.
    Existing(Order),
    /// The key belongs to another request.
    KeyReused,
    /// No such item.
    UnknownSku,
    /// Less in stock than asked for.
    OutOfStock,
}

/// An event that a relay has claimed. Text, as it is stored: a newer version may have written what this one does not know, and
/// whether it can be read is for the receiver to say.
#[derive(FromRow)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) event: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) attempts: i32,
    pub(crate) refusals: i32,
    /// It is about an order of the probe.
    pub(crate) synthetic: bool,
}

/// An event that was set aside because downstream refuses it.
#[derive(Debug, Serialize, FromRow)]
pub struct DeadLetter {
    /// Its id.
    pub id: Uuid,
    /// `order.confirmed`; none when the stored message has no type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The order that the event is about, if the stored message names it.
    pub order_id: Option<String>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// When it was set aside.
    pub set_aside_at: DateTime<Utc>,
    /// How often it was sent.
    pub attempts: i32,
    /// What downstream said last.
    pub refusal: Option<String>,
}

/// A statement of this service that waits for a lock.
#[derive(Debug, FromRow)]
pub(crate) struct LockWait {
    /// Its text.
    pub(crate) query: String,
    /// Process id of the server process that it waits for.
    pub(crate) holder_pid: i32,
    pub(crate) holder_application: String,
    /// `active`, `idle in transaction`, …
    pub(crate) holder_state: String,
    pub(crate) seconds: f64,
}

impl TryFrom<CausedRow> for Pending {
    type Error = sqlx::Error;

    fn try_from(row: CausedRow) -> std::result::Result<Self, sqlx::Error> {
        Ok(Self {
            order: row.order.try_into()?,
            traceparent: row.traceparent,
        })
    }
}
