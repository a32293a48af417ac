//! `omnitrace licenses` names every crate that is compiled in. `UPDATE_DOCS=1 cargo test -p omnitrace --test e2e licenses::` rewrites
//! its list, src/licenses.json, from the packages that Cargo.lock pins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cli::run;
use crate::harness::{omnitrace, repository};

/// The platforms that archives and images are made for.
const PLATFORMS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
];

/// The standard text, for the one package that names this license and has no file of it.
const POSTGRESQL: &str = include_str!("licenses/PostgreSQL.txt");

/// What cargo prints about this workspace, for all platforms.
fn cargo(arguments: &[&str], platform: &str) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(repository("")).args(arguments);
    command.arg("--locked");
    for name in PLATFORMS {
        command.args([platform, name]);
    }
    let output = command.output().expect("cargo");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Name and version of each crate that is linked into the program. Our own have a path after them.
fn linked() -> BTreeSet<String> {
    let edges = ["--edges", "normal,no-proc-macro", "--prefix", "none"];
    let arguments = [&["tree", "--package", "omnitrace"], &edges[..]].concat();
    let tree = cargo(&arguments, "--target");
    // An empty line stands between two platforms.
    let lines = tree
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("(/"));
    let crates: BTreeSet<_> = lines
        .map(|line| line.trim_end_matches(" (*)").replacen(" v", " ", 1))
        .collect();
    assert!(crates.len() > 100, "{tree}");
    crates
}

fn read(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

/// The texts in a package's directory whose names begin with one of these.
fn texts(package: &Path, begin: &[&str]) -> Vec<String> {
    let entries = std::fs::read_dir(package).expect("the package's directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        let name = name.to_lowercase();
        path.is_file() && begin.iter().any(|begin| name.starts_with(begin))
    });
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// Whether it may be used under the Apache License alone. Older packages write `/` for `OR`.
fn offers_apache(expression: &str) -> bool {
    let alternatives = expression.replace('/', " OR ");
    let mut alternatives = alternatives.split(" OR ").map(str::trim);
    !expression.contains(" AND ") && alternatives.any(|name| name == "Apache-2.0")
}

/// What src/licenses.json has to be.
fn generated() -> Value {
    let metadata = cargo(&["metadata", "--format-version", "1"], "--filter-platform");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let linked = linked();
    // Rust's standard library is linked in as well.
    let mut apache = vec!["std (of Rust)".to_owned()];
    let mut covered: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let mut cover = |component: &str, text: String| {
        let words: Vec<_> = text.split_whitespace().collect();
        let components = &mut covered.entry(words.join(" ")).or_insert((text, vec![])).1;
        components.push(component.to_owned());
    };
    let mut found = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let component = format!("{} {}", text("name"), text("version"));
        if !linked.contains(&component) {
            continue;
        }
        let directory = Path::new(text("manifest_path"));
        let directory = directory.parent().expect("a directory");
        let told = if offers_apache(text("license")) {
            apache.push(component.clone());
            texts(directory, &["notice", "license-third-party"])
        } else {
            let mut told = texts(
                directory,
                &["license", "licence", "copying", "copyright", "notice"],
            );
            if told.is_empty() && text("license") == "(Apache-2.0 OR MIT) AND PostgreSQL" {
                apache.push(component.clone());
                told.push(POSTGRESQL.to_owned());
            }
            assert!(
                !told.is_empty(),
                "{component}: no text of its license, {}",
                text("license")
            );
            told
        };
        told.into_iter().for_each(|text| cover(&component, text));
        found.insert(component);
    }
    let unknown: Vec<_> = linked.difference(&found).collect();
    assert!(unknown.is_empty(), "no package of {unknown:?}");
    for entry in std::fs::read_dir(repository("crates/console/src/web/vendor")).expect("scripts") {
        let script = entry.expect("a directory").path();
        let name = script.file_name().expect("a name").to_string_lossy();
        let pinned = read(&repository("crates/omnitrace/tests/pages/package.json"));
        let pinned: Value = serde_json::from_str(&pinned).expect("JSON");
        let version = pinned["dependencies"][&*name]
            .as_str()
            .expect("a pinned version");
        cover(
            &format!("{name} {version} (script of the console's pages)"),
            read(&script.join("LICENSE")),
        );
    }
    apache.sort();
    let mut texts: Vec<_> = covered.into_values().collect();
    texts.sort_by(|(_, one), (_, other)| one.cmp(other));
    let texts: Vec<_> = texts
        .into_iter()
        .map(|(text, components)| json!({"components": components, "text": text}))
        .collect();
    json!({"apache": apache, "texts": texts})
}

#[test]
fn the_list_is_that_of_the_crates_that_are_linked() {
    let path = repository("crates/omnitrace/src/licenses.json");
    let generated = serde_json::to_string_pretty(&generated()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).expect("it is writable");
        return;
    }
    assert!(
        read(&path) == generated,
        "crates/omnitrace/src/licenses.json is out of date: run `just docs`"
    );
}

#[tokio::test]
async fn every_crate_and_script_is_printed_with_a_license() {
    let (code, printed, _) = run(omnitrace(["licenses", "--json"]), None).await;
    assert_eq!(code, 0);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let mut named = BTreeSet::new();
    for license in printed["licenses"].as_array().expect("licenses") {
        assert!(
            license["text"].as_str().expect("a text").len() > 100,
            "{license}"
        );
        let components = license["components"].as_array().expect("components");
        named.extend(components.iter().filter_map(Value::as_str));
    }
    let (code, text, _) = run(omnitrace(["licenses"]), None).await;
    assert_eq!(code, 0);
    for component in linked()
        .iter()
        .map(String::as_str)
        .chain(named.iter().copied())
    {
        assert!(named.contains(component), "{component}");
        assert!(text.lines().any(|line| line == component), "{component}");
    }
    for expected in [
        "GNU Affero General Public",
        "END OF TERMS AND CONDITIONS",
        "Leon Sorokin",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    assert!(
        named.iter().any(|name| name.starts_with("uplot ")),
        "{named:?}"
    );
}
