//! What the routes do.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use api::routes::{IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, gateway};
use api::types::{NewOrder, OrderPage, PageQuery, QuoteQuery, QuotedItem};
use api::{DataClient, Placed};
use serde_json::json;
use service::{ApiError, Deadline, Json, Query};
use uuid::Uuid;

type Data = web::Data<DataClient>;

/// `GET /health`.
pub(crate) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// `GET /openapi.json`: the contract; a test holds it equal to the route table and to what is answered.
pub(crate) async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(header::ContentType::json())
        .body(include_str!("../openapi.json"))
}

/// `GET /api/data`.
pub(crate) async fn quoted_item(
    data: Data,
    Query(query): Query<QuoteQuery>,
    deadline: Deadline,
) -> Result<web::Json<QuotedItem>, ApiError> {
    query.validate()?;
    let item = data.quoted_item(&query, deadline).await?;
    tracing::info!(sku = item.sku, "item shown");
    Ok(web::Json(item))
}

/// `POST /api/orders`.
pub(crate) async fn place_order(
    data: Data,
    request: HttpRequest,
    Json(order): Json<NewOrder>,
    deadline: Deadline,
) -> Result<HttpResponse, ApiError> {
    order.validate()?;
    let key = service::headers::single(&request, IDEMPOTENCY_KEY)?;
    key.map(api::validation::check_key).transpose()?;
    let Placed { order, replayed } = data.place_order(&order, key, deadline).await?;
    tracing::info!(order_id = %order.id, sku = order.sku, quantity = order.quantity, replayed, "order accepted");
    let mut response = HttpResponse::Created();
    response.insert_header((
        header::LOCATION,
        gateway::ORDER.replace("{id}", &order.id.to_string()),
    ));
    if replayed {
        response.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    Ok(response.json(order))
}

/// `GET /api/orders/{id}`.
pub(crate) async fn order(
    data: Data,
    id: web::Path<Uuid>,
    deadline: Deadline,
) -> Result<HttpResponse, ApiError> {
    let order = data.order(*id, deadline).await?;
    tracing::info!(order_id = %order.id, "order shown");
    Ok(HttpResponse::Ok().json(order))
}

/// `GET /api/orders`.
pub(crate) async fn orders(
    data: Data,
    Query(query): Query<PageQuery>,
    deadline: Deadline,
) -> Result<web::Json<OrderPage>, ApiError> {
    query.checked_limit()?;
    let page = data.orders(&query, deadline).await?;
    tracing::info!(count = page.orders.len(), "orders shown");
    Ok(web::Json(page))
}
