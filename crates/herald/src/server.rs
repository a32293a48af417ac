//! Starts, serves, drains.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, Resource, Responder, web};
use anyhow::{Context, Result};
use serde_json::json;
use service::{ApiError, HostGuard, problem};
use telemetry::{Metrics, ServiceInfo, http_server};
use tokio::sync::watch;

use crate::access::Access;
use crate::api;
use crate::connections::Connections;
use crate::deliver::Deliverer;
use crate::evidence::{self, Collector};
use crate::intake::{self, BODY_LIMIT};
use crate::links::Links;
use crate::metrics::METRICS;
use crate::queue::Queue;
use crate::settings::Settings;
use crate::spool::Spool;
use crate::watchdog::{self, Watchdog};
use crate::{front, stats, target};

/// Path of the webhook.
pub(crate) const ALERTS: &str = "/alerts";

/// Path of the alert that always fires.
const WATCHDOG: &str = "/watchdog";

/// How long Alertmanager may take to send a notification.
pub(crate) const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs herald until a signal asks it to stop or, if asked for, the end of standard input.
///
/// # Errors
/// When a setting is wrong, the address or the directory cannot be used, or the server fails.
pub fn run(settings: Settings) -> Result<()> {
    let info = ServiceInfo {
        name: "herald".to_owned(),
        version: settings.build.to_owned(),
    };
    // Before the runtime exists, because the exporter's blocking HTTP client may neither be created nor dropped inside one.
    let telemetry =
        telemetry::init(info, &settings.telemetry, &[METRICS]).context("telemetry cannot start")?;
    telemetry::log_panics();
    let result = actix_web::rt::System::new().block_on(serve(&settings, telemetry.metrics()));
    match &result {
        Ok(reason) => tracing::info!(reason, "stopped"),
        Err(error) => tracing::error!(
            error = service::error::chain(error.as_ref()),
            "herald failed"
        ),
    }
    if !telemetry.shutdown(FLUSH_TIMEOUT) {
        eprintln!("some telemetry could not be delivered before the exit");
    }
    result.map(|_| ())
}

async fn serve(settings: &Settings, metrics: Metrics) -> Result<&'static str> {
    let mut signals = listen::StopSignals::install(settings.parent_pipe)?;
    let (targets, sources) = (settings.raw.targets()?, settings.raw.sources()?);
    let watchdog = Watchdog::new(targets.watchdog.clone(), settings.silent_after);
    let watchdog = watchdog.context("the HTTP client cannot be built")?;
    let targets = target::all(&targets).context("the HTTP client cannot be built")?;
    let names: Vec<&'static str> = targets.iter().map(|target| target.name).collect();
    stats::declare(&names, &evidence::BACKENDS);
    let spool = Spool::open(&settings.state_dir, &names)?;
    let queue = Queue::open(spool, names.clone(), settings.queue_limit)?;
    let collector = Collector::new(&sources, &settings.backend_tls, settings.evidence_timeout)?;
    let collector = Arc::new(collector);
    let queue = Arc::new(queue);
    let deliverer = Arc::new(Deliverer {
        queue: queue.clone(),
        collector: collector.clone(),
        links: Links::new(settings.raw.sites()?),
        give_up_after: settings.give_up_after,
    });
    let (listener, address) = bind(settings.listen)?;
    let host_guard = HostGuard::new(settings.allowed_hosts.clone(), "HERALD_ALLOWED_HOSTS", &[]);
    let access = Access {
        secrets: settings.raw.secrets()?,
        certificate: settings.tls.asks_for_certificates(),
    };
    let app_data = AppData {
        queue: web::Data::from(queue.clone()),
        collector: web::Data::from(collector),
        watchdog: web::Data::new(watchdog),
    };
    let app = |connections| app(connections, host_guard, access, app_data, metrics);
    let mut front = front::start(listener, settings.tls.config()?, app)?;
    if names == ["log"] {
        tracing::warn!(
            "no target is set: notifications go to this log only; set HERALD_SLACK_WEBHOOK_URL or HERALD_WEBHOOK_URL"
        );
    }
    tracing::info!(http_addr = %address, targets = names.join(","), "listening");

    let (stop, stopping) = watch::channel(false);
    let deliveries: Vec<_> = targets
        .into_iter()
        .map(|target| actix_web::rt::spawn(deliverer.clone().run(target, stopping.clone())))
        .collect();
    let reports = actix_web::rt::spawn(queue.look_after());
    let result = tokio::select! {
        reason = signals.next() => Ok(reason),
        () = front.ended() => Err(anyhow::anyhow!("the server ended, see the log")),
    };
    front.stop().await;
    stop.send_replace(true);
    futures_util::future::join_all(deliveries).await;
    reports.abort();
    result
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = listen::bind(address).with_context(|| {
        format!("cannot listen on {address}: choose another address with --listen")
    })?;
    let real = listener
        .local_addr()
        .context("the listener has no address")?;
    Ok((listener, real))
}

/// The data that requests need.
struct AppData {
    queue: web::Data<Queue>,
    collector: web::Data<Collector>,
    watchdog: web::Data<Watchdog>,
}

fn app(
    connections: Rc<Connections>,
    host_guard: HostGuard,
    access: Access,
    app_data: AppData,
    metrics: Metrics,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    http_server::declare_route("POST", ALERTS, &[200, 400, 401, 403, 408, 413, 422, 503]);
    http_server::declare_route("POST", WATCHDOG, &[200, 503]);
    let serve = connections.clone();
    let guarded = |resource: Resource| guard(resource, &connections, &host_guard, &access);
    let take = api::body(web::post().to(intake::alerts), BODY_LIMIT);
    let alerts = api::resource(ALERTS, "POST", BODY_LIMIT).route(take);
    let beat = api::body(web::post().to(watchdog::watchdog), watchdog::BODY_LIMIT);
    let beat = api::resource(WATCHDOG, "POST", watchdog::BODY_LIMIT).route(beat);
    let mut app = App::new()
        .app_data(app_data.queue)
        .app_data(app_data.collector)
        .app_data(app_data.watchdog)
        .app_data(web::Data::new(metrics));
    for resource in [alerts, beat] {
        let measured = guarded(resource).wrap(http_server::Red);
        app = app.service(measured.wrap(http_server::tracing_logger()));
    }
    let mut app = app
        .route("/metrics", web::get().to(exposition))
        .route("/live", web::get().to(live))
        .route("/ready", web::get().to(ready));
    for resource in api::resources() {
        // Not measured by route and status: that would make each response to a scrape seven times as large, and many may be
        // in progress.
        app = app.service(guarded(resource).wrap(http_server::tracing_logger()));
    }
    app.default_service(web::to(nowhere))
        .wrap(from_fn(listen::head_as_get))
        .wrap(from_fn(move |request, next| {
            serve.clone().serve(request, next)
        }))
}

/// Checks every client: by host name, credentials, and the size of its requests.
fn guard(
    resource: Resource,
    connections: &Rc<Connections>,
    host_guard: &HostGuard,
    access: &Access,
) -> Resource<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    let [charge, admit] = [(); 2].map(|()| connections.clone());
    let (host_guard, access) = (host_guard.clone(), access.clone());
    resource
        .wrap(from_fn(move |request, next| {
            charge.clone().charge(request, next)
        }))
        .wrap(from_fn(move |request, next| {
            access.clone().admit(admit.clone(), request, next)
        }))
        .wrap(from_fn(move |request, next| {
            service::enter(Some(host_guard.clone()), request, next)
        }))
}

async fn exposition(request: HttpRequest, metrics: web::Data<Metrics>) -> impl Responder {
    metrics.respond(&request)
}

async fn live() -> impl Responder {
    HttpResponse::Ok().json(json!({"live": true}))
}

/// Whether alerts can be accepted, and why not.
async fn ready(queue: web::Data<Queue>) -> impl Responder {
    let reasons = queue.reasons();
    let mut response = match reasons.as_slice() {
        [] => HttpResponse::Ok(),
        _ => HttpResponse::ServiceUnavailable(),
    };
    response.json(json!({"ready": reasons.is_empty(), "reasons": reasons}))
}

async fn nowhere() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(
        problem::NOT_FOUND,
        "no such path; Alertmanager's webhooks are POST /alerts and POST /watchdog, the history is GET /api/alerts",
    ))
}
