//! What is named exists: pods that are selected, ports, files and secrets that are mounted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::NAMESPACE;
use super::rendering::{Pod, Rendering, name_of, namespace_of, text};
use crate::harness::{list, repository};

/// Selectors, by what has them, and the pods that they mean.
fn meant<'a>(
    rendering: &'a Rendering,
    object: &'a Value,
) -> Option<(&'a Value, BTreeSet<&'a str>)> {
    let spec = &object["spec"];
    let name = name_of(object);
    let services = BTreeSet::from(["gateway", "data", "downstream", "probe"]);
    let namesake = BTreeSet::from([name]);
    let tiers: BTreeSet<_> = ["collector", "collector-tier2"]
        .into_iter()
        .filter(|name| rendering.pods().iter().any(|pod| pod.owner == *name))
        .collect();
    Some(match text(&object["kind"]) {
        "Service" if name == "omnitrace-services" => (&spec["selector"], services),
        // Without tier 1 the second receives.
        "Service" if name == "collector" => {
            (&spec["selector"], tiers.iter().take(1).copied().collect())
        }
        "Service" => (&spec["selector"], namesake),
        "PodDisruptionBudget" => (&spec["selector"], namesake),
        "NetworkPolicy" if name == "default-deny" => {
            let here = rendering
                .pods()
                .into_iter()
                .filter(|pod| pod.namespace == NAMESPACE);
            (&spec["podSelector"], here.map(|pod| pod.owner).collect())
        }
        "NetworkPolicy" => (&spec["podSelector"], namesake),
        "PodMonitor" => (
            &spec["selector"],
            match name {
                "services" => services,
                "otel-collector-tier1" => BTreeSet::from(["collector"]),
                "otel-collector" | "span-metrics" | "otlp" => BTreeSet::from(["collector-tier2"]),
                _ => namesake,
            },
        ),
        _ => return None,
    })
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_selector_finds_the_pods_that_it_means_and_no_other() {
    let mut seen = BTreeMap::<&str, usize>::new();
    for rendering in Rendering::all() {
        for object in &rendering.objects {
            let Some((selector, meant)) = meant(rendering, object) else {
                continue;
            };
            let found = rendering.selected(namespace_of(object), selector);
            let (kind, name) = (text(&object["kind"]), name_of(object));
            assert_eq!(found, meant, "{rendering}: {kind} {name}");
            *seen.entry(kind).or_default() += 1;
        }
        for pod in rendering.pods() {
            let own = &pod.workload["spec"]["selector"];
            if pod.kind() != "Job" {
                let found = rendering.selected(pod.namespace, own);
                assert_eq!(found, BTreeSet::from([pod.owner]), "{rendering}");
            }
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_pod_that_is_one_of_several_is_taken_away_one_by_one() {
    for rendering in Rendering::all() {
        for name in ["gateway", "data", "downstream", "collector-tier2"] {
            let budget = rendering.object("PodDisruptionBudget", name);
            let budget = budget.unwrap_or_else(|| panic!("{rendering}: {name}"));
            assert_eq!(budget["spec"]["maxUnavailable"], 1, "{rendering}: {name}");
        }
        for scaler in rendering.kind("HorizontalPodAutoscaler") {
            let target = &scaler["spec"]["scaleTargetRef"];
            let found = rendering.object(text(&target["kind"]), text(&target["name"]));
            assert!(found.is_some(), "{rendering}: {target}");
        }
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_port_of_a_service_or_a_monitor_is_one_of_its_pods() {
    for rendering in Rendering::all() {
        let services = rendering.kind("Service").map(|service| {
            let ports = list(&service["spec"]["ports"]);
            let target = |port: Value| match port.get("targetPort") {
                Some(target) => target.clone(),
                None => port["port"].clone(),
            };
            (
                service,
                &service["spec"]["selector"],
                ports.into_iter().map(target).collect::<Vec<_>>(),
            )
        });
        let monitors = rendering.kind("PodMonitor").map(|monitor| {
            let endpoints = list(&monitor["spec"]["podMetricsEndpoints"]);
            let ports = endpoints
                .into_iter()
                .map(|endpoint| endpoint["port"].clone());
            (monitor, &monitor["spec"]["selector"], ports.collect())
        });
        for (object, selector, ports) in services.chain(monitors) {
            let pods: Vec<Pod> = rendering
                .pods()
                .into_iter()
                .filter(|pod| pod.matches(selector))
                .collect();
            for (pod, port) in pods
                .iter()
                .flat_map(|pod| ports.iter().map(move |port| (pod, port)))
            {
                let name = name_of(object);
                assert!(
                    pod.port(port).is_some(),
                    "{rendering}: {name}: {} has no port {port}",
                    pod.owner
                );
            }
            assert!(!ports.is_empty(), "{rendering}: {}", name_of(object));
        }
    }
}

/// Kind, name and, where one is asked for, key of what a pod takes from ConfigMaps and Secrets.
fn taken(pod: &Pod) -> BTreeSet<(&'static str, String, Option<String>)> {
    let mut found = BTreeSet::new();
    let volumes = list(&pod.spec["volumes"]);
    let projected = volumes
        .iter()
        .flat_map(|volume| list(&volume["projected"]["sources"]));
    for source in projected.chain(volumes.iter().cloned()) {
        for (kind, field, name) in [
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
        ] {
            if let Some(name) = source[field][name].as_str() {
                found.insert((kind, name.to_owned(), None));
            }
        }
    }
    for variable in pod
        .containers()
        .iter()
        .flat_map(|container| list(&container["env"]))
    {
        let reference = &variable["valueFrom"]["secretKeyRef"];
        if let Some(name) = reference["name"].as_str() {
            found.insert((
                "Secret",
                name.to_owned(),
                reference["key"].as_str().map(str::to_owned),
            ));
        }
    }
    for container in pod.containers() {
        assert!(
            container["envFrom"].is_null(),
            "{}: takes all of something",
            pod.owner
        );
        for mount in list(&container["volumeMounts"]) {
            let claims = list(&pod.workload["spec"]["volumeClaimTemplates"]);
            let claimed = claims
                .iter()
                .any(|claim| claim["metadata"]["name"] == mount["name"]);
            let named = volumes.iter().any(|volume| volume["name"] == mount["name"]);
            assert!(claimed || named, "{}: {mount}", pod.owner);
        }
    }
    found
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_file_and_secret_that_a_pod_takes_is_rendered_or_told_to_the_user() {
    let page = std::fs::read_to_string(repository("docs/DEPLOY.md")).unwrap();
    let mut of_users = BTreeSet::new();
    for rendering in Rendering::all() {
        for pod in rendering.pods() {
            for (kind, name, key) in taken(&pod) {
                let rendered = rendering.object(kind, &name).is_some();
                let told = kind == "Secret"
                    && ["omnitrace", "omnitrace-receivers"].contains(&name.as_str());
                assert!(
                    rendered || told,
                    "{rendering}: {}: {kind} {name}",
                    pod.owner
                );
                of_users.extend(key);
            }
            for (path, file) in mounted_files(rendering, &pod) {
                assert!(
                    file,
                    "{rendering}: {}: {path} is in no ConfigMap",
                    pod.owner
                );
            }
        }
    }
    assert!(of_users.len() >= 9, "{of_users:?}");
    for key in of_users {
        assert!(
            page.contains(&format!("`{key}`")),
            "docs/DEPLOY.md does not name the key {key}"
        );
    }
}

/// Files that are mounted alone, and whether their ConfigMap has them.
fn mounted_files(rendering: &Rendering, pod: &Pod) -> Vec<(String, bool)> {
    let volumes = list(&pod.spec["volumes"]);
    let mounts = pod
        .containers()
        .iter()
        .flat_map(|container| list(&container["volumeMounts"]));
    let alone = mounts.filter_map(|mount| {
        let file = mount["subPath"].as_str()?.to_owned();
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"])?;
        let map = rendering.object("ConfigMap", text(&volume["configMap"]["name"]));
        Some((
            file.clone(),
            map.is_some_and(|map| map["data"][&file].is_string()),
        ))
    });
    alone.collect()
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn no_secret_is_in_a_literal_or_a_config_map() {
    let telling = [
        "PASSWORD",
        "PASS",
        "TOKEN",
        "SECRET",
        "SECRET_KEY",
        "WEBHOOK_URL",
        "WATCHDOG_URL",
    ];
    let mut referred = 0;
    for rendering in Rendering::all() {
        for pod in rendering.pods() {
            for variable in pod
                .containers()
                .iter()
                .flat_map(|container| list(&container["env"]))
            {
                let name = text(&variable["name"]);
                if telling.iter().any(|end| name.ends_with(end)) {
                    assert!(
                        variable["value"].is_null(),
                        "{rendering}: {}: {name}",
                        pod.owner
                    );
                    referred += 1;
                }
            }
            for (name, value) in pod.literals() {
                let login = value
                    .split_once("://")
                    .and_then(|(_, rest)| rest.split_once('@'));
                assert!(
                    login.is_none_or(|(login, _)| login == "omnitrace:$(OMNITRACE_DATA_PASSWORD)"),
                    "{rendering}: {name}"
                );
            }
        }
        // The only Secret that the chart makes holds no secret, but Alertmanager's operator reads no other kind of object.
        for secret in rendering.kind("Secret") {
            assert_eq!(name_of(secret), "alertmanager-omnitrace", "{rendering}");
            let config = text(&secret["stringData"]["alertmanager.yaml"]);
            assert!(
                config.contains("credentials_file") && !config.contains("\"credentials\""),
                "{rendering}"
            );
        }
    }
    assert!(referred >= 20, "{referred}");
}
