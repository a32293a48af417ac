//! The children, started in order, each ready before the next.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::balancer::{self, Instance};
use super::capture::Message;
use super::child::{Child, Launch};
use super::replicas::{self, service_of};
use super::report::Report;
use super::standard::Standard;
use super::state::State;
use super::wiring::{self, Backends, Peers};
use super::{inherited, load, ports, probe, scrape};
use crate::cli::UpArgs;
use crate::postgres::external;
use crate::{environment, files};

/// A first download over a slow line takes minutes; it reports its progress.
const POSTGRES_PATIENCE: Duration = Duration::from_secs(600);
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Per child: longer than a service drains (10 s) and flushes (5 s); Postgres writes a checkpoint.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A child that has listened once, and how it is started again.
pub struct SupervisedChild {
    /// Its role.
    pub name: &'static str,
    /// With its actual ports, because other parts know them.
    pub launch: Launch,
    /// How long it may take until it listens.
    pub patience: Duration,
}

/// Everything that runs. It changes while its children are watched, all in one thread.
pub struct Stack<'a> {
    /// The options of `up`.
    pub args: &'a UpArgs,
    /// Says what happens.
    pub report: &'a Report,
    data_dir: PathBuf,
    children: RefCell<Vec<Rc<Child>>>,
    pub(super) state: RefCell<State>,
    client: reqwest::Client,
}

impl<'a> Stack<'a> {
    /// Nothing runs yet.
    pub fn new(args: &'a UpArgs, report: &'a Report) -> Result<Self> {
        let data_dir = files::own_directory(&args.data_dir, files::data_directory_mode())?;
        let client = incoming::client()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        let remembered = scrape::remember(&args.scrape, &data_dir)?;
        let state = State {
            pid: std::process::id(),
            no_restart: args.no_restart,
            rules: args.rules.as_ref().map(std::path::absolute).transpose()?,
            // Without the console nobody does.
            scraped: match args.no_console {
                true => Vec::new(),
                false => remembered,
            },
            ..State::default()
        };
        Ok(Self {
            args,
            report,
            data_dir,
            children: RefCell::default(),
            state: RefCell::new(state),
            client,
        })
    }

    /// The directory of its files, as the kernel names it.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Starts everything, sends the probe and keeps the load running; returns only after a failure.
    pub async fn start_all(
        &self,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<Infallible> {
        self.state.borrow().write(&self.data_dir)?;
        let unused = inherited::unused(inherited::Backend::of(self.args))?;
        inherited::explain(&unused, self.report);
        let mut peers = Peers {
            unused,
            probe_token: wiring::probe_token()?,
            database: self.start_postgres(kept).await?,
            ..Peers::default()
        };
        let standard = self.start_backend(&mut peers, kept).await?;
        peers.downstream = self.start_service("downstream", &peers, kept).await?;
        peers.data = self.start_service("data", &peers, kept).await?;
        let gateway = self.start_service("gateway", &peers, kept).await?;
        peers.gateway = gateway.clone();
        let console = self.state.borrow().url("console").map(str::to_owned);
        let visible = match &standard {
            Some(standard) => self.start_watchers(standard, &peers, kept).await?,
            None => probe::run(&self.client, &gateway, console.as_deref()).await?,
        };
        if !self.args.no_probe {
            self.start_service("probe", &peers, kept).await?;
        }
        self.change(|state| state.ready = true)?;
        self.announce(&gateway, console.as_deref(), &peers, &visible);
        load::run(&self.client, &gateway, self.args.load).await
    }

    /// `DATABASE_URL` of data.
    async fn start_postgres(
        &self,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<String> {
        if let Some(url) = environment::text("DATABASE_URL")? {
            let found = external::check(&url).await?;
            let details = format!(
                "PostgreSQL {} at {} (DATABASE_URL; only the schema omnitrace is touched)",
                found.version, found.host
            );
            self.report.started(
                "postgres",
                &details,
                json!({"source": "database_url", "host": found.host, "version": found.version}),
            );
            return Ok(url);
        }
        let launch = wiring::postgres(&self.data_dir, 0);
        let line = self.start("postgres", launch, POSTGRES_PATIENCE).await?;
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let url = text("database_url");
        let port = url::Url::parse(&url)?
            .port()
            .context("the port of Postgres")?;
        self.change(|state| state.database_url = Some(url.clone()))?;
        self.keep(
            kept,
            "postgres",
            wiring::postgres(&self.data_dir, port),
            POSTGRES_PATIENCE,
        );
        let user = line["user"]
            .as_str()
            .map_or_else(String::new, |user| format!(", as user {user}"));
        let details = format!(
            "PostgreSQL {} ({}, {}{user})",
            text("version"),
            text("source"),
            text("bin")
        );
        self.report.started("postgres", &details, json!({"source": text("source"), "version": text("version"), "bin": text("bin"), "data": text("data")}));
        Ok(url)
    }

    /// The console (or the standard stack) and herald, and the destination of telemetry, which the variables name if there is
    /// neither.
    async fn start_backend(
        &self,
        peers: &mut Peers,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<Option<Standard>> {
        if self.args.no_console {
            peers.otlp = inherited::collector()?;
            return Ok(None);
        }
        let (args, data_dir) = (self.args, &self.data_dir);
        let herald = ports::choose("herald", args.ports.herald_port, args.strict_ports)?;
        // The two call each other, so the address of one must be known before it listens.
        let (herald, _reserved) = ports::reserve(herald)?;
        if self.args.standard.standard {
            return Ok(Some(self.start_standard(herald, peers, kept).await?));
        }
        let console = self.start_console(herald.address, kept).await?;
        self.report_scraped();
        peers.otlp = Some(console.clone());
        let backends = Backends::console(&console);
        let launch = |address| wiring::herald(address, data_dir, &backends, peers, args);
        self.start_part("herald", herald, launch, kept).await?;
        Ok(None)
    }

    /// Starts a part with one address; returns its URL.
    pub(super) async fn start_part(
        &self,
        name: &'static str,
        choice: ports::Choice,
        launch: impl Fn(SocketAddr) -> Result<Launch>,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<String> {
        let url = self.listen_part(name, choice.address, launch, kept).await?;
        self.report_part(name, choice.moved.as_slice());
        Ok(url)
    }

    /// The same, and says nothing of it.
    pub(super) async fn listen_part(
        &self,
        name: &'static str,
        listen: SocketAddr,
        launch: impl Fn(SocketAddr) -> Result<Launch>,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<String> {
        let line = self.start(name, launch(listen)?, PATIENCE).await?;
        let address = address(&line, "http_addr")?;
        self.listens(name, address, None, url(address) + "/ready")?;
        self.keep(kept, name, launch(address)?, PATIENCE);
        Ok(url(address))
    }

    /// Starts all instances of a service; returns their URL.
    async fn start_service(
        &self,
        name: &'static str,
        peers: &Peers,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<String> {
        let choose = |port| ports::choose(name, port, self.args.strict_ports);
        let [http, admin] = self.args.ports.of(name).map(choose);
        let (mut http, admin) = (http?, admin?);
        let start = |part, http, admin, shared| {
            self.start_instance(part, [http, admin], shared, peers, kept)
        };
        let count = self.args.replicas.count(name);
        if count == 1 {
            return Ok(url(start(name, http, admin, None).await?.address));
        }
        let listener = listen::bind(http.address)?;
        let shared = listener.local_addr()?;
        http.address = choose(0)?.address;
        let mut instances = vec![start(name, http, admin, Some(shared)).await?];
        for number in 2..=count {
            let part = replicas::part_name(name, number);
            instances.push(start(part, choose(0)?, choose(0)?, Some(shared)).await?);
        }
        balancer::start(listener, instances)?;
        Ok(url(shared))
    }

    /// Starts one instance. Its clients know the address `shared`, if it shares one with others, else its own.
    async fn start_instance(
        &self,
        part: &'static str,
        [http, admin]: [ports::Choice; 2],
        shared: Option<SocketAddr>,
        peers: &Peers,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<Instance> {
        let launch = |http, admin| wiring::service(part, http, admin, peers, self.args);
        let line = self
            .start(part, launch(http.address, admin.address)?, PATIENCE)
            .await?;
        let (address, admin_address) =
            (address(&line, "http_addr")?, address(&line, "admin_addr")?);
        let admin_url = url(admin_address);
        let ready_url = format!("{admin_url}/ready");
        self.listens(
            part,
            shared.unwrap_or(address),
            Some(admin_address),
            ready_url,
        )?;
        self.keep(kept, part, launch(address, admin_address)?, PATIENCE);
        probe::until_ready(&self.client, part, &admin_url, PATIENCE).await?;
        let moved: Vec<String> = http.moved.into_iter().chain(admin.moved).collect();
        self.report_part(part, &moved);
        Ok(Instance { address, admin_url })
    }

    pub(super) async fn start(
        &self,
        name: &'static str,
        launch: Launch,
        patience: Duration,
    ) -> Result<Value> {
        let ready_url = launch.ready_url.clone();
        let (child, said) = Child::spawn(name, launch, &self.data_dir, false)?;
        let child = self.add(child)?;
        self.listening(&child, said, ready_url, patience).await
    }

    /// Waits for the line `listening`, or for an answer of a program that writes none.
    async fn listening(
        &self,
        child: &Child,
        mut said: mpsc::UnboundedReceiver<Message>,
        ready_url: Option<String>,
        patience: Duration,
    ) -> Result<Value> {
        match ready_url {
            None => child.listening(&mut said, patience, self.report).await,
            Some(url) => {
                child.answers(&self.client, &url, patience).await?;
                Ok(Value::Null)
            }
        }
    }

    /// Starts a child that has ended once more. It listens when this returns, or has ended again.
    ///
    /// # Errors
    /// It cannot be started, or did not listen and was killed.
    pub async fn restart(&self, kept: &SupervisedChild) -> Result<()> {
        let (child, said) = Child::spawn(kept.name, kept.launch.clone(), &self.data_dir, true)?;
        let child = self.add(child)?;
        let ready_url = kept.launch.ready_url.clone();
        let listening = self.listening(&child, said, ready_url, kept.patience);
        match listening.await {
            Ok(_) => self.report_part(kept.name, &[]),
            // Reported as its death.
            Err(_) if child.status().is_some() => {}
            Err(late) => {
                child.kill().await;
                return Err(late);
            }
        }
        Ok(())
    }

    /// Replaces the previous child, which has ended. The next run knows this one even if `up` is killed before the child
    /// listens.
    fn add(&self, child: Child) -> Result<Rc<Child>> {
        let child = Rc::new(child);
        let mut children = self.children.borrow_mut();
        match children.iter_mut().find(|old| old.name == child.name) {
            Some(old) => *old = Rc::clone(&child),
            None => children.push(Rc::clone(&child)),
        }
        self.change(|state| state.begin(child.name, child.pid))?;
        Ok(child)
    }

    pub(super) fn keep(
        &self,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
        name: &'static str,
        launch: Launch,
        patience: Duration,
    ) {
        let child = SupervisedChild {
            name,
            launch,
            patience,
        };
        kept.send(child).ok();
    }

    /// The latest child of a role that has been started.
    pub fn child(&self, name: &str) -> Rc<Child> {
        let children = self.children.borrow();
        let found = children.iter().find(|child| child.name == name);
        Rc::clone(found.expect("only what was started is kept"))
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        state.write(&self.data_dir)
    }

    pub(super) fn listens(
        &self,
        name: &str,
        address: SocketAddr,
        admin: Option<SocketAddr>,
        ready_url: String,
    ) -> Result<()> {
        for own in [Some(address), admin].into_iter().flatten() {
            scrape::refuse_own(&self.state.borrow().scraped, name, own)?;
        }
        self.change(|state| {
            if let Some(part) = state.part_mut(name) {
                (part.url, part.admin_url) = (Some(url(address)), admin.map(url));
                part.ready_url = Some(ready_url);
            }
        })
    }

    /// Stops the children, the last one first, so that each stops before those that it needs. After their last request,
    /// services send their remaining telemetry in parallel while the console still runs; if it is dead, they wait for it in
    /// parallel, too.
    pub async fn stop(&self) {
        let children = self.last_first();
        // The probe first, because it would send requests to a stopping gateway.
        let is_service = |name| name == "probe" || probe::SERVICES.contains(&name);
        for instances in
            children.chunk_by(|one, next| service_of(one.name) == service_of(next.name))
        {
            if is_service(service_of(instances[0].name)) {
                join_all(instances.iter().map(|child| child.drain(STOP_PATIENCE))).await;
            }
        }
        for child in &children {
            child.stop(STOP_PATIENCE, self.report).await;
        }
    }

    /// Kills everything at once. Postgres gets a moment, because only its supervisor can stop the server.
    pub async fn kill(&self) {
        for child in self.last_first() {
            if child.name == "postgres" {
                child.stop(Duration::from_secs(5), self.report).await;
            } else {
                child.kill().await;
            }
        }
    }

    fn last_first(&self) -> Vec<Rc<Child>> {
        self.children.borrow().iter().rev().cloned().collect()
    }

    /// Everything is up and the probe went through.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().ready
    }

    /// Removes the file by which other commands recognise a running stack.
    pub fn forget(&self) {
        State::remove(&self.data_dir);
    }
}

fn address(line: &Value, field: &str) -> Result<SocketAddr> {
    match line[field].as_str().map(str::parse) {
        Some(Ok(address)) => Ok(address),
        _ => bail!("the line `listening` has no usable {field}: {line}"),
    }
}

pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
