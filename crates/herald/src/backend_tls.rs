//! HTTPS to backends: the trusted certificates, and herald's own. Read once, before the first request.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, ClientBuilder, Identity};
use service::error::chain;
use service::settings::{SettingError, wrong};

use crate::setting_files::{self, half, no_private_key, read};

const TRUSTED: &str = "BACKEND_CERTIFICATE";
const CERTIFICATE: &str = "BACKEND_CLIENT_CERTIFICATE";
const KEY: &str = "BACKEND_CLIENT_KEY";

/// PEM files for backends with an `https://` address.
#[derive(Debug, Default, Clone)]
pub struct BackendTls {
    /// `BACKEND_CERTIFICATE`: the trusted certificates, instead of the system's.
    pub trusted: Option<PathBuf>,
    /// `BACKEND_CLIENT_CERTIFICATE`: herald's certificate for backends that require one.
    pub client_certificate: Option<PathBuf>,
    /// `BACKEND_CLIENT_KEY`: its key.
    pub client_key: Option<PathBuf>,
}

impl BackendTls {
    /// Finishes a client that uses these files.
    ///
    /// # Errors
    /// Names the variable and the file that cannot be used.
    pub fn client(&self, mut builder: ClientBuilder) -> Result<Client, SettingError> {
        if let Some(path) = &self.trusted {
            builder = builder.tls_certs_only(certificates(TRUSTED, path)?);
        }
        let mut variable = TRUSTED;
        let mut files = self.trusted.iter().collect::<Vec<_>>();
        match (&self.client_certificate, &self.client_key) {
            (None, None) => {}
            (Some(certificate), Some(key)) => {
                builder = builder.identity(identity(certificate, key)?);
                (variable, files) = (KEY, vec![key, certificate]);
            }
            (Some(_), None) => return Err(half(KEY, CERTIFICATE)),
            (None, Some(_)) => return Err(half(CERTIFICATE, KEY)),
        }
        // Only here does the library compare certificate and key.
        let problem = |error| format!("{files:?} cannot be used: {}", chain(&error));
        builder
            .build()
            .map_err(|error| wrong(variable, problem(error)))
    }
}

fn certificates(variable: &str, path: &Path) -> Result<Vec<Certificate>, SettingError> {
    let found = setting_files::certificates(variable, path)?;
    let each = found.iter().map(|der| Certificate::from_der(der));
    each.collect::<Result<_, _>>()
        .map_err(|error| wrong(variable, format!("{}: {}", path.display(), chain(&error))))
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, SettingError> {
    setting_files::certificates(CERTIFICATE, certificate)?;
    let both = [read(CERTIFICATE, certificate)?, read(KEY, key)?].join(&b'\n');
    Identity::from_pem(&both).map_err(|_| no_private_key(KEY, key))
}
