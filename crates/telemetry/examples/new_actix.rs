//! A service whose traces, metrics and logs lead to each other.
use std::{env, error::Error, time::Duration};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use telemetry::http_server::{Red, declare_route, tracing_logger};
use telemetry::{Metrics, ServiceInfo, Settings};

async fn hello(name: web::Path<String>) -> String {
    tracing::info!("said hello");
    format!("Hello, {name}!\n")
}

async fn scrape(metrics: web::Data<Metrics>, request: HttpRequest) -> HttpResponse {
    metrics.respond(&request)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_lookup(&|name| env::var(name).ok())?;
    let info = ServiceInfo {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    declare_route("GET", "/hello/{name}", &[200]);
    let metrics = web::Data::new(telemetry.metrics());
    let app = move || {
        let traced = web::scope("")
            .wrap(Red)
            .wrap(tracing_logger()) // outermost, so last
            .route("/hello/{name}", web::get().to(hello));
        App::new()
            .app_data(metrics.clone())
            .route("/ready", web::get().to(|| async { "ready\n" }))
            .route("/metrics", web::get().to(scrape))
            .service(traced) // last: it takes every other path
    };
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8090".into());
    let server = HttpServer::new(app).h1_allow_half_closed(false); // tells of hang-ups
    let server = server.bind(address)?;
    tracing::info!(http_addr = %server.addrs()[0], "listening");
    let served = server.run().await; // returns on SIGTERM and Ctrl-C
    telemetry.shutdown(Duration::from_secs(5)); // sends what is queued
    Ok(served?)
}
