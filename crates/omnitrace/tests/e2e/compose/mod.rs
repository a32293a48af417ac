//! What `deploy/compose*.yaml` promise, asked of the configuration as Docker Compose renders it: `just test-compose`.
//! No engine is needed for that; `just test-compose-up` starts the same files where one answers.

mod deleting;
mod overlays;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{list, repository, tool};

const SECRETS: [&str; 6] = [
    "OMNITRACE_PROBE_TOKEN",
    "POSTGRES_PASSWORD",
    "OMNITRACE_DATA_PASSWORD",
    "OMNITRACE_EXPORTER_PASSWORD",
    "GRAFANA_PASSWORD",
    "GRAFANA_SECRET_KEY",
];

/// What the overlays of engines do not start without; one that no shell and no sed may take apart.
const ENGINES: [(&str, &str); 3] = [
    (
        "CASSANDRA_SERVERS",
        "cassandra-1.example,cassandra-2.example",
    ),
    (
        "REMOTE_WRITE_URL",
        "https://store.example/api/v1/write?tenant=a|b&extra_label=c",
    ),
    ("CASSANDRA_PASSWORD", "rendered-secret"),
];

/// Every selection that `just up` takes: none, one, several, all.
const SELECTIONS: [&[&str]; 9] = [
    &[],
    &["production"],
    &["tls"],
    &["filelog"],
    &["trimmed"],
    &["cassandra"],
    &["remote-write"],
    &["production", "tls"],
    ALL,
];

const ALL: &[&str] = &[
    "production",
    "filelog",
    "trimmed",
    "cassandra",
    "remote-write",
    "tls",
];

/// Run once and end.
const ONCE: [&str; 5] = ["volumes", "alertmanager-config", "doctor", "fault", "load"];

/// No health check can run in their images (no shell, no client): the gate of `just up` asks them.
const WITHOUT_CHECK: [&str; 2] = ["collector", "loki"];

fn compose(selection: &[&str], arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(tool("docker-compose"));
    // Nothing of this machine's: no .env, no variable.
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .args(["--env-file", "/dev/null", "-f"])
        .arg(repository("deploy/compose.yaml"));
    for overlay in selection {
        command
            .arg("-f")
            .arg(repository(&format!("deploy/compose.{overlay}.yaml")));
    }
    command
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (*name, *value)));
    command
}

/// The services as rendered, all profiles included.
fn rendered(selection: &[&str], more: &[(&str, &str)]) -> BTreeMap<String, Value> {
    let secrets = SECRETS.map(|name| (name, "rendered-secret"));
    let variables = [&secrets[..], &ENGINES, more].concat();
    let arguments = ["--profile", "*", "config", "--format", "json"];
    let output = compose(selection, &arguments, &variables)
        .output()
        .expect("docker-compose");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{selection:?}: {said}");
    assert!(
        said.is_empty(),
        "{selection:?}: Compose warns, of a variable that is not set for example: {said}"
    );
    let config: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let services = config["services"].as_object().expect("services");
    services
        .iter()
        .map(|(name, service)| (name.clone(), service.clone()))
        .collect()
}

/// Asserts something of every service of every selection.
fn everywhere(check: impl Fn(&str, &Value)) {
    for selection in SELECTIONS {
        let services = rendered(selection, &[]);
        assert!(services.len() >= 19, "{selection:?}: {:?}", services.keys());
        for (name, service) in &services {
            check(name, service);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    list(value)
        .iter()
        .map(|item| text(item).to_owned())
        .collect()
}

fn mebibytes(service: &Value) -> u64 {
    text(&service["mem_limit"]).parse::<u64>().unwrap_or(0) >> 20
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn every_image_has_a_pinned_tag() {
    everywhere(|name, service| {
        let image = text(&service["image"]);
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let version = tag.trim_start_matches('v');
        assert!(
            version.starts_with(|first: char| first.is_ascii_digit()) && version.contains('.'),
            "{name}: {image}"
        );
        let ours = image.starts_with("omnitrace");
        let policy = text(&service["pull_policy"]);
        assert_eq!(
            ours,
            ["never", "build"].contains(&policy),
            "{name}: {policy}"
        );
        if image.starts_with("omnitrace:") {
            assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{name}");
        }
    });
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn limits_are_there_and_their_sum_is_two_gibibytes_at_most() {
    everywhere(|name, service| {
        assert!(mebibytes(service) > 0, "{name} has no memory limit");
        assert!(
            service["cpus"].as_f64().is_some_and(|cpus| cpus > 0.0),
            "{name} has no CPU limit"
        );
        assert!(
            service["pids_limit"].as_u64().is_some_and(|pids| pids > 0),
            "{name}: {}",
            service["pids_limit"]
        );
        if let Some(soft) = service["environment"]["GOMEMLIMIT"].as_str() {
            let soft: u64 = soft.trim_end_matches("MiB").parse().expect("MiB");
            assert!(soft < mebibytes(service), "{name}: GOMEMLIMIT {soft} MiB");
        }
    });
    for selection in SELECTIONS {
        // Locust is another load generator, in place of `load`.
        for alternative in ["load", "locust"] {
            let services = rendered(selection, &[]);
            let sum: u64 = services
                .iter()
                .filter(|(name, service)| {
                    let tools = ["doctor", "fault"].contains(&name.as_str());
                    service["profiles"].is_null()
                        || name.as_str() == alternative
                        || (tools && alternative == "load")
                })
                .map(|(_, service)| mebibytes(service))
                .sum();
            assert!(
                sum <= 2048,
                "{selection:?} with {alternative}: {sum} MiB of memory limits"
            );
        }
    }
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn containers_restart_rotate_their_logs_and_say_how_they_are() {
    everywhere(|name, service| {
        let restart = if ONCE.contains(&name) {
            "no"
        } else {
            "unless-stopped"
        };
        assert_eq!(service["restart"], restart, "{name}");
        assert_eq!(service["logging"]["driver"], "json-file", "{name}");
        let options = &service["logging"]["options"];
        assert_eq!(
            (text(&options["max-size"]), text(&options["max-file"])),
            ("10m", "3"),
            "{name}"
        );
        let exempt = ONCE.contains(&name) || WITHOUT_CHECK.contains(&name);
        let check = texts(&service["healthcheck"]["test"]);
        assert_eq!(check.is_empty(), exempt, "{name}: {check:?}");
        // Exec form only: no shell is assumed.
        assert!(exempt || check[0] == "CMD", "{name}: {check:?}");
    });
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn containers_have_no_power_that_they_do_not_need() {
    everywhere(|name, service| {
        assert_eq!(service["read_only"], true, "{name}: root file system");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            texts(&service["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert!(service["privileged"].is_null(), "{name}");
        let added = texts(&service["cap_add"]);
        let allowed: &[&str] = match (name, text(&service["user"])) {
            ("postgres", _) => &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
            ("volumes", "0:0") => &["CHOWN", "DAC_READ_SEARCH"],
            // With the overlay `filelog` only.
            ("collector", "0:0") => &["DAC_OVERRIDE"],
            (_, user) => {
                assert!(!user.starts_with('0'), "{name} runs as {user}");
                &[]
            }
        };
        assert_eq!(added, allowed, "{name}");
    });
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn only_the_listed_ports_are_published_and_only_on_loopback() {
    let published = |services: &BTreeMap<String, Value>| -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (name, service) in services {
            assert!(
                service["network_mode"].is_null() || service["network_mode"] == "none",
                "{name}"
            );
            for port in list(&service["ports"]) {
                assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
                found.insert((name.clone(), text(&port["published"]).to_owned()));
            }
        }
        found
    };
    let expected = [
        ("alertmanager", "9093"),
        ("collector", "4317"),
        ("collector", "4318"),
        ("gateway", "8080"),
        ("grafana", "3000"),
        ("jaeger", "16686"),
        ("locust", "8089"), // with its profile only
        ("prometheus", "9090"),
    ]
    .map(|(name, port)| (name.to_owned(), port.to_owned()));
    for selection in SELECTIONS {
        let found = published(&rendered(selection, &[]));
        assert_eq!(found, BTreeSet::from(expected.clone()), "{selection:?}");
    }
    let variables = [
        "ALERTMANAGER_PORT",
        "OTLP_GRPC_PORT",
        "OTLP_HTTP_PORT",
        "GATEWAY_PORT",
        "GRAFANA_PORT",
        "JAEGER_PORT",
        "LOCUST_PORT",
        "PROMETHEUS_PORT",
    ]
    .map(|name| (name, "12345"));
    for (name, port) in published(&rendered(&[], &variables)) {
        assert_eq!(port, "12345", "{name}: no variable moves it");
    }
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn data_is_kept_in_named_volumes_and_files_are_mounted_read_only() {
    let kept = BTreeMap::from([
        ("alertmanager", "/alertmanager"),
        ("collector", "/var/lib/otelcol"),
        ("grafana", "/var/lib/grafana"),
        ("herald", "/var/lib/omnitrace/herald"),
        ("jaeger", "/badger"),
        ("loki", "/loki"),
        ("postgres", "/var/lib/postgresql"),
        ("prometheus", "/prometheus"),
    ]);
    // Made on the machine that runs the stack.
    let made = ["secrets/receivers", "tls/generated"];
    everywhere(|name, service| {
        let mounts = list(&service["volumes"]);
        if let Some(target) = kept.get(name) {
            let named = |mount: &Value| mount["type"] == "volume" && mount["target"] == *target;
            assert!(mounts.iter().any(named), "{name} keeps nothing at {target}");
        }
        for mount in mounts.iter().filter(|mount| mount["type"] == "bind") {
            assert_eq!(mount["read_only"], true, "{name}: {mount}");
            let source = PathBuf::from(text(&mount["source"]));
            let outside = source.starts_with("/var/lib/docker");
            // What is started on demand mounts what is made for it.
            let on_demand = !service["profiles"].is_null();
            let generated = made
                .iter()
                .any(|part| text(&mount["source"]).contains(part));
            assert!(
                outside || generated || on_demand || source.exists(),
                "{name} mounts {}, which is not there",
                source.display()
            );
        }
    });
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn no_password_stands_in_a_file_and_none_has_a_default() {
    // Without one of them nothing starts, and the error says what to do.
    for absent in SECRETS {
        let others: Vec<_> = SECRETS
            .iter()
            .filter(|name| **name != absent)
            .map(|name| (*name, "x"))
            .collect();
        let output = compose(&[], &["--profile", "*", "config"], &others)
            .output()
            .expect("docker-compose");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(absent) && said.contains("deploy/env.sh"),
            "without {absent}: {said}"
        );
    }
    let secret = |name: &str| {
        ["PASSWORD", "PASS", "SECRET_KEY", "TOKEN"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let mut seen = 0;
    everywhere(|name, service| {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            if secret(variable) {
                assert_eq!(
                    value, "rendered-secret",
                    "{name}: {variable} is written into a file"
                );
            }
        }
    });
    for service in rendered(&[], &[]).values() {
        seen += service.to_string().matches("rendered-secret").count();
    }
    // Postgres takes three; data, its exporter and doctor one each, Grafana two; the probe and whom it asks one each.
    assert_eq!(seen, 12, "the check has lost its objects");
}

/// Each is refused by a name that it was not told (`doors`).
#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn every_part_answers_to_the_name_that_others_call_it_by() {
    const DATA: &str = "OMNITRACE_HTTP_ALLOWED_HOSTS";
    const ADMIN: &str = "OMNITRACE_ADMIN_ALLOWED_HOSTS";
    for selection in SELECTIONS {
        let services = rendered(selection, &[]);
        let url = |service: &str, name: &str| {
            let url = text(&services[service]["environment"][name]);
            url::Url::parse(url).unwrap_or_else(|error| panic!("{service} {name} {url}: {error}"))
        };
        let calls = [
            (url("gateway", "DATA_URL"), "data", DATA),
            (url("data", "DOWNSTREAM_URL"), "downstream", DATA),
            (
                url("alertmanager-config", "HERALD_URL"),
                "herald",
                "HERALD_ALLOWED_HOSTS",
            ),
        ];
        let names = ["gateway", "data", "downstream"];
        let faults = names.map(|name| {
            let admin = url::Url::parse(&format!("http://{name}:9080")).expect("a URL");
            (admin, name, ADMIN)
        });
        for (url, service, variable) in calls.into_iter().chain(faults) {
            let allowed = text(&services[service]["environment"][variable]);
            let host = url.host_str().unwrap_or_default();
            let is_allowed = allowed.split(',').any(|name| name == host);
            assert!(
                is_allowed,
                "{selection:?}: {variable} of {service}: {allowed:?} lacks {host}"
            );
        }
    }
}
