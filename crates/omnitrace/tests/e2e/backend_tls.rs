//! Backends that ask for a client certificate, as Loki does in `compose.tls.yaml`: herald and doctor show theirs.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::doctor::doctor;
use crate::harness::{Capture, Child, Stack, http};
use crate::herald::{Herald, alert, arrived};

/// A certificate authority, what it signed for `localhost` and `client`, and a file that is no certificate.
pub struct Pki {
    directory: tempfile::TempDir,
}

impl Pki {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let pki = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        pki.write("ca.crt", ca.pem());
        pki.write("rubbish", "nothing".to_owned());
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().unwrap();
            let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
            pki.write(
                &format!("{name}.crt"),
                parameters.signed_by(&key, &ca).unwrap().pem(),
            );
            pki.write(&format!("{name}.key"), key.serialize_pem());
        }
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: String) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The variables that name these files; an empty name leaves one out.
    fn variables(&self, [ca, certificate, key]: [&str; 3]) -> Vec<(&'static str, String)> {
        [
            ("BACKEND_CERTIFICATE", ca),
            ("BACKEND_CLIENT_CERTIFICATE", certificate),
            ("BACKEND_CLIENT_KEY", key),
        ]
        .into_iter()
        .filter(|(_, file)| !file.is_empty())
        .map(|(variable, file)| (variable, self.path(file).display().to_string()))
        .collect()
    }

    /// Answers whoever has a certificate of the authority with `answer`, and ends the handshake with everybody else.
    async fn serve(&self, answer: Value) -> String {
        let certificates = |name| {
            let file = CertificateDer::pem_file_iter(self.path(name)).unwrap();
            file.map(Result::unwrap).collect::<Vec<_>>()
        };
        http(); // installs the TLS provider
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates("ca.crt"));
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("localhost.key")).unwrap();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(certificates("localhost.crt"), key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let tls = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(one(tls.clone(), socket, answer.to_string()));
            }
        });
        url
    }
}

async fn one(tls: TlsAcceptor, socket: TcpStream, body: String) -> std::io::Result<()> {
    let mut stream = tls.accept(socket).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// An answer of Loki to a query.
fn one_line() -> Value {
    let now = chrono::Utc::now()
        .timestamp_nanos_opt()
        .unwrap()
        .to_string();
    let stream = json!({"service_name": "data", "severity_text": "ERROR", "error": "no route"});
    let result = json!([{"stream": stream, "values": [[now, "it failed"]]}]);
    json!({"status": "success", "data": {"resultType": "streams", "result": result}})
}

const WHOLE: [&str; 3] = ["ca.crt", "client.crt", "client.key"];

#[tokio::test]
async fn herald_reads_the_log_lines_of_a_loki_that_asks_for_a_certificate() {
    let pki = Pki::new();
    let loki = pki.serve(one_line()).await;
    let evidence = async |files| {
        let state = tempfile::tempdir().unwrap();
        let webhook = Capture::answering(&json!({}));
        let mut settings = pki.variables(files);
        settings.push(("LOKI_URL", loki.clone()));
        settings.push(("HERALD_WEBHOOK_URL", webhook.url()));
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let herald = Herald::start(state.path(), &settings).await;
        herald
            .accepted(&alert("AvailabilityBurnRate", "firing"))
            .await;
        arrived(&webhook, 1).await.remove(0).json()["evidence"].take()
    };

    let with = evidence(WHOLE).await;
    assert_eq!(
        with["log_lines"][0]["text"], "it failed: no route",
        "{with:#}"
    );
    let without = evidence(["ca.crt", "", ""]).await;
    let missing = without["missing"].as_array().unwrap();
    let loki = missing
        .iter()
        .find(|missing| missing["backend"] == "loki")
        .expect("Loki is missing");
    let reason = loki["reason"].as_str().unwrap();
    assert!(reason.to_lowercase().contains("certificate"), "{reason}");
}

#[tokio::test]
async fn the_doctor_follows_an_order_into_a_loki_that_asks_for_a_certificate() {
    let pki = Pki::new();
    let loki = pki.serve(one_line()).await;
    let stack = Stack::start().await;
    let gateway = stack.url("gateway");
    let run = async |[ca, certificate, key]: [&str; 3]| {
        let files = [ca, certificate, key].map(|name| pki.path(name).display().to_string());
        let mut arguments = vec![
            "--gateway-url",
            &gateway,
            "--loki-url",
            &loki,
            "--timeout",
            "2s",
        ];
        arguments.extend(["--backend-certificate", &files[0]]);
        if !certificate.is_empty() {
            arguments.extend(["--backend-client-certificate", &files[1]]);
            arguments.extend(["--backend-client-key", &files[2]]);
        }
        doctor(&arguments).await
    };
    let (code, said, _) = run(WHOLE).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("ok      order -> Loki          1 lines of data"),
        "{said}"
    );

    let (code, said, _) = run(["ca.crt", "", ""]).await;
    assert_eq!(code, 1, "{said}");
    let line = said
        .lines()
        .find(|line| line.starts_with("FAIL    order -> Loki"))
        .unwrap_or_default();
    assert!(line.to_lowercase().contains("certificate"), "{said}");
    // Another authority: not "nothing answers there", for something does.
    let (_, said, _) = run(["client.crt", "client.crt", "client.key"]).await;
    let line = said
        .lines()
        .find(|line| line.starts_with("FAIL    order -> Loki"))
        .unwrap_or_default();
    assert!(line.to_lowercase().contains("certificate"), "{said}");
    stack.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_variable() {
    let pki = Pki::new();
    let state = tempfile::tempdir().unwrap();
    for (files, variable, problem) in [
        (
            ["absent", "", ""],
            "BACKEND_CERTIFICATE: cannot read",
            "absent",
        ),
        (
            ["rubbish", "", ""],
            "BACKEND_CERTIFICATE: ",
            "rubbish holds no certificate",
        ),
        (
            ["", "client.crt", ""],
            "BACKEND_CLIENT_KEY: is unset, but BACKEND_CLIENT_CERTIFICATE is set",
            "",
        ),
        (
            ["", "", "client.key"],
            "BACKEND_CLIENT_CERTIFICATE: is unset, but BACKEND_CLIENT_KEY is set",
            "",
        ),
        (
            ["", "rubbish", "client.key"],
            "BACKEND_CLIENT_CERTIFICATE: ",
            "rubbish holds no certificate",
        ),
        (
            ["", "client.crt", "rubbish"],
            "BACKEND_CLIENT_KEY: ",
            "rubbish holds no private key",
        ),
        (
            ["", "client.crt", "localhost.key"],
            "BACKEND_CLIENT_KEY: ",
            "localhost.key",
        ),
    ] {
        let mut command = Herald::command(state.path());
        command.envs(pki.variables(files));
        let mut herald = Child::spawn("herald", command);
        assert_eq!(herald.wait().await.code(), Some(1), "{files:?}");
        let said = herald.stderr().join("\n");
        assert!(
            said.contains(variable) && said.contains(problem),
            "{files:?}: {said}"
        );
    }
    let rubbish = pki.path("rubbish").display().to_string();
    let (code, _, said) = doctor(&["--backend-certificate", &rubbish]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("BACKEND_CERTIFICATE") && said.contains(&rubbish),
        "{said}"
    );
}
