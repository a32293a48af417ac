//! There is one configuration: what the chart holds are the files of the repository, and the programs accept them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::rendering::{Pod, Rendering, name_of, text};
use super::{chart, path};
use crate::harness::{Directory, list, omnitrace, repository, run_tool, tool};

/// Rendered by the program itself, so it is no link.
const ALERTMANAGER: &str = "files/alertmanager.json";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_files_of_the_chart_are_links_to_those_of_the_repository() {
    let mut links = 0;
    for entry in std::fs::read_dir(chart("files")).unwrap() {
        let path = entry.unwrap().path();
        if path == chart(ALERTMANAGER) {
            continue;
        }
        assert!(path.is_symlink() && path.exists(), "{}", path.display());
        links += 1;
    }
    assert!(links >= 9, "{links}");
}

/// `UPDATE_DOCS=1 cargo test -p omnitrace --test e2e helm::` writes it anew.
#[test]
fn alertmanagers_configuration_is_what_the_command_renders() {
    let directory = Directory::new();
    std::fs::write(directory.path().join("herald_secret"), "rendered-secret").unwrap();
    let output = omnitrace(["alertmanager-config", "--herald-url", "http://herald:9095"])
        .args([
            "--secrets-mounted-at",
            "/etc/alertmanager/secrets/omnitrace-receivers",
            "--secrets",
        ])
        .arg(directory.path())
        .output()
        .expect("alertmanager-config");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rendered = String::from_utf8(output.stdout).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(chart(ALERTMANAGER), &rendered).unwrap();
    }
    assert_eq!(
        read(&chart(ALERTMANAGER)),
        rendered,
        "UPDATE_DOCS=1 cargo test -p omnitrace --test e2e helm::"
    );
}

/// A package has the files themselves in the place of links.
#[test]
#[ignore = "needs helm: just test-helm"]
fn a_package_holds_the_files_that_the_links_lead_to() {
    let directory = Directory::new();
    let target = directory.path().display().to_string();
    let (packed, said) = run_tool("helm", &["package", &path(""), "--destination", &target]);
    assert!(packed, "{said}");
    let name = format!("omnitrace-{}.tgz", env!("CARGO_PKG_VERSION"));
    let unpacked = Command::new("tar")
        .args(["-xzf", &name])
        .current_dir(directory.path())
        .status();
    assert!(unpacked.expect("tar").success(), "{name}");
    for (inside, original) in [
        ("rules/production.yml", "alerts/rules/production.yml"),
        ("rules/demo.yml", "alerts/rules/demo.yml"),
        ("dashboards/overview.json", "dashboards/overview.json"),
        (
            "collector/collector.yaml",
            "deploy/collector/collector.yaml",
        ),
        ("collector/tier1.yaml", "deploy/collector/tier1.yaml"),
        ("init.sql", "deploy/postgres/init.sql"),
    ] {
        let packed = directory.path().join("omnitrace/files").join(inside);
        assert_eq!(read(&packed), read(&repository(original)), "{inside}");
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn rules_and_dashboards_are_those_of_the_repository() {
    for rendering in Rendering::all() {
        let profile = if rendering.is_trial() {
            "demo"
        } else {
            "production"
        };
        let rules: Value =
            serde_saphyr::from_str(&read(&repository(&format!("alerts/rules/{profile}.yml"))))
                .unwrap();
        let rendered = rendering
            .kind("PrometheusRule")
            .map(|rule| rule["spec"].clone());
        let mounted = rendering.object("ConfigMap", "trial-prometheus");
        let mounted =
            mounted.map(|map| serde_saphyr::from_str(text(&map["data"]["rules.yml"])).unwrap());
        for found in rendered.chain(mounted) {
            assert!(found == rules, "{rendering}: other rules");
        }
        let labelled = rendering
            .kind("ConfigMap")
            .filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
        for map in labelled {
            let (file, data) = map["data"].as_object().unwrap().iter().next().unwrap();
            assert_eq!(
                name_of(map),
                format!("dashboard-{}", file.trim_end_matches(".json"))
            );
            let original = read(&repository(&format!("dashboards/{file}")));
            assert!(text(data) == original.trim_end(), "{rendering}: {file}");
        }
    }
    let of = |profile: &str, kind: &str| Rendering::plain(profile).kind(kind).count();
    let files = std::fs::read_dir(repository("dashboards")).unwrap();
    let files = files.filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|end| end == "json")
    });
    let maps = Rendering::plain("production").kind("ConfigMap");
    assert_eq!(
        maps.filter(|map| name_of(map).starts_with("dashboard-"))
            .count(),
        files.count()
    );
    assert_eq!(
        [
            of("production", "PrometheusRule"),
            of("trial", "PrometheusRule")
        ],
        [1, 0]
    );
}

/// Asks the real collector about the arguments, variables and files of a pod.
fn validated(rendering: &Rendering, pod: &Pod) {
    let directory = Directory::new();
    let here = directory.path().display().to_string();
    let volumes = list(&pod.spec["volumes"]);
    let config = volumes
        .iter()
        .find(|volume| volume["name"] == "config")
        .expect("a volume config");
    let map = rendering
        .object("ConfigMap", text(&config["configMap"]["name"]))
        .expect("its ConfigMap");
    for (file, data) in map["data"].as_object().unwrap() {
        std::fs::write(
            directory.path().join(file),
            text(data).replace("/var/lib/otelcol", &here),
        )
        .unwrap();
    }
    let arguments = list(&pod.containers()[0]["args"]);
    let arguments = arguments
        .iter()
        .map(|argument| text(argument).replace("/etc/otelcol", &here));
    let output = Command::new(tool("otelcol"))
        .arg("validate")
        .args(arguments)
        .envs(pod.literals())
        .env("OMNITRACE_NODE", "node-1")
        .output()
        .expect("otelcol");
    assert!(
        output.status.success(),
        "{rendering}: {}: {}",
        pod.owner,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "needs helm and the collector: just test-helm"]
fn the_collector_accepts_what_its_pods_are_given() {
    let mut seen = 0;
    for rendering in Rendering::all() {
        for pod in rendering.pods() {
            if ["collector", "collector-tier2", "node-logs"].contains(&pod.owner) {
                validated(rendering, &pod);
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "{seen}");
}

/// What a Service says of its name is what the configuration sends to.
#[test]
#[ignore = "needs helm: just test-helm"]
fn traces_and_logs_go_where_the_values_say() {
    let arguments = |profile: &str| {
        list(
            &Rendering::plain(profile)
                .pod("collector-tier2")
                .containers()[0]["args"],
        )
    };
    let has = |profile: &str, end: &str| {
        arguments(profile)
            .iter()
            .any(|argument| text(argument).ends_with(end))
    };
    assert!(has(
        "production",
        "otlp_grpc/jaeger::endpoint: jaeger-collector.tracing.svc:4317"
    ));
    assert!(has(
        "production",
        "otlp_http/loki::endpoint: http://loki-gateway.logging.svc:80/otlp"
    ));
    assert!(has("production", "/tier2.yaml") && !has("trial", "/tier2.yaml"));
}
