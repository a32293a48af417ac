//! What the overlays change, alone and together, and that the programs take the files they mount.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{rendered, text};
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
    let all = rendered(&["production", "filelog", "trimmed", "tls"], &[]);
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
    for overlay in [
        config("collector/none.yaml", "jaeger"),
        config("jaeger/tls.yaml", "jaeger"),
    ] {
        let (valid, said) = run_tool(
            "jaeger",
            &[
                "validate",
                &config("jaeger/jaeger.yaml", "jaeger"),
                &overlay,
            ],
        );
        assert!(valid, "{overlay}: {said}");
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
