//! A feature that is off brings nothing: its crates are not in the dependency tree. `just features` compiles each alone.

use std::collections::BTreeSet;
use std::process::Command;

/// Features, and crates that come with no other.
const BRINGS: [(&str, &[&str]); 4] = [
    (
        "actix",
        &["actix-http", "actix-web", "http 0.2", "tracing-actix-web"],
    ),
    ("axum", &["axum"]),
    ("reqwest", &["reqwest-middleware", "reqwest-tracing"]),
    ("sqlx", &["deadpool", "sqlx", "sqlx-core", "sqlx-postgres"]),
];

/// Names, and names with the first two numbers of the version, of all crates that are linked.
fn tree(features: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "--package", "telemetry"]);
    cargo.args(["--edges", "normal", "--prefix", "none"]);
    cargo.args(["--no-default-features", "--features", features]);
    let output = cargo.output().expect("cargo");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let names = text.lines().flat_map(|line| {
        let (name, version) = line.split_once(" v").expect("a name and a version");
        let minor: Vec<&str> = version.split('.').take(2).collect();
        [name.to_owned(), format!("{name} {}", minor.join("."))]
    });
    names.collect()
}

#[test]
fn what_is_not_asked_for_does_not_come_along() {
    let features = BRINGS.map(|(feature, _)| feature);
    for asked in ["", "tower"].into_iter().chain(features) {
        let tree = tree(asked);
        assert!(tree.contains("opentelemetry_sdk"), "{asked:?}: {tree:?}");
        for (feature, crates) in BRINGS {
            for name in crates {
                let comes = tree.contains(*name);
                assert_eq!(comes, feature == asked, "{name} with {asked:?}");
            }
        }
    }
}
