//! What the overlays change, alone and together, and that the programs take the files they mount.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{ALL, ENGINES, SECRETS, compose, rendered, text, texts};
use crate::harness::{Directory, list, repository, run_tool};

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn overlays_change_what_they_say_and_can_be_combined() {
    let source = |services: &BTreeMap<String, Value>, name: &str, target: &str| -> String {
        let mounts = list(&services[name]["volumes"]);
        let found: Vec<_> = mounts
            .iter()
            .filter(|mount| mount["target"] == target)
            .collect();
        assert_eq!(found.len(), 1, "{name} {target}: {found:?}");
        let path = text(&found[0]["source"]);
        path.rsplit_once("deploy/")
            .or_else(|| path.rsplit_once("alerts/"))
            .map_or(path, |(_, tail)| tail)
            .to_owned()
    };
    let base = rendered(&[], &[]);
    let none = "collector/none.yaml";
    let all = rendered(ALL, &[]);
    for (target, file) in [
        ("/etc/otelcol/sampling.yaml", "collector/production.yaml"),
        ("/etc/otelcol/filelog.yaml", "collector/filelog.yaml"),
        ("/etc/otelcol/tls.yaml", "collector/tls.yaml"),
    ] {
        assert_eq!(source(&base, "collector", target), none);
        assert_eq!(source(&all, "collector", target), file);
    }
    assert_eq!(
        source(&base, "prometheus", "/etc/prometheus/rules.yml"),
        "rules/demo.yml"
    );
    assert_eq!(
        source(&all, "prometheus", "/etc/prometheus/rules.yml"),
        "rules/production.yml"
    );
    let chosen = rendered(&[], &[("OMNITRACE_ALERT_PROFILE", "production")]);
    assert_eq!(
        source(&chosen, "prometheus", "/etc/prometheus/rules.yml"),
        "rules/production.yml"
    );
    assert_eq!(
        source(&all, "jaeger", "/etc/jaeger/tls.yaml"),
        "jaeger/tls.yaml"
    );
    let store = "/etc/jaeger/store.yaml";
    assert_eq!(source(&base, "jaeger", store), "jaeger/badger.yaml");
    assert_eq!(source(&all, "jaeger", store), "jaeger/cassandra.yaml");
    let [(servers, value), ..] = ENGINES;
    assert_eq!(all["jaeger"]["environment"][servers], value);
    sends_on(&all["prometheus"]);
    assert_eq!(all["collector"]["image"], "omnitrace-collector:0.158.0");
    let version = |services: &BTreeMap<String, Value>| {
        text(&services["collector"]["image"])
            .rsplit(':')
            .next()
            .map(str::to_owned)
    };
    assert_eq!(
        version(&base),
        version(&all),
        "the trimmed collector is another version"
    );
    for service in ["gateway", "data", "downstream", "probe", "herald"] {
        let environment = &all[service]["environment"];
        assert_eq!(
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"],
            "https://collector:4318"
        );
        assert!(text(&environment["OTEL_RESOURCE_ATTRIBUTES"]).ends_with("=production"));
        // Each has its own key, and nobody else's.
        assert_eq!(
            source(&all, service, "/etc/omnitrace/tls"),
            format!("tls/generated/{service}")
        );
    }
    // Clients that read from Loki show a certificate too.
    for reader in ["doctor", "herald"] {
        let environment = &all[reader]["environment"];
        for (variable, value) in [
            ("LOKI_URL", "https://loki:3100"),
            ("BACKEND_CERTIFICATE", "/etc/omnitrace/tls/ca.crt"),
            ("BACKEND_CLIENT_CERTIFICATE", "/etc/omnitrace/tls/tls.crt"),
            ("BACKEND_CLIENT_KEY", "/etc/omnitrace/tls/tls.key"),
        ] {
            assert_eq!(environment[variable], value, "{reader} {variable}");
        }
        let own = source(&all, reader, "/etc/omnitrace/tls");
        assert_eq!(own, format!("tls/generated/{reader}"));
    }
    alerts_travel_over_tls(&all);
    let shipped: BTreeSet<_> = all
        .iter()
        .filter(|(_, service)| service["labels"]["omnitrace.logs"] == "stdout")
        .map(|(name, service)| {
            assert_eq!(
                service["logging"]["options"]["labels"],
                "omnitrace.logs,com.docker.compose.service"
            );
            name.as_str()
        })
        .collect();
    assert_eq!(
        shipped,
        BTreeSet::from([
            "alertmanager",
            "blackbox",
            "grafana",
            "jaeger",
            "postgres",
            "postgres-exporter",
            "prometheus"
        ])
    );
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn nothing_can_be_broken_in_production_unless_it_is_asked_for() {
    let faults = |selection: &[&str], more: &[(&str, &str)]| {
        let services = rendered(selection, more);
        let of = |name: &&str| services[*name]["environment"]["OMNITRACE_FAULTS"].clone();
        ["gateway", "data", "downstream", "probe"]
            .iter()
            .map(of)
            .collect::<Vec<Value>>()
    };
    assert_eq!(faults(&["production"], &[]), ["off"; 4]);
    let asked = [("OMNITRACE_FAULTS", "on")];
    assert_eq!(faults(&["production", "tls"], &asked), ["on"; 4]);
    assert_eq!(faults(&[], &[]), ["on"; 4]);
    let asked = [("OMNITRACE_FAULTS", "off")];
    assert_eq!(faults(&[], &asked), ["off"; 4]);
}

#[test]
#[ignore = "needs docker-compose: just test-compose"]
fn an_overlay_of_an_engine_names_what_it_does_not_start_without() {
    for (absent, _) in ENGINES {
        let others = SECRETS.map(|name| (name, "x"));
        let others = others.into_iter().chain(ENGINES);
        let others: Vec<_> = others.filter(|(name, _)| *name != absent).collect();
        let output = compose(ALL, &["config"], &others)
            .output()
            .expect("docker-compose");
        let said = String::from_utf8_lossy(&output.stderr);
        let named = said.contains(absent) && said.contains("the overlay ");
        assert!(
            !output.status.success() && named,
            "without {absent}: {said}"
        );
    }
}

/// What the overlay has a shell do in the container gives prometheus.yml with the URL, and all other arguments.
fn sends_on(prometheus: &Value) {
    let directory = Directory::new();
    let made = directory.path().join("made.yml");
    let here = |text: String| {
        text.replace(
            "/etc/prometheus",
            &repository("deploy/prometheus").display().to_string(),
        )
        .replace("/tmp/prometheus.yml", &made.display().to_string())
        .replace("exec /bin/prometheus", "printf '%s\\n'")
        // Compose writes it so that it could be read again.
        .replace("$$", "$")
    };
    let command = texts(&prometheus["command"]);
    assert!(command[0].starts_with("--config.file="), "{command:?}");
    let entrypoint = texts(&prometheus["entrypoint"]).into_iter().map(here);
    let words: Vec<String> = entrypoint.chain(command.clone()).collect();
    let run = Command::new(&words[0])
        .args(&words[1..])
        .env(ENGINES[1].0, ENGINES[1].1)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let arguments = String::from_utf8_lossy(&run.stdout);
    let arguments: Vec<&str> = arguments.lines().collect();
    let config = format!("--config.file={}", made.display());
    let expected = std::iter::once(&config).chain(&command[1..]);
    assert_eq!(arguments, expected.collect::<Vec<_>>());

    let text = std::fs::read_to_string(&made).expect("the configuration");
    let shipped = std::fs::read_to_string(repository("deploy/prometheus/prometheus.yml"));
    assert!(
        text.starts_with(&shipped.expect("prometheus.yml")),
        "{text}"
    );
    let parsed: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(parsed["remote_write"][0]["url"], ENGINES[1].1);
    let file = made.to_str().expect("text");
    let (valid, said) = run_tool("promtool", &["check", "config", "--syntax-only", file]);
    assert!(valid, "{said}");
}

/// Alertmanager shows its own certificate to herald, whose health check and scrape follow.
fn alerts_travel_over_tls(services: &BTreeMap<String, Value>) {
    let own = "/etc/omnitrace/tls";
    for (variable, file) in [
        ("HERALD_TLS_CERTIFICATE", "tls.crt"),
        ("HERALD_TLS_KEY", "tls.key"),
        ("HERALD_TLS_CLIENT_CA", "ca.crt"),
    ] {
        let value = &services["herald"]["environment"][variable];
        assert_eq!(value, &format!("{own}/{file}"), "{variable}");
    }
    let config = &services["alertmanager-config"];
    assert_eq!(config["environment"]["HERALD_URL"], "https://herald:9095");
    let mounts = list(&services["alertmanager"]["volumes"]);
    let certificates: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["target"] == own)
        .collect();
    let [mount] = certificates[..] else {
        panic!("{mounts:?}");
    };
    assert!(text(&mount["source"]).ends_with("tls/generated/alertmanager"));
    let probe = services["herald"]["healthcheck"]["test"].to_string();
    assert!(probe.contains("https://127.0.0.1:9095"), "{probe}");
}

#[test]
#[ignore = "needs otelcol and promtool: just test-compose"]
fn the_configurations_of_every_overlay_are_valid() {
    let directory = Directory::new();
    let certificates = directory.path().join("tls");
    let made = Command::new(repository("deploy/tls/certificates.sh"))
        .arg(&certificates)
        .output()
        .expect("certificates.sh");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let config = |file: &str, part: &str| -> String {
        let text = std::fs::read_to_string(repository("deploy").join(file)).expect(file);
        let own = certificates.join(part).display().to_string();
        let path = directory.path().join(file.replace('/', "-"));
        let text = text
            .replace("/etc/omnitrace/tls", &own)
            .replace("/var/lib/otelcol", &directory.path().display().to_string());
        std::fs::write(&path, text).expect("a configuration");
        format!("--config={}", path.display())
    };
    let files = ["collector", "none", "production", "filelog", "tls"]
        .map(|file| config(&format!("collector/{file}.yaml"), "collector"));
    let [base, none, production, filelog, tls] = files.each_ref().map(String::as_str);
    for overlays in [
        [none, none, none],
        [production, none, none],
        [none, filelog, none],
        [none, none, tls],
        [production, filelog, tls],
    ] {
        let arguments = [&["validate", base][..], &overlays].concat();
        let (valid, said) = run_tool("otelcol", &arguments);
        assert!(valid, "{overlays:?}: {said}");
    }
    let [jaeger, badger, cassandra, tls] = ["jaeger", "badger", "cassandra", "tls"]
        .map(|file| config(&format!("jaeger/{file}.yaml"), "jaeger"));
    for overlays in [
        [&badger, none],
        [&badger, &tls],
        [&cassandra, none],
        [&cassandra, &tls],
    ] {
        let (valid, said) = run_tool("jaeger", &["validate", &jaeger, overlays[0], overlays[1]]);
        assert!(valid, "{overlays:?}: {said}");
    }
    // Prometheus' own, with https for three jobs.
    let path = certificates.join("prometheus/prometheus.yml");
    let (valid, said) = run_tool(
        "promtool",
        &[
            "check",
            "config",
            "--syntax-only",
            path.to_str().expect("text"),
        ],
    );
    assert!(valid, "{said}");
}
