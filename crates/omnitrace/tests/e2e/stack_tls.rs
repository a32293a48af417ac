//! compose.tls.yaml without Docker: services -> collector -> Jaeger with certificates on both sides, and Loki's door.

use std::path::Path;
use std::process::Command;

use crate::harness::{Config, Directory, NativeStack, Stack, eventually, repository, spawn_tool};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

fn make_certificates() -> Directory {
    let directory = Directory::new();
    let made = Command::new(repository("deploy/tls/certificates.sh"))
        .arg(directory.path())
        .output()
        .expect("certificates.sh");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{said}");
    directory
}

/// A request with curl: whether an HTTP answer came at all, and what curl said.
fn curl(url: &str, part: Option<&Path>) -> (bool, String) {
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--max-time",
        "10",
    ]);
    if let Some(part) = part {
        command.arg("--cert").arg(part.join("tls.crt"));
        command.arg("--key").arg(part.join("tls.key"));
    }
    let output = command
        .arg("--insecure")
        .args(["-H", "content-type: application/json", "-d", "{}", url])
        .output()
        .expect("curl");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh, openssl and curl: just test-stack"]
async fn otlp_takes_certificates_of_the_stack_and_nothing_else() {
    let certificates = make_certificates();
    let native = NativeStack::builder()
        .tls(certificates.path())
        .without(&[
            "loki",
            "postgres-exporter",
            "blackbox",
            "alertmanager",
            "prometheus",
        ])
        .start()
        .await;

    // From the services over the collector into Jaeger, mutual TLS all the way.
    let sku = native.stack.sku().await;
    let order = native.stack.order(&sku, 1).await;
    assert_eq!(order.status, 201, "{order:?}");
    native.traced_over(&order.trace_id(), &SERVICES).await;

    // The same CA by name, with another key: what anybody can make.
    let forged = make_certificates();
    for address in ["collector:4318", "jaeger:4318"] {
        let url = native.url(address).replace("http:", "https:") + "/v1/traces";
        let (answered, said) = curl(&url, Some(&certificates.path().join("client")));
        assert!(answered && said.starts_with("200"), "{address}: {said}");
        let (answered, said) = curl(&url, None);
        assert!(
            !answered,
            "{address} answers a client without certificate: {said}"
        );
        let (answered, said) = curl(&url, Some(&forged.path().join("client")));
        assert!(
            !answered,
            "{address} answers a stranger's certificate: {said}"
        );
        let (_, said) = curl(&url.replace("https:", "http:"), None);
        assert!(
            !said.starts_with("200"),
            "{address} answers plain text: {said}"
        );
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_service_without_certificate_serves_and_counts_what_it_cannot_send() {
    let certificates = make_certificates();
    let native = NativeStack::builder()
        .tls(certificates.path())
        .without(&[
            "loki",
            "jaeger",
            "postgres-exporter",
            "blackbox",
            "alertmanager",
            "prometheus",
        ])
        .start()
        .await;
    let ca = certificates.path().join("client/ca.crt");
    let stranger = Stack::builder()
        .env_all(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &native.url("collector:4318").replace("http:", "https:"),
        )
        .env_all("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca.display().to_string())
        .env_all("OTEL_BSP_SCHEDULE_DELAY", "200")
        .env_all("OTEL_BSP_EXPORT_TIMEOUT", "2000")
        .start()
        .await;
    let before = native
        .collector_value("otelcol_receiver_accepted_spans_total", &[])
        .await;
    let sku = stranger.sku().await;
    assert_eq!(stranger.order(&sku, 1).await.status, 201);
    eventually("the failed exports are counted", async || {
        let scrape = stranger.scrape("gateway").await;
        let failed = scrape.value(
            "otel_sdk_exporter_span_exported_total",
            &[("error_type", "connection")],
        )?;
        (failed > 0.0).then_some(())
    })
    .await;
    let after = native
        .collector_value("otelcol_receiver_accepted_spans_total", &[])
        .await;
    assert!(
        (after - before).abs() < f64::EPSILON,
        "{before} spans became {after}"
    );
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh, openssl and curl: just test-stack"]
async fn loki_answers_holders_of_a_certificate_only() {
    let certificates = make_certificates();
    let own = certificates.path().join("loki");
    let addresses = crate::harness::Addresses::new();
    let directory = Directory::new();
    let config = Config::of("loki/loki.yaml")
        .replace(
            "http_listen_address: 0.0.0.0",
            "http_listen_address: 127.0.0.1",
        )
        .replace(
            "http_listen_port: 3100",
            &format!("http_listen_port: {}", addresses.port("loki:3100")),
        )
        .replace(
            "grpc_listen_port: 9096",
            &format!("grpc_listen_port: {}", addresses.port("loki:9096")),
        )
        .replace("127.0.0.1:9096", addresses.of("loki:9096"))
        .replace(": /loki", &format!(": {}", directory.path().display()));
    let mut arguments = vec![format!("-config.file={}", config.write(directory.path()))];
    // The flags as they stand in the overlay.
    let overlay =
        std::fs::read_to_string(repository("deploy/compose.tls.yaml")).expect("the overlay");
    let flags = overlay
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- -server."));
    arguments.extend(flags.map(|flag| {
        format!(
            "-server.{}",
            flag.replace("/etc/omnitrace/tls", &own.display().to_string())
        )
    }));
    assert_eq!(arguments.len(), 5, "{arguments:?}");
    let loki = spawn_tool("loki", &arguments, &[]);
    let url = addresses.url("loki:3100").replace("http:", "https:") + "/otlp/v1/logs";
    let client = certificates.path().join("collector");
    // Whatever it thinks of an empty request: with a certificate there is an answer.
    eventually("Loki answers the collector's certificate", async || {
        let (answered, said) = curl(&url, Some(&client));
        (answered && !said.starts_with('5')).then_some(())
    })
    .await;
    let (answered, said) = curl(&url, None);
    assert!(
        !answered,
        "Loki answers a client without certificate: {said}\n{}",
        loki.output()
    );
}
