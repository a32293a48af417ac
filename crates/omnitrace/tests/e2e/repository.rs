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

/// Whether the build of the image sees it, by the kinds of pattern that its list has.
fn is_in_the_image(path: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|pattern| match pattern.split_once('*') {
        Some((before, after)) => path.starts_with(before) && path.ends_with(after),
        None => path == *pattern || path.starts_with(&format!("{pattern}/")),
    })
}

/// What a file compiles in from outside of its crate, or lists to do so.
fn compiled_in(name: &str, text: &str) -> Vec<String> {
    let begin = match name.ends_with("build.rs") {
        true => ".join(\"",
        false => "include_str!(\"",
    };
    let literals = text.split(begin).skip(1);
    let literals = literals.filter_map(|rest| rest.split('"').next());
    let outside = literals.filter(|path| path.starts_with("../.."));
    let directory = root().join(name).parent().unwrap().to_owned();
    let resolved = outside.map(|path| directory.join(path).canonicalize().unwrap());
    resolved
        .map(|path| match path.is_dir() {
            true => path.join("any.md"),
            false => path,
        })
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect()
}

#[test]
fn the_image_is_built_from_all_that_is_compiled_in() {
    let list = std::fs::read_to_string(root().join("deploy/Dockerfile.dockerignore")).unwrap();
    let allowed: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let sources = files("crates", "rs")
        .into_iter()
        .filter(|(name, _)| !name.contains("/tests/"));
    let needed: Vec<String> = sources
        .flat_map(|(name, text)| compiled_in(&name, &text))
        .collect();
    for path in [
        "alerts/rules/demo.yml",
        "docs/runbooks/any.md",
        "Cargo.lock",
    ] {
        assert!(
            needed.iter().any(|needed| needed == path),
            "{path} in {needed:?}"
        );
    }
    for path in &needed {
        assert!(
            is_in_the_image(path, &allowed),
            "deploy/Dockerfile.dockerignore keeps {path} out"
        );
    }
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
    // Tests and the adopter's example are programs of their own, and what Cargo tells a build script stands there.
    let allowed = |name: &str| {
        name == "crates/service/src/settings.rs"
            || name.ends_with("/build.rs")
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
        // What faults do to the database is not for who reads the business.
        ["store.rs", "faults.rs"]
            .iter()
            .any(|file| name == format!("crates/data/src/{file}"))
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
        // One list of variables: splitting it would hide it.
        .filter(|(name, _)| name != "crates/telemetry/src/settings.rs")
        .filter(|(_, text)| text.lines().count() > 450)
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert_eq!(large, [] as [String; 0]);
}

/// What `git` does not keep, or what names a registry by its nature.
pub(crate) const PASSED_OVER: [&str; 9] = [
    ".git",
    "target",
    "node_modules",
    ".omnitrace",
    "generated",
    "Cargo.lock",
    "package-lock.json",
    "go.mod",
    "go.sum",
];

/// Every text of the repository that `passed_over` does not name, and its path.
pub(crate) fn texts(passed_over: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if passed_over.contains(&&*name) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                found.push((path.display().to_string(), text));
            }
        }
    }
    assert!(found.len() > 200, "only {} files", found.len());
    found
}

/// `file: match` for every text that `pattern` finds something in.
fn matches(texts: &[(String, String)], pattern: &str) -> Vec<String> {
    let pattern = regex::Regex::new(pattern).unwrap();
    let of_text = |(path, text): &(String, String)| {
        let found = pattern.find(text)?;
        Some(format!("{path}: {}", found.as_str()))
    };
    texts.iter().filter_map(of_text).collect()
}

fn planted(text: String) -> [(String, String); 1] {
    [("planted".to_owned(), text)]
}

/// Who is behind a proxy or a mirror says so once, in the configuration of apt, pip, npm, go or Maven.
#[test]
fn no_file_names_the_host_of_a_package_registry() {
    let hosts = r"(?i)\b(?:[a-z0-9-]+\.)*(?:debian|maven|npmjs|pythonhosted|pypi|golang)\.(?:org|com)\b|\bcrates\.io\b";
    for (name, end) in [
        ("deb.debian", "org"),
        ("registry.npmjs", "org"),
        ("pypi", "org"),
    ] {
        assert_eq!(
            matches(&planted(format!("x {name}.{end}/y")), hosts).len(),
            1,
            "{name}"
        );
    }
    assert_eq!(matches(&texts(&PASSED_OVER), hosts), [] as [String; 0]);
}

/// Loki and Grafana are images that their users pull; nothing here builds them, or k6, or Tempo.
#[test]
fn no_file_names_a_module_under_the_agpl() {
    // Not those whose name only begins so: grafana-foundation-sdk is under the Apache License.
    let modules = r"github\.com/grafana/(?:loki|grafana|tempo)(?:[^-\w]|$)|go\.k6\.io";
    for (name, found) in [("loki/v3", 1), ("grafana", 1), ("grafana-x/go", 0)] {
        let module = ["github.com", "grafana", name].join("/");
        let text = planted(format!("require {module} v3.7.8"));
        assert_eq!(matches(&text, modules).len(), found, "{module}");
    }
    assert_eq!(
        matches(&texts(&PASSED_OVER[..5]), modules),
        [] as [String; 0]
    );
}

/// No Loki runs in the tests, so this is all that they say about its file: it has the keys that Loki 3.7.8 started with.
#[test]
fn loki_is_configured_with_keys_that_it_has_started_with() {
    let text = std::fs::read_to_string(root().join("deploy/loki/loki.yaml")).unwrap();
    let mut keys = Vec::new();
    key_paths(&serde_saphyr::from_str(&text).unwrap(), "", &mut keys);
    keys.sort();
    keys.dedup();
    let known: Vec<&str> = include_str!("loki-3.7.8.txt").lines().collect();
    assert_eq!(
        keys, known,
        "`just up` starts the real Loki: when it takes the new keys, list them in loki-3.7.8.txt"
    );
}

/// Who reads a ticket finds the traces and log lines of all the time that it is about, a day later too.
#[test]
fn traces_and_logs_are_kept_for_longer_than_a_ticket_looks_back() {
    let definition = slo::Definition::embedded().unwrap();
    let windows = definition.profile("production").unwrap().pairs.iter();
    let longest = windows.map(|pair| pair.long.seconds()).max().unwrap();
    for (file, place) in [
        (
            "jaeger/badger.yaml",
            "/extensions/jaeger_storage/backends/store/badger/ttl/spans",
        ),
        (
            "jaeger/cassandra.yaml",
            "/extensions/jaeger_storage/backends/store/cassandra/schema/trace_ttl",
        ),
        ("loki/loki.yaml", "/limits_config/retention_period"),
    ] {
        let text = std::fs::read_to_string(root().join("deploy").join(file)).unwrap();
        let parsed: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let kept = parsed.pointer(place).and_then(serde_json::Value::as_str);
        let hours = kept.and_then(|kept| kept.strip_suffix('h')?.parse::<u64>().ok());
        let hours = hours.unwrap_or_else(|| panic!("{file}: {place} is {kept:?}, not hours"));
        let wanted = longest + 24 * 3600;
        assert!(
            hours * 3600 >= wanted,
            "{file}: {hours} h are less than {wanted} s"
        );
    }
}

/// Paths of all values: `schema_config.configs[].store`.
fn key_paths(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            let dot = if path.is_empty() { "" } else { "." };
            map.iter()
                .for_each(|(key, value)| key_paths(value, &format!("{path}{dot}{key}"), found));
        }
        serde_json::Value::Array(items) => {
            items
                .iter()
                .for_each(|item| key_paths(item, &format!("{path}[]"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

/// What others have written is as they have published it, and each file of it is listed (`sha256sum`).
#[test]
fn what_is_vendored_is_unchanged_and_has_its_licence() {
    let directory = root().join("crates/console/src/web/vendor/uplot");
    let check = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&directory)
        .output()
        .expect("sha256sum");
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}");
    let mut files: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "SHA256SUMS")
        .collect();
    files.sort();
    let listed: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_suffix(": OK"))
        .collect();
    assert_eq!(listed, files);
    assert!(files.contains(&"LICENSE".to_owned()), "{files:?}");
}
