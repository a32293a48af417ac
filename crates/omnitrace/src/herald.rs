//! `omnitrace herald`: from the command line to its settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use service::Env;

use crate::backend_tls::BackendTlsArgs;
use crate::environment;
use crate::values::duration;

/// The long help.
pub const HELP: &str = "\
Receive alerts from Alertmanager's webhook (POST /alerts), add evidence from telemetry (worst traces, first error lines, the \
dependency at fault, the last release and whether to roll it back), and deliver them to Slack or any webhook.

Herald writes a notification to disk before it accepts the alert, and keeps it until the target has accepted it. If a backend is \
down, the notification names the missing evidence. /metrics, /ready and /live are on the same port.";

/// `omnitrace herald`.
#[derive(Debug, Args)]
pub struct HeraldArgs {
    /// Address of the webhook, /metrics, /ready and /live
    #[arg(
        long,
        value_name = "ADDR",
        env = "HERALD_LISTEN",
        default_value = "127.0.0.1:9095"
    )]
    listen: SocketAddr,
    /// Host names to answer to, besides localhost and IP addresses; others are refused (DNS rebinding)
    #[arg(
        long,
        value_name = "NAME,…",
        env = "HERALD_ALLOWED_HOSTS",
        default_value = ""
    )]
    allow_host: listen::Hosts,
    /// Directory for notifications that are not delivered yet, the history of alerts, and silences
    #[arg(
        long,
        value_name = "DIR",
        env = "HERALD_STATE_DIR",
        default_value = ".omnitrace/herald"
    )]
    state_dir: PathBuf,
    /// How long the collection of evidence may delay a notification
    #[arg(long, value_name = "TIME", env = "HERALD_EVIDENCE_TIMEOUT", default_value = "5s", value_parser = duration)]
    evidence_timeout: Duration,
    /// How many notifications may wait for one target; more are refused, and Alertmanager sends them again
    #[arg(long, value_name = "N", env = "HERALD_QUEUE_LIMIT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    queue_limit: u32,
    /// Set a notification aside when it could not be delivered for this time
    #[arg(long, value_name = "TIME", env = "HERALD_GIVE_UP_AFTER", default_value = "24h", value_parser = duration)]
    give_up_after: Duration,
    /// Stop passing on the alert that always fires when no target has accepted anything for this time
    #[arg(long, value_name = "TIME", env = "HERALD_SILENT_AFTER", default_value = "5m", value_parser = duration)]
    silent_after: Duration,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    evidence: EvidenceArgs,
    #[command(flatten)]
    targets: TargetArgs,
}

/// Who may send alerts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who may send alerts (each is optional)")]
struct AccessArgs {
    /// Secret that Alertmanager sends as `Authorization: Bearer …`; several, separated by spaces, are all accepted
    #[arg(
        long,
        value_name = "TEXT",
        env = "HERALD_SECRET",
        hide_env_values = true
    )]
    secret: Option<String>,
    /// File with the secrets, one per line
    #[arg(long, value_name = "FILE", env = "HERALD_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// PEM file with the certificate to serve HTTPS with
    #[arg(long, value_name = "FILE", env = "HERALD_TLS_CERTIFICATE")]
    tls_certificate: Option<String>,
    /// PEM file with the private key of --tls-certificate
    #[arg(long, value_name = "FILE", env = "HERALD_TLS_KEY")]
    tls_key: Option<String>,
    /// PEM file with authorities; clients that send alerts need a certificate that one of them has signed
    #[arg(long, value_name = "FILE", env = "HERALD_TLS_CLIENT_CA")]
    tls_client_ca: Option<String>,
}

/// Where evidence comes from, and where links lead.
#[derive(Debug, Args)]
#[command(next_help_heading = "Evidence (each is optional)")]
struct EvidenceArgs {
    /// Prometheus, for metrics
    #[arg(long, value_name = "URL", env = "PROMETHEUS_URL")]
    prometheus_url: Option<String>,
    /// Jaeger's query API, for traces
    #[arg(long, value_name = "URL", env = "JAEGER_URL")]
    jaeger_url: Option<String>,
    /// Loki, for log lines
    #[arg(long, value_name = "URL", env = "LOKI_URL")]
    loki_url: Option<String>,
    /// Grafana as a browser reaches it; for links only
    #[arg(long, value_name = "URL", env = "GRAFANA_URL")]
    grafana_url: Option<String>,
    /// Jaeger as a browser reaches it; for links only [default: as --jaeger-url]
    #[arg(long, value_name = "URL", env = "JAEGER_PUBLIC_URL")]
    jaeger_public_url: Option<String>,
    /// Address of the directory above docs/runbooks, for alerts that name their runbook by a path [default: none, so the path is shown]
    #[arg(long, value_name = "URL", env = "RUNBOOKS_URL")]
    runbooks_url: Option<String>,
    #[command(flatten)]
    tls: BackendTlsArgs,
}

/// Where notifications go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Targets (both may be set; with none, notifications go to the log)")]
struct TargetArgs {
    /// Slack's incoming webhook
    #[arg(
        long,
        value_name = "URL",
        env = "HERALD_SLACK_WEBHOOK_URL",
        hide_env_values = true
    )]
    slack_webhook_url: Option<String>,
    /// File with the URL, instead of --slack-webhook-url
    #[arg(long, value_name = "FILE", env = "HERALD_SLACK_WEBHOOK_URL_FILE")]
    slack_webhook_url_file: Option<PathBuf>,
    /// Any webhook; it gets JSON, see docs/HERALD.md
    #[arg(
        long,
        value_name = "URL",
        env = "HERALD_WEBHOOK_URL",
        hide_env_values = true
    )]
    webhook_url: Option<String>,
    /// File with the URL, instead of --webhook-url
    #[arg(long, value_name = "FILE", env = "HERALD_WEBHOOK_URL_FILE")]
    webhook_url_file: Option<PathBuf>,
    /// Dead man's switch: gets the alert that always fires, and raises an alarm when it stops coming
    #[arg(
        long,
        value_name = "URL",
        env = "HERALD_WATCHDOG_URL",
        hide_env_values = true
    )]
    watchdog_url: Option<String>,
    /// File with the URL, instead of --watchdog-url
    #[arg(long, value_name = "FILE", env = "HERALD_WATCHDOG_URL_FILE")]
    watchdog_url_file: Option<PathBuf>,
}

/// Runs it until SIGTERM.
pub fn run(args: HeraldArgs) -> Result<()> {
    let (evidence, targets, access) = (args.evidence, args.targets, args.access);
    let file = |text: Option<String>| text.filter(|text| !text.is_empty()).map(PathBuf::from);
    herald::run(herald::Settings {
        build: crate::BUILD,
        listen: args.listen,
        allowed_hosts: args.allow_host,
        state_dir: args.state_dir,
        raw: herald::RawSettings {
            prometheus_url: evidence.prometheus_url,
            jaeger_url: evidence.jaeger_url,
            loki_url: evidence.loki_url,
            grafana_url: evidence.grafana_url,
            jaeger_public_url: evidence.jaeger_public_url,
            runbooks_url: evidence.runbooks_url,
            slack_url: targets.slack_webhook_url,
            slack_url_file: targets.slack_webhook_url_file,
            webhook_url: targets.webhook_url,
            webhook_url_file: targets.webhook_url_file,
            watchdog_url: targets.watchdog_url,
            watchdog_url_file: targets.watchdog_url_file,
            secret: access.secret,
            secret_file: access.secret_file,
        },
        tls: herald::FrontTls {
            certificate: file(access.tls_certificate),
            key: file(access.tls_key),
            client_ca: file(access.tls_client_ca),
        },
        backend_tls: evidence.tls.files(),
        evidence_timeout: args.evidence_timeout,
        queue_limit: args.queue_limit as usize,
        give_up_after: args.give_up_after,
        silent_after: args.silent_after,
        parent_pipe: environment::parent_pipe()?,
        telemetry: Env::process().telemetry()?,
    })
}
