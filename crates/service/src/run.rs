//! The life of a service: start telemetry, bind, build, serve, drain, flush.
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use listen::StopSignals;
use telemetry::{Metric, Telemetry};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::admin::{self, Admin};
use crate::background::Background;
use crate::blueprint::Blueprint;
use crate::dependencies::Dependencies;
use crate::error::chain;
use crate::faults;
use crate::faults::generic::Generic;
use crate::handover::Handover;
use crate::listener::Sockets;
use crate::metrics::METRICS;
use crate::public::Public;
use crate::readiness::Readiness;
use crate::serving::{Connections, Serving};
use crate::settings::{FaultSetting, Settings};
use crate::shutdown::Shutdown;

/// How long the last batch of telemetry may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The same during a handover, while clients wait for the next process.
const HANDOVER_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the private listener's last answers may take before a handover.
const ADMIN_LIMIT: Duration = Duration::from_secs(1);

/// Runs a service until a signal asks it to stop (SIGTERM, SIGINT, SIGHUP, SIGQUIT) or its parent ends. `metrics` are
/// those that the service declares. `build` runs when telemetry is up and both ports are bound, and returns when the
/// service can serve. Returns the listening sockets when another process is to have them, and what asks to stop meanwhile.
///
/// # Errors
/// When the service cannot start, or when a part that must not end does. Telemetry is flushed in any case.
pub fn run<B>(
    settings: Settings,
    metrics: &[Metric],
    build: B,
) -> anyhow::Result<Option<(Sockets, StopSignals)>>
where
    B: AsyncFnOnce() -> anyhow::Result<Blueprint>,
{
    if settings.faults == FaultSetting::Hidden {
        faults::hide();
    }
    // Before the runtime exists, because the exporter's blocking HTTP client may neither be created nor dropped inside one.
    let metrics = [METRICS, metrics];
    let telemetry = telemetry::init(settings.info.clone(), &settings.telemetry, &metrics)
        .context("telemetry cannot start")?;
    telemetry::log_panics();
    let result = actix_web::rt::System::new().block_on(async {
        let mut signals = StopSignals::install(settings.parent_pipe)?;
        let end = serve(&settings, &telemetry, build, &mut signals).await?;
        anyhow::Ok((end, signals))
    });
    match &result {
        Ok((end, _)) => tracing::info!(reason = end.reason(), "stopped"),
        Err(error) => tracing::error!(error = chain(error.as_ref()), "the service failed"),
    }
    let limit = match &result {
        Ok((End::HandedOver(..), _)) => HANDOVER_FLUSH_TIMEOUT,
        _ => FLUSH_TIMEOUT,
    };
    if !telemetry.shutdown(limit) {
        eprintln!("some telemetry could not be delivered before the exit");
    }
    Ok(match result? {
        (End::Asked(_), _) => None,
        (End::HandedOver(_, sockets), signals) => Some((sockets, signals)),
    })
}

/// Why a service has ended.
enum End {
    /// A signal or the parent has asked for it.
    Asked(&'static str),
    /// Another process has its sockets from now on.
    HandedOver(Handover, Sockets),
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            Self::Asked(reason) => reason,
            Self::HandedOver(..) => "another process takes over",
        }
    }
}

async fn serve<B>(
    settings: &Settings,
    telemetry: &Telemetry,
    build: B,
    signals: &mut StopSignals,
) -> anyhow::Result<End>
where
    B: AsyncFnOnce() -> anyhow::Result<Blueprint>,
{
    let sockets = Sockets::open(settings)?;
    let (http_addr, admin_addr) = sockets.addresses()?;
    let kept = sockets.keep()?;
    let readiness = Readiness::starting();
    let admin = Arc::new(Admin {
        readiness: readiness.clone(),
        dependencies: Dependencies::default(),
        metrics: telemetry.metrics(),
        log_level: telemetry.log_level(),
        faults: OnceCell::new(),
        faults_allowed: settings.faults != FaultSetting::Off,
    });
    let connections = Connections::default();
    let private = admin::serve(
        admin.clone(),
        settings.admin_host_guard.clone(),
        sockets.admin,
        connections.clone(),
    )
    .context("admin listener")?;
    let private_serving = Serving::of(&private, connections);
    let mut private = Some(private);
    // After a handover, clients wait for a moment instead of getting "starting".
    if settings.inherited.is_none() {
        private.take().map(actix_web::rt::spawn);
    }

    // Building may wait for a database; a signal ends the wait.
    let blueprint = tokio::select! {
        built = build() => built?,
        reason = signals.next() => return Ok(End::Asked(reason)),
    };
    let handover = blueprint.handover.clone();
    // Before the service reports that it is ready, so that the first answer includes the dependencies.
    admin.dependencies.ask(&blueprint.dependencies).await;
    readiness.started();
    let service = Running::start(settings, &admin, blueprint, sockets.http)?;
    private.take().map(actix_web::rt::spawn);
    tracing::info!(http_addr = %http_addr, admin_addr = %admin_addr, "listening");

    let handover = handover.map(|handover| (handover, kept));
    let result = service.until_stopped(signals, settings, handover).await;
    if let Ok(End::HandedOver(handover, _)) = &result {
        private_serving.pause().await;
        private_serving.close(ADMIN_LIMIT).await;
        handover.finish();
    } else {
        private_serving.stop(false).await;
    }
    undo_faults(&admin).await;
    result
}

/// A fault can release its resources (connections of a pool, for example) only while the runtime exists.
async fn undo_faults(admin: &Admin) {
    if let Some(board) = admin.faults.get() {
        board.clear_all();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A service that answers requests.
struct Running {
    readiness: Arc<Readiness>,
    http: Serving,
    server: JoinHandle<std::io::Result<()>>,
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
        let connections = Connections::default();
        let server = public
            .serve(settings, listener, connections.clone())
            .context("public listener")?;
        let http = Serving::of(&server, connections);
        let server = actix_web::rt::spawn(server);
        let dependencies = admin.dependencies.clone();
        actix_web::rt::spawn(dependencies.watch(blueprint.dependencies));
        Ok(Self {
            readiness: admin.readiness.clone(),
            http,
            server,
            shutdown,
            background,
        })
    }

    /// Serves until there is a reason to stop, and for the drain delay, then lets requests and tasks finish within the drain
    /// time-out. A second signal stops at once.
    async fn until_stopped(
        mut self,
        signals: &mut StopSignals,
        settings: &Settings,
        handover: Option<(Handover, Sockets)>,
    ) -> anyhow::Result<End> {
        let result = tokio::select! {
            reason = signals.next() => Ok(End::Asked(reason)),
            ended = self.background.first_end() => Err(anyhow::anyhow!(ended)),
            end = handed_over(handover) => Ok(end),
        };
        let handed_over = matches!(result, Ok(End::HandedOver(..)));
        // After a handover another process accepts the next request.
        if !handed_over {
            self.readiness.drain();
        }
        tracing::info!(
            reason = result.as_ref().map_or("failure", End::reason),
            "draining"
        );
        let finish = async {
            if !handed_over {
                sleep(settings.drain_delay).await;
            }
            self.shutdown.begin();
            let limit = settings.drain_timeout;
            drain(&self.http, self.background, handed_over, limit).await;
        };
        let end = tokio::select! {
            () = finish => result,
            reason = signals.hurry() => {
                tracing::warn!("second signal: requests under way are dropped");
                // A stop signal must not start another process.
                result.map(|_| End::Asked(reason))
            }
        };
        self.http.cut(&self.server).await;
        end
    }
}

/// Waits for a handover request. Without one, dropping this closes the kept sockets: a service that ends refuses connections
/// while it drains.
async fn handed_over(handover: Option<(Handover, Sockets)>) -> End {
    match handover {
        Some((handover, kept)) => {
            handover.requested().await;
            End::HandedOver(handover, kept)
        }
        None => std::future::pending().await,
    }
}

async fn drain(http: &Serving, background: Background, handed_over: bool, limit: Duration) {
    let end = Instant::now() + limit;
    let in_time = if handed_over {
        http.pause().await;
        http.close(limit).await
    } else {
        timeout(limit, http.stop(true)).await.is_ok()
    };
    if !in_time {
        tracing::warn!("requests were still under way at the drain deadline");
    }
    background
        .finish(end.saturating_duration_since(Instant::now()))
        .await;
}
