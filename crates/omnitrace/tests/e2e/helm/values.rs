//! Values: each profile is accepted, and a bad or unknown value is an error that names it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{chart, helm};
use crate::harness::repository;

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(chart(file)).unwrap()).unwrap()
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn each_profile_passes_the_strict_lint() {
    for profile in ["trial", "production"] {
        let (passed, said) = helm(&["lint", "--strict"], Some(profile), &[]);
        assert!(
            passed && said.contains("1 chart(s) linted, 0 chart(s) failed"),
            "{profile}: {said}"
        );
        assert!(
            !said.contains("[WARNING]") && !said.contains("[ERROR]"),
            "{profile}: {said}"
        );
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn a_bad_or_unknown_value_is_an_error_that_names_it() {
    for (value, named) in [
        ("nosuch=1", "'nosuch' not allowed"),
        (
            "gateway.replica.min=1",
            "at '/gateway': additional properties 'replica'",
        ),
        ("gateway.replicas.min=0", "/gateway/replicas/min"),
        ("gateway.replicas.min=two", "/gateway/replicas/min"),
        (
            "gateway.replicas.min=9",
            "gateway.replicas.min: 9 is more than gateway.replicas.max: 6",
        ),
        (
            "collector.tier1.replicas.min=9",
            "collector.tier1.replicas.min: 9 is more than",
        ),
        ("probe.replicas.max=2", "/probe/replicas/max"),
        ("image.tag=latest", "/image/tag"),
        ("image.repository=", "/image/repository"),
        (
            "collector.image=otel/opentelemetry-collector-contrib",
            "/collector/image",
        ),
        ("environment=two words", "/environment"),
        ("faults=maybe", "/faults"),
        ("monitoring.profile=staging", "/monitoring/profile"),
        ("secrets.services=Not_A_Name", "/secrets/services"),
        (
            "data.env.OMNITRACE_PROBE_TOKEN=x",
            "/data/env/OMNITRACE_PROBE_TOKEN",
        ),
        (
            "data.env.OMNITRACE_HTTP_ADDR=x",
            "/data/env/OMNITRACE_HTTP_ADDR",
        ),
        (
            "data.env.DATABASE_URL=postgres://x",
            "'DATABASE_URL' not allowed",
        ),
        (
            "data.env.OMNITRACE_POOL_SIZE=20",
            "/data/env/OMNITRACE_POOL_SIZE",
        ),
        (
            "data.resources.limits.memory=null",
            "at '/data/resources/limits': missing property 'memory'",
        ),
        (
            "data.resources.limits.cpu=lots",
            "/data/resources/limits/cpu",
        ),
        ("herald.storage.size=big", "/herald/storage/size"),
        ("herald.targetPorts[0]=70000", "/herald/targetPorts/0"),
        ("gateway.from[0].cidr=10.0.0.0/8", "/gateway/from/0"),
        ("gateway.hosts[0]=http://shop.example", "/gateway/hosts/0"),
        ("backends.tracesOtlp=", "/backends/tracesOtlp"),
        (
            "backends.tracesOtlp=http://jaeger:4317",
            "/backends/tracesOtlp",
        ),
        ("backends.logs=", "/backends/logs"),
        ("backends.logs=loki:3100", "/backends/logs"),
        (
            "backends.metrics=http://me:hunter2@prometheus:9090",
            "/backends/metrics",
        ),
        ("collector.tier2.replicas=0", "/collector/tier2/replicas"),
        (
            "collector.tier1.enabled=false",
            "collector.tier2.replicas: 2",
        ),
        ("collector.sampling=false", "collector.sampling: false"),
        ("nodeLogs.namespace=shop", "nodeLogs.namespace: shop"),
        ("trial.images.postgres=postgres", "/trial/images/postgres"),
    ] {
        let (rendered, said) = helm(
            &["template", "omnitrace"],
            Some("production"),
            &[value, "nodeLogs.enabled=true"],
        );
        assert!(!rendered, "{value} is accepted");
        assert!(said.contains(named), "{value}: {said}");
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn without_a_profile_the_error_names_what_must_be_set() {
    let (rendered, said) = helm(&["template", "omnitrace"], None, &[]);
    assert!(!rendered, "{said}");
    for named in ["/backends/tracesOtlp", "/backends/logs"] {
        assert!(said.contains(named), "{said}");
    }
}

/// Paths of all values: `gateway.replicas.min`.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map
            .iter()
            .for_each(|(key, value)| paths(value, &format!("{path}.{key}"), found)),
        None => drop(found.insert(path.to_owned())),
    }
}

/// Every object of the schema is closed, and lists the values that there are.
fn described(schema: &Value, at: &Value, path: &str, found: &mut BTreeSet<String>) {
    let at = match at["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => at,
    };
    let Some(properties) = at["properties"]
        .as_object()
        .filter(|_| at["type"] == "object")
    else {
        found.insert(path.to_owned());
        return;
    };
    assert_eq!(at["additionalProperties"], false, "{path} is open");
    for (key, value) in properties {
        described(schema, value, &format!("{path}.{key}"), found);
    }
}

#[test]
fn the_schema_knows_every_value_and_no_other() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(chart("values.schema.json")).unwrap())
            .unwrap();
    let (mut there, mut known) = (BTreeSet::new(), BTreeSet::new());
    paths(&yaml("values.yaml"), "", &mut there);
    described(&schema, &schema, "", &mut known);
    // Helm's own, for charts that have this one in them.
    known.remove(".global");
    assert_eq!(there, known);
    assert!(there.len() > 70, "{}", there.len());
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let about = yaml("Chart.yaml");
    for field in ["version", "appVersion"] {
        assert_eq!(about[field], env!("CARGO_PKG_VERSION"), "{field}");
    }
    let licence = std::fs::read_to_string(repository("Cargo.toml")).unwrap();
    let named = about["annotations"]["artifacthub.io/license"]
        .as_str()
        .unwrap();
    assert!(
        licence.contains(&format!("license = \"{named}\"")),
        "{named}"
    );
}
