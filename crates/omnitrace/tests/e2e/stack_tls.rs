//! compose.tls.yaml without Docker: services -> collector -> Jaeger with certificates on both sides, and a door like Loki's.

use std::path::Path;
use std::process::Command;

use crate::harness::{Child, Directory, NativeStack, Scrape, Stack, eventually, repository};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

pub(crate) fn make_certificates() -> Directory {
    let directory = Directory::new();
    make_in(directory.path());
    directory
}

fn make_in(directory: &Path) {
    let made = Command::new(repository("deploy/tls/certificates.sh"))
        .arg(directory)
        .output()
        .expect("certificates.sh");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{said}");
}

/// What the script does when these parts' certificates are about to end. Its authority stays.
pub(crate) fn renew(directory: &Path, parts: &[&str]) {
    for part in parts {
        std::fs::write(directory.join(part).join("tls.crt"), "").expect("a file");
    }
    make_in(directory);
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
            "probe",
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

/// The probe shows a certificate of its own, and trusts those of the stack only.
#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh and openssl: just test-stack"]
async fn the_stacks_own_certificates_are_probed() {
    let certificates = make_certificates();
    let prometheus = certificates.path().join("prometheus/prometheus.yml");
    let prometheus = std::fs::read_to_string(prometheus).expect("made");
    for part in [
        "collector:4317",
        "jaeger:4317",
        "loki:3100",
        "grafana:3000",
        "herald:9095",
    ] {
        assert!(
            prometheus.contains(&format!("targets: [\"{part}\"]")),
            "{part}"
        );
    }
    let native = NativeStack::builder()
        .tls(certificates.path())
        .without(&["loki", "postgres-exporter", "alertmanager", "prometheus"])
        .start()
        .await;
    for part in ["collector:4317", "collector:4318", "jaeger:4317"] {
        let target = native.url(part).replace("http://", "");
        let probe = format!(
            "{}/probe?module=tls_stack&target={target}",
            native.url("blackbox:9115")
        );
        eventually(&format!("a valid certificate of {part}"), async || {
            let answer = native.stack.client.get(&probe).send().await.ok()?;
            let scrape = Scrape::parse("", answer.text().await.ok()?);
            let left = scrape.value("probe_ssl_earliest_cert_expiry", &[])?
                - chrono::Utc::now().timestamp() as f64;
            let days = left / 86_400.0;
            let is_good = scrape.value("probe_success", &[]) == Some(1.0);
            (is_good && (390.0..398.0).contains(&days)).then_some(())
        })
        .await;
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
            "probe",
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

/// What the overlay asks of Loki, done by another program before the console.
fn door(native: &NativeStack, own: &Path) -> Child {
    let own = own.display();
    let listen = format!(
        "OPENSSL-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,cert={own}/tls.crt,key={own}/tls.key,cafile={own}/ca.crt,verify=1",
        native.addresses.port("loki:3100")
    );
    let console = format!("TCP:{}", native.addresses.of("console:8000"));
    let has_socat = Command::new("socat").arg("-V").output().is_ok();
    assert!(has_socat, "no socat (on Debian, apt-get install socat)");
    let mut command = Command::new("socat");
    command.args([listen, console]);
    Child::spawn("socat", command)
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh, openssl, curl and socat: just test-stack"]
async fn logs_go_where_a_certificate_is_asked_for() {
    let certificates = make_certificates();
    let overlay =
        std::fs::read_to_string(repository("deploy/compose.tls.yaml")).expect("the overlay");
    let flags: Vec<&str> = overlay
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- -server.http-tls-"))
        .collect();
    let own = "/etc/omnitrace/tls";
    let asked = [
        &format!("cert-path={own}/tls.crt"),
        &format!("key-path={own}/tls.key"),
        &format!("ca-path={own}/ca.crt"),
        "client-auth=RequireAndVerifyClientCert",
    ];
    assert_eq!(flags, asked, "the door of this test does what Loki is told");
    let native = NativeStack::builder()
        .tls(certificates.path())
        .without(&[
            "jaeger",
            "postgres-exporter",
            "blackbox",
            "probe",
            "alertmanager",
            "prometheus",
        ])
        .start()
        .await;
    let door = door(&native, &certificates.path().join("loki"));

    // From the services over the collector to the door, mutual TLS all the way.
    let sku = native.stack.sku().await;
    let order = native.stack.order(&sku, 1).await;
    assert_eq!(order.status, 201, "{order:?}");
    for service in SERVICES {
        let query = format!(
            "{{service_name=\"{service}\"}} | trace_id=\"{}\"",
            order.trace_id()
        );
        eventually(
            &format!("a log line behind the door: {query}"),
            async || {
                let lines = native.loki_query(&query).await;
                (!lines.is_empty()).then_some(())
            },
        )
        .await;
    }

    let url = native.url("loki:3100").replace("http:", "https:") + "/otlp/v1/logs";
    let (answered, said) = curl(&url, Some(&certificates.path().join("collector")));
    assert!(answered && said.starts_with("200"), "{said}");
    let forged = make_certificates();
    for (who, part) in [
        ("without certificate", None),
        (
            "with a stranger's certificate",
            Some(forged.path().join("collector")),
        ),
    ] {
        let (answered, said) = curl(&url, part.as_deref());
        assert!(
            !answered,
            "a client {who} is answered: {said}\n{}",
            door.output()
        );
    }
}
