//! The paths from one signal to the next, each followed as a person would.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use telemetry::names::http_server::HTTP_SERVER_DURATION;

use super::client::Client;
use crate::up::probe::{ProbeResult, SERVICES};

/// The order that was sent, and what was there before.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The order.
    pub order: ProbeResult,
    /// How often Prometheus had counted that route before.
    pub counted_before: f64,
}

/// The order's trace, with a span of each service.
pub async fn trace(client: &Client, jaeger: &str, trace_id: &str) -> Result<String> {
    let trace = jaeger_trace(client, jaeger, trace_id).await?;
    let services = services_of(&trace);
    let missing: Vec<&str> = SERVICES
        .into_iter()
        .filter(|name| !services.contains(*name))
        .collect();
    if !missing.is_empty() {
        bail!("trace {trace_id} has no span of {}", missing.join(", "));
    }
    Ok(format!(
        "trace {trace_id}: {} spans of {} services",
        items(&trace["spans"]).count(),
        services.len()
    ))
}

async fn jaeger_trace(client: &Client, jaeger: &str, trace_id: &str) -> Result<Value> {
    let answer = client
        .json(&format!("{jaeger}/api/traces/{trace_id}"), &[])
        .await;
    match answer {
        Ok(answer) if answer["data"][0]["spans"].is_array() => Ok(answer["data"][0].clone()),
        Err(error) if !error.to_string().starts_with("404") => Err(error),
        _ => bail!("there is no trace {trace_id}"),
    }
}

fn services_of(trace: &Value) -> BTreeSet<String> {
    let processes = trace["processes"].as_object().into_iter().flatten();
    processes
        .filter_map(|(_, process)| process["serviceName"].as_str().map(str::to_owned))
        .collect()
}

/// The order's log lines, by its trace id.
pub async fn logs(client: &Client, loki: &str, trace_id: &str) -> Result<String> {
    let query = format!("{{service_name=~\".+\"}} | trace_id=\"{trace_id}\"");
    let answer = client
        .json(
            &format!("{loki}/loki/api/v1/query_range"),
            &[("query", &query), ("since", "1h"), ("limit", "100")],
        )
        .await?;
    let streams = || items(&answer["data"]["result"]);
    let services: BTreeSet<&str> = streams()
        .filter_map(|stream| stream["stream"]["service_name"].as_str())
        .collect();
    let lines: usize = streams()
        .map(|stream| items(&stream["values"]).count())
        .sum();
    if lines == 0 {
        bail!("no line with trace_id {trace_id}");
    }
    Ok(format!(
        "{lines} lines of {}",
        services.into_iter().collect::<Vec<_>>().join(", ")
    ))
}

/// How many responses of a route Prometheus has counted for the gateway; 0 if it has no data.
pub async fn count(client: &Client, prometheus: &str, route: &str) -> Result<f64> {
    let query = format!(
        "sum({}_count{{service_name=\"gateway\",http_route=\"{route}\"}})",
        HTTP_SERVER_DURATION.name()
    );
    let samples = instant(client, prometheus, &query).await?;
    Ok(samples.first().map_or(0.0, |(_, value)| *value))
}

/// The probe's request, counted.
pub async fn counted(client: &Client, prometheus: &str, probe: &Probe) -> Result<String> {
    let route = probe.order.route();
    let now = count(client, prometheus, route).await?;
    if now <= probe.counted_before {
        bail!("requests to {route} are still {now}");
    }
    Ok(format!("{now} requests to {route}"))
}

/// A point of the gateway's latency that names a trace which Jaeger has.
pub async fn exemplar(
    client: &Client,
    prometheus: &str,
    jaeger: &str,
    gateway: &str,
) -> Result<String> {
    let now = chrono::Utc::now().timestamp();
    let metric = format!(
        "{}_bucket{{service_name=\"gateway\"}}",
        HTTP_SERVER_DURATION.name()
    );
    let answer = client
        .json(
            &format!("{prometheus}/api/v1/query_exemplars"),
            &[
                ("query", &metric),
                ("start", &(now - 900).to_string()),
                ("end", &(now + 60).to_string()),
            ],
        )
        .await?;
    let mut exemplars: Vec<(f64, String)> = items(&answer["data"])
        .flat_map(|series| items(&series["exemplars"]))
        .filter_map(|exemplar| {
            let id = exemplar["labels"]["trace_id"].as_str()?;
            Some((exemplar["timestamp"].as_f64()?, id.to_owned()))
        })
        .collect();
    exemplars.sort_by(|left, right| right.0.total_cmp(&left.0));
    if exemplars.is_empty() {
        bail!("Prometheus has no exemplar of {metric}");
    }
    // The newest may still be on its way.
    for (_, trace_id) in exemplars.iter().take(5) {
        if jaeger_trace(client, jaeger, trace_id).await.is_ok() {
            return Ok(format!("{} exemplars, trace {trace_id}", exemplars.len()));
        }
    }
    // A backend that was restarted has forgotten them, and where nobody calls there are no newer ones.
    client
        .http()
        .get(format!("{gateway}/api/data"))
        .send()
        .await?;
    bail!("Jaeger has none of the traces that the newest exemplars name")
}

/// The metrics that the collector derives from spans.
pub async fn span_metrics(client: &Client, prometheus: &str) -> Result<String> {
    let calls = instant(
        client,
        prometheus,
        "sum by (service_name) (traces_span_metrics_calls_total)",
    )
    .await?;
    let edges = instant(
        client,
        prometheus,
        "count(traces_service_graph_request_total)",
    )
    .await?;
    if calls.is_empty() || edges.is_empty() {
        bail!("no traces_span_metrics_calls_total or no traces_service_graph_request_total");
    }
    let edges = edges.first().map_or(0.0, |(_, value)| *value);
    Ok(format!(
        "{} services, {edges} edges in the service graph",
        calls.len()
    ))
}

/// Every target answers, and those that are `expected` are among them.
pub async fn targets(client: &Client, prometheus: &str, expected: &[String]) -> Result<String> {
    let answer = client
        .json(
            &format!("{prometheus}/api/v1/targets"),
            &[("state", "active")],
        )
        .await?;
    let targets: Vec<&Value> = items(&answer["data"]["activeTargets"]).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let down: Vec<String> = targets
        .iter()
        .filter(|target| target["health"] != "up")
        .map(|target| {
            format!(
                "{} {} ({})",
                text(&target["labels"]["job"]),
                text(&target["labels"]["instance"]),
                text(&target["lastError"])
            )
        })
        .collect();
    if targets.is_empty() {
        bail!("no target at all");
    }
    if !down.is_empty() {
        bail!("down: {}", down.join(", "));
    }
    let is_known = |address: &str| {
        let mut instances = targets.iter().map(|target| &target["labels"]["instance"]);
        instances.any(|instance| instance == address)
    };
    let unknown = expected.iter().filter(|address| !is_known(address));
    let unknown: Vec<&str> = unknown.map(String::as_str).collect();
    if !unknown.is_empty() {
        bail!("not scraped: {}", unknown.join(", "));
    }
    Ok(format!("{} targets up", targets.len()))
}

/// Rules are loaded, and each can be evaluated.
pub async fn rules(client: &Client, prometheus: &str) -> Result<String> {
    let answer = client
        .json(&format!("{prometheus}/api/v1/rules"), &[])
        .await?;
    let rules: Vec<&Value> = items(&answer["data"]["groups"])
        .flat_map(|group| items(&group["rules"]))
        .collect();
    let sick: Vec<&str> = rules
        .iter()
        .filter(|rule| rule["health"] == "err")
        .filter_map(|rule| rule["name"].as_str())
        .collect();
    if rules.is_empty() {
        bail!("no rule is loaded");
    }
    if !sick.is_empty() {
        bail!("cannot be evaluated: {}", sick.join(", "));
    }
    let alerts = rules
        .iter()
        .filter(|rule| rule["type"] == "alerting")
        .count();
    Ok(format!(
        "{alerts} alerts, {} recording rules",
        rules.len() - alerts
    ))
}

/// Prometheus knows an Alertmanager, and the alert that always fires has arrived there.
pub async fn alerts(client: &Client, prometheus: &str, alertmanager: &str) -> Result<String> {
    let known = client
        .json(&format!("{prometheus}/api/v1/alertmanagers"), &[])
        .await?;
    if items(&known["data"]["activeAlertmanagers"])
        .next()
        .is_none()
    {
        bail!("Prometheus knows no Alertmanager");
    }
    client.text(&format!("{alertmanager}/-/ready"), &[]).await?;
    let watchdog = client
        .json(
            &format!("{alertmanager}/api/v2/alerts"),
            &[("filter", "alertname=\"Watchdog\"")],
        )
        .await?;
    if items(&watchdog).next().is_none() {
        bail!("the alert Watchdog, which always fires, has not arrived");
    }
    Ok("Watchdog has arrived".to_owned())
}

/// The console tells herald of alerts, and that is ready for them.
pub async fn herald(client: &Client, console: &str, herald: &str) -> Result<String> {
    client.text(&format!("{herald}/ready"), &[]).await?;
    let known = client
        .json(&format!("{console}/api/v1/alertmanagers"), &[])
        .await?;
    let mut receivers = items(&known["data"]["activeAlertmanagers"]);
    let is_herald = |receiver: &Value| {
        let url = receiver["url"].as_str().unwrap_or_default();
        url.starts_with(herald)
    };
    if !receivers.any(is_herald) {
        bail!("the console does not tell it of alerts: {}", known["data"]);
    }
    Ok("ready for the console's alerts".to_owned())
}

/// Grafana's database, and each data source through Grafana.
pub async fn grafana(client: &Client, url: &str, login: Option<(&str, &str)>) -> Result<String> {
    let health = client.json(&format!("{url}/api/health"), &[]).await?;
    if health["database"] != "ok" {
        bail!("its database is {}", health["database"]);
    }
    let Some((user, password)) = login else {
        return Ok("healthy; its data sources were not asked: set GRAFANA_PASSWORD".to_owned());
    };
    let mut sick = Vec::new();
    const SOURCES: [&str; 4] = ["prometheus", "jaeger", "loki", "alertmanager"];
    for source in SOURCES {
        let url = format!("{url}/api/datasources/uid/{source}/health");
        match client.json_as(&url, user, password).await {
            Ok(answer) if answer["status"] == "OK" => {}
            Ok(answer) => sick.push(format!("{source}: {}", answer["message"])),
            Err(error) => sick.push(format!("{source}: {error}")),
        }
    }
    if !sick.is_empty() {
        bail!("{}", sick.join("; "));
    }
    Ok(format!("data sources {} answer", SOURCES.join(", ")))
}

/// The collector's own health check.
pub async fn collector(client: &Client, url: &str) -> Result<String> {
    client.text(&format!("{url}/"), &[]).await?;
    Ok("healthy".to_owned())
}

/// An instant query: labels and value of each sample.
async fn instant(client: &Client, prometheus: &str, query: &str) -> Result<Vec<(Value, f64)>> {
    let answer = client
        .json(&format!("{prometheus}/api/v1/query"), &[("query", query)])
        .await?;
    let sample = |sample: &Value| {
        let value = sample["value"][1].as_str()?.parse().ok()?;
        Some((sample["metric"].clone(), value))
    };
    Ok(items(&answer["data"]["result"])
        .filter_map(sample)
        .collect())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Pause between two looks.
pub const POLL: Duration = Duration::from_millis(300);
