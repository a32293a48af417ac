//! Your own service with OmniTrace's telemetry: one handler, one outgoing call, one query. See docs/ADOPT.md.
use std::{env, error::Error, time::Duration};

use actix_web::{App, HttpRequest, HttpServer, Result, error::ErrorBadGateway, web};
use reqwest_middleware::ClientWithMiddleware;
use telemetry::db::{Pool, Statement};
use telemetry::{Metrics, ServiceInfo, Settings, http_client, http_server};

const TABLES: Statement = Statement::new("SELECT", "pg_tables", "SELECT count(*) FROM pg_tables");

telemetry::metrics! {
    /// How many tables each visitor was told of.
    TABLES_SHOWN: Histogram = "shop_shown_tables", unit "{table}", buckets &[10.0, 1000.0];
}

struct Shop {
    db: Pool,
    http: ClientWithMiddleware,
    peer: String,
}

async fn hello(shop: web::Data<Shop>) -> Result<String> {
    let mut connection = shop.db.acquire().await.map_err(ErrorBadGateway)?;
    let query = sqlx::query_scalar(TABLES.sql).fetch_one(&mut *connection);
    let tables: i64 = TABLES.run(query).await.map_err(ErrorBadGateway)?;
    let call = shop.http.get(format!("{}/peer", shop.peer));
    let call = call.with_extension(http_client::UrlTemplate("/peer"));
    let answer = call.send().await.map_err(ErrorBadGateway)?.status();
    TABLES_SHOWN.record(tables as f64);
    tracing::info!(tables, "said hello");
    Ok(format!("{tables} tables, the peer answered {answer}\n"))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_lookup(&|name| env::var(name).ok())?;
    let info = ServiceInfo {
        name: "shop".into(),
        version: "1.0.0".into(),
    };
    let telemetry = telemetry::init(info, &settings, &[METRICS])?;
    http_server::declare_route("GET", "/hello", &[200, 502]);
    let database = env::var("DATABASE_URL")?.parse()?;
    let shop = Shop {
        db: Pool::new("shop", database, 10, Duration::from_secs(1)),
        http: http_client::client("peer", Duration::from_secs(2))?,
        peer: env::var("PEER_URL")?,
    };
    let (shop, metrics) = (web::Data::new(shop), web::Data::new(telemetry.metrics()));
    let scrape = |metrics: web::Data<Metrics>, request: HttpRequest| async move {
        metrics.respond(&request)
    };
    let app = move || {
        let traced = web::scope("").wrap(http_server::Red);
        let traced = traced.wrap(http_server::tracing_logger()); // outermost, so last
        let traced = traced.route("/hello", web::get().to(hello));
        let app = App::new().app_data(shop.clone()).app_data(metrics.clone());
        app.route("/metrics", web::get().to(scrape)).service(traced)
    };
    let server = HttpServer::new(app).workers(1).bind(env::var("LISTEN")?)?;
    tracing::info!(http_addr = %server.addrs()[0], "listening");
    server.run().await?; // returns on SIGTERM
    telemetry.shutdown(Duration::from_secs(5)); // sends what is queued
    Ok(())
}
