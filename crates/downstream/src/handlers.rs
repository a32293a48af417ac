//! What the routes do.

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use api::routes::ORDER_EVENTS_DESTINATION;
use api::types::{EventReceipt, OrderEvent, Payment, PaymentRequest, PaymentStatus, Quote};
use serde::Serialize;
use service::{ApiError, Json};
use tracing::Instrument;
use uuid::Uuid;

use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::model::{Model, Sequence};

/// What the handlers share.
pub(crate) struct State {
    model: Model,
    requests: Sequence,
    payments: Ledger<Payment>,
    events: Ledger<()>,
    /// What can be switched to go wrong.
    pub(crate) faults: Faults,
}

impl State {
    /// A healthy service with nothing done yet.
    pub(crate) fn new(model: Model) -> Self {
        Self {
            model,
            requests: Sequence::new(model.seed),
            payments: Ledger::default(),
            events: Ledger::default(),
            faults: Faults::new(model.seed),
        }
    }

    /// Waits for as long as the latency model says, and applies the faults that are on.
    async fn work(&self, request: &HttpRequest) -> Result<(), ApiError> {
        tokio::time::sleep(self.model.latency(self.requests.index())).await;
        self.faults.strike(request).await
    }

    fn answer(&self, value: &impl Serialize) -> Result<HttpResponse, ApiError> {
        let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
        Ok(HttpResponse::Ok()
            .content_type(ContentType::json())
            .body(self.faults.spoil(body)))
    }
}

/// `GET /quotes/{sku}`.
pub(crate) async fn quote(
    state: web::Data<State>,
    request: HttpRequest,
    sku: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    api::validation::check_sku(&sku)?;
    state.work(&request).await?;
    let sku = sku.into_inner();
    let quote = Quote {
        price_cents: state.model.price(&sku),
        sku,
        currency: "EUR".to_owned(),
    };
    tracing::info!(
        sku = quote.sku,
        price_cents = quote.price_cents,
        "price quoted"
    );
    state.answer(&quote)
}

/// `POST /payments`: decided once for each order.
pub(crate) async fn pay(
    state: web::Data<State>,
    request: HttpRequest,
    Json(payment): Json<PaymentRequest>,
) -> Result<HttpResponse, ApiError> {
    state.work(&request).await?;
    let PaymentRequest {
        order_id,
        amount_cents,
    } = payment;
    let (payment, new) = state.payments.once(order_id, || {
        let status = match state.model.declines(order_id) {
            true => PaymentStatus::Declined,
            false => PaymentStatus::Approved,
        };
        Payment {
            payment_id: Uuid::now_v7(),
            order_id,
            status,
        }
    });
    match payment.status {
        PaymentStatus::Approved => {
            tracing::info!(%order_id, amount_cents, repeated = !new, "payment approved")
        }
        PaymentStatus::Declined => {
            tracing::info!(%order_id, amount_cents, repeated = !new, "payment declined")
        }
    }
    state.answer(&payment)
}

/// `POST /events/orders`: each event id is applied once.
pub(crate) async fn apply(
    state: web::Data<State>,
    request: HttpRequest,
    Json(event): Json<OrderEvent>,
) -> Result<HttpResponse, ApiError> {
    let span = telemetry::messaging::consumer_span(ORDER_EVENTS_DESTINATION, &event.id.to_string());
    let result = async {
        state.work(&request).await?;
        let ((), applied) = state.events.once(event.id, || ());
        tracing::info!(event_id = %event.id, order_id = %event.order.id, applied, "order event received");
        state.answer(&EventReceipt { id: event.id, applied })
    }
    .instrument(span.clone())
    .await;
    if let Err(error) = &result {
        telemetry::messaging::failed(&span, error.kind().slug);
    }
    result
}
