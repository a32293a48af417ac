//! Prometheus, asked; and Prometheus alone, with many services to scrape.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use anyhow::{Context, Result, bail};
use reqwest::{Client, Url};
use serde::Serialize;
use serde_json::{Value, json};
use standard::Deployment;

use super::Bench;
use crate::cost::exposition;
use crate::cost::process::{Process, Reserved};

/// Samples that Prometheus has taken in.
pub const APPENDED: &str = "prometheus_tsdb_head_samples_appended_total";
/// How many are scraped, in turn.
pub const SERVICES: [u32; 3] = [1, 10, 100];

const PATIENCE: Duration = Duration::from_secs(120);

/// A running Prometheus.
pub struct Prometheus<'a> {
    /// To ask it.
    pub client: &'a Client,
    /// Where it is.
    pub url: String,
}

impl Prometheus<'_> {
    /// Each result with its labels.
    pub async fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let url = format!("{}/api/v1/query", self.url);
        let url = Url::parse_with_params(&url, [("query", expression)])?;
        let answer = self.client.get(url).send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let results = answer["data"]["result"].as_array().into_iter().flatten();
        let number = |result: &Value| result["value"][1].as_str()?.parse().ok();
        let results =
            results.filter_map(|result| Some((result["metric"].clone(), number(result)?)));
        Ok(results.collect())
    }

    /// The one number that an expression has.
    pub async fn number(&self, expression: &str) -> Result<f64> {
        match self.query(expression).await?[..] {
            [(_, number)] if number > 0.0 => Ok(number),
            ref other => bail!(
                "{expression}: one number above 0 was expected, Prometheus answered {other:?}"
            ),
        }
    }
}

/// What it costs to scrape so many services.
#[derive(Debug, Serialize)]
pub struct Scraped {
    services: u32,
    series: u64,
    samples_per_second: f64,
    /// Rules included.
    cpu_us_per_sample: f64,
    /// Of an evaluation of all groups of rules.
    rules_seconds: f64,
    resident_kib: u64,
}

impl Scraped {
    /// Of the table.
    pub fn row(&self) -> String {
        format!(
            "| {} | {} | {:.0} | {:.1} | {:.3} | {:.2} | {} |",
            self.services,
            self.series,
            self.samples_per_second,
            self.cpu_us_per_sample,
            self.cpu_us_per_sample * self.samples_per_second / 1e6,
            self.rules_seconds,
            self.resident_kib / 1024
        )
    }
}

/// Has a new Prometheus scrape copies of `page`, one for each service.
pub async fn measure(bench: &Bench<'_>, page: &str, services: u32) -> Result<Scraped> {
    let directory = tempfile::tempdir()?;
    let mut reserved = Reserved::default();
    let addresses = reserved.addresses()?;
    let place = directory.path();
    let deployment = Deployment::new(&bench.deploy, place, &addresses, BTreeMap::new())?;
    let pages = serve(page.to_owned())?;
    let target = |service: u32| {
        let path = format!("/{service}/metrics");
        json!({"targets": [pages], "labels": {"__metrics_path__": path, "instance": service.to_string()}})
    };
    let targets: Vec<Value> = (0..services).map(target).collect();
    let file = format!("{}/services.json", deployment.targets()?);
    std::fs::write(file, Value::from(targets).to_string())?;
    let command = deployment.prometheus(&bench.rules(), false)?;
    let part = bench.on_core("prometheus", command)?;
    let mut process = Process::start("prometheus", part, place)?;
    process.reachable(addresses.of("prometheus:9090").parse()?)?;
    let prometheus = Prometheus {
        client: &bench.client,
        url: addresses.url("prometheus:9090"),
    };
    prometheus.scrapes(services).await?;
    let metrics = format!("{}/metrics", prometheus.url);
    let appended = async || exposition::sum(&metrics, APPENDED, "").await;
    let (start, samples, cpu) = (Instant::now(), appended().await?, process.cpu()?);
    tokio::time::sleep(Duration::from_secs(bench.args.seconds.into())).await;
    let (took, samples) = (start.elapsed(), appended().await? - samples);
    let cpu = process.cpu()? - cpu;
    prometheus.scrapes(services).await?;
    Ok(Scraped {
        services,
        series: exposition::sum(&metrics, "prometheus_tsdb_head_series", "").await?,
        samples_per_second: samples as f64 / took.as_secs_f64(),
        cpu_us_per_sample: cpu.as_secs_f64() * 1e6 / samples as f64,
        rules_seconds: prometheus
            .number("sum(prometheus_rule_group_last_duration_seconds)")
            .await?,
        resident_kib: process.resident_kib()?,
    })
}

impl Prometheus<'_> {
    /// Waits until the scrapes of so many services succeed.
    async fn scrapes(&self, services: u32) -> Result<()> {
        let start = Instant::now();
        let scraped =
            r#"sum(up{job="services"}) and sum(prometheus_rule_group_last_duration_seconds) > 0"#;
        loop {
            // Before it is ready, it answers 503.
            let found = self.query(scraped).await;
            if matches!(found.as_deref(), Ok([(_, up)]) if *up == f64::from(services)) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("Prometheus does not scrape {services} services: {found:?}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Serves the page as that of service N at `/N/metrics`, until this process ends.
fn serve(page: String) -> Result<SocketAddr> {
    let page = web::Data::new(page);
    let app = move || {
        let of_service = async |page: web::Data<String>, service: web::Path<u32>| {
            page.replace(
                "service_name=\"gateway\"",
                &format!("service_name=\"gateway-{service}\""),
            )
        };
        App::new()
            .app_data(page.clone())
            .route("/{service}/metrics", web::get().to(of_service))
    };
    let server = HttpServer::new(app).workers(1).disable_signals();
    let server = server.bind("127.0.0.1:0").context("a port for pages")?;
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    Ok(address)
}
