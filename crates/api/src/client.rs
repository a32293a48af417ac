//! One function per endpoint.

use serde::de::IgnoredAny;
use telemetry::deadline::Deadline;
use uuid::Uuid;

use crate::call::{Outgoing, Peer};
use crate::error::CallError;
use crate::routes::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, data, downstream, gateway};
use crate::timeouts::{DATA_TO_DOWNSTREAM, GATEWAY_TO_DATA, PROBE_TO_GATEWAY};
use crate::types::{
    EventReceipt, NewOrder, Order, OrderPage, PageQuery, Payment, PaymentRequest, Quote,
    QuoteQuery, QuotedItem,
};

/// The item that only the probe orders: counts and lists of orders leave it out.
pub const PROBE_SKU: &str = "omnitrace-probe";

/// Calls the gateway as a user does, each time once.
pub struct GatewayClient {
    peer: Peer,
}

impl GatewayClient {
    /// A client of the gateway at `base`, e.g. `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Self, reqwest::Error> {
        Ok(Self {
            peer: Peer::new("gateway", base, PROBE_TO_GATEWAY)?,
        })
    }

    /// Whether it serves.
    pub async fn health(&self, deadline: Deadline) -> Result<(), CallError> {
        let request = Outgoing::get(gateway::HEALTH, gateway::HEALTH.to_owned());
        let answer = self
            .peer
            .call::<IgnoredAny>(request.idempotent(false), deadline);
        answer.await.map(drop)
    }

    /// One item with a quote.
    pub async fn quoted_item(
        &self,
        sku: &str,
        deadline: Deadline,
    ) -> Result<QuotedItem, CallError> {
        let path = with_query(gateway::DATA, [("sku", Some(sku.to_owned()))]);
        let request = Outgoing::get(gateway::DATA, path).idempotent(false);
        Ok(self.peer.call(request, deadline).await?.body)
    }

    /// Places an order.
    pub async fn place_order(
        &self,
        order: &NewOrder,
        deadline: Deadline,
    ) -> Result<Order, CallError> {
        let request = Outgoing::post(gateway::ORDERS, order);
        Ok(self.peer.call(request, deadline).await?.body)
    }
}

/// Calls the data service.
#[derive(Clone)]
pub struct DataClient {
    peer: Peer,
}

/// An order that was placed, now or by an earlier request with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The order.
    pub order: Order,
    /// True when an earlier request had placed it.
    pub replayed: bool,
}

impl DataClient {
    /// A client of the data service at `base`, e.g. `http://127.0.0.1:8081`.
    pub fn new(base: &str) -> Result<Self, reqwest::Error> {
        Ok(Self {
            peer: Peer::new("data", base, GATEWAY_TO_DATA)?,
        })
    }

    /// One item with a quote.
    pub async fn quoted_item(
        &self,
        query: &QuoteQuery,
        deadline: Deadline,
    ) -> Result<QuotedItem, CallError> {
        let path = with_query(data::QUOTE, [("sku", query.sku.clone())]);
        Ok(self
            .peer
            .call(Outgoing::get(data::QUOTE, path), deadline)
            .await?
            .body)
    }

    /// Places an order; it may be retried only if it has a key.
    pub async fn place_order(
        &self,
        order: &NewOrder,
        key: Option<&str>,
        deadline: Deadline,
    ) -> Result<Placed, CallError> {
        let mut request = Outgoing::post(data::ORDERS, order).idempotent(key.is_some());
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        let answer = self.peer.call(request, deadline).await?;
        let replayed = answer
            .headers
            .get(IDEMPOTENT_REPLAYED)
            .is_some_and(|value| value == "true");
        Ok(Placed {
            order: answer.body,
            replayed,
        })
    }

    /// One order.
    pub async fn order(&self, id: Uuid, deadline: Deadline) -> Result<Order, CallError> {
        let path = data::ORDER.replace("{id}", &id.to_string());
        Ok(self
            .peer
            .call(Outgoing::get(data::ORDER, path), deadline)
            .await?
            .body)
    }

    /// A page of orders.
    pub async fn orders(
        &self,
        query: &PageQuery,
        deadline: Deadline,
    ) -> Result<OrderPage, CallError> {
        let limit = query.limit.map(|limit| limit.to_string());
        let path = with_query(
            data::ORDERS,
            [("limit", limit), ("cursor", query.cursor.clone())],
        );
        Ok(self
            .peer
            .call(Outgoing::get(data::ORDERS, path), deadline)
            .await?
            .body)
    }
}

/// Calls the downstream service.
#[derive(Clone)]
pub struct DownstreamClient {
    peer: Peer,
}

impl DownstreamClient {
    /// A client of the downstream service at `base`, e.g. `http://127.0.0.1:8082`.
    pub fn new(base: &str) -> Result<Self, reqwest::Error> {
        Ok(Self {
            peer: Peer::new("downstream", base, DATA_TO_DOWNSTREAM)?,
        })
    }

    /// The price of an item now. The sku must be a valid one: it becomes part of the path.
    pub async fn quote(&self, sku: &str, deadline: Deadline) -> Result<Quote, CallError> {
        let path = downstream::QUOTE.replace("{sku}", sku);
        Ok(self
            .peer
            .call(Outgoing::get(downstream::QUOTE, path), deadline)
            .await?
            .body)
    }

    /// Requests a payment. It may be repeated, because the order is its key.
    pub async fn pay(
        &self,
        request: &PaymentRequest,
        deadline: Deadline,
    ) -> Result<Payment, CallError> {
        let request = Outgoing::post(downstream::PAYMENTS, request).idempotent(true);
        Ok(self.peer.call(request, deadline).await?.body)
    }

    /// Delivers an event: the JSON of an [`OrderEvent`](crate::types::OrderEvent) of this or another version. It does not
    /// retry, because the relay does.
    pub async fn deliver(
        &self,
        event: String,
        deadline: Deadline,
    ) -> Result<EventReceipt, CallError> {
        let request = Outgoing::post_json(downstream::ORDER_EVENTS, event.into_bytes());
        Ok(self.peer.call(request, deadline).await?.body)
    }
}

/// The path with those parameters that have a value.
fn with_query<const N: usize>(path: &str, parameters: [(&str, Option<String>); N]) -> String {
    let mut path = path.to_owned();
    let mut separator = '?';
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        path.push(separator);
        path.push_str(name);
        path.push('=');
        path.extend(value.bytes().map(encode));
        separator = '&';
    }
    path
}

/// Percent-encodes all but unreserved characters (RFC 3986).
fn encode(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let path = with_query(
            "/orders",
            [("limit", None), ("cursor", Some("a b&c=é".to_owned()))],
        );
        assert_eq!(path, "/orders?cursor=a%20b%26c%3D%C3%A9");
        assert_eq!(with_query("/orders", [("limit", None)]), "/orders");
    }
}
