//! Who declares which metrics, and which process exposes them.

use telemetry::Metric;
use telemetry::names::{db, http_client, http_server, process};

/// Every owner, as the documentation calls it, and what it declares.
pub const OWNERS: [(&str, &[Metric]); 9] = [
    (
        "HTTP server (feature `actix`, `tower` or `axum`)",
        http_server::METRICS,
    ),
    ("HTTP client (feature `reqwest`)", http_client::METRICS),
    ("Database (feature `sqlx`)", db::METRICS),
    ("Every process", process::METRICS),
    ("Every service (crate `service`)", service::METRICS),
    ("data", data::METRICS),
    ("probe", probe::METRICS),
    ("herald", herald::METRICS),
    ("console", console::METRICS),
];

/// Every declaration.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    OWNERS.into_iter().flat_map(|(_, metrics)| metrics)
}

/// What a process exposes.
pub fn of(service: &str) -> Vec<&'static Metric> {
    let own: &[&[Metric]] = match service {
        "gateway" => &[http_client::METRICS, service::METRICS],
        "data" => &[
            http_client::METRICS,
            db::METRICS,
            service::METRICS,
            data::METRICS,
        ],
        "downstream" => &[service::METRICS],
        "herald" => &[herald::METRICS],
        other => panic!("nobody knows what {other} exposes"),
    };
    let lists = [process::METRICS, http_server::METRICS];
    let all = lists.iter().chain(own).copied().flatten();
    // Only data names something that it needs.
    all.filter(|metric| metric.name != "service_dependency_up" || service == "data")
        .collect()
}

#[test]
fn every_name_has_one_owner() {
    let mut names: Vec<&str> = all().map(|metric| metric.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a metric is declared twice");
}
