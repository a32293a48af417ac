//! Requests and responses. Requests reject unknown members, so that a typing error is not ignored. Responses and events
//! accept them, so that a newer service may add members.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An e-mail address. It is stored and sent, but never shown: neither by `Debug` nor by `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    /// Wraps an address; `NewOrder::validate` checks it.
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// The address itself, for storing and sending.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// Places an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Which item.
    pub sku: String,
    /// How many, 1 to 100.
    pub quantity: u32,
    /// The customer's address.
    pub customer_email: Email,
}

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Stored, stock reserved, payment not known yet.
    Pending,
    /// Paid.
    Confirmed,
    /// Not paid; the stock is released.
    Declined,
}

impl OrderStatus {
    /// As written in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Declined => "declined",
        }
    }
}

impl telemetry::LabelValue for OrderStatus {
    fn value(self) -> std::borrow::Cow<'static, str> {
        self.as_str().into()
    }
}

/// An order as callers see it: without the e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id; later orders have greater ones.
    pub id: Uuid,
    /// Which item.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// Its state.
    pub status: OrderStatus,
    /// Price of one item when it was ordered.
    pub unit_price_cents: i64,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
}

/// Chooses the item of a quote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteQuery {
    /// The item; any item if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
}

/// Chooses a page of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// How many, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page; the newest orders if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of orders, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPage {
    /// The orders.
    pub orders: Vec<Order>,
    /// The start of the next page; absent on the last one.
    pub next_cursor: Option<String>,
}

/// A price, valid now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Which item.
    pub sku: String,
    /// Price of one.
    pub price_cents: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// An item and its price now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotedItem {
    /// Which item.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// How many are left.
    pub stock: i64,
    /// List price.
    pub unit_price_cents: i64,
    /// Price now.
    pub quote: Quote,
}

/// Asks for the payment of an order. Asking again for the same order gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// Which order.
    pub order_id: Uuid,
    /// How much.
    pub amount_cents: i64,
}

/// Answer to a [`PaymentRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Id of the payment.
    pub payment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// The decision.
    pub status: PaymentStatus,
}

/// Decision about a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentStatus {
    /// Paid.
    Approved,
    /// Not paid.
    Declined,
}

/// An event of an order. A newer version may have stored it with additional members, which are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// Id of the event, the same for every delivery of it.
    pub id: Uuid,
    /// The kind of the event.
    #[serde(rename = "type")]
    pub kind: OrderEventKind,
    /// The order as it is after the event.
    pub order: Order,
}

/// Kinds of [`OrderEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderEventKind {
    /// The order was paid.
    #[serde(rename = "order.confirmed")]
    Confirmed,
}

/// Answer to an [`OrderEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReceipt {
    /// Id of the event.
    pub id: Uuid,
    /// False when it had been applied before.
    pub applied: bool,
}
