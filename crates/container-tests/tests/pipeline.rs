//! The collector and Jaeger in containers, with the files of `deploy/`: one order in, the whole tree out of Jaeger's API.
//!
//! `just test-containers`; `OMNITRACE_COLLECTOR_IMAGE` and `OMNITRACE_JAEGER_IMAGE` choose the images.

#[path = "../../omnitrace/tests/e2e/harness/mod.rs"]
mod harness;

use harness::{Stack, config, eventually, http, jaeger_services, list};
use serde_json::Value;
use standard::Config;
use testcontainers::core::{ContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};

const OTLP: ContainerPort = ContainerPort::Tcp(4318);
const QUERY: ContainerPort = ContainerPort::Tcp(16686);
const HEALTH: ContainerPort = ContainerPort::Tcp(13133);

/// Every span of an order, as service and name.
const ORDER: [(&str, &str); 15] = [
    ("data", "BEGIN"),
    ("data", "BEGIN"),
    ("data", "COMMIT"),
    ("data", "COMMIT"),
    ("data", "INSERT orders"),
    ("data", "INSERT outbox"),
    ("data", "POST /orders"),
    ("data", "POST /payments"),
    ("data", "UPDATE items"),
    ("data", "UPDATE orders"),
    ("data", "acquire connection"),
    ("data", "acquire connection"),
    ("downstream", "POST /payments"),
    ("gateway", "POST /api/orders"),
    ("gateway", "POST /orders"),
];

fn image(variable: &str, default: &str) -> GenericImage {
    let image = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let (name, tag) = image.rsplit_once(':').expect("an image with a tag");
    // The images have no shell and log little, so the tests wait for the health check.
    GenericImage::new(name, tag).with_wait_for(WaitFor::Nothing)
}

fn with_config(
    image: GenericImage,
    ports: &[ContainerPort],
    config: Config,
    arguments: [&str; 2],
) -> ContainerRequest<GenericImage> {
    let image = ports
        .iter()
        .fold(image, |image, port| image.with_exposed_port(*port));
    image
        .with_cmd(arguments)
        .with_copy_to(arguments[1], config.text().as_bytes().to_vec())
        .with_user("0")
}

async fn start(
    request: ContainerRequest<GenericImage>,
    what: &str,
) -> ContainerAsync<GenericImage> {
    request.start().await.unwrap_or_else(|error| {
        panic!(
            "{what} does not start: {error}. Where no image registry is reached, build images with \
             .ci/stand-in-images.sh and name them in OMNITRACE_COLLECTOR_IMAGE and OMNITRACE_JAEGER_IMAGE; \
             without a Docker engine, `just test-stack` proves the same"
        )
    })
}

async fn url(container: &ContainerAsync<GenericImage>, port: ContainerPort) -> String {
    let port = container
        .get_host_port_ipv4(port)
        .await
        .expect("a published port");
    format!("http://127.0.0.1:{port}")
}

async fn healthy(url: &str) {
    eventually(&format!("{url} is healthy"), async || {
        let answer = http().get(url).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_order_in_the_whole_tree_out() {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (network, name) = (format!("omnitrace-{id}"), format!("jaeger-{id}"));
    let jaeger = with_config(
        image("OMNITRACE_JAEGER_IMAGE", "jaegertracing/jaeger:2.20.0"),
        &[QUERY, HEALTH],
        config("jaeger/jaeger.yaml"),
        ["--config", "/etc/jaeger.yaml"],
    )
    .with_cmd([
        "--config",
        "/etc/jaeger.yaml",
        "--config",
        "/etc/badger.yaml",
    ])
    .with_copy_to(
        "/etc/badger.yaml",
        config("jaeger/badger.yaml").text().as_bytes().to_vec(),
    )
    .with_mount(Mount::tmpfs_mount("/badger"))
    .with_network(&network)
    .with_container_name(&name);
    let jaeger = start(jaeger, "Jaeger").await;
    let collector = with_config(
        image(
            "OMNITRACE_COLLECTOR_IMAGE",
            "otel/opentelemetry-collector-contrib:0.158.0",
        ),
        &[OTLP, HEALTH],
        config("collector/collector.yaml")
            .replace("jaeger:4317", &format!("{name}:4317"))
            .expect("Jaeger's address"),
        ["--config", "/etc/collector.yaml"],
    )
    .with_mount(Mount::tmpfs_mount("/var/lib/otelcol"))
    .with_network(&network);
    let collector = start(collector, "the collector").await;
    healthy(&format!("{}/status", url(&jaeger, HEALTH).await)).await;
    healthy(&url(&collector, HEALTH).await).await;

    let stack = Stack::builder()
        .env_all("OTEL_EXPORTER_OTLP_ENDPOINT", &url(&collector, OTLP).await)
        .start()
        .await;
    let sku = stack.sku().await;
    let trace_id = stack.order(&sku, 1).await.expect(201).trace_id();
    let query = format!("{}/api/traces/{trace_id}", url(&jaeger, QUERY).await);
    let trace = eventually("the whole order in Jaeger", async || {
        let answer: Value = http().get(&query).send().await.ok()?.json().await.ok()?;
        let trace = answer["data"].get(0)?.clone();
        (list(&trace["spans"]).len() >= ORDER.len()).then_some(trace)
    })
    .await;
    let spans = list(&trace["spans"]);
    let mut found: Vec<(String, String)> = jaeger_services(&trace)
        .into_iter()
        .zip(&spans)
        .map(|(service, span)| {
            (
                service,
                span["operationName"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            )
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        ORDER.map(|(service, name)| (service.to_owned(), name.to_owned()))
    );
    // The trace is one tree: every parent except the root's exists.
    let orphans = spans.iter().filter(|span| {
        let parent = &span["references"][0]["spanID"];
        !spans.iter().any(|other| other["spanID"] == *parent)
    });
    assert_eq!(orphans.count(), 1, "{spans:#?}");
    stack.stop().await;
    collector.rm().await.expect("remove the collector");
    jaeger.rm().await.expect("remove Jaeger");
}
