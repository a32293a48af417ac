//! Whom the load may hit.

use anyhow::{Result, bail};
use url::{Host, Url};

/// Checks the target: an `http://` or `https://` URL of a host, nothing more, and on this machine or a bare service name
/// (as in a compose network) unless `allow_remote`. A slip of the keyboard must not become an attack on somebody.
pub fn check(target: &str, allow_remote: bool) -> Result<Url> {
    let Ok(url) = Url::parse(target) else {
        bail!("--target {target:?} is no URL; give one like http://127.0.0.1:8080");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        bail!(
            "--target {target:?} is no http:// or https:// URL; give one like http://127.0.0.1:8080"
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("--target holds credentials, which would end up in reports; give a URL without");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        bail!("--target {target:?} has a path; give the host only, like http://127.0.0.1:8080");
    }
    if !allow_remote && !is_near(&url) {
        bail!(
            "--target {target:?} is neither this machine nor a service of a compose network (a name without dots); \
             add --allow-remote if it is yours and its owners agree"
        );
    }
    Ok(url)
}

fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|mapped| mapped.is_loopback())
        }
        Some(Host::Domain(name)) => !name.is_empty() && !name.contains('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_targets_pass() {
        for target in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:8080/",
            "http://localhost:8080",
            "http://gateway:8080",
        ] {
            assert!(check(target, false).is_ok(), "{target}");
        }
    }

    #[test]
    fn remote_targets_need_a_word() {
        for target in [
            "http://example.com",
            "http://localhost.example.com",
            "http://localhost.:8080",
            "http://10.0.0.1:8080",
            "http://0.0.0.0:8080",
            "http://16843009",
            "http://[2001:db8::1]",
            "http://127.0.0.1.nip.io",
        ] {
            let message = check(target, false).expect_err(target).to_string();
            assert!(message.contains("--allow-remote"), "{message}");
            assert!(check(target, true).is_ok(), "{target}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_always() {
        for target in [
            "127.0.0.1:8080",
            "gateway",
            "ftp://127.0.0.1",
            "http://",
            "http://user:secret@127.0.0.1",
            "http://127.0.0.1/api",
            "http://127.0.0.1/?a=b",
        ] {
            let message = check(target, true).expect_err(target).to_string();
            assert!(
                message.contains("--target") && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
