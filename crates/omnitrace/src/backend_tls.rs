//! Options of the commands that use backends: certificates for `https://` addresses.

use std::path::PathBuf;

use clap::Args;

/// Certificates for backends.
#[derive(Debug, Default, Clone, Args)]
pub struct BackendTlsArgs {
    /// PEM file with the certificates to trust for https:// backends, instead of the system's
    #[arg(long, value_name = "FILE", env = "BACKEND_CERTIFICATE")]
    backend_certificate: Option<String>,
    /// PEM file with the certificate to show to backends that ask for one
    #[arg(long, value_name = "FILE", env = "BACKEND_CLIENT_CERTIFICATE")]
    backend_client_certificate: Option<String>,
    /// PEM file with the private key of --backend-client-certificate
    #[arg(long, value_name = "FILE", env = "BACKEND_CLIENT_KEY")]
    backend_client_key: Option<String>,
}

impl BackendTlsArgs {
    /// The files; an empty variable counts as unset.
    pub fn files(self) -> herald::BackendTls {
        let file = |text: Option<String>| text.filter(|text| !text.is_empty()).map(PathBuf::from);
        herald::BackendTls {
            trusted: file(self.backend_certificate),
            client_certificate: file(self.backend_client_certificate),
            client_key: file(self.backend_client_key),
        }
    }
}
