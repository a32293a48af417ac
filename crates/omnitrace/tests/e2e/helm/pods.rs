//! What every pod promises: no power that it does not need, limits, pinned images, an end without a lost request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::rendering::{Pod, Rendering, namespace_of, text};
use crate::harness::{list, repository};

/// The only namespace that the level `restricted` is not for.
const EXCEPTION: &str = "omnitrace-node-logs";

fn everywhere(check: impl Fn(&Pod, &Value, &str)) {
    for rendering in Rendering::all() {
        for pod in rendering.pods() {
            for container in pod.containers() {
                check(&pod, container, &format!("{rendering}: {}", pod.owner));
            }
        }
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_pod_is_admitted_by_the_level_restricted_but_that_of_the_nodes() {
    everywhere(|pod, container, what| {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{what}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{what}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{what}");
        assert!(security["privileged"].is_null(), "{what}");
        let of_pod = &pod.spec["securityContext"];
        assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault", "{what}");
        for shared in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod.spec[shared].is_null(), "{what}: {shared}");
        }
        let from_host = list(&pod.spec["volumes"])
            .iter()
            .any(|volume| !volume["hostPath"].is_null());
        let added = &security["capabilities"]["add"];
        if pod.namespace == EXCEPTION {
            assert_eq!(
                (pod.owner, added),
                ("node-logs", &json!(["DAC_READ_SEARCH"])),
                "{what}"
            );
            return;
        }
        assert_eq!(of_pod["runAsNonRoot"], true, "{what}");
        assert!(
            of_pod["runAsUser"].as_u64().is_some_and(|user| user > 0),
            "{what}"
        );
        assert!(added.is_null() && !from_host, "{what}");
    });
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn the_exception_is_a_namespace_of_its_own_and_off_by_default() {
    for rendering in Rendering::all() {
        let exceptions: Vec<_> = rendering.kind("Namespace").collect();
        let there = rendering
            .objects
            .iter()
            .any(|object| namespace_of(object) == EXCEPTION);
        assert_eq!(exceptions.len(), usize::from(there), "{rendering}");
        for exception in exceptions {
            let level = &exception["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
            assert_eq!(
                (text(&exception["metadata"]["name"]), text(level)),
                (EXCEPTION, "privileged")
            );
            let written = rendering.pod("node-logs");
            let mounts = list(&written.containers()[0]["volumeMounts"]);
            let of = |path: &str| {
                mounts
                    .iter()
                    .find(|mount| mount["mountPath"] == path)
                    .cloned()
                    .unwrap()
            };
            assert_eq!(of("/var/log/pods")["readOnly"], true, "{rendering}");
        }
    }
    assert!(Rendering::plain("trial").kind("Namespace").next().is_none());
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn no_pod_can_speak_to_the_cluster_or_gets_variables_from_it() {
    everywhere(|pod, _, what| {
        assert_eq!(pod.spec["automountServiceAccountToken"], false, "{what}");
        // JAEGER_PORT=tcp://… would be taken for a setting.
        assert_eq!(pod.spec["enableServiceLinks"], false, "{what}");
        assert!(pod.spec["serviceAccountName"].is_null(), "{what}");
    });
    for rendering in Rendering::all() {
        for kind in [
            "Role",
            "ClusterRole",
            "RoleBinding",
            "ClusterRoleBinding",
            "ServiceAccount",
        ] {
            assert!(rendering.kind(kind).next().is_none(), "{rendering}: {kind}");
        }
    }
}

/// In cores or bytes; 0 is none.
fn quantity(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => panic!("{text}"),
    };
    number.parse().map_or(0.0, |number: f64| number * factor)
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_container_has_requests_limits_and_a_probe() {
    everywhere(|pod, container, what| {
        for resource in ["cpu", "memory"] {
            let amount = |side: &str| quantity(text(&container["resources"][side][resource]));
            let (request, limit) = (amount("requests"), amount("limits"));
            assert!(
                0.0 < request && request <= limit,
                "{what}: {resource}: {request} of {limit}"
            );
        }
        let has = |probe: &str| !container[probe].is_null();
        let once = pod.kind() == "Job";
        assert_eq!(has("readinessProbe"), !once, "{what}");
        let trial =
            pod.workload["spec"]["template"]["metadata"]["annotations"]["omnitrace/profile"]
                .is_string();
        assert_eq!(has("livenessProbe"), !once && !trial, "{what}");
    });
}

/// Images of `deploy/compose.yaml` by the name of the service there.
fn composed() -> BTreeMap<String, String> {
    let file = std::fs::read_to_string(repository("deploy/compose.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    let services = file["services"].as_object().unwrap().iter();
    services
        .filter_map(|(name, service)| Some((name.clone(), service["image"].as_str()?.to_owned())))
        .collect()
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_image_is_pinned_and_the_same_as_on_compose() {
    let composed = composed();
    let ours = format!("omnitrace:{}", env!("CARGO_PKG_VERSION"));
    everywhere(|pod, container, what| {
        let image = text(&container["image"]);
        let in_compose = match pod.owner {
            "collector-tier2" | "node-logs" => "collector",
            owner => owner,
        };
        match composed
            .get(in_compose)
            .filter(|image| !image.starts_with("omnitrace"))
        {
            Some(expected) => assert_eq!(image, expected, "{what}"),
            None => assert!(image.ends_with(&ours), "{what}: {image}"),
        }
    });
}

fn services(rendering: &Rendering) -> [Pod<'_>; 4] {
    ["gateway", "data", "downstream", "probe"].map(|name| rendering.pod(name))
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn a_service_is_replaced_without_a_gap_and_ends_without_a_lost_request() {
    for rendering in Rendering::all() {
        for pod in services(rendering) {
            let what = format!("{rendering}: {}", pod.owner);
            let update = &pod.workload["spec"]["strategy"]["rollingUpdate"];
            assert_eq!(
                update,
                &json!({"maxUnavailable": 0, "maxSurge": 1}),
                "{what}"
            );
            let container = &pod.containers()[0];
            let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                .as_u64()
                .unwrap();
            // The drain of docs/ARCHITECTURE.md, and the last flush of crates/service.
            let (drain, flush) = (10, 5);
            assert!(
                !pod.literals().contains_key("OMNITRACE_DRAIN_TIMEOUT_MS"),
                "{what}"
            );
            let grace = pod.spec["terminationGracePeriodSeconds"].as_u64().unwrap();
            assert!(grace > pause + drain + flush, "{what}: {grace} s");
            for (probe, asked) in [("livenessProbe", "/live"), ("readinessProbe", "/ready")] {
                let get = &container[probe]["httpGet"];
                assert_eq!(get["path"], asked, "{what}");
                assert_eq!(pod.port(&get["port"]), Some(9080), "{what}: {probe}");
            }
            assert_eq!(
                list(&pod.spec["topologySpreadConstraints"]).len(),
                2,
                "{what}"
            );
        }
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn production_has_two_of_what_requests_go_through_and_an_autoscaler_has_the_number_alone() {
    for rendering in Rendering::all() {
        for pod in rendering.pods() {
            let scaler = rendering.object("HorizontalPodAutoscaler", pod.owner);
            let fixed = &pod.workload["spec"]["replicas"];
            let what = format!("{rendering}: {}", pod.owner);
            assert!(
                scaler.is_none() || fixed.is_null(),
                "{what}: an upgrade would undo the autoscaler"
            );
            let least = match scaler {
                Some(scaler) => &scaler["spec"]["minReplicas"],
                None => fixed,
            };
            let served = ["gateway", "data", "downstream", "collector"].contains(&pod.owner);
            if served && !rendering.is_trial() {
                assert!(
                    least.as_u64().is_some_and(|least| least >= 2),
                    "{what}: {least}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn the_migration_is_a_job_before_new_pods_and_in_a_trial_not_before_its_database() {
    for rendering in Rendering::all() {
        let job = rendering.pod("migrate");
        assert_eq!(job.kind(), "Job");
        assert_eq!(job.containers()[0]["args"], json!(["migrate"]));
        let hook = &job.workload["metadata"]["annotations"]["helm.sh/hook"];
        let expected = match rendering.is_trial() {
            true => "pre-upgrade",
            false => "pre-install,pre-upgrade",
        };
        assert_eq!(hook, expected, "{rendering}");
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn helm_test_is_the_doctor_who_reads_where_herald_reads() {
    for rendering in Rendering::all() {
        let (doctor, herald) = (rendering.pod("doctor"), rendering.pod("herald"));
        assert_eq!(
            doctor.workload["metadata"]["annotations"]["helm.sh/hook"],
            "test"
        );
        assert_eq!(doctor.containers()[0]["args"][0], "doctor");
        let of = |pod: &Pod, name: &str| {
            let variables = list(&pod.containers()[0]["env"]);
            let found = variables.into_iter().find(|one| one["name"] == name);
            found.unwrap_or_else(|| panic!("{rendering}: {} has no {name}", pod.owner))
        };
        for backend in ["PROMETHEUS_URL", "JAEGER_URL", "LOKI_URL"] {
            assert_eq!(of(&doctor, backend), of(&herald, backend), "{rendering}");
        }
        assert_eq!(of(&doctor, "GATEWAY_URL")["value"], "http://gateway:8080");
    }
}

/// What is set on Compose is set here, or for a stated reason is not.
#[test]
#[ignore = "needs helm: just test-helm"]
fn every_part_of_ours_has_the_settings_that_it_has_on_compose() {
    // Faults are set through a forwarded port, that is by `localhost`. Herald's secrets are variables here, not files.
    // It reads none of the settings of services but that of its log.
    let elsewhere = |part: &str, name: &str| {
        let file = name.starts_with("HERALD_") && name.ends_with("_FILE");
        let of_services = name.starts_with("OMNITRACE_") && name != "OMNITRACE_LOG_FORMAT";
        name == "OMNITRACE_ADMIN_ALLOWED_HOSTS" || file || part == "herald" && of_services
    };
    let file = std::fs::read_to_string(repository("deploy/compose.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    for rendering in Rendering::all() {
        for name in ["gateway", "data", "downstream", "probe", "herald"] {
            let composed = file["services"][name]["environment"].as_object().unwrap();
            assert!(composed.len() >= 9, "{name}: {composed:?}");
            let pod = rendering.pod(name);
            let variables = list(&pod.containers()[0]["env"]);
            for variable in composed
                .keys()
                .filter(|variable| !elsewhere(name, variable))
            {
                let here = variables.iter().any(|one| one["name"] == *variable);
                assert!(here, "{rendering}: {name} has no {variable}");
            }
            let names: BTreeSet<_> = variables.iter().map(|one| text(&one["name"])).collect();
            assert_eq!(
                names.len(),
                variables.len(),
                "{rendering}: {name} has one twice"
            );
        }
    }
}

/// YAML takes some texts for other things: `a: b, c` in braces, a number, nothing at all. The API server refuses them.
fn untyped(value: &Value, path: &str, found: &mut Vec<String>) {
    let texts = ["labels", "annotations", "matchLabels", "data", "stringData"];
    match value {
        Value::Null => found.push(format!("{path} is null")),
        Value::Object(map) => {
            for (key, value) in map {
                let of_texts = texts.iter().any(|name| path.ends_with(&format!(".{name}")));
                if of_texts && !value.is_string() {
                    found.push(format!("{path}.{key} is no text"));
                }
                untyped(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| untyped(item, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn labels_annotations_and_variables_are_texts_and_nothing_is_null() {
    for rendering in Rendering::all() {
        let mut found = Vec::new();
        for object in &rendering.objects {
            let name = format!(
                "{} {}",
                text(&object["kind"]),
                text(&object["metadata"]["name"])
            );
            untyped(object, &name, &mut found);
        }
        for pod in rendering.pods() {
            for variable in pod
                .containers()
                .iter()
                .flat_map(|container| list(&container["env"]))
            {
                let is_text = variable.get("value").is_none_or(Value::is_string);
                assert!(is_text, "{rendering}: {}: {variable}", pod.owner);
            }
        }
        assert_eq!(found, [] as [String; 0], "{rendering}");
    }
}
