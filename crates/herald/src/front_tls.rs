//! HTTPS for Alertmanager: herald's certificate, and the authorities for client certificates. Read once, at the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use service::settings::{SettingError, wrong};

use crate::setting_files::{certificates, half, no_private_key, read};

const CERTIFICATE: &str = "HERALD_TLS_CERTIFICATE";
const KEY: &str = "HERALD_TLS_KEY";
const CLIENT_CA: &str = "HERALD_TLS_CLIENT_CA";

/// PEM files of the listener; with none it speaks HTTP.
#[derive(Debug, Default, Clone)]
pub struct FrontTls {
    /// `HERALD_TLS_CERTIFICATE`: herald's certificate, with the chain to its authority.
    pub certificate: Option<PathBuf>,
    /// `HERALD_TLS_KEY`: its key.
    pub key: Option<PathBuf>,
    /// `HERALD_TLS_CLIENT_CA`: a client that sends alerts must have a certificate that one of these authorities has signed.
    pub client_ca: Option<PathBuf>,
}

impl FrontTls {
    /// Whether `/alerts` asks for a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    /// The configuration for HTTPS; `None` for HTTP.
    pub(crate) fn config(&self) -> Result<Option<Arc<ServerConfig>>, SettingError> {
        let (certificate, key) = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(half(KEY, CERTIFICATE)),
            (None, Some(_)) => return Err(half(CERTIFICATE, KEY)),
            (None, None) if self.client_ca.is_some() => return Err(half(CERTIFICATE, CLIENT_CA)),
            (None, None) => return Ok(None),
        };
        let verifier = match &self.client_ca {
            Some(path) => verifier(path)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(CERTIFICATE, certificate)?, private_key(key)?)
            .map_err(|error| {
                wrong(
                    KEY,
                    format!("{} and {}: {error}", key.display(), certificate.display()),
                )
            })?;
        Ok(Some(Arc::new(config)))
    }
}

/// A client without a certificate may request only `/live`, `/ready` and `/metrics`.
fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, SettingError> {
    let problem = |error: String| wrong(CLIENT_CA, format!("{}: {error}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path)? {
        roots
            .add(certificate)
            .map_err(|error| problem(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
    verifier.build().map_err(|error| problem(error.to_string()))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SettingError> {
    PrivateKeyDer::from_pem_slice(&read(KEY, path)?).map_err(|_| no_private_key(KEY, path))
}
