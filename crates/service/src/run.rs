//! The life of a service: start telemetry, bind, build, serve, drain, flush.
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use anyhow::Context;
use telemetry::Telemetry;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use crate::admin::{self, Admin};
use crate::background::Background;
use crate::blueprint::Blueprint;
use crate::error::chain;
use crate::faults::generic::Generic;
use crate::public::Public;
use crate::readiness::Readiness;
use crate::settings::Settings;
use crate::shutdown::{Shutdown, StopSignals};
use crate::{listener, panics};

/// How long the last batch of telemetry may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a service until SIGTERM, SIGINT or the end of its parent. `build` runs when telemetry is up and both
/// ports are bound, and returns when the service can serve.
///
/// # Errors
/// When the service cannot start, or when a part that must not end does. Telemetry is flushed in any case.
pub fn run<B>(settings: Settings, build: B) -> anyhow::Result<()>
where
    B: AsyncFnOnce() -> anyhow::Result<Blueprint>,
{
    // Before the runtime exists: the exporter's blocking HTTP client may neither be made nor dropped inside one.
    let telemetry = telemetry::init(settings.info.clone(), &settings.telemetry)
        .context("telemetry cannot start")?;
    panics::install_hook();
    let result = actix_web::rt::System::new().block_on(serve(&settings, &telemetry, build));
    match &result {
        Ok(reason) => tracing::info!(reason, "stopped"),
        Err(error) => tracing::error!(error = chain(error.as_ref()), "the service failed"),
    }
    if !telemetry.shutdown(FLUSH_TIMEOUT) {
        eprintln!("some telemetry could not be delivered before the exit");
    }
    result.map(|_| ())
}

async fn serve<B>(
    settings: &Settings,
    telemetry: &Telemetry,
    build: B,
) -> anyhow::Result<&'static str>
where
    B: AsyncFnOnce() -> anyhow::Result<Blueprint>,
{
    let mut signals = StopSignals::install(settings.parent_pipe)?;
    let (http_listener, http_addr) = listener::bind("OMNITRACE_HTTP_ADDR", settings.http_addr)?;
    let (admin_listener, admin_addr) = listener::bind("OMNITRACE_ADMIN_ADDR", settings.admin_addr)?;
    let readiness = Readiness::starting();
    let admin = Arc::new(Admin {
        readiness: readiness.clone(),
        metrics: telemetry.metrics(),
        log_level: telemetry.log_level(),
        faults: OnceCell::new(),
    });
    let admin_handle =
        spawn(admin::serve(admin.clone(), admin_listener).context("admin listener")?);

    // Building may wait for a database: a signal ends the wait.
    let blueprint = tokio::select! {
        built = build() => built?,
        reason = signals.next() => return Ok(reason),
    };
    readiness.started(blueprint.checks.clone()).await;
    let service = Running::start(settings, &admin, blueprint, http_listener)?;
    tracing::info!(http_addr = %http_addr, admin_addr = %admin_addr, "listening");

    let result = service
        .until_stopped(&mut signals, settings.drain_timeout)
        .await;
    admin_handle.stop(false).await;
    result
}

/// A service that answers requests.
struct Running {
    readiness: Arc<Readiness>,
    http: ServerHandle,
    shutdown: Shutdown,
    background: Background,
}

impl Running {
    fn start(
        settings: &Settings,
        admin: &Admin,
        blueprint: Blueprint,
        listener: TcpListener,
    ) -> anyhow::Result<Self> {
        let (generic, board) = Generic::add_to(blueprint.faults);
        generic.start(admin.readiness.clone());
        // Only this function fills the cell.
        let _ = admin.faults.set(board);
        let shutdown = Shutdown::default();
        let background = Background::start(blueprint.background, &shutdown);
        let public = Public {
            routes: blueprint.routes,
            configure: blueprint.configure,
            request_timeout: blueprint.request_timeout,
            keep_sockets: blueprint.keep_sockets,
        };
        let server = public
            .serve(settings, listener)
            .context("public listener")?;
        actix_web::rt::spawn(admin.readiness.clone().refresh());
        Ok(Self {
            readiness: admin.readiness.clone(),
            http: spawn(server),
            shutdown,
            background,
        })
    }

    /// Serves until there is a reason to stop, then lets requests and tasks finish within `limit`. A second
    /// signal stops at once.
    async fn until_stopped(
        mut self,
        signals: &mut StopSignals,
        limit: Duration,
    ) -> anyhow::Result<&'static str> {
        let result = tokio::select! {
            reason = signals.next() => Ok(reason),
            ended = self.background.first_end() => Err(anyhow::anyhow!(ended)),
        };
        self.readiness.drain();
        tracing::info!(
            reason = result.as_ref().copied().unwrap_or("failure"),
            "draining"
        );
        self.shutdown.begin();
        tokio::select! {
            () = drain(self.http, self.background, limit) => {}
            _ = signals.next() => tracing::warn!("second signal: requests under way are dropped"),
        }
        result
    }
}

async fn drain(http: ServerHandle, background: Background, limit: Duration) {
    let end = Instant::now() + limit;
    if timeout(limit, http.stop(true)).await.is_err() {
        tracing::warn!("requests were still under way at the drain deadline");
    }
    background
        .finish(end.saturating_duration_since(Instant::now()))
        .await;
}

fn spawn(server: Server) -> ServerHandle {
    let handle = server.handle();
    actix_web::rt::spawn(server);
    handle
}
