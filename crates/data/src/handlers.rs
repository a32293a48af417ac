//! What the routes do.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use api::routes::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, data};
use api::types::{NewOrder, OrderPage, PageQuery, QuoteQuery, QuotedItem};
use service::{ApiError, Deadline, Json, Query};
use uuid::Uuid;

use crate::orders::Orders;

type State = web::Data<Orders>;

/// `GET /items/quote`.
pub(crate) async fn quoted_item(
    orders: State,
    Query(query): Query<QuoteQuery>,
    deadline: Deadline,
) -> Result<web::Json<QuotedItem>, ApiError> {
    query.validate()?;
    let item = orders.quoted_item(query.sku.as_deref(), deadline).await?;
    tracing::info!(sku = item.sku, stock = item.stock, "item quoted");
    Ok(web::Json(item))
}

/// `POST /orders`.
pub(crate) async fn place_order(
    orders: State,
    request: HttpRequest,
    Json(order): Json<NewOrder>,
    deadline: Deadline,
) -> Result<HttpResponse, ApiError> {
    order.validate()?;
    let key = service::headers::single(&request, IDEMPOTENCY_KEY)?;
    key.map(api::validation::check_key).transpose()?;
    let (order, replayed) = orders.place(&order, key, deadline).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((
        header::LOCATION,
        data::ORDER.replace("{id}", &order.id.to_string()),
    ));
    if replayed {
        response.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    Ok(response.json(order))
}

/// `GET /orders/{id}`.
pub(crate) async fn order(orders: State, id: web::Path<Uuid>) -> Result<HttpResponse, ApiError> {
    let order = orders.order(*id).await?;
    tracing::info!(order_id = %order.id, status = order.status.as_str(), "order read");
    Ok(HttpResponse::Ok().json(order))
}

/// `GET /orders`.
pub(crate) async fn orders(
    orders: State,
    Query(query): Query<PageQuery>,
) -> Result<web::Json<OrderPage>, ApiError> {
    let page = orders.page(&query).await?;
    tracing::info!(count = page.orders.len(), "orders listed");
    Ok(web::Json(page))
}
