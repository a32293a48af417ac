//! The steps of an order: stored as pending, paid for, settled. The request and the sweeper both can take the next step.

use api::DownstreamClient;
use api::client::PROBE_SKU;
use api::problems::{KEY_REUSED, OUT_OF_STOCK, PAYMENT_DECLINED, UNKNOWN_ORDER, UNKNOWN_SKU};
use api::types::{
    NewOrder, Order, OrderPage, OrderStatus, PageQuery, PaymentRequest, PaymentStatus, QuotedItem,
};
use service::{ApiError, Deadline};
use uuid::Uuid;

use crate::cursor;
use crate::metrics::{Driver, ORDERS_SETTLED};
use crate::rows::Placement;
use crate::store::Store;

/// Places and settles orders.
pub(crate) struct Orders {
    store: Store,
    downstream: DownstreamClient,
}

impl Orders {
    /// Orders in `store`, paid through `downstream`.
    pub(crate) fn new(store: Store, downstream: DownstreamClient) -> Self {
        for driver in Driver::ALL {
            for status in [OrderStatus::Confirmed, OrderStatus::Declined] {
                ORDERS_SETTLED.with((status, driver)).absolute(0);
            }
        }
        Self { store, downstream }
    }

    /// The database, for what concerns no single order.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// An item and its price now.
    pub(crate) async fn quoted_item(
        &self,
        sku: Option<&str>,
        deadline: Deadline,
    ) -> Result<QuotedItem, ApiError> {
        let item = self.store.item(sku).await?.ok_or_else(unknown_sku)?;
        let quote = self.downstream.quote(&item.sku, deadline).await?;
        Ok(QuotedItem {
            sku: item.sku,
            name: item.name,
            stock: item.stock,
            unit_price_cents: item.unit_price_cents,
            quote,
        })
    }

    /// Places an order and settles it. The second value is true when an earlier request had placed it.
    pub(crate) async fn place(
        &self,
        order: &NewOrder,
        key: Option<&str>,
        deadline: Deadline,
    ) -> Result<(Order, bool), ApiError> {
        // To everybody else the probe's item does not exist, nor do the others to the probe: no sale is left out of the numbers.
        if (order.sku == PROBE_SKU) != telemetry::synthetic::is_current() {
            return Err(unknown_sku());
        }
        let traceparent = telemetry::context::traceparent();
        let (order, replayed) = match self.store.place(order, key, traceparent).await? {
            Placement::New(order) => (order, false),
            Placement::Existing(order) => (order, true),
            Placement::UnknownSku => return Err(unknown_sku()),
            Placement::OutOfStock => {
                return Err(ApiError::new(
                    OUT_OF_STOCK,
                    "fewer are left than were ordered",
                ));
            }
            Placement::KeyReused => {
                return Err(ApiError::new(
                    KEY_REUSED,
                    "an order with this Idempotency-Key has another body",
                ));
            }
        };
        let order = match order.status {
            OrderStatus::Pending => {
                let id = order.id;
                self.settle(order, Driver::Request, deadline)
                    .await
                    .map_err(|error| still_pending(error, id))?
            }
            _ => order,
        };
        match order.status {
            OrderStatus::Declined => Err(ApiError::new(
                PAYMENT_DECLINED,
                format!("the payment of order {} was declined", order.id),
            )),
            _ => Ok((order, replayed)),
        }
    }

    /// Asks for the payment and records the answer. Both may be repeated: the payment is keyed by the order, and
    /// only a pending order changes.
    pub(crate) async fn settle(
        &self,
        order: Order,
        driver: Driver,
        deadline: Deadline,
    ) -> Result<Order, ApiError> {
        let amount_cents = order
            .unit_price_cents
            .saturating_mul(i64::from(order.quantity));
        let request = PaymentRequest {
            order_id: order.id,
            amount_cents,
        };
        let payment = self.downstream.pay(&request, deadline).await?;
        let settled = match payment.status {
            PaymentStatus::Approved => self.store.confirm(order.id).await?,
            PaymentStatus::Declined => self.store.decline(order.id).await?,
        };
        match settled {
            Some(order) => {
                record(&order, driver);
                Ok(order)
            }
            // Somebody else was faster.
            None => self.order(order.id).await,
        }
    }

    /// One order.
    pub(crate) async fn order(&self, id: Uuid) -> Result<Order, ApiError> {
        let unknown = || ApiError::new(UNKNOWN_ORDER, "no order has this id");
        self.store.order(id).await?.ok_or_else(unknown)
    }

    /// A page of orders, newest first.
    pub(crate) async fn page(&self, query: &PageQuery) -> Result<OrderPage, ApiError> {
        let limit = query.checked_limit()?;
        let after = query.cursor.as_deref().map(cursor::decode).transpose()?;
        // One more than asked for tells whether there is another page.
        let mut orders = self.store.orders(after, limit + 1).await?;
        let more = orders.len() > limit as usize;
        orders.truncate(limit as usize);
        let next_cursor = orders
            .last()
            .filter(|_| more)
            .map(|last| cursor::encode(last.id));
        Ok(OrderPage {
            orders,
            next_cursor,
        })
    }
}

fn record(order: &Order, driver: Driver) {
    if order.sku != PROBE_SKU {
        ORDERS_SETTLED.with((order.status, driver)).increment(1);
    }
    let settled_by = driver.as_str();
    match order.status {
        OrderStatus::Confirmed => {
            tracing::info!(order_id = %order.id, sku = order.sku, settled_by, "order confirmed")
        }
        _ => tracing::info!(order_id = %order.id, sku = order.sku, settled_by, "order declined"),
    }
}

fn unknown_sku() -> ApiError {
    ApiError::new(UNKNOWN_SKU, "no item has this sku")
}

/// It is unknown whether the order was paid for, so it can be neither confirmed nor undone. The error says that the sweeper will settle it.
fn still_pending(error: ApiError, id: Uuid) -> ApiError {
    let detail = format!(
        "{}; order {id} is stored and will be settled, its state can be read meanwhile",
        error.detail()
    );
    error.with_detail(detail)
}
