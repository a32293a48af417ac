//! Files that settings name: secrets, and certificates and keys in PEM. Errors name the variable and the file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use service::settings::{SettingError, wrong};

/// The maximum size of a file: a bundle of all authorities has a fifth of it.
const MOST: u64 = 1 << 20;

/// The bytes of a file.
pub(crate) fn read(variable: &str, path: &Path) -> Result<Vec<u8>, SettingError> {
    regular(path)
        .map_err(|error| wrong(variable, format!("cannot read {}: {error}", path.display())))
}

/// Reads only regular files: a device may be endless, and a pipe may have no writer. Neither may block the start.
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

/// The certificates of a file. One without any would be taken for an empty list.
pub(crate) fn certificates(
    variable: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SettingError> {
    let pem = read(variable, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.unwrap_or_default();
    if found.is_empty() {
        let problem = format!("{} holds no certificate; give a PEM file", path.display());
        return Err(wrong(variable, problem));
    }
    Ok(found)
}

/// The error for a file without a private key.
pub(crate) fn no_private_key(variable: &str, path: &Path) -> SettingError {
    let problem = format!("{} holds no private key; give a PEM file", path.display());
    wrong(variable, problem)
}

/// The error if only the certificate or only its key is set.
pub(crate) fn half(missing: &str, set: &str) -> SettingError {
    wrong(
        missing,
        format!("is unset, but {set} is set; a client certificate needs both"),
    )
}
