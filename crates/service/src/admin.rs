//! The private listener: health, metrics, log level and faults. No spans, no request metrics.
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpRequest, HttpResponse, Responder, web};
use listen::{Gate, Http};
use serde_json::json;
use telemetry::{LogLevel, Metrics};
use tokio::sync::OnceCell;

use crate::dependencies::Dependencies;
use crate::error::ApiError;
use crate::faults::Switchboard;
use crate::host_guard::{self, HostGuard};
use crate::problem::{FieldError, ProblemType};
use crate::readiness::Readiness;
use crate::routes::{self, Route, Routes};
use crate::serving::Connections;
use crate::settings::FAULTS;

/// The answer to a request for faults when they are switched off.
const FAULTS_OFF: ProblemType =
    ProblemType::new("faults-off", 403, "Faults are off here (OMNITRACE_FAULTS)");

/// How long an operator's request may take to arrive, and to be answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// One request per connection. A scraper that sends its next request just as an idle connection closes, because the process
/// is replaced, would get no response. A new connection waits in the queue instead.
const HTTP: Http = Http {
    keep_alive: KeepAlive::Disabled,
    head_timeout: Duration::from_secs(5),
    last_words: Duration::from_secs(1),
    half_closed: true,
};

/// The routes of the private listener. The faults follow once the service is built.
pub(crate) struct Admin {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) dependencies: Dependencies,
    pub(crate) metrics: Metrics,
    pub(crate) log_level: LogLevel,
    pub(crate) faults: OnceCell<Switchboard>,
    /// Else nobody can switch any.
    pub(crate) faults_allowed: bool,
}

fn routes() -> Routes {
    vec![
        #[cfg(feature = "count-allocations")]
        Route::get("/allocations", crate::allocations::total),
        Route::get("/live", live),
        Route::get("/ready", ready),
        Route::get("/metrics", metrics),
        Route::get("/log-level", log_level),
        Route::put("/log-level", set_log_level),
        Route::get("/faults", faults),
        Route::delete("/faults", clear_faults),
        Route::put("/faults/{name}", set_fault),
        Route::delete("/faults/{name}", clear_fault),
    ]
}

/// Serves `admin` on `listener`; one thread is enough for a scraper and an operator.
pub(crate) fn serve(
    admin: Arc<Admin>,
    host_guard: HostGuard,
    listener: TcpListener,
    connections: Connections,
) -> std::io::Result<Server> {
    let admin = web::Data::from(admin);
    let app = move || {
        let host_guard = host_guard.clone();
        let mut app = App::new()
            .app_data(admin.clone())
            .app_data(web::PayloadConfig::new(16 * 1024));
        for resource in routes::resources(routes(), REQUEST_TIMEOUT) {
            app = app.service(resource);
        }
        app.default_service(web::to(routes::not_found))
            .wrap(from_fn(listen::head_as_get))
            .wrap(from_fn(move |request, next| {
                host_guard::enter(Some(host_guard.clone()), request, next)
            }))
    };
    let connected = move |_: &Gate<TcpStream>, data: &mut Extensions| connections.count(data);
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(256)
        .disable_signals()
        .shutdown_timeout(1);
    Ok(listen::add_http1(server, HTTP, listener, connected, app)?.run())
}

async fn live() -> impl Responder {
    HttpResponse::Ok().json(json!({"live": true}))
}

async fn ready(admin: web::Data<Admin>) -> impl Responder {
    let reasons = admin.readiness.reasons();
    let mut response = if reasons.is_empty() {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    let dependencies = admin.dependencies.health();
    response.json(
        json!({"ready": reasons.is_empty(), "reasons": reasons, "dependencies": dependencies}),
    )
}

async fn metrics(request: HttpRequest, admin: web::Data<Admin>) -> impl Responder {
    admin.metrics.respond(&request)
}

async fn log_level(admin: web::Data<Admin>) -> impl Responder {
    admin.log_level.get()
}

async fn set_log_level(admin: web::Data<Admin>, body: String) -> Result<String, ApiError> {
    let directives = body.trim();
    let invalid = |problem: String| ApiError::invalid(vec![FieldError::new("(request)", problem)]);
    if directives.is_empty() {
        return Err(invalid(
            "allowed: directives such as info or info,data=debug".to_owned(),
        ));
    }
    admin.log_level.set(directives).map_err(invalid)?;
    tracing::info!(directives, "log level changed");
    Ok(admin.log_level.get())
}

async fn faults(admin: web::Data<Admin>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(json!({"faults": board(&admin)?.list()})))
}

async fn clear_faults(admin: web::Data<Admin>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(json!({"faults": board(&admin)?.clear_all()})))
}

async fn set_fault(
    admin: web::Data<Admin>,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let request = crate::faults::parse(&body)?;
    Ok(HttpResponse::Ok().json(board(&admin)?.set(&name, &request)?))
}

async fn clear_fault(
    admin: web::Data<Admin>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(board(&admin)?.clear(&name)?))
}

fn board(admin: &Admin) -> Result<&Switchboard, ApiError> {
    if !admin.faults_allowed {
        let why = format!("{FAULTS}=on, set where this service is started, allows them");
        return Err(ApiError::new(FAULTS_OFF, why));
    }
    let starting = || ApiError::new(crate::problem::UNAVAILABLE, "the service is still starting");
    admin.faults.get().ok_or_else(starting)
}
