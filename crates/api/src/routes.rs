//! Route patterns, used by the server that has the route and by the client that calls it.

/// The public API.
pub mod gateway {
    /// `GET`: 200 while the process serves.
    pub const HEALTH: &str = "/health";
    /// `GET`: the contract of this API.
    pub const OPENAPI: &str = "/openapi.json";
    /// `GET`: one item with a quote; `?sku=` chooses it.
    pub const DATA: &str = "/api/data";
    /// `POST`: place an order. `GET`: a page of orders, `?limit=&cursor=`.
    pub const ORDERS: &str = "/api/orders";
    /// `GET`: one order.
    pub const ORDER: &str = "/api/orders/{id}";
}

/// The data service.
pub mod data {
    /// `GET`: one item with a quote; `?sku=` chooses it.
    pub const QUOTE: &str = "/items/quote";
    /// `POST`: place an order. `GET`: a page of orders, `?limit=&cursor=`.
    pub const ORDERS: &str = "/orders";
    /// `GET`: one order.
    pub const ORDER: &str = "/orders/{id}";
}

/// The downstream service.
pub mod downstream {
    /// `GET`: the price of an item now.
    pub const QUOTE: &str = "/quotes/{sku}";
    /// `POST`: request a payment, once per order.
    pub const PAYMENTS: &str = "/payments";
    /// `POST`: deliver an order event, at least once.
    pub const ORDER_EVENTS: &str = "/events/orders";
}

/// Request header that makes placing an order repeatable.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Response header, `true` when an earlier order with the same key is shown again.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";

/// Destination of order events, `messaging.destination.name`.
pub const ORDER_EVENTS_DESTINATION: &str = "order-events";
