//! What the API server admits of each rendering, what it selects by its selectors, and that it would refuse.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::{Answer, Cluster};
use super::{full_name, install, list_of, made, selected, start, text, try_apply};
use crate::harness::list;
use crate::helm::NAMESPACE;
use crate::helm::rendering::{Rendering, name_of, namespace_of};

#[test]
#[ignore = "needs Kubernetes' API server: just test-kubernetes"]
fn each_rendering_is_admitted_without_a_warning_and_selects_what_it_means() {
    for rendering in Rendering::all() {
        let cluster = start();
        for pod in install(&cluster, rendering) {
            has_no_token(rendering, &pod);
        }
        selects_the_same(&cluster, rendering);
        // Nothing that the server fills in or rewrites is fought over at the next time.
        let again = ["diff", "--server-side", "-f", "-"];
        let again = cluster.kubectl(&again, &list_of(rendering.objects.clone()).to_string());
        assert!(again.ok, "{rendering}: {}{}", again.stdout, again.stderr);
    }
}

/// The server mounts one into every pod that does not say that it wants none.
fn has_no_token(rendering: &Rendering, pod: &Value) {
    let volumes = list(&pod["spec"]["volumes"]);
    let mut names = volumes.iter().map(|volume| text(volume, "/name"));
    let token = names.any(|name| name.starts_with("kube-api-access"));
    assert!(!token, "{rendering}: {}", full_name(pod));
}

/// The tests of `helm` say which pods each selector means, and find those in the rendering. Does the server find the same?
fn selects_the_same(cluster: &Cluster, rendering: &Rendering) {
    let mut asked = 0;
    for object in &rendering.objects {
        let namespace = namespace_of(object);
        let selectors = ["selector", "podSelector"].map(|field| &object["spec"][field]);
        for selector in selectors.into_iter().filter(|selector| !selector.is_null()) {
            let meant = rendering.selected(namespace, selector).into_iter();
            let meant: BTreeSet<String> = meant.map(|pod| format!("{namespace}/{pod}")).collect();
            let found = selected(cluster, Some(namespace), selector);
            assert_eq!(
                found,
                meant,
                "{rendering}: {} {}",
                object["kind"],
                name_of(object)
            );
            asked += 1;
        }
    }
    assert!(asked > 25, "{rendering}: {asked} selectors");
}

/// Only what ships the nodes' logs needs an exception, and the exception is made where nothing else is.
#[test]
#[ignore = "needs Kubernetes' API server: just test-kubernetes"]
fn the_reader_of_node_logs_is_refused_in_the_namespace_of_the_release() {
    let cluster = start();
    let pod = Rendering::plain("production").pod("node-logs");
    assert_ne!(pod.namespace, NAMESPACE);
    let mut pod = made(&pod);
    pod["metadata"]["namespace"] = json!(NAMESPACE);
    let said = dry_run(&cluster, &pod).refused();
    assert!(said.contains("violates PodSecurity \"restricted"), "{said}");
}

/// A change of the chart's own objects, and why it is refused.
const BAD: [(&str, &str, &str, &str); 8] = [
    (
        "Pod",
        "/spec/securityContext/runAsUser",
        "0",
        "violates PodSecurity \"restricted",
    ),
    (
        "Pod",
        "/spec/containers/0/securityContext/capabilities",
        "{}",
        "violates PodSecurity \"restricted",
    ),
    (
        "Pod",
        "/spec/containers/0/resources",
        "{}",
        "must specify limits.cpu",
    ),
    (
        "Deployment",
        "/spec/template/spec/securityContext/runAsUser",
        "0",
        "would violate PodSecurity \"restricted",
    ),
    (
        "Deployment",
        "/spec/selector/matchLabels/app.kubernetes.io~1component",
        "\"other\"",
        "`selector` does not match template `labels`",
    ),
    (
        "Deployment",
        "/spec/template/spec/containers/0/resources/requests/memory",
        "\"9Gi\"",
        "must be less than or equal to memory limit",
    ),
    (
        "Deployment",
        "/spec/strategy/rollingUpdate",
        "{\"maxUnavailabel\": 0}",
        "field not declared in schema",
    ),
    (
        "PodMonitor",
        "/spec/podMetricsEndpoints/0/interval",
        "\"soon\"",
        "spec.podMetricsEndpoints[0].interval",
    ),
];

#[test]
#[ignore = "needs Kubernetes' API server: just test-kubernetes"]
fn bad_manifests_are_refused() {
    let cluster = start();
    let rendering = Rendering::plain("production");
    for (kind, place, bad, why) in BAD {
        let good = match kind {
            "Pod" => made(&rendering.pod("gateway")),
            _ => rendering.kind(kind).next().expect(kind).clone(),
        };
        dry_run(&cluster, &good).accepted();
        let mut object = good;
        let part = object
            .pointer_mut(place)
            .unwrap_or_else(|| panic!("{kind}: no {place}"));
        *part = serde_json::from_str(bad).expect("JSON");
        let said = dry_run(&cluster, &object).refused();
        assert!(said.contains(why), "{kind} with {place} {bad}: {said}");
    }
}

fn dry_run(cluster: &Cluster, object: &Value) -> Answer {
    try_apply(cluster, object, &["--dry-run=server"])
}
