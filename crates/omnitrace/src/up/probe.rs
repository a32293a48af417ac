//! One order with a known trace id, followed until everything about it can be seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use telemetry::names::http_server::HTTP_SERVER_DURATION;

use crate::answer;
use crate::terminal::quoted;

const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// The services that call each other and send their telemetry to the console.
pub const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// The probe went through.
#[derive(Debug, Clone)]
pub struct ProbeResult {
    /// Its trace.
    pub trace_id: String,
    /// Template of the route that was called, and how often.
    counted: (&'static str, f64),
    /// An item that can be ordered.
    pub sku: String,
}

impl ProbeResult {
    /// Template of the route that was called.
    pub fn route(&self) -> &'static str {
        self.counted.0
    }
}

/// Waits until a service says that it is ready.
pub async fn until_ready(
    client: &reqwest::Client,
    name: &str,
    admin_url: &str,
    patience: Duration,
) -> Result<()> {
    until_well(client, name, &format!("{admin_url}/ready"), patience).await
}

/// Waits until a part answers with a 200.
pub async fn until_well(
    client: &reqwest::Client,
    name: &str,
    url: &str,
    patience: Duration,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let problem = match client.get(url).send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => answer::text(response).await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if start.elapsed() > patience {
            bail!("{name} is not ready after {patience:?}: {problem}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Orders one item and waits until its trace, its log lines and its count are in the console.
pub async fn run(
    client: &reqwest::Client,
    gateway: &str,
    console: Option<&str>,
) -> Result<ProbeResult> {
    let visible = send_within(client, gateway, ANSWER_PATIENCE).await?;
    let Some(console) = console else {
        return Ok(visible);
    };
    let start = Instant::now();
    let mut missing = vec![Signal::Trace, Signal::Logs, Signal::Count];
    loop {
        let mut left = Vec::new();
        for sign in missing {
            if !sign.is_there(client, console, &visible).await {
                left.push(sign);
            }
        }
        if left.is_empty() {
            return Ok(visible);
        }
        if start.elapsed() > PATIENCE {
            let left: Vec<&str> = left.iter().map(|sign| sign.text()).collect();
            bail!(
                "the probe went through (trace {}), but after {PATIENCE:?} the console at {console} does not show {}; \
                 the services' logs may say why",
                visible.trace_id,
                left.join(", ")
            );
        }
        missing = left;
        tokio::time::sleep(POLL).await;
    }
}

/// A signal of the probe order that must be visible in the console.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Trace,
    Logs,
    Count,
}

impl Signal {
    fn text(self) -> &'static str {
        match self {
            Self::Trace => "its complete trace",
            Self::Logs => "its log lines",
            Self::Count => "its request in the metrics",
        }
    }

    async fn is_there(self, client: &reqwest::Client, console: &str, probe: &ProbeResult) -> bool {
        let trace_id = &probe.trace_id;
        let path = match self {
            Self::Trace => format!("/api/console/traces/{trace_id}"),
            Self::Logs => format!("/api/logs?trace_id={trace_id}"),
            Self::Count => {
                let name = HTTP_SERVER_DURATION.name();
                format!("/api/metrics?name={name}_count&label=service_name=gateway")
            }
        };
        let Ok(response) = client.get(format!("{console}{path}")).send().await else {
            return false;
        };
        let Ok(answer) = answer::json(response).await else {
            return false;
        };
        match self {
            Self::Trace => trace_is_complete(&answer),
            Self::Logs => answer["logs"]
                .as_array()
                .is_some_and(|logs| !logs.is_empty()),
            Self::Count => counted(&answer, probe.counted),
        }
    }
}

fn trace_is_complete(answer: &Value) -> bool {
    let rows = answer["rows"]
        .as_array()
        .map_or([].as_slice(), Vec::as_slice);
    answer["complete"] == true
        && SERVICES
            .iter()
            .all(|service| rows.iter().any(|row| row["service"] == *service))
}

/// The gateway has just started, so its instances have counted only requests of this process.
fn counted(answer: &Value, (route, times): (&str, f64)) -> bool {
    let samples = answer.as_array().map_or([].as_slice(), Vec::as_slice);
    let of_route = samples
        .iter()
        .filter(|sample| sample["labels"]["http_route"] == route);
    let values = of_route.filter_map(|sample| sample["value"].as_f64());
    values.sum::<f64>() >= times
}

/// On a busy machine the first responses may be late, so a time-out is not yet a failure.
pub async fn send_within(
    client: &reqwest::Client,
    gateway: &str,
    patience: Duration,
) -> Result<ProbeResult> {
    let mut last = None;
    let insist = async {
        loop {
            match send(client, gateway).await {
                Ok(visible) => return visible,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(5 * POLL).await;
        }
    };
    match tokio::time::timeout(patience, insist).await {
        Ok(visible) => Ok(visible),
        Err(_) => Err(last.unwrap_or_else(|| {
            anyhow!("the gateway does not answer: no whole answer within {patience:.1?}")
        })),
    }
}

/// Orders one item. When there is none left to order, which is nobody's fault, looks at one.
async fn send(client: &reqwest::Client, gateway: &str) -> Result<ProbeResult> {
    let trace_id = new_trace_id();
    let (_, sku) = look(client, gateway, &trace_id, false).await?;
    let response = client
        .post(format!("{gateway}/api/orders"))
        .header("traceparent", traceparent(&trace_id, true))
        .json(&json!({"sku": sku, "quantity": 1, "customer_email": "probe@example.com"}))
        .send()
        .await
        .context("the gateway does not answer the probe order")?;
    match response.status().as_u16() {
        201 => Ok(ProbeResult {
            trace_id: trace_id_of(&response).unwrap_or(trace_id),
            counted: ("/api/orders", 1.0),
            sku,
        }),
        409 => {
            let trace_id = new_trace_id();
            let (seen, sku) = look(client, gateway, &trace_id, true).await?;
            Ok(ProbeResult {
                trace_id: seen.unwrap_or(trace_id),
                counted: ("/api/data", 2.0),
                sku,
            })
        }
        status => bail!(
            "the probe order failed: {status} {}",
            quoted(&answer::text(response).await.unwrap_or_default())
        ),
    }
}

/// Sends `GET /api/data`. Returns its trace id, from the gateway, and an item.
async fn look(
    client: &reqwest::Client,
    gateway: &str,
    trace_id: &str,
    sampled: bool,
) -> Result<(Option<String>, String)> {
    let request = client
        .get(format!("{gateway}/api/data"))
        .header("traceparent", traceparent(trace_id, sampled));
    let response = request
        .send()
        .await
        .context("the gateway does not answer")?;
    let (status, seen) = (response.status(), trace_id_of(&response));
    let text = answer::text(response).await?;
    let sku = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|body| body["sku"].as_str().map(str::to_owned));
    Ok((
        seen,
        sku.with_context(|| format!("GET {gateway}/api/data: {status} {}", quoted(&text)))?,
    ))
}

fn new_trace_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn traceparent(trace_id: &str, sampled: bool) -> String {
    format!(
        "00-{trace_id}-{}-{:02x}",
        &new_trace_id()[..16],
        u8::from(sampled)
    )
}

/// The gateway's trace id may differ from the sent one, because a gateway may be set not to trust its callers.
fn trace_id_of(response: &reqwest::Response) -> Option<String> {
    let timing = response.headers().get("server-timing")?.to_str().ok()?;
    let traceparent = timing.split("traceparent;desc=\"").nth(1)?;
    traceparent.split('-').nth(1).map(str::to_owned)
}
