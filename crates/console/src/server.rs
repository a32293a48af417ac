//! Binds, runs and stops the console.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_server::ServerBuilder;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{KeepAlive, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, web};
use anyhow::{Context, Result};
use listen::{Flow, Gate, Http, StopSignals};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::TokenCheck;
use crate::answer::Answers;
use crate::budget::Budget;
use crate::connections::Connections;
use crate::counters::Counters;
use crate::grpc::Grpc;
use crate::guard::{AccessRules, guard};
use crate::ingest::{self, Sink};
use crate::listeners::Listeners;
use crate::metadata::Metadata;
use crate::pages_api::{Events, RemoteServices};
use crate::rules::{Data, Reports, Rules};
use crate::scrape::{Scraper, Targets};
use crate::series::SeriesStore;
use crate::settings::Settings;
use crate::stats::Sources;
use crate::store::Store;
use crate::{answer, log, page, pages_api, prometheus};

/// Enough for a laptop; decoding and searching have threads of their own.
const WORKERS: usize = 2;

/// A head must come within this time, on a new connection and after an answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that ends waits for its client to take the last bytes.
const LAST_WORDS: Duration = Duration::from_secs(1);

const HTTP: Http = Http {
    keep_alive: KeepAlive::Timeout(HEAD_TIMEOUT),
    head_timeout: HEAD_TIMEOUT,
    last_words: LAST_WORDS,
    half_closed: true,
};

/// The threads of each worker for decoding and answers, whatever the number of processors, because many wait for their turn.
const MAX_THREADS: usize = 512;

/// How long requests may go on after the end is called for.
const DRAIN_SECONDS: u64 = 2;

/// The answers of ports that take nothing but OTLP to what belongs elsewhere.
const NO_HTTP1: &str = "this port takes OTLP over gRPC only; OTLP over HTTP goes to port 4318, or to that of the console's pages\n";
const NO_PAGES: &str = "this port takes OTLP only (/v1/traces, /v1/logs, /v1/metrics); the console's pages have another one";

/// A console that listens.
#[derive(Debug)]
pub struct Console {
    /// The address that it really listens on.
    pub address: SocketAddr,
    /// Where it takes OTLP over gRPC, if it does.
    pub otlp_grpc: Option<SocketAddr>,
    /// Where it takes nothing but OTLP over HTTP, if it does.
    pub otlp_http: Option<SocketAddr>,
    /// Stops it.
    pub handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
    scraper: JoinHandle<()>,
    rules: JoinHandle<()>,
    notifier: JoinHandle<()>,
    /// The notifier ends when it goes.
    telling: watch::Sender<()>,
}

impl Console {
    /// Waits until it has stopped.
    ///
    /// # Errors
    /// The server failed.
    pub async fn stopped(self) -> Result<()> {
        let result = self.server.await;
        self.scraper.abort();
        self.rules.abort();
        drop(self.telling);
        self.notifier.await.ok();
        result
            .context("the console's server panicked")?
            .context("the console's server failed")
    }
}

/// Runs the console until a signal asks it to stop or, if asked for, the end of standard input.
///
/// # Errors
/// The address cannot be listened on, or the server fails.
pub fn run(settings: Settings) -> Result<()> {
    let parent_pipe = settings.parent_pipe;
    actix_web::rt::System::new().block_on(async move {
        // Before the log line `listening`, because its reader may send a signal at once.
        let mut signals = StopSignals::install(parent_pipe)?;
        let console = start(settings)?;
        let handle = console.handle.clone();
        actix_web::rt::spawn(async move {
            let why = signals.next().await;
            log::info("stopping", json!({"reason": why}));
            handle.stop(true).await;
        });
        console.stopped().await
    })
}

/// Binds and starts the console; must be called on an actix runtime.
///
/// # Errors
/// The rules cannot be used, or the address cannot be listened on.
pub fn start(settings: Settings) -> Result<Console> {
    let rules = Rules::load(settings.rules_file.as_deref())?;
    let rules = rules.keeping(settings.state_file.as_deref());
    let budget = Budget::new(settings.memory_bytes);
    let answers = Answers::new(budget.clone());
    let scraper = Scraper {
        interval: settings.scrape_interval,
        series: SeriesStore::new(budget.series()),
        metadata: Metadata::new(budget.metadata()),
        targets: Targets::default(),
        counters: Counters::default(),
        budget,
    };
    let data = Data {
        answers: answers.for_rules(),
        series: scraper.series.clone(),
    };
    let (names, time) = rules.lasting();
    scraper.series.keep(names, time);
    let listeners = Listeners::bind(&settings)?;
    let (address, otlp_grpc, otlp_http) = listeners.addresses()?;
    let server = server(
        listeners,
        address,
        &settings,
        &scraper,
        answers,
        rules.reports(),
    )?;
    let external_url = format!("http://{address}");
    let (telling, ending) = watch::channel(());
    let counters = scraper.counters.clone();
    let notifier = rules.notifier(settings.notify, counters, external_url, ending);
    log::info(
        "listening",
        json!({"http_addr": address, "otlp_grpc_addr": otlp_grpc, "otlp_http_addr": otlp_http}),
    );
    let file = settings.targets_file;
    let scraper = actix_web::rt::spawn(async move {
        crate::scrape::run(file.as_deref(), scraper).await;
    });
    Ok(Console {
        address,
        otlp_grpc,
        otlp_http,
        handle: server.handle(),
        server: actix_web::rt::spawn(server),
        scraper,
        rules: actix_web::rt::spawn(rules.run(data)),
        notifier: actix_web::rt::spawn(notifier.run()),
        telling,
    })
}

fn server(
    listeners: Listeners,
    address: SocketAddr,
    settings: &Settings,
    shared: &Scraper,
    answers: Answers,
    reports: Reports,
) -> Result<Server> {
    let store = Store::with_traces_of(shared.budget.store(), shared.budget.trace());
    let Scraper {
        series,
        metadata,
        targets,
        counters,
        budget,
        ..
    } = shared;
    let sink = web::Data::new(Sink {
        store: store.clone(),
        series: series.clone(),
        metadata: metadata.clone(),
        counters: counters.clone(),
        gate: ingest::Gate::new(budget.clone(), settings.max_body_bytes),
    });
    let sources = web::Data::new(Sources {
        store: store.clone(),
        series: series.clone(),
        metadata: metadata.clone(),
        counters: counters.clone(),
        reports: reports.clone(),
        budget: budget.clone(),
        limit_bytes: settings.memory_bytes,
    });
    let answers = web::Data::new(answers);
    let notify = web::Data::new(settings.notify.clone());
    let server = builder();
    let stopping = server.graceful_shutdown_signal();
    let events = Events::new(counters.clone(), reports.clone(), stopping);
    let others = RemoteServices::new(settings, targets.clone(), budget.clone())?;
    let (events, others) = (web::Data::new(events), web::Data::new(others));
    let (store, series, targets, reports) = (
        web::Data::new(store.clone()),
        web::Data::new(series.clone()),
        web::Data::new(targets.clone()),
        web::Data::new(reports),
    );
    let access_rules = web::Data::new(access_rules(settings, address));
    let counters = web::Data::new(counters.clone());
    let connections = Connections::new(settings.memory_bytes);
    let all = web::Data::new(connections.clone());
    let grpc = Grpc {
        sink: sink.get_ref().clone(),
        access_rules: access_rules.clone(),
        connections: connections.clone(),
    };
    let app = move |routes: fn(&mut web::ServiceConfig)| {
        App::new()
            .app_data(store.clone())
            .app_data(series.clone())
            .app_data(targets.clone())
            .app_data(reports.clone())
            .app_data(notify.clone())
            .app_data(counters.clone())
            .app_data(access_rules.clone())
            .app_data(sink.clone())
            .app_data(sources.clone())
            .app_data(answers.clone())
            .app_data(all.clone())
            .app_data(events.clone())
            .app_data(others.clone())
            .wrap(from_fn(listen::head_as_get))
            .wrap(from_fn(guard))
            .configure(routes)
    };
    let mut server = server.max_concurrent_connections(connections.limit().div_ceil(WORKERS));
    let connected = {
        let connections = connections.clone();
        move |gate: &Gate<TcpStream>, _: &mut _| connections.add(gate.flow())
    };
    let unusable = "the listener cannot be used";
    if let Some(listener) = listeners.otlp_grpc {
        let connected = move |flow: &Arc<Flow>| connections.add(flow);
        let service = move || grpc.clone();
        server =
            listen::add_http2(server, listener, NO_HTTP1, connected, service).context(unusable)?;
    }
    if let Some(listener) = listeners.otlp_http {
        let (app, connected) = (app.clone(), connected.clone());
        let app = move || app(crate::otlp_routes);
        server = listen::add_http1(server, HTTP, listener, connected, app).context(unusable)?;
    }
    let app = move || app(crate::routes);
    let server =
        listen::add_http1(server, HTTP, listeners.all, connected, app).context(unusable)?;
    Ok(server.run())
}

fn builder() -> ServerBuilder {
    Server::build()
        .workers(WORKERS)
        .worker_max_blocking_threads(MAX_THREADS)
        .disable_signals()
        .shutdown_timeout(DRAIN_SECONDS)
}

/// The access rules. The console prints a token that it has created here, and nowhere else.
fn access_rules(settings: &Settings, address: SocketAddr) -> AccessRules {
    let access = TokenCheck::of(&settings.access, address);
    if let Some(url) = &access.made {
        let why = "a token is needed beyond loopback: this address of the page has it";
        log::info(why, json!({"url": url}));
    }
    AccessRules {
        listening: address,
        hosts: settings.allowed_hosts.clone(),
        origins: settings.allowed_origins.clone(),
        access,
    }
}

/// No such path, or not by this method.
pub(crate) async fn nothing_here(request: HttpRequest) -> HttpResponse {
    if request.match_pattern().is_none() {
        let problem = || answer::problem(StatusCode::NOT_FOUND, "there is no such page");
        return page::nowhere(&request).unwrap_or_else(problem);
    }
    wrong_method(&request)
}

/// The same on the port that has no pages.
pub(crate) async fn nothing_but_otlp(request: HttpRequest) -> HttpResponse {
    match request.match_pattern() {
        None => answer::problem(StatusCode::NOT_FOUND, NO_PAGES),
        Some(_) => wrong_method(&request),
    }
}

fn wrong_method(request: &HttpRequest) -> HttpResponse {
    let allowed = allowed_methods(request.path());
    let why = format!("{} is not possible here, only {allowed}", request.method());
    let mut response = answer::problem(StatusCode::METHOD_NOT_ALLOWED, &why);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The methods that a path allows.
fn allowed_methods(path: &str) -> &'static str {
    match (ingest::is_intake(path), takes_forms(path)) {
        (true, _) => "POST",
        (_, true) => "GET, HEAD, POST",
        _ => pages_api::allowed_methods(path).unwrap_or("GET, HEAD"),
    }
}

/// Whether a question may also be sent as a form.
pub(crate) fn takes_forms(path: &str) -> bool {
    path.starts_with("/loki/") && !path.ends_with("/values") || prometheus::takes_forms(path)
}
