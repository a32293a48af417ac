//! The rules that the compiler cannot hold: who may import, read and say what (docs/ARCHITECTURE.md, "Invariants").

use std::path::{Path, PathBuf};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every file below `directory` with this extension, with its text. Finding none is an error: the check would be void.
fn files(directory: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(directory)];
    while let Some(path) = pending.pop() {
        for entry in
            std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file below {directory}");
    found
}

/// Code only: comments may name what code may not.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn offenders(
    directory: &str,
    allowed: impl Fn(&str) -> bool,
    forbidden: impl Fn(&str) -> bool,
) -> Vec<String> {
    files(directory, "rs")
        .into_iter()
        .filter(|(name, _)| !allowed(name))
        .filter_map(|(name, text)| {
            code(&text)
                .find(|line| forbidden(line))
                .map(|line| format!("{name}: {}", line.trim()))
        })
        .collect()
}

#[test]
fn services_never_import_each_other() {
    for service in SERVICES {
        let manifest =
            std::fs::read_to_string(root().join(format!("crates/{service}/Cargo.toml"))).unwrap();
        for other in SERVICES.into_iter().filter(|other| *other != service) {
            assert!(
                !manifest
                    .lines()
                    .any(|line| line.starts_with(&format!("{other}."))),
                "{service} depends on {other}"
            );
        }
    }
}

#[test]
fn the_same_file_names_in_every_service() {
    for service in SERVICES {
        for file in [
            "main.rs",
            "lib.rs",
            "settings.rs",
            "handlers.rs",
            "faults.rs",
        ] {
            let exempt = service == "gateway" && file == "faults.rs";
            let there = root()
                .join(format!("crates/{service}/src/{file}"))
                .is_file();
            assert!(there || exempt, "crates/{service}/src/{file} is missing");
        }
    }
}

#[test]
fn only_service_settings_reads_the_environment() {
    // Tests and the adopter's example are programs of their own.
    let allowed = |name: &str| {
        name == "crates/service/src/settings.rs"
            || ["/tests/", "/examples/", "/benches/"]
                .iter()
                .any(|place| name.contains(place))
    };
    let reads = |line: &str| {
        ["env::var", "env::vars", "option_env!"]
            .iter()
            .any(|call| line.contains(call))
    };
    assert_eq!(offenders("crates", allowed, reads), [] as [String; 0]);
}

#[test]
fn only_telemetry_names_opentelemetry() {
    let decodes = |name: &str| {
        name.starts_with("crates/telemetry/")
            || name.starts_with("crates/console/")
            || name.contains("/tests/")
    };
    let names = |line: &str| line.contains("opentelemetry::") || line.contains("opentelemetry_");
    assert_eq!(offenders("crates", decodes, names), [] as [String; 0]);
    let beyond_proto = |line: &str| names(&line.replace("opentelemetry_proto", ""));
    let telemetry =
        |name: &str| name.starts_with("crates/telemetry/") || name.ends_with("e2e/repository.rs");
    assert_eq!(
        offenders("crates", telemetry, beyond_proto),
        [] as [String; 0]
    );
}

#[test]
fn only_the_store_holds_sql() {
    let elsewhere = |name: &str| {
        name == "crates/data/src/store.rs"
            || !SERVICES
                .iter()
                .any(|service| name.starts_with(&format!("crates/{service}/src")))
    };
    let sql = |line: &str| {
        [
            "\"SELECT ",
            "\"INSERT ",
            "\"UPDATE ",
            "\"DELETE ",
            "\"LOCK ",
        ]
        .iter()
        .any(|start| line.contains(start))
    };
    assert_eq!(offenders("crates", elsewhere, sql), [] as [String; 0]);
}

#[test]
fn files_stay_small() {
    let large: Vec<String> = files("crates", "rs")
        .into_iter()
        // The catalogue is a table, the settings one list of variables: splitting either would hide it.
        .filter(|(name, _)| {
            ![
                "crates/telemetry/src/names.rs",
                "crates/telemetry/src/settings.rs",
            ]
            .contains(&name.as_str())
        })
        .filter(|(_, text)| text.lines().count() > 450)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert_eq!(large, [] as [String; 0]);
}
