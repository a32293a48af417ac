//! The command line. `omnitrace help` and `omnitrace help <command>` are its documentation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::alertmanager::{self, AlertmanagerConfigArgs};
use crate::alerts::args::{self as alerts, AlertsArgs};
use crate::completions::{self, CompletionsArgs};
use crate::doctor::{self, args::DoctorArgs};
use crate::fault::FaultAction;
use crate::gameday::args::{self as gameday, GamedayAction};
use crate::health::{self, HealthArgs};
use crate::licenses::LicensesArgs;
use crate::log_level::{self, LogLevelArgs};
use crate::logs::{self, LogsArgs};
use crate::man::{self, ManArgs};
use crate::new::{self, NewArgs};
use crate::notify::{self, NotifyArgs};
use crate::otlp_ports::OtlpPorts;
use crate::outbox::{self, OutboxAction};
use crate::query::{self, QueryArgs};
use crate::reset::{self, ResetArgs};
use crate::restart::{self, RestartArgs};
use crate::rules::RulesArgs;
use crate::sql::{self, SqlArgs};
use crate::start::{self, StartArgs};
use crate::status::{self, StatusArgs};
use crate::stop::{self, StopArgs};
use crate::up::replicas::ReplicasArgs;
use crate::up::scrape::ScrapeArgs;
use crate::up::standard_args::StandardArgs;
use crate::values::duration;

/// Three services with traces, metrics, logs and alerts, and everything that is needed to run them.
///
/// Without a command: `omnitrace up`.
#[derive(Debug, Parser)]
#[command(
    version = crate::BUILD,
    about,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    max_term_width = 100,
    after_help = "\
Examples:
  omnitrace                                             start everything; Ctrl-C stops it
  omnitrace up --load 5                                 … with 5 requests/s
  omnitrace fault set downstream latency ms=400 --for 60s
  omnitrace health
  omnitrace new shop --framework axum                   a service of your own; docs/ADOPT.md"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
}

impl Cli {
    /// The command to run.
    pub fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Up(Box::new(self.up)))
    }
}

/// What `omnitrace` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start Postgres, the console, herald and the three services, and stop them with Ctrl-C.
    #[command(long_about = UP_HELP, after_help = UP_EXAMPLES, args_override_self = true)]
    Up(Box<UpArgs>),
    /// Write a new service with traces, metrics and logs into a new directory.
    #[command(long_about = new::HELP, after_help = new::EXAMPLES)]
    New(NewArgs),
    /// Switch faults on and off in a running service.
    Fault {
        #[command(subcommand)]
        action: FaultAction,
    },
    /// Show the order events that downstream refused, and deliver them again.
    #[command(long_about = outbox::HELP)]
    Outbox {
        #[command(subcommand)]
        action: OutboxAction,
    },
    /// Ask every part of a running stack whether it is ready.
    #[command(after_help = health::EXAMPLES)]
    Health(HealthArgs),
    /// Show what runs, and where.
    #[command(after_help = status::EXAMPLES)]
    Status(StatusArgs),
    /// Show the last log lines of a stack, or follow them.
    #[command(after_help = logs::EXAMPLES)]
    Logs(LogsArgs),
    /// Stop a running stack, or one part of it.
    #[command(after_help = stop::EXAMPLES)]
    Stop(StopArgs),
    /// Start a part again that `omnitrace stop PART` has stopped.
    #[command(after_help = start::EXAMPLES)]
    Start(StartArgs),
    /// Remove what `up` has written: orders, logs, alerts; with --all the PostgreSQL that was downloaded, too.
    #[command(after_help = reset::EXAMPLES)]
    Reset(ResetArgs),
    /// End one part of a running stack, and wait until `up` has started it again.
    #[command(after_help = restart::EXAMPLES)]
    Restart(RestartArgs),
    /// Run a PromQL or LogQL query on a running stack.
    #[command(long_about = query::HELP, after_help = query::EXAMPLES)]
    Query(Box<QueryArgs>),
    /// Run SQL in the database of a running stack, as the role of its services.
    #[command(after_help = sql::EXAMPLES)]
    Sql(SqlArgs),
    /// Show the log filter of a running service, or change it until that service ends.
    #[command(after_help = log_level::EXAMPLES)]
    LogLevel(LogLevelArgs),
    /// Render the alerting rules from their definitions (alerts/slo.toml, alerts/causes.toml).
    #[command(after_help = crate::rules::EXAMPLES)]
    Rules(RulesArgs),
    /// Send an order through a running stack and follow it through every backend.
    #[command(long_about = doctor::args::ABOUT, after_help = doctor::args::EXAMPLES)]
    Doctor(Box<DoctorArgs>),
    /// Break stacks of its own on purpose, and measure what people are told: how soon, how rightly, with which advice.
    #[command(after_help = gameday::EXAMPLES)]
    Gameday {
        #[command(subcommand)]
        action: GamedayAction,
    },
    /// Render Alertmanager's configuration from the secrets that are present.
    #[command(long_about = alertmanager::ABOUT)]
    AlertmanagerConfig(AlertmanagerConfigArgs),
    /// Run the service `gateway`: the public API. Settings come from the environment.
    #[command(after_help = ROLE_HELP)]
    Gateway,
    /// Run the service `data`: items and orders in Postgres. Settings come from the environment.
    #[command(after_help = ROLE_HELP)]
    Data,
    /// Bring the database of `data` up to date, and end: what `data` does at its start, as a job before it.
    #[command(long_about = MIGRATE_HELP)]
    Migrate,
    /// Run the service `downstream`: quotes and payments. Settings come from the environment.
    #[command(after_help = ROLE_HELP)]
    Downstream,
    /// Run the probe: asks the gateway what users ask, orders included. Settings come from the environment.
    #[command(after_help = ROLE_HELP)]
    Probe,
    /// Run the console: receives OTLP, scrapes metrics, shows traces and logs.
    #[command(after_help = notify::CONSOLE_HELP)]
    Console(ConsoleArgs),
    /// Receive alerts, add evidence, and deliver them to Slack or any webhook.
    #[command(long_about = crate::herald::HELP)]
    Herald(Box<crate::herald::HeraldArgs>),
    /// Show alerts, acknowledge them, silence them, and say whether they were right.
    #[command(long_about = alerts::HELP, after_help = alerts::EXAMPLES)]
    Alerts(Box<AlertsArgs>),
    /// Print the completions for bash, zsh, fish, elvish or PowerShell.
    #[command(after_help = completions::EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write a manual page for each command.
    #[command(after_help = man::EXAMPLES)]
    Man(ManArgs),
    /// Print the licenses of everything in this program: its own, those of crates and scripts.
    Licenses(LicensesArgs),
    /// Run a private Postgres until SIGTERM, and print its URL.
    #[command(long_about = POSTGRES_HELP)]
    Postgres(PostgresArgs),
}

const UP_HELP: &str = "\
Start Postgres, the console, herald, the three services and their probe, each in its own process, send one order, \
and print `ready` when the trace, the log lines and the metrics of that order are in the console. Ctrl-C stops everything in order, \
a second Ctrl-C at once.

A part that ends by itself is started again on the same port, after 0.25 s. The pause doubles each time that the part ends \
within a minute. After five such restarts everything stops, and the last log lines of that part are printed.

Some variables would keep telemetry from the console (OTEL_SDK_DISABLED, OTEL_*_EXPORTER, \
OTEL_EXPORTER_OTLP_*, OTEL_BSP_*, OTEL_BLRP_*, and OTEL_PROPAGATORS or OTEL_TRACES_SAMPLER that break or drop every \
trace). `up` ignores these and names them; with --no-console it uses them. RUST_LOG makes the services quieter, except for the \
lines that `up` itself needs. OMNITRACE_TRUST_CALLERS applies to the gateway only: the services trust each other.

Herald adds evidence from the console to alerts and sends them to HERALD_WEBHOOK_URL and HERALD_SLACK_WEBHOOK_URL (or \
the URLs in the files that HERALD_WEBHOOK_URL_FILE and HERALD_SLACK_WEBHOOK_URL_FILE name). Without a target it writes them to \
DIR/logs/herald.log. Undelivered notifications stay in DIR/herald. `up` also uses GRAFANA_URL and the other variables of \
`omnitrace herald`, except those about its listener: only the console or Alertmanager sends it alerts. OMNITRACE_WATCHDOG_URL gets the alert \
that always fires, once per minute.

--replicas data=2 starts two instances of data behind its one address. Each is a part of its own, `data` and `data-2`, with its \
own process, admin address and log: `omnitrace restart data-2`, `omnitrace fault set data-2 latency`. `data` alone means the first \
one. `up` itself shares out the requests: to a ready instance with the fewest in progress, in turn among equal ones.

--scrape names your own services: the console scrapes them and applies the default objectives to their routes, and \
`omnitrace health` checks them. They must send traces and logs to the console's address themselves. `up` remembers them in \
DIR/scrape.json.

With --standard the services send their telemetry to OpenTelemetry Collector, as on Docker Compose: Jaeger keeps traces, Prometheus \
scrapes and evaluates the rules, Alertmanager tells herald. They run with the files of deploy/ of a checkout, on loopback, and keep their data in DIR/standard. \
The console only stands in for Loki, as the part `loki`. The programs come from deploy/tools/build.sh. OMNITRACE_ENVIRONMENT, PROMETHEUS_RETENTION, \
PROMETHEUS_RETENTION_SIZE and REMOTE_WRITE_URL are used as in deploy/compose.yaml.

Postgres is the server that DATABASE_URL names (only its schema `omnitrace` is touched), else server binaries found \
on this machine, else a pinned PostgreSQL that is downloaded once. See `omnitrace help postgres`.";

const UP_EXAMPLES: &str = "\
Examples:
  omnitrace up --load 5
  omnitrace up --gateway-port 18080 --strict-ports
  omnitrace up --replicas data=2 --load 5
  omnitrace up --scrape shop=http://127.0.0.1:8090
  DATABASE_URL=postgres://me:secret@db.example/shop omnitrace up
  OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 omnitrace up --no-console
  omnitrace up --standard --load 5                      in a checkout, after deploy/tools/build.sh
  omnitrace up --json | jq -r 'select(.event == \"ready\").gateway_url'";

const ROLE_HELP: &str = "\
Every setting is an environment variable (docs/ARCHITECTURE.md and docs/TELEMETRY.md list them); the error about a bad value names the variable and what is allowed.

OMNITRACE_HTTP_ADDR and OMNITRACE_ADMIN_ADDR are the addresses to listen on (port 0: any free one, printed in the log line \
`listening`). OTEL_EXPORTER_OTLP_ENDPOINT is the address that telemetry is sent to.";

const MIGRATE_HELP: &str = "\
Create the schema `omnitrace` in the database that DATABASE_URL names, bring it up to date, and add the items of OMNITRACE_SEED_ITEMS.

Every `data` does this at its start. As a job before a roll-out it keeps a release whose migration fails from starting at all. Services of this \
release and of the one before go on meanwhile; several jobs at once wait for each other.";

const POSTGRES_HELP: &str = "\
Run a private Postgres until SIGTERM (or, with OMNITRACE_PARENT_PIPE=1, until stdin ends), and print its URL in a line \
`listening`.

It uses the first of these: the server that DATABASE_URL names; `postgres` on the PATH, in /usr/lib/postgresql/*/bin (newest \
first) or /usr/pgsql-*/bin; a pinned PostgreSQL from Maven Central, checksum verified.

OMNITRACE_POSTGRES=auto|system|download  which of these to use
OMNITRACE_CACHE_DIR                      where the download is kept
OMNITRACE_POSTGRES_URL                   a mirror of Maven Central (the directory that holds io/zonky)

The server listens on 127.0.0.1 and asks for a password. The port is a free one unless --port names one. PostgreSQL refuses to run \
as root: if you are root, it runs as the user `postgres`, else `nobody`.";

/// `omnitrace up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Directory for data, logs and the lock; it holds one running stack at a time
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// Start no console and no herald, and send telemetry to OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long)]
    pub no_console: bool,
    /// Send N requests/s (reads and orders) for as long as the stack runs
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub load: u32,
    /// How much memory the console may use for telemetry
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = memory, conflicts_with = "no_console")]
    pub console_memory: Memory,
    /// Rules that the console (with --standard: Prometheus) evaluates, in Prometheus's format [default: alerts/rules/demo.yml]
    #[arg(long, value_name = "FILE", conflicts_with = "no_console")]
    pub rules: Option<PathBuf>,
    /// Start no probe, so that the gateway gets only your requests
    #[arg(long)]
    pub no_probe: bool,
    /// Fail if a port is busy; by default `up` takes a free one and prints it
    #[arg(long)]
    pub strict_ports: bool,
    /// Stop everything when a part ends by itself; by default it is started again
    #[arg(long)]
    pub no_restart: bool,
    /// Print one JSON object for each event
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub replicas: ReplicasArgs,
    #[command(flatten)]
    pub scrape: ScrapeArgs,
    #[command(flatten)]
    pub ports: Ports,
    #[command(flatten)]
    pub otlp: OtlpPorts,
    #[command(flatten)]
    pub standard: StandardArgs,
}

/// Preferred ports; 0 is any free one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ports (0: any free one)")]
pub struct Ports {
    /// Public API
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub gateway_port: u16,
    /// Data service
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub data_port: u16,
    /// Downstream service
    #[arg(long, value_name = "PORT", default_value_t = 8082)]
    pub downstream_port: u16,
    /// Console: web page, Jaeger API and OTLP
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub console_port: u16,
    /// Herald: receives alerts and sends notifications
    #[arg(long, value_name = "PORT", default_value_t = 9095)]
    pub herald_port: u16,
    /// Gateway's health, metrics and faults
    #[arg(long, value_name = "PORT", default_value_t = 9080)]
    pub gateway_admin_port: u16,
    /// Data's health, metrics and faults
    #[arg(long, value_name = "PORT", default_value_t = 9081)]
    pub data_admin_port: u16,
    /// Downstream's health, metrics and faults
    #[arg(long, value_name = "PORT", default_value_t = 9082)]
    pub downstream_admin_port: u16,
}

impl Ports {
    /// Those of a service: public, admin.
    pub fn of(&self, service: &str) -> [u16; 2] {
        match service {
            "gateway" => [self.gateway_port, self.gateway_admin_port],
            "data" => [self.data_port, self.data_admin_port],
            "downstream" => [self.downstream_port, self.downstream_admin_port],
            _ => [0, 0],
        }
    }
}

/// `omnitrace console`.
#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// Address of the web page, the Jaeger API and OTLP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// How much memory the console may use: five eighths for traces and logs, one for metrics, two for requests in progress
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = memory)]
    pub memory: Memory,
    /// The largest OTLP request, both compressed and decompressed; at most a quarter of the memory plus 4 MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = console::parse_size)]
    pub max_body: u64,
    /// File with the targets to scrape, in Prometheus's `file_sd` format; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Alerting and recording rules in Prometheus's format [default: alerts/rules/demo.yml, as shipped]
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// File that keeps the state of alerts and notifications over a restart [default: none]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub others: NotifyArgs,
    /// Time between two scrapes
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub scrape_interval: Duration,
    /// Host names to answer to, besides localhost and its own address; others are refused (DNS rebinding)
    #[arg(
        long,
        value_name = "NAME,…",
        env = "OMNITRACE_CONSOLE_ALLOWED_HOSTS",
        default_value = ""
    )]
    pub allow_host: listen::Hosts,
    /// Origins of web pages that may send OTLP from a browser (CORS), such as http://localhost:4200
    #[arg(
        long,
        value_name = "ORIGIN,…",
        env = "OMNITRACE_CONSOLE_ALLOWED_ORIGINS",
        default_value = ""
    )]
    pub allow_origin: console::Origins,
    #[command(flatten)]
    pub otlp: OtlpPorts,
}

/// `omnitrace postgres`.
#[derive(Debug, Args)]
pub struct PostgresArgs {
    /// Directory for the server's files
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// Port of 127.0.0.1 [0: any free one]
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub port: u16,
    /// For tests: no fsync, and all files are removed at the end
    #[arg(long)]
    pub ephemeral: bool,
    /// Print JSON even on a terminal
    #[arg(long)]
    pub json: bool,
}

/// An amount of memory, and how it was written.
#[derive(Debug, Clone)]
pub struct Memory {
    /// As the user wrote it, to pass it on to a child process.
    pub text: String,
    /// In bytes.
    pub bytes: u64,
}

fn memory(text: &str) -> Result<Memory, String> {
    let bytes = console::parse_memory(text)?;
    Ok(Memory {
        text: text.to_owned(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_up_with_its_options() {
        let cli = Cli::try_parse_from(["omnitrace", "--load", "7"]).unwrap();
        assert!(matches!(cli.chosen(), Command::Up(args) if args.load == 7));
        let cli = Cli::try_parse_from(["omnitrace", "up", "--load", "7"]).unwrap();
        assert!(matches!(cli.chosen(), Command::Up(args) if args.load == 7));
    }
}
