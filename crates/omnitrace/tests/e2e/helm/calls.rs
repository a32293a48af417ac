//! Every address that a pod is told leads to a port of the rendering, and the policies let exactly these calls pass.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::NAMESPACE;
use super::rendering::{Pod, Rendering, namespace_of, text};
use crate::harness::list;

/// Who calls whom, by the port of the pod.
type Call = (String, String, u64);

/// Names and ports in a text, as calls within the namespace: `http://data:8081`, `herald.shop.svc:9095`.
fn addresses(text: &str) -> BTreeSet<(String, u64)> {
    let address =
        format!(r"(?:^|[^a-z0-9.-])([a-z][a-z0-9-]*)(?:\.{NAMESPACE}\.svc)?:([0-9]{{4,5}})\b");
    let address = Regex::new(&address).unwrap();
    let found = address.captures_iter(text);
    let found = found.map(|found| (found[1].to_owned(), found[2].parse().unwrap()));
    // A browser's, for links.
    found.filter(|(host, _)| host != "localhost").collect()
}

/// Without comments, which name addresses that nobody calls.
fn lines(config: &str) -> String {
    let code = |line: &&str| !line.trim_start().starts_with('#');
    config.lines().filter(code).collect::<Vec<_>>().join("\n")
}

/// What a pod is told to call: by variables, arguments, and the files of the trial's own programs.
fn told(rendering: &Rendering, pod: &Pod) -> BTreeSet<(String, u64)> {
    let mut found = BTreeSet::new();
    for (name, value) in pod.literals() {
        if name == "OMNITRACE_TIER2_HOST" {
            found.insert((value.to_owned(), 4317));
        }
        found.extend(addresses(value));
    }
    for argument in pod
        .containers()
        .iter()
        .flat_map(|container| list(&container["args"]))
    {
        found.extend(addresses(text(&argument)));
    }
    if pod.owner == "node-logs" {
        found.insert(("collector".to_owned(), 4317));
    }
    let data = |kind, name, field: &str| {
        rendering
            .object(kind, name)
            .map(|object| object[field].clone())
    };
    let config =
        match pod.owner {
            "prometheus" => data("ConfigMap", "trial-prometheus", "data")
                .map(|data| data["prometheus.yml"].clone()),
            "grafana" => data("ConfigMap", "trial-grafana", "data")
                .map(|data| data["datasources.yaml"].clone()),
            "alertmanager" => data("Secret", "alertmanager-omnitrace", "stringData")
                .map(|data| data["alertmanager.yaml"].clone()),
            _ => None,
        };
    let config = config
        .map(|config| lines(text(&config)))
        .unwrap_or_default();
    found.extend(addresses(&config));
    if config.contains("names: [omnitrace-services]") {
        found.insert(("omnitrace-services".to_owned(), 9080));
    }
    // Stands behind the probes of users, of which the trial has none.
    found.remove(&("blackbox".to_owned(), 9115));
    found
}

/// The calls that pods are told to make, each resolved by its Service.
fn calls(rendering: &Rendering) -> BTreeSet<Call> {
    let mut found = BTreeSet::new();
    for pod in rendering.pods() {
        for (host, port) in told(rendering, &pod) {
            let from = pod.owner;
            let service = rendering.object("Service", &host);
            let service = service.unwrap_or_else(|| {
                panic!("{rendering}: {from} calls {host}:{port}, and there is no Service {host}")
            });
            let ports = list(&service["spec"]["ports"]);
            let target = ports
                .iter()
                .find(|one| one["port"] == port)
                .map(|one| one.get("targetPort").unwrap_or(&one["port"]).clone());
            let target = target.unwrap_or_else(|| {
                panic!("{rendering}: {from} calls {host}:{port}, which is no port of it")
            });
            for to in rendering.selected(NAMESPACE, &service["spec"]["selector"]) {
                let number = rendering.pod(to).port(&target).unwrap();
                found.insert((from.to_owned(), to.to_owned(), number));
            }
        }
    }
    found
}

/// The policies that select a pod.
fn policies_of<'a>(rendering: &'a Rendering, pod: &'a Pod<'_>) -> impl Iterator<Item = &'a Value> {
    rendering.kind("NetworkPolicy").filter(|policy| {
        namespace_of(policy) == pod.namespace && pod.matches(&policy["spec"]["podSelector"])
    })
}

/// Whether one side's policies let a call pass: some rule of some policy that selects `pod` fits the other end.
fn passes(
    rendering: &Rendering,
    pod: &Pod,
    other: &Pod,
    port: u64,
    [rules, ends]: [&str; 2],
) -> bool {
    policies_of(rendering, pod)
        .flat_map(|policy| list(&policy["spec"][rules]))
        .any(|rule| {
            let ports = list(&rule["ports"]);
            let by_port = ports.is_empty()
                || ports
                    .iter()
                    .any(|one| one["port"] == port && one["protocol"] == "TCP");
            let peers = list(&rule[ends]);
            by_port && (peers.is_empty() || peers.iter().any(|peer| is_peer(pod, other, peer)))
        })
}

fn is_peer(pod: &Pod, other: &Pod, peer: &Value) -> bool {
    let namespace = match peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        .as_str()
    {
        Some(name) => name,
        None if !peer["namespaceSelector"].is_null() || !peer["ipBlock"].is_null() => return false,
        None => pod.namespace,
    };
    // A namespace alone is all that is in it.
    namespace == other.namespace
        && (peer["podSelector"].is_null() || other.matches(&peer["podSelector"]))
}

/// The calls between pods of the rendering that its policies let pass.
fn passing(rendering: &Rendering) -> BTreeSet<Call> {
    let mut found = BTreeSet::new();
    let pods = rendering.pods();
    for (from, to) in pods
        .iter()
        .flat_map(|from| pods.iter().map(move |to| (from, to)))
    {
        let ports = to
            .containers()
            .iter()
            .flat_map(|container| list(&container["ports"]));
        for port in ports.filter_map(|port| port["containerPort"].as_u64()) {
            let out = passes(rendering, from, to, port, ["egress", "to"]);
            if out && passes(rendering, to, from, port, ["ingress", "from"]) {
                found.insert((from.owner.to_owned(), to.owner.to_owned(), port));
            }
        }
    }
    found
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn the_policies_let_every_call_pass_that_a_pod_is_told_to_make_and_no_other() {
    for rendering in Rendering::all() {
        let (calls, passing) = (calls(rendering), passing(rendering));
        assert!(calls.len() >= 8, "{rendering}: {calls:?}");
        assert_eq!(passing, calls, "{rendering}");
    }
}

#[test]
#[ignore = "needs helm: just test-helm"]
fn every_part_answers_to_the_name_that_others_call_it_by() {
    for rendering in Rendering::all() {
        for (name, variable, hosts) in [
            ("data", "OMNITRACE_HTTP_ALLOWED_HOSTS", vec!["data"]),
            (
                "downstream",
                "OMNITRACE_HTTP_ALLOWED_HOSTS",
                vec!["downstream"],
            ),
            (
                "herald",
                "HERALD_ALLOWED_HOSTS",
                vec!["herald", "herald.shop.svc"],
            ),
        ] {
            let pod = rendering.pod(name);
            let allowed: Vec<&str> = pod.literals()[variable].split(',').collect();
            assert_eq!(allowed, hosts, "{rendering}: {name}");
        }
        // The gateway answers to all, or to the probe too.
        let gateway = rendering.pod("gateway").literals();
        let gateway = gateway.get("OMNITRACE_HTTP_ALLOWED_HOSTS").copied();
        let gateway = gateway.unwrap_or_default();
        assert!(
            gateway.is_empty() || gateway.split(',').any(|host| host == "gateway"),
            "{rendering}: {gateway}"
        );
    }
}

/// Each policy denies what it does not list, in both directions, and all pods have one.
#[test]
#[ignore = "needs helm: just test-helm"]
fn every_pod_has_a_policy_that_denies_both_directions() {
    for rendering in Rendering::all() {
        for pod in rendering.pods() {
            let both = policies_of(rendering, &pod).filter(|policy| {
                policy["spec"]["policyTypes"] == serde_json::json!(["Ingress", "Egress"])
            });
            assert!(both.count() >= 1, "{rendering}: {}", pod.owner);
        }
    }
}

/// Outside of the release: who may come in, and where to one may go.
#[test]
#[ignore = "needs helm: just test-helm"]
fn production_lets_in_the_ingress_and_the_scraper_and_only_some_go_out() {
    let rendering = Rendering::plain("production");
    let ends = |rules: &str, end: &str, wanted: &str| -> BTreeSet<&str> {
        let has = |policy: &&Value| {
            list(&policy["spec"][rules])
                .iter()
                .any(|rule| rule[end].to_string().contains(wanted))
        };
        rendering
            .kind("NetworkPolicy")
            .filter(has)
            .map(|policy| text(&policy["metadata"]["name"]))
            .collect()
    };
    assert_eq!(
        ends("ingress", "from", "ingress-nginx"),
        BTreeSet::from(["gateway"])
    );
    let scraped = [
        "collector",
        "collector-tier2",
        "data",
        "downstream",
        "gateway",
        "herald",
        "probe",
    ];
    assert_eq!(
        ends("ingress", "from", "\"monitoring\""),
        BTreeSet::from(scraped)
    );
    let database = ends("egress", "to", "192.0.2.10/32");
    assert_eq!(database, BTreeSet::from(["data", "migrate"]));
    let backends = ends("egress", "to", "tracing");
    assert_eq!(
        backends,
        BTreeSet::from(["collector-tier2", "doctor", "herald"])
    );
}
