//! Finds the crate that made a span or event, by the first part of its target: `tokio_shop` is not tokio.

/// Libraries whose own spans stay out of traces.
pub(crate) const LIBRARIES: &[&[&str]] = &[SQLX, HTTP, ACTIX, TOWER, TOKIO, OPENTELEMETRY];

/// Crates of the export path: a record about exporting must not cause another export.
pub(crate) const EXPORT_PATH: &[&[&str]] = &[HTTP, OPENTELEMETRY];

pub(crate) const SQLX: &[&str] = &["sqlx", "sqlx_core", "sqlx_postgres"];
pub(crate) const ACTIX_HTTP: &[&str] = &["actix_http"];
pub(crate) const ACTIX_SERVER: &[&str] = &["actix_server"];
const ACTIX: &[&str] = &[
    "actix",
    "actix_codec",
    "actix_http",
    "actix_router",
    "actix_rt",
    "actix_server",
    "actix_service",
    "actix_tls",
    "actix_utils",
    "actix_web",
];
const HTTP: &[&str] = &[
    "h2",
    "hyper",
    "hyper_rustls",
    "hyper_timeout",
    "hyper_tls",
    "hyper_util",
    "reqwest",
    "reqwest_middleware",
    "reqwest_retry",
    "reqwest_tracing",
    "rustls",
    "rustls_native_certs",
    "rustls_platform_verifier",
    "tokio_rustls",
];
const TOWER: &[&str] = &["axum", "axum_core", "tonic", "tower", "tower_http"];
const TOKIO: &[&str] = &["mio", "tokio", "tokio_stream", "tokio_util"];
const OPENTELEMETRY: &[&str] = &[
    "opentelemetry",
    "opentelemetry_http",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
];

/// Whether one of the crates is meant. OpenTelemetry writes its targets as its packages are called, with dashes.
pub(crate) fn is_of(target: &str, families: &[&[&str]]) -> bool {
    let root = target.split(':').next().unwrap_or_default();
    let written = |byte| if byte == b'-' { b'_' } else { byte };
    let mut crates = families.iter().copied().flatten();
    crates.any(|name| name.len() == root.len() && root.bytes().map(written).eq(name.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_meant_and_not_whoever_begins_like_it() {
        for target in [
            "tokio",
            "tokio::runtime",
            "sqlx::query",
            "sqlx_postgres::connection",
            "h2::codec",
            "actix_http::h1",
            "opentelemetry-otlp",
            "opentelemetry_sdk::trace",
        ] {
            assert!(is_of(target, LIBRARIES), "{target}");
        }
        for target in [
            "tokio_shop",
            "tokio_shop::tokio",
            "sqlx_foo::query",
            "h2o",
            "actix_shop",
            "hyperspace::h2",
            "reqwest_cache",
            "opentelemetry_shop",
            "",
        ] {
            assert!(!is_of(target, LIBRARIES), "{target}");
            assert!(!is_of(target, EXPORT_PATH), "{target}");
        }
    }
}
