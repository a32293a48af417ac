//! Which paths there are, and following one until it leads somewhere or time is up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use super::args::{Backend, Places};
use super::client::Client;
use super::paths::{self, Probe};
use super::report::{Row, State};

/// A path from one signal to the next.
#[derive(Debug, Clone, Copy)]
pub enum Path {
    Collector,
    Trace,
    Logs,
    Count,
    Exemplar,
    SpanMetrics,
    Targets,
    Rules,
    Alerts,
    Herald,
    Grafana,
}

impl Path {
    /// All paths.
    pub const ALL: [Self; 11] = [
        Self::Collector,
        Self::Trace,
        Self::Logs,
        Self::Count,
        Self::Exemplar,
        Self::SpanMetrics,
        Self::Targets,
        Self::Rules,
        Self::Alerts,
        Self::Herald,
        Self::Grafana,
    ];

    /// Its name, the backends it needs (the first is the one to look at), and what to look at there.
    fn describe(self) -> (&'static str, &'static [Backend], &'static str) {
        use Backend::{Alertmanager, Collector, Grafana, Herald, Jaeger, Loki, Prometheus};
        match self {
            Self::Collector => ("collector", &[Collector], ", its log and its memory limit"),
            Self::Trace => (
                "order -> Jaeger",
                &[Jaeger],
                ", and otelcol_exporter_send_failed_spans_total of the collector",
            ),
            Self::Logs => (
                "order -> Loki",
                &[Loki],
                ", and otelcol_exporter_send_failed_log_records_total of the collector",
            ),
            Self::Count => (
                "order -> Prometheus",
                &[Prometheus],
                "/targets, job services",
            ),
            Self::Exemplar => (
                "exemplar -> Jaeger",
                &[Prometheus, Jaeger],
                ": does it run with --enable-feature=exemplar-storage? Do the services sample?",
            ),
            Self::SpanMetrics => ("span metrics", &[Prometheus], "/targets, job span-metrics"),
            Self::Targets => ("scrape targets", &[Prometheus], "/targets"),
            Self::Rules => ("rules", &[Prometheus], "/rules, and alerts/rules"),
            Self::Alerts => (
                "alert -> Alertmanager",
                &[Alertmanager, Prometheus],
                ", and prometheus_notifications_errors_total of Prometheus",
            ),
            Self::Herald => ("alert -> herald", &[Herald, Prometheus], "/ready"),
            Self::Grafana => ("Grafana", &[Grafana], "/connections/datasources"),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.describe().0
    }

    /// For a stack of `omnitrace up`: the page to open, and the part whose log to read.
    fn in_running_stack(self) -> (&'static str, &'static str) {
        match self {
            Self::Trace => ("/api/services", "gateway"),
            Self::Logs => ("/loki/api/v1/labels", "gateway"),
            Self::Count | Self::Exemplar | Self::Targets => ("/api/v1/targets", "console"),
            Self::Rules => ("/api/v1/rules", "console"),
            Self::Herald => ("/ready", "herald"),
            Self::Collector | Self::SpanMetrics | Self::Alerts | Self::Grafana => ("/", "console"),
        }
    }

    /// Whether every backend that it needs has a URL, and there is a collector to count spans if that is what it is about.
    pub fn is_given(self, places: &Places) -> bool {
        let (_, needs, _) = self.describe();
        let is_there = !(places.is_console && matches!(self, Self::SpanMetrics));
        is_there && needs.iter().all(|backend| places.url(*backend).is_some())
    }
}

/// The data that checking a path needs.
pub struct Visit {
    /// Asks.
    pub client: Client,
    /// The addresses.
    pub places: Places,
    /// Grafana's user and password.
    pub grafana: Option<(String, String)>,
    /// Directory of the running stack.
    pub data_dir: PathBuf,
    /// The order that was sent.
    pub probe: Probe,
}

impl Visit {
    /// Retries until the path leads to its end or the time is up; the last failure counts.
    pub async fn follow(self: Arc<Self>, path: Path, deadline: Instant) -> Row {
        let start = Instant::now();
        let (state, detail) = match self.leads(path, deadline).await {
            Ok(detail) => (State::Ok, detail),
            Err(error) => (State::Fail, format!("{error:#}")),
        };
        Row {
            path: path.name().to_owned(),
            state,
            detail,
            hint: self.hint(path),
            seconds: start.elapsed(),
        }
    }

    /// Where the path leads to; the error is the last one before the time was up.
    pub async fn leads(&self, path: Path, deadline: Instant) -> Result<String> {
        let start = Instant::now();
        let mut last = None;
        let tried = tokio::time::timeout_at(deadline.into(), self.until_found(path, &mut last));
        match tried.await {
            Ok(detail) => Ok(detail),
            Err(_) => {
                Err(last
                    .unwrap_or_else(|| anyhow!("no whole answer within {:.1?}", start.elapsed())))
            }
        }
    }

    /// The page to open; it exists in this stack.
    pub fn hint(&self, path: Path) -> String {
        let (_, needs, hint) = path.describe();
        let url = needs.first().and_then(|backend| self.places.url(*backend));
        let url = url.unwrap_or_default();
        if !self.places.is_console {
            return format!("{url}{hint}");
        }
        let (page, part) = path.in_running_stack();
        let log = self.data_dir.join("logs").join(format!("{part}.log"));
        format!("{url}{page}, and {}", log.display())
    }

    /// Checks until the path leads to its end; `last` has the reason of the last failure.
    async fn until_found(&self, path: Path, last: &mut Option<anyhow::Error>) -> String {
        loop {
            match self.attempt(path).await {
                Ok(detail) => return detail,
                Err(error) => *last = Some(error),
            }
            tokio::time::sleep(paths::POLL).await;
        }
    }

    async fn attempt(&self, path: Path) -> Result<String> {
        let (client, probe) = (&self.client, &self.probe);
        let url = |backend| self.places.url(backend).context("its URL is not given");
        let prometheus = || url(Backend::Prometheus);
        match path {
            Path::Collector => paths::collector(client, url(Backend::Collector)?).await,
            Path::Trace => paths::trace(client, url(Backend::Jaeger)?, &probe.order.trace_id).await,
            Path::Logs => paths::logs(client, url(Backend::Loki)?, &probe.order.trace_id).await,
            Path::Count => paths::counted(client, prometheus()?, probe).await,
            Path::Exemplar => {
                let gateway = &self.places.gateway;
                paths::exemplar(client, prometheus()?, url(Backend::Jaeger)?, gateway).await
            }
            Path::SpanMetrics => paths::span_metrics(client, prometheus()?).await,
            Path::Targets => {
                let expected = &self.places.instances;
                paths::targets(client, prometheus()?, expected).await
            }
            Path::Rules => paths::rules(client, prometheus()?).await,
            Path::Alerts => paths::alerts(client, prometheus()?, url(Backend::Alertmanager)?).await,
            Path::Herald => paths::herald(client, prometheus()?, url(Backend::Herald)?).await,
            Path::Grafana => {
                let login = self.grafana.as_ref();
                let login = login.map(|(user, password)| (user.as_str(), password.as_str()));
                paths::grafana(client, url(Backend::Grafana)?, login).await
            }
        }
    }
}
