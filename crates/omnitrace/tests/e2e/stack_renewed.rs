//! A certificate of the overlay `tls` is renewed while everything runs: who serves the new one, who shows it, and when (docs/DEPLOY.md, "TLS").

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Child, Directory, NativeStack, eventually, free_port, http, spawn_tool};
use crate::herald::Herald;
use crate::stack_tls::{make_certificates, renew};

/// A server that asks for a certificate, as Loki, Grafana and herald do, and the one that it was shown last.
struct Door {
    port: u16,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Door {
    async fn open(own: &Path, port: u16) -> Self {
        http(); // installs the TLS provider
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&own.join("ca.crt")));
        let clients = WebPkiClientVerifier::builder(Arc::new(roots));
        let clients = clients.build().expect("an authority");
        let key = PrivateKeyDer::from_pem_file(own.join("tls.key")).expect("a key");
        let config = ServerConfig::builder().with_client_cert_verifier(clients);
        let config = config.with_single_cert(certificates(&own.join("tls.crt")), key);
        let tls = TlsAcceptor::from(Arc::new(config.expect("a certificate")));
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        let door = Self {
            port: listener.local_addr().expect("an address").port(),
            shown: Arc::default(),
        };
        let shown = door.shown.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(tls.clone(), socket, shown.clone()));
            }
        });
        door
    }

    /// Waits until it is shown the certificate that `own` holds now.
    async fn sees(&self, who: &str, own: &Path) {
        let held = certificates(&own.join("tls.crt")).remove(0);
        eventually(
            &format!("{who} shows the certificate that it has"),
            async || (**self.shown.lock().expect("a lock") == *held).then_some(()),
        )
        .await;
    }
}

async fn answer(tls: TlsAcceptor, socket: TcpStream, shown: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut stream) = tls.accept(socket).await else {
        return;
    };
    let peer = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if let Some(leaf) = peer.first() {
        *shown.lock().expect("a lock") = leaf.to_vec();
    }
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let said = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(said).await.ok();
    stream.shutdown().await.ok();
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(file).expect("a file");
    all.map(|one| one.expect("a certificate")).collect()
}

/// Serial number of a certificate in a file, or of the one that `address` serves.
fn serial(source: &str) -> Option<String> {
    let script = format!("{source} | openssl x509 -noout -serial");
    let shell = Command::new("bash").args(["-c", &script]).output();
    let shell = shell.expect("bash");
    let said = String::from_utf8_lossy(&shell.stdout).trim().to_owned();
    said.starts_with("serial=").then_some(said)
}

fn held(own: &Path) -> Option<String> {
    serial(&format!("cat {}/tls.crt", own.display()))
}

fn served(address: &str, client: &Path) -> Option<String> {
    let client = client.display();
    serial(&format!(
        "timeout 10 openssl s_client -connect {address} -cert {client}/tls.crt -key {client}/tls.key </dev/null 2>/dev/null"
    ))
}

async fn serves(who: &str, address: &str, own: &Path) {
    let client = own.with_file_name("client");
    eventually(
        &format!("{who} serves the certificate that it has"),
        async || (served(address, &client)? == held(own)?).then_some(()),
    )
    .await;
}

fn tls_of(own: &Path) -> Value {
    let file = |name: &str| own.join(name).display().to_string();
    json!({"ca_file": file("ca.crt"), "cert_file": file("tls.crt"), "key_file": file("tls.key")})
}

/// A file of YAML, which JSON is, and the flag that names it.
fn config(directory: &Path, name: &str, content: &Value) -> String {
    let path = directory.join(name);
    std::fs::write(&path, content.to_string()).expect("a file");
    format!("--config.file={}", path.display())
}

/// One that scrapes the door every second.
fn prometheus(directory: &Path, own: &Path, door: &Door) -> Child {
    let content = json!({"scrape_configs": [{
        "job_name": "door", "scheme": "https", "scrape_interval": "1s", "scrape_timeout": "1s", "tls_config": tls_of(own),
        "static_configs": [{"targets": [format!("localhost:{}", door.port)]}]
    }]});
    let arguments = [
        config(directory, "prometheus.yml", &content),
        format!("--storage.tsdb.path={}", directory.join("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{}", free_port()),
    ];
    spawn_tool("prometheus", &arguments, &[])
}

/// One that tells the door of an alert every second, and its address.
fn alertmanager(directory: &Path, own: &Path, door: &Door) -> (Child, String) {
    let url = format!("https://localhost:{}/alerts", door.port);
    let webhook = json!({"url": url, "http_config": {"tls_config": tls_of(own)}});
    let content = json!({
        "route": {"receiver": "door", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"},
        "receivers": [{"name": "door", "webhook_configs": [webhook]}]
    });
    let address = format!("127.0.0.1:{}", free_port());
    let arguments = [
        config(directory, "alertmanager.yml", &content),
        format!("--storage.path={}", directory.join("alerts").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let child = spawn_tool("alertmanager", &arguments, &[]);
    (child, format!("http://{address}/api/v2/alerts"))
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh and openssl: just test-stack"]
async fn collector_and_jaeger_serve_and_show_a_renewed_certificate_within_their_interval() {
    let made = make_certificates();
    let of = |part: &str| made.path().join(part);
    let native = NativeStack::builder().tls(made.path()).without(&[
        "postgres-exporter",
        "blackbox",
        "probe",
        "alertmanager",
        "prometheus",
    ]);
    let native = native.start().await;
    let port = native.addresses.port("loki:3100").parse().expect("a port");
    let loki = Door::open(&of("loki"), port).await;
    let order = async || {
        let sku = native.stack.sku().await;
        native.stack.order(&sku, 1).await.expect(201).trace_id()
    };
    let services = ["gateway", "data", "downstream"];
    let listeners = [
        ("collector", "collector:4317"),
        ("collector", "collector:4318"),
        ("jaeger", "jaeger:4317"),
        ("jaeger", "jaeger:4318"),
    ];
    let before = ["collector", "jaeger"].map(|part| held(&of(part)));
    for is_renewed in [false, true] {
        if is_renewed {
            renew(made.path(), &["collector", "jaeger"]);
            assert_ne!(["collector", "jaeger"].map(|part| held(&of(part))), before);
        }
        for (part, address) in listeners {
            serves(part, native.addresses.of(address), &of(part)).await;
        }
        let trace = order().await;
        native.traced_over(&trace, &services).await;
        loki.sees("collector", &of("collector")).await;
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh and openssl: just test-stack"]
async fn prometheus_and_alertmanager_show_a_renewed_certificate_at_once_and_herald_after_its_restart()
 {
    let (made, work, state) = (make_certificates(), Directory::new(), Directory::new());
    let of = |part: &str| -> PathBuf { made.path().join(part) };
    let (grafana, door) = (
        Door::open(&of("grafana"), 0).await,
        Door::open(&of("herald"), 0).await,
    );
    let _prometheus = prometheus(work.path(), &of("prometheus"), &grafana);
    let (_alertmanager, alerts) = alertmanager(work.path(), &of("alertmanager"), &door);
    eventually("Alertmanager takes an alert", async || {
        let fired = json!([{"labels": {"alertname": "one"}}]);
        let answer = http().post(&alerts).json(&fired).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let files =
        ["tls.crt", "tls.key", "ca.crt"].map(|name| of("herald").join(name).display().to_string());
    let names = [
        "HERALD_TLS_CERTIFICATE",
        "HERALD_TLS_KEY",
        "HERALD_TLS_CLIENT_CA",
    ];
    let settings: Vec<_> = names
        .into_iter()
        .zip(files.iter().map(String::as_str))
        .collect();
    let herald = Herald::start(state.path(), &settings).await;
    let address = |herald: &Herald| format!("localhost:{}", herald.port());
    let before = held(&of("herald"));
    for is_renewed in [false, true] {
        if is_renewed {
            renew(made.path(), &["prometheus", "alertmanager", "herald"]);
        }
        grafana.sees("prometheus", &of("prometheus")).await;
        door.sees("alertmanager", &of("alertmanager")).await;
    }
    // It reads its files when it starts: what `just reload` has it do.
    assert_ne!(before, held(&of("herald")));
    assert_eq!(served(&address(&herald), &of("client")), before);
    drop(herald);
    let herald = Herald::start(state.path(), &settings).await;
    serves("herald", &address(&herald), &of("herald")).await;
}
