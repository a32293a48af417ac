//! What this service measures besides what every service does.

use api::types::OrderStatus;
use telemetry::Outcome;

telemetry::label! {
    /// Who drives an order on.
    pub(crate) enum Driver {
        /// The request that placed it, or one with the same key.
        Request = "request",
        /// The sweeper.
        Sweeper = "sweeper",
    }
}

telemetry::metrics! {
    /// Orders settled, by status (confirmed or declined) and by whom (the request or the sweeper).
    pub(crate) ORDERS_SETTLED: Counter { status: OrderStatus, settled_by: Driver }
        = "orders_settled_total", unit "{order}";
    /// Order events that wait for delivery.
    pub(crate) OUTBOX_PENDING: Gauge = "outbox_pending_events", unit "{event}";
    /// Age of the oldest order event that waits for delivery, in seconds.
    pub(crate) OUTBOX_OLDEST: Gauge = "outbox_oldest_pending_event_age_seconds", unit "s";
    /// Attempts to deliver an order event, by outcome.
    pub(crate) OUTBOX_DELIVERIES: Counter { outcome: Outcome }
        = "outbox_deliveries_total", unit "{delivery}";
    /// Order events that were set aside because downstream refuses them.
    pub(crate) OUTBOX_DEAD_LETTERS: Gauge = "outbox_dead_letter_events", unit "{event}";
}
