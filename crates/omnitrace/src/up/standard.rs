//! `--standard`: the programs and files of `deploy/` in place of the console, which only stands in for Loki.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::standard::{Addresses, Command, Deployment, Part, Tools};
use anyhow::{Context, Result, bail};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use super::child::Launch;
use super::ports;
use super::probe::ProbeResult;
use super::stack::{PATIENCE, Stack, SupervisedChild};
use super::wiring::{self, Backends, Peers};
use crate::cli::UpArgs;
use crate::doctor::{self, args::Places};
use crate::otlp_ports::Asked;
use crate::postgres::external;
use crate::{alertmanager, environment, files};

/// Where the parts keep configurations and data, in the data directory.
pub const DIRECTORY: &str = "standard";

/// Variables of `deploy/compose*.yaml` that the caller may set.
const VARIABLES: [&str; 4] = [
    "OMNITRACE_ENVIRONMENT",
    "PROMETHEUS_RETENTION",
    "PROMETHEUS_RETENTION_SIZE",
    REMOTE_WRITE,
];

/// Where Prometheus sends every sample, too.
const REMOTE_WRITE: &str = "REMOTE_WRITE_URL";

/// The first scrapes, at an interval of 5 s, on a busy machine.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(60);

/// Checks that files and programs are there.
pub fn check(args: &UpArgs) -> Result<()> {
    let deploy = find_deploy(args)?;
    ::standard::check_path(&std::path::absolute(&args.data_dir)?).context("--data-dir")?;
    let rules = rules(args, &deploy)?;
    for asked in args.otlp.asked() {
        if asked.port().is_none() {
            bail!(
                "{} off: the collector of --standard needs a port; 0 is any free one",
                asked.flag
            );
        }
    }
    ::standard::check_path(&rules)
        .and_then(|()| std::fs::metadata(&rules).map(drop).map_err(Into::into))
        .with_context(|| format!("--rules {}", rules.display()))?;
    let is_web = |url: &str| url::Url::parse(url).is_ok_and(|url| url.scheme().starts_with("http"));
    if environment::text(REMOTE_WRITE)?.is_some_and(|url| !is_web(&url)) {
        bail!("{REMOTE_WRITE}: not a URL, such as http://127.0.0.1:8428/api/v1/write");
    }
    let programs = Part::ALL.map(Part::tool);
    tools()?.programs(&programs).map(drop)
}

/// The address of the Compose network that it stands for.
fn of_collector(asked: Asked) -> String {
    format!("collector:{}", asked.default)
}

/// What Prometheus evaluates.
fn rules(args: &UpArgs, deploy: &Path) -> Result<PathBuf> {
    Ok(match &args.rules {
        Some(rules) => std::path::absolute(rules)?,
        None => deploy.with_file_name("alerts").join("rules/demo.yml"),
    })
}

fn find_deploy(args: &UpArgs) -> Result<PathBuf> {
    let here = std::env::current_dir().context("the current directory")?;
    ::standard::find_deploy(args.standard.deploy.as_deref(), &here)
}

fn tools() -> Result<Tools> {
    Tools::find(environment::path)
}

/// The files and programs, and where each part is.
pub struct Standard {
    deploy: PathBuf,
    directory: PathBuf,
    tools: Tools,
    rules: PathBuf,
    variables: BTreeMap<String, String>,
    addresses: Addresses,
    /// Why an address has another port than the preferred one.
    moved: BTreeMap<&'static str, String>,
    /// While they exist, nobody else gets the ports of a part that is restarted.
    _reserved: Vec<TcpSocket>,
}

impl Standard {
    fn new(args: &UpArgs, data_dir: &Path, herald: SocketAddr) -> Result<Self> {
        let deploy = find_deploy(args)?;
        let directory = files::own_directory(&data_dir.join(DIRECTORY), 0o700)?;
        files::own_directory(&directory.join("targets"), 0o700)?;
        let mut variables = BTreeMap::new();
        for name in VARIABLES {
            variables.extend(environment::text(name)?.map(|value| (name.to_owned(), value)));
        }
        let preferred = args.standard.ports.all();
        let preferred = preferred.map(|(_, address, port)| (address.to_owned(), port));
        let otlp = args.otlp.asked().into_iter();
        let otlp = otlp.filter_map(|asked| Some((of_collector(asked), asked.port()?)));
        let preferred: BTreeMap<String, u16> = preferred.into_iter().chain(otlp).collect();
        let (mut reserved, mut moved) = (Vec::new(), BTreeMap::new());
        let mut addresses = Addresses::choose(|name| {
            let port = preferred.get(name).copied().unwrap_or(0);
            let choice = ports::choose(name, port, args.strict_ports)?;
            moved.extend(choice.moved.clone().map(|why| (name, why)));
            let (choice, socket) = ports::reserve(choice)?;
            reserved.push(socket);
            anyhow::Ok(choice.address.to_string())
        })?;
        addresses.set("herald:9095", &herald.to_string());
        Ok(Self {
            rules: rules(args, &deploy)?,
            deploy,
            directory,
            tools: tools()?,
            variables,
            addresses,
            moved,
            _reserved: reserved,
        })
    }

    fn deployment(&self) -> Result<Deployment<'_>> {
        Deployment::new(
            &self.deploy,
            &self.directory,
            &self.addresses,
            self.variables.clone(),
        )
    }

    fn launch(&self, part: Part, command: Command) -> Result<Launch> {
        Ok(Launch {
            program: Some(self.tools.program(part.tool())?),
            arguments: command.arguments.into_iter().map(Into::into).collect(),
            of_deploy: command.environment,
            ready_url: Some(part.ready_url(&self.addresses)),
            ..Launch::default()
        })
    }

    /// The reasons why addresses of a part were moved.
    fn moved(&self, part: &str) -> Vec<String> {
        let of_part = |name: &str| name.split(':').next() == Some(part);
        let moved = self.moved.iter().filter(|(name, _)| of_part(name));
        moved.map(|(_, why)| why.clone()).collect()
    }
}

impl Stack<'_> {
    /// Starts what takes telemetry, and herald. What needs the addresses of the services comes after them:
    /// [`Stack::start_watchers`].
    pub async fn start_standard(
        &self,
        herald: ports::Choice,
        peers: &mut Peers,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<Standard> {
        let (args, data_dir) = (self.args, self.data_dir());
        let standard = Standard::new(args, data_dir, herald.address)?;
        let deployment = standard.deployment()?;
        let targets = Path::new(&deployment.targets()?).join("services.json");
        self.change(|state| state.prometheus_targets = Some(targets))?;
        self.report_scraped();

        let no_rules = standard.directory.join("no-rules.yml");
        files::write_private(&no_rules, b"groups: []\n")?;
        let loki = ports::Choice {
            address: standard.addresses.of("loki:3100").parse()?,
            moved: standard.moved.get("loki:3100").cloned(),
        };
        let launch = |address| Ok(wiring::loki(address, &no_rules, &peers.unused, args));
        let loki = self.start_part("loki", loki, launch, kept).await?;
        let jaeger = deployment.jaeger(vec![deployment.badger()?])?;
        self.start_program(&standard, Part::Jaeger, jaeger, kept)
            .await?;
        let collector = deployment.collector(Vec::new())?;
        self.start_program(&standard, Part::Collector, collector, kept)
            .await?;
        peers.otlp = Some(standard.addresses.url(Part::Collector.address()));
        peers.of_deploy = deployment.telemetry()?;

        let backends = Backends {
            prometheus: standard.addresses.url(Part::Prometheus.address()),
            jaeger: standard.addresses.url(Part::Jaeger.address()),
            loki,
            pages: None,
        };
        let launch = |address| wiring::herald(address, data_dir, &backends, peers, args);
        self.start_part("herald", herald, launch, kept).await?;
        Ok(standard)
    }

    /// Starts what looks at the services and the database, and waits until an order is visible in all backends.
    pub async fn start_watchers(
        &self,
        standard: &Standard,
        peers: &Peers,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<ProbeResult> {
        let deployment = standard.deployment()?;
        let is_private = self.has_private_database();
        let counts = external::counts_statements(&peers.database, is_private).await?;
        let herald = standard.addresses.url("herald:9095");
        let receivers = deployment.subdirectory("receivers")?;
        let routes = alertmanager::with_herald(Path::new(&receivers), &herald)?;
        for (part, command) in [
            (
                Part::PostgresExporter,
                deployment.postgres_exporter(&peers.database, counts)?,
            ),
            (Part::Blackbox, deployment.blackbox(None)?),
            (Part::Alertmanager, deployment.alertmanager(routes)?),
            (
                Part::Prometheus,
                deployment.prometheus(&standard.rules, true)?,
            ),
        ] {
            self.start_program(standard, part, command, kept).await?;
        }
        let places = self.places()?;
        doctor::until_visible(places, self.data_dir(), VISIBLE_PATIENCE).await
    }

    async fn start_program(
        &self,
        standard: &Standard,
        part: Part,
        command: Command,
        kept: &mpsc::UnboundedSender<SupervisedChild>,
    ) -> Result<()> {
        let name = part.name();
        let launch = standard.launch(part, command)?;
        self.start(name, launch.clone(), PATIENCE).await?;
        let address = standard.addresses.of(part.address()).parse()?;
        let ready_url = part.ready_url(&standard.addresses);
        self.listens(name, address, None, ready_url)?;
        self.keep(kept, name, launch, PATIENCE);
        self.report_part(name, &standard.moved(name));
        Ok(())
    }

    /// Where the doctor finds everything.
    fn places(&self) -> Result<Places> {
        Places::of(&self.state.borrow())
    }

    fn has_private_database(&self) -> bool {
        self.state.borrow().database_url.is_some()
    }
}
