//! OTLP over mutual TLS: the certificate variables, against a server that demands a client certificate.
//!
//! A binary of its own, because a process has one telemetry. Spans get a client certificate and arrive; log records
//! get none, are refused by the server, and are counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use telemetry::{ServiceInfo, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DEADLINE: Duration = Duration::from_secs(60);

struct Pki {
    directory: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let pki = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(pki.path("ca.pem"), ca.pem()).unwrap();
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![name.to_owned()])
                .unwrap()
                .signed_by(&key, &ca)
                .unwrap();
            std::fs::write(pki.path(&format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(pki.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn server(&self) -> ServerConfig {
        let certificates = |path: &Path| {
            CertificateDer::pem_file_iter(path)
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<_>>()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.path("ca.pem")));
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("localhost.key")).unwrap();
        ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(certificates(&self.path("localhost.pem")), key)
            .unwrap()
    }
}

/// Answers every request with 200 and reports its path; connections without a client certificate end in the handshake.
async fn serve(listener: TcpListener, tls: TlsAcceptor, paths: Sender<String>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (tls, paths) = (tls.clone(), paths.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(socket).await else {
                return;
            };
            let mut request = Vec::new();
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read_buf(&mut request).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
            let line = String::from_utf8_lossy(&request)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            if stream.write_all(answer).await.is_ok() && stream.shutdown().await.is_ok() {
                let _ = paths.send(line);
            }
        });
    }
}

#[test]
fn a_client_certificate_is_presented_and_its_absence_is_counted() {
    telemetry::install_tls();
    let pki = Pki::new();
    let tls = TlsAcceptor::from(Arc::new(pki.server()));
    let (sender, received) = channel();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    runtime.spawn(serve(listener, tls, sender));

    let settings = Settings::from_lookup(&|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some(pki.text("ca.pem")),
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE" => Some(pki.text("client.pem")),
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY" => Some(pki.text("client.key")),
        "OTEL_BSP_SCHEDULE_DELAY" | "OTEL_BLRP_SCHEDULE_DELAY" | "OTEL_BLRP_EXPORT_TIMEOUT" => {
            Some("50".to_owned())
        }
        _ => None,
    })
    .unwrap();
    let telemetry = telemetry::init(
        ServiceInfo {
            name: "tls-test".into(),
            version: "1".into(),
        },
        &settings,
        &[],
    )
    .unwrap();
    tracing::info_span!(target: "telemetry_test", "work").in_scope(|| tracing::info!("inside"));

    let line = received.recv_timeout(DEADLINE).expect("the spans arrive");
    assert_eq!(line, "POST /v1/traces HTTP/1.1");
    let start = Instant::now();
    let refused = "otel_sdk_exporter_log_exported_total{";
    let counted = |text: &str| {
        text.lines().any(|line| {
            line.starts_with(refused)
                && line.contains("error_type=\"connection\"")
                && !line.ends_with(" 0")
        })
    };
    while !counted(&telemetry.metrics().render(None).body) {
        assert!(
            start.elapsed() < DEADLINE,
            "the refused log records are not counted"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        received.try_iter().all(|line| line.contains("/v1/traces")),
        "no log record gets through"
    );
}
