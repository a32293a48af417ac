//! The web page; it is part of the executable and loads nothing from elsewhere.

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpResponse, web};

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(index))
        .route("/trace/{id}", web::get().to(index))
        .route("/static/app.js", web::get().to(script))
        .route("/static/style.css", web::get().to(style));
}

async fn index() -> HttpResponse {
    file("text/html; charset=utf-8", include_str!("web/index.html"))
}

async fn script() -> HttpResponse {
    file("text/javascript; charset=utf-8", include_str!("web/app.js"))
}

async fn style() -> HttpResponse {
    file("text/css; charset=utf-8", include_str!("web/style.css"))
}

/// Asked for anew each time: after an update the old script would meet the new API.
fn file(content_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .body(content)
}
