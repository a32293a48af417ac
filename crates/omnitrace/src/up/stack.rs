//! The children, started in order, each ready before the next.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::child::{Child, Launch};
use super::report::Report;
use super::state::{Part, State};
use super::wiring::{self, Peers};
use super::{crashed, load, ports, probe};
use crate::cli::UpArgs;
use crate::environment;
use crate::postgres::external;

/// A cold download over a slow line takes minutes; it says how far it is.
const POSTGRES_PATIENCE: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(60);

/// Per child: longer than a service drains (10 s) and flushes (5 s); Postgres writes a checkpoint.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Those that call each other, and send their telemetry to the console.
const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// Everything that runs.
pub struct Stack<'a> {
    args: &'a UpArgs,
    report: &'a Report,
    data_dir: PathBuf,
    children: Vec<Child>,
    exits: mpsc::UnboundedSender<&'static str>,
    state: State,
    peers: Peers,
    client: reqwest::Client,
}

impl<'a> Stack<'a> {
    /// Nothing runs yet. The name of each child that ends is sent to `exits`.
    pub fn new(
        args: &'a UpArgs,
        report: &'a Report,
        exits: mpsc::UnboundedSender<&'static str>,
    ) -> Result<Self> {
        let data_dir = args.data_dir.canonicalize()?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        let state = State {
            pid: std::process::id(),
            ..State::default()
        };
        Ok(Self {
            args,
            report,
            data_dir,
            children: Vec::new(),
            exits,
            state,
            peers: Peers::default(),
            client,
        })
    }

    /// Starts everything, sends the probe, and then keeps the load going; returns only when something fails.
    pub async fn run(&mut self) -> Result<std::convert::Infallible> {
        let args = self.args;
        self.state.write(&self.data_dir)?;
        wiring::explain_overrides(args, self.report)?;
        self.start_postgres().await?;
        self.start_console().await?;
        self.peers.downstream = self
            .start_service(
                "downstream",
                args.ports.downstream_port,
                args.ports.downstream_admin_port,
            )
            .await?;
        self.peers.data = self
            .start_service("data", args.ports.data_port, args.ports.data_admin_port)
            .await?;
        let gateway = self
            .start_service(
                "gateway",
                args.ports.gateway_port,
                args.ports.gateway_admin_port,
            )
            .await?;
        let console = self.state.url("console").map(str::to_owned);
        let visible = probe::run(&self.client, &gateway, console.as_deref()).await?;
        self.state.ready = true;
        self.state.write(&self.data_dir)?;
        self.announce(&gateway, console.as_deref(), &visible);
        load::run(&self.client, &gateway, args.load).await
    }

    async fn start_postgres(&mut self) -> Result<()> {
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
            self.peers.database = url;
            return Ok(());
        }
        let line = self
            .start(
                "postgres",
                wiring::postgres(&self.data_dir),
                POSTGRES_PATIENCE,
            )
            .await?;
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        self.peers.database = text("database_url");
        self.state.database_url = Some(self.peers.database.clone());
        self.register("postgres", None, None)?;
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
        Ok(())
    }

    async fn start_console(&mut self) -> Result<()> {
        if self.args.no_console {
            self.peers.otlp = wiring::foreign_collector()?;
            return Ok(());
        }
        let choice = ports::choose(
            "console",
            self.args.ports.console_port,
            self.args.strict_ports,
        )?;
        let launch = wiring::console(choice.address, &self.data_dir, self.args);
        let line = self.start("console", launch, PATIENCE).await?;
        self.peers.otlp = url(&line, "http_addr")?;
        self.register("console", Some(self.peers.otlp.clone()), None)?;
        self.report_part("console", choice.moved.as_slice());
        Ok(())
    }

    async fn start_service(
        &mut self,
        name: &'static str,
        port: u16,
        admin_port: u16,
    ) -> Result<String> {
        let http = ports::choose(name, port, self.args.strict_ports)?;
        let admin = ports::choose(name, admin_port, self.args.strict_ports)?;
        let launch = wiring::service(name, http.address, admin.address, &self.peers, self.args)?;
        let line = self.start(name, launch, PATIENCE).await?;
        let (address, admin_address) = (url(&line, "http_addr")?, url(&line, "admin_addr")?);
        probe::until_ready(&self.client, name, &admin_address, PATIENCE).await?;
        self.register(name, Some(address.clone()), Some(admin_address))?;
        let moved: Vec<String> = http.moved.into_iter().chain(admin.moved).collect();
        self.report_part(name, &moved);
        Ok(address)
    }

    async fn start(
        &mut self,
        name: &'static str,
        launch: Launch,
        patience: Duration,
    ) -> Result<Value> {
        self.children
            .push(Child::spawn(name, launch, &self.data_dir, &self.exits)?);
        // Known to the next run even if this one is killed before the child listens.
        self.register(name, None, None)?;
        let child = self.children.last_mut().context("the child just started")?;
        child.listening(patience, self.report).await
    }

    fn register(
        &mut self,
        name: &'static str,
        url: Option<String>,
        admin_url: Option<String>,
    ) -> Result<()> {
        let pid = self.children.last().map_or(0, |child| child.pid);
        self.state.parts.retain(|part| part.name != name);
        self.state.parts.push(Part {
            name: name.to_owned(),
            pid,
            started: crashed::started(pid),
            url,
            admin_url,
        });
        self.state.write(&self.data_dir)
    }

    fn report_part(&self, name: &str, moved: &[String]) {
        let Some(part) = self.state.part(name) else {
            return;
        };
        let url = part.url.as_deref().unwrap_or_default();
        let admin = part
            .admin_url
            .as_deref()
            .map_or_else(String::new, |admin| format!("   admin {admin}"));
        let why = if moved.is_empty() {
            String::new()
        } else {
            format!("   ({})", moved.join("; "))
        };
        let fields =
            json!({"url": url, "admin_url": part.admin_url, "pid": part.pid, "moved": moved});
        self.report
            .started(name, &format!("{url}{admin}{why}"), fields);
    }

    fn announce(&self, gateway: &str, console: Option<&str>, visible: &probe::Visible) {
        let seconds = self.report.seconds();
        let (what, at) = match console {
            Some(console) => ("data visible in", format!("console {console}   ")),
            None => (
                "answering after",
                format!("telemetry to {}   ", self.peers.otlp),
            ),
        };
        let order = json!({"sku": visible.sku, "quantity": 1, "customer_email": "ada@example.com"});
        let command = format!(
            "curl -s -X POST {gateway}/api/orders -H 'content-type: application/json' -d '{order}'"
        );
        let text =
            format!("ready: {what} {seconds:.1} s   {at}gateway {gateway}\ntry:   {command}");
        let fields = json!({"gateway_url": gateway, "console_url": console, "trace_id": visible.trace_id, "try": command, "visible_in_seconds": seconds});
        self.report.ready(&text, fields);
    }

    /// Why the stack cannot go on: the child `name` has ended.
    pub async fn obituary(&self, name: &str) -> String {
        match self.children.iter().find(|child| child.name == name) {
            Some(child) => child.obituary().await,
            None => format!("{name} ended by itself"),
        }
    }

    /// Stops the children, the last one first: whoever needs another stops before it. What services have left to send when they
    /// have answered their last request they send side by side, while the console still takes it; when it is dead, they wait
    /// for it at the same time and not one after the other.
    pub async fn stop(&mut self) {
        let mut sending = Vec::new();
        for child in self.children.iter_mut().rev() {
            if SERVICES.contains(&child.name) {
                child.drain(STOP_PATIENCE).await;
                sending.push(child.stop(STOP_PATIENCE, self.report));
            } else {
                join_all(sending.drain(..)).await;
                child.stop(STOP_PATIENCE, self.report).await;
            }
        }
        join_all(sending).await;
    }

    /// Ends everything at once. Postgres gets a moment: its supervisor stops the server, and nothing else would.
    pub async fn kill(&mut self) {
        for child in self.children.iter_mut().rev() {
            if child.name == "postgres" {
                child.stop(Duration::from_secs(5), self.report).await;
            } else {
                child.kill().await;
            }
        }
    }

    /// What other commands would take for a running stack.
    pub fn forget(&self) {
        for path in [
            super::state::path(&self.data_dir),
            super::state::targets_path(&self.data_dir),
        ] {
            std::fs::remove_file(path).ok();
        }
    }
}

fn url(line: &Value, field: &str) -> Result<String> {
    match line[field]
        .as_str()
        .and_then(|address| address.parse::<SocketAddr>().ok())
    {
        Some(address) => Ok(format!("http://{address}")),
        None => bail!("the line `listening` has no usable {field}: {line}"),
    }
}
