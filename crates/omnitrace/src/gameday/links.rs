//! Follows each link of a notification by API, to where a person would see data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use gameday::{Hop, Notification};
use reqwest::Client;
use serde_json::Value;
use url::Url;

use super::dashboard;
use super::stack::GameStack;
use crate::answer;

/// What is looked at before a notification: the demo profile's short windows, twice.
const BEFORE: Duration = Duration::from_secs(300);

/// Where the links of a stack end.
pub struct Guide<'a> {
    client: &'a Client,
    prometheus: String,
    jaeger: String,
    loki: String,
    /// Else the console stands for it.
    has_alertmanager: bool,
    /// The repository: runbooks and dashboards.
    checkout: &'a Path,
}

impl<'a> Guide<'a> {
    /// To a running stack. In the embedded one, the console is all of them.
    pub fn new(client: &'a Client, stack: &GameStack, checkout: &'a Path) -> Result<Self> {
        let state = stack.state()?;
        let url = |part: &str| {
            let url = state.url(part).or_else(|| state.url("console"));
            url.map(str::to_owned)
                .with_context(|| format!("the address of {part}"))
        };
        Ok(Self {
            client,
            prometheus: url("prometheus")?,
            jaeger: url("jaeger")?,
            loki: url("loki")?,
            has_alertmanager: state.part("alertmanager").is_some(),
            checkout,
        })
    }

    /// Follows the links of the first notification of each group that fires.
    pub async fn follow(&self, told: &[Notification]) -> Vec<Hop> {
        let mut hops = Vec::new();
        let mut seen = Vec::new();
        for notification in told.iter().filter(|told| told.is_firing()) {
            if !seen.contains(&notification.group()) {
                seen.push(notification.group());
                self.follow_one(notification, &mut hops).await;
            }
        }
        hops
    }

    async fn follow_one(&self, told: &Notification, hops: &mut Vec<Hop>) {
        let mut hop = |link: &str, url: &str, found: Result<String>| {
            let whole = found.is_ok();
            let found = found.unwrap_or_else(|why| format!("{why:#}"));
            hops.push(Hop {
                notification: told.title().to_owned(),
                link: link.to_owned(),
                url: url.to_owned(),
                found,
                whole,
            });
        };
        let links = &told.body["links"];
        for link in ["dashboard", "runbook", "logs", "alertmanager"] {
            // An alert of a part without a dashboard or log lines of its own has no such link.
            if let Some(url) = links[link].as_str() {
                let found = match link {
                    "dashboard" => self.dashboard(url).await,
                    "runbook" => self.runbook(url).await,
                    "logs" => self.logs(url, told.at).await,
                    _ if self.has_alertmanager => self.alertmanager(url).await,
                    _ => self.page(url).await,
                };
                hop(link, url, found);
            }
        }
        let traces: Vec<&str> = links["traces"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut faulty = 0;
        for url in &traces {
            let found = self.trace(url, told).await;
            faulty += usize::from(found.as_ref().is_ok_and(|(_, faulty)| *faulty));
            hop("trace", url, found.map(|(words, _)| words));
        }
        if !traces.is_empty() {
            let found = match faulty {
                0 => Err(anyhow::anyhow!(
                    "none of {} traces has a failed span, or one of the cause",
                    traces.len()
                )),
                _ => Ok(format!("{faulty} of {} traces", traces.len())),
            };
            hop("faulty span", traces[0], found);
            hop(
                "exemplar",
                traces[0],
                self.exemplars(told.own_service(), told.at).await,
            );
        }
    }

    async fn ask(&self, url: Url) -> Result<Value> {
        let silent = || format!("no answer from {}", url.origin().ascii_serialization());
        let (status, text) = answer::ask(self.client.get(url.clone()), None, silent).await?;
        if !status.is_success() {
            bail!("{status}");
        }
        serde_json::from_str(&text).context("no JSON")
    }

    /// A page: there is one.
    async fn page(&self, url: &str) -> Result<String> {
        let answer = self
            .client
            .get(url)
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        match answer.status() {
            status if status.is_success() => Ok("a page".to_owned()),
            status => bail!("{status}"),
        }
    }

    /// Alertmanager's own list of alerts. Its page is not in every distribution's package.
    async fn alertmanager(&self, url: &str) -> Result<String> {
        let alerts = self.ask(Url::parse(url)?.join("api/v2/alerts")?).await?;
        match alerts.as_array().map_or(0, Vec::len) {
            0 => bail!("no alert"),
            count => Ok(format!("{count} alerts")),
        }
    }

    /// A dashboard: queries of it have data. Grafana is not asked, which may not run; its queries are.
    async fn dashboard(&self, url: &str) -> Result<String> {
        let url = Url::parse(url)?;
        if url.as_str().starts_with(&self.prometheus) {
            self.page(url.as_str()).await?;
        }
        let queries = dashboard::queries(&self.checkout.join("dashboards"), &url)?;
        let mut with_data = 0;
        for query in &queries {
            let mut request = Url::parse(&self.prometheus)?.join("api/v1/query")?;
            request.query_pairs_mut().append_pair("query", query);
            let answer = self.ask(request).await.with_context(|| query.clone())?;
            with_data += usize::from(
                answer["data"]["result"]
                    .as_array()
                    .is_some_and(|result| !result.is_empty()),
            );
        }
        match with_data {
            0 => bail!("none of {} queries has data", queries.len()),
            _ => Ok(format!(
                "{with_data} of {} queries have data",
                queries.len()
            )),
        }
    }

    /// A runbook: the page, or the file of the repository.
    async fn runbook(&self, url: &str) -> Result<String> {
        if url.starts_with("http") {
            return self.page(url).await;
        }
        let file: PathBuf = self.checkout.join(url.split('#').next().unwrap_or(url));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(format!("{} lines", text.lines().count()))
    }

    /// Grafana's Explore: its LogQL finds lines.
    async fn logs(&self, url: &str, at: DateTime<Utc>) -> Result<String> {
        let url = Url::parse(url)?;
        let panes = url
            .query_pairs()
            .find(|(name, _)| name == "panes")
            .map(|(_, panes)| panes.into_owned());
        let panes: Value = serde_json::from_str(&panes.context("no panes in the address")?)?;
        let query = panes
            .pointer("/a/queries/0/expr")
            .and_then(Value::as_str)
            .context("no query in the address")?;
        let mut request = Url::parse(&self.loki)?.join("loki/api/v1/query_range")?;
        let range = [
            ("query", query.to_owned()),
            ("start", nanoseconds(at - BEFORE)),
            ("end", nanoseconds(at + BEFORE)),
        ];
        request.query_pairs_mut().extend_pairs(range);
        let answer = self.ask(request).await?;
        let streams = answer["data"]["result"].as_array().context("no streams")?;
        let lines: usize = streams
            .iter()
            .filter_map(|stream| stream["values"].as_array())
            .map(Vec::len)
            .sum();
        match lines {
            0 => bail!("no line"),
            _ => Ok(format!("{lines} lines")),
        }
    }

    /// A trace, and whether it shows the fault: a failed span, or one of the first cause.
    async fn trace(&self, url: &str, told: &Notification) -> Result<(String, bool)> {
        let id = url.rsplit('/').next().unwrap_or_default();
        let answer = self
            .ask(Url::parse(&self.jaeger)?.join(&format!("api/traces/{id}"))?)
            .await?;
        let trace = &answer["data"][0];
        let spans = trace["spans"]
            .as_array()
            .filter(|spans| !spans.is_empty())
            .context("no span")?;
        let failed = spans.iter().filter(|span| is_failed(span)).count();
        let causes = told.causes();
        let at_fault = causes.first().is_some_and(|cause| {
            let mut processes = trace["processes"].as_object().into_iter().flatten();
            processes.any(|(_, process)| process["serviceName"] == cause.service.as_str())
        });
        Ok((
            format!("{} spans, {failed} failed", spans.len()),
            failed > 0 || at_fault,
        ))
    }

    /// Exemplars of the service's requests: from a graph to a trace.
    async fn exemplars(&self, service: &str, at: DateTime<Utc>) -> Result<String> {
        let mut request = Url::parse(&self.prometheus)?.join("api/v1/query_exemplars")?;
        let query = format!(
            "{}_bucket{{service_name={}}}",
            slo::REQUESTS,
            slo::quoted(service)
        );
        let range = [
            ("query", query),
            ("start", (at - BEFORE).timestamp().to_string()),
            ("end", (at + BEFORE).timestamp().to_string()),
        ];
        request.query_pairs_mut().extend_pairs(range);
        let answer = self.ask(request).await?;
        let series = answer["data"].as_array().context("no series")?;
        let count: usize = series
            .iter()
            .filter_map(|series| series["exemplars"].as_array())
            .map(Vec::len)
            .sum();
        match count {
            0 => bail!("no exemplar of {service}"),
            _ => Ok(format!("{count} exemplars")),
        }
    }
}

fn is_failed(span: &Value) -> bool {
    let mut tags = span["tags"].as_array().into_iter().flatten();
    tags.any(|tag| tag["key"] == "error" && (tag["value"] == true || tag["value"] == "true"))
}

fn nanoseconds(at: DateTime<Utc>) -> String {
    format!("{}000000", at.timestamp_millis())
}
