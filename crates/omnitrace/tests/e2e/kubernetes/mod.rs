//! The Helm chart against Kubernetes' own API server: `just test-kubernetes`. There is no kubelet and no controller, so what
//! is shown is what the server admits and selects, not what pods do (docs/DEPLOY.md, "What was shown without a cluster").

mod admission;
mod cluster;
mod networks;
mod releases;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use self::cluster::{Answer, Cluster};
use crate::harness::{list, repository};
use crate::helm::NAMESPACE;
use crate::helm::rendering::{Pod, Rendering};

/// The custom resources of prometheus-operator, as its module for Go defines them.
fn custom_resources() -> &'static str {
    static MADE: OnceLock<String> = OnceLock::new();
    MADE.get_or_init(|| {
        let types = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1";
        let output = Command::new("go")
            .args(["tool", "controller-gen", "crd:maxDescLen=0"])
            .args([&format!("paths={types}"), "output:stdout"])
            .current_dir(repository("deploy/tools/prometheus-operator"))
            .output()
            .expect("go");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "controller-gen: {said}");
        String::from_utf8(output.stdout).expect("YAML")
    })
}

/// An API server as a platform team keeps one: prometheus-operator is known, and the namespaces of the chart enforce the level
/// `restricted` of Pod Security, and limits for every container.
fn start() -> Cluster {
    let cluster = Cluster::start(NAMESPACE);
    let crds = ["apply", "--server-side", "-f", "-"];
    cluster.kubectl(&crds, custom_resources()).accepted();
    let established = ["wait", "--for=condition=Established", "crd", "--all"];
    cluster.kubectl(&established, "").accepted();
    for namespace in [NAMESPACE, "monitoring"] {
        let labels = json!({
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        });
        make_namespace(&cluster, namespace, &labels);
        demand_limits(&cluster, namespace);
    }
    cluster
}

/// A namespace, and the account of its pods, which a controller would make.
fn make_namespace(cluster: &Cluster, name: &str, labels: &Value) {
    let metadata = json!({"name": name, "labels": labels});
    apply(
        cluster,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
    );
    make_account(cluster, name);
}

fn make_account(cluster: &Cluster, namespace: &str) {
    apply(
        cluster,
        &object("ServiceAccount", namespace, "default", &json!({})),
    );
}

/// Where there is a quota of something, the server refuses each container that does not say how much of it it takes.
fn demand_limits(cluster: &Cluster, namespace: &str) {
    let plenty = |value: &str| {
        let kinds = [
            "requests.cpu",
            "requests.memory",
            "limits.cpu",
            "limits.memory",
        ];
        kinds
            .map(|kind| (kind, value.to_owned()))
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let hard = plenty("1000Gi");
    apply(
        cluster,
        &object(
            "ResourceQuota",
            namespace,
            "limits",
            &json!({"spec": {"hard": hard}}),
        ),
    );
    // A controller would count.
    let status = json!({"status": {"hard": hard, "used": plenty("0")}}).to_string();
    let quota = ["patch", "quota", "limits", "-n", namespace];
    let patch = ["--subresource=status", "--type=merge", "-p", &status];
    cluster
        .kubectl(&[&quota[..], &patch].concat(), "")
        .accepted();
}

/// An object of the core API.
fn object(kind: &str, namespace: &str, name: &str, more: &Value) -> Value {
    let mut object = more.clone();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!(kind);
    object["metadata"] = json!({"namespace": namespace, "name": name});
    object
}

/// `kubectl apply`, on the server, where each warning is an error.
fn try_apply(cluster: &Cluster, manifest: &Value, more: &[&str]) -> Answer {
    let apply = [
        "apply",
        "--server-side",
        "--warnings-as-errors",
        "-o",
        "json",
        "-f",
        "-",
    ];
    cluster.kubectl(&[&apply, more].concat(), &manifest.to_string())
}

/// The same for one that must be accepted; what the server made of it.
#[track_caller]
fn apply(cluster: &Cluster, manifest: &Value) -> Vec<Value> {
    items(&try_apply(cluster, manifest, &[]).accepted())
}

/// What kubectl printed as JSON: an object or a list of them.
fn items(printed: &str) -> Vec<Value> {
    let printed: Value = serde_json::from_str(printed).expect("JSON");
    match printed["kind"].as_str() {
        Some("List") => list(&printed["items"]),
        _ => vec![printed],
    }
}

fn list_of(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Applies a rendering, and a pod of each of its workloads, which a controller would make; those pods as the server has them.
fn install(cluster: &Cluster, rendering: &Rendering) -> Vec<Value> {
    let objects = apply(cluster, &list_of(rendering.objects.clone()));
    for namespace in objects
        .iter()
        .filter(|object| object["kind"] == "Namespace")
    {
        make_account(cluster, text(namespace, "/metadata/name"));
    }
    apply(
        cluster,
        &list_of(rendering.pods().iter().map(made).collect()),
    )
}

/// A pod as a controller makes it, but called like its workload.
fn made(pod: &Pod) -> Value {
    let mut made = object("Pod", pod.namespace, pod.owner, &json!({"spec": pod.spec}));
    made["metadata"]["labels"] = pod.workload["spec"]["template"]["metadata"]["labels"].clone();
    let mut volumes = list(&made["spec"]["volumes"]);
    for claim in list(&pod.workload["spec"]["volumeClaimTemplates"]) {
        let name = text(&claim, "/metadata/name");
        let claim = json!({"claimName": format!("{name}-{}-0", pod.owner)});
        volumes.push(json!({"name": name, "persistentVolumeClaim": claim}));
    }
    made["spec"]["volumes"] = json!(volumes);
    made
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer}: {object}"))
}

/// `namespace/name`.
fn full_name(object: &Value) -> String {
    format!(
        "{}/{}",
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name")
    )
}

/// Pods that the server selects, in one namespace or in all.
fn selected(cluster: &Cluster, namespace: Option<&str>, selector: &Value) -> BTreeSet<String> {
    let place = namespace.map_or("--all-namespaces".to_owned(), |name| {
        format!("--namespace={name}")
    });
    let arguments = [
        "get",
        "pods",
        &place,
        "-l",
        &selector_text(selector),
        "-o",
        "json",
    ];
    items(&cluster.kubectl(&arguments, "").accepted())
        .iter()
        .map(full_name)
        .collect()
}

/// A selector, that of a Service too, as kubectl takes it.
fn selector_text(selector: &Value) -> String {
    let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if plain {
        selector
    } else {
        &selector["matchLabels"]
    };
    let labels = labels.as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().expect("a label")));
    let expressions = list(&selector["matchExpressions"]);
    let expressions = expressions.iter().map(expression_text);
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

fn expression_text(expression: &Value) -> String {
    let key = text(expression, "/key");
    let values = list(&expression["values"]);
    let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    let values = values.join(",");
    match text(expression, "/operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "Exists" => key.to_owned(),
        "DoesNotExist" => format!("!{key}"),
        other => panic!("{other}: no operator of label selectors"),
    }
}
