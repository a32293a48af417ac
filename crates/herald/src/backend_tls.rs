//! HTTPS to backends: whom to trust, and which certificate to show. Read once, before the first question.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, ClientBuilder, Identity};
use rustix::fs::OFlags;
use service::error::chain;
use service::settings::{SettingError, wrong};

const TRUSTED: &str = "BACKEND_CERTIFICATE";
const CERTIFICATE: &str = "BACKEND_CLIENT_CERTIFICATE";
const KEY: &str = "BACKEND_CLIENT_KEY";

/// The largest file: a bundle of all authorities has a fifth of it.
const MOST: u64 = 1 << 20;

/// PEM files for backends with an `https://` address.
#[derive(Debug, Default, Clone)]
pub struct BackendTls {
    /// `BACKEND_CERTIFICATE`: the certificates to trust, instead of the system's.
    pub trusted: Option<PathBuf>,
    /// `BACKEND_CLIENT_CERTIFICATE`: shown to backends that ask for one.
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

pub(crate) fn half(missing: &str, set: &str) -> SettingError {
    wrong(
        missing,
        format!("is unset, but {set} is set; a client certificate needs both"),
    )
}

pub(crate) fn read(variable: &str, path: &Path) -> Result<Vec<u8>, SettingError> {
    regular(path)
        .map_err(|error| wrong(variable, format!("cannot read {}: {error}", path.display())))
}

/// A device may have no end, and a pipe nobody at its other end: neither may hold up the start.
fn regular(path: &Path) -> io::Result<Vec<u8>> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= MOST {
        true => Ok(bytes),
        false => Err(io::Error::other("it is larger than 1 MiB")),
    }
}

/// A file without any certificate would be taken for an empty list.
fn certificates(variable: &str, path: &Path) -> Result<Vec<Certificate>, SettingError> {
    let found = Certificate::from_pem_bundle(&read(variable, path)?).unwrap_or_default();
    if found.is_empty() {
        let problem = format!("{} holds no certificate; give a PEM file", path.display());
        return Err(wrong(variable, problem));
    }
    Ok(found)
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, SettingError> {
    certificates(CERTIFICATE, certificate)?;
    let both = [read(CERTIFICATE, certificate)?, read(KEY, key)?].join(&b'\n');
    Identity::from_pem(&both).map_err(|_| {
        let problem = format!("{} holds no private key; give a PEM file", key.display());
        wrong(KEY, problem)
    })
}
