//! Who may talk to whom. The server admits the NetworkPolicies and says which pods each of their selectors means; what
//! follows for two pods is worked out here by the rules of `networking.k8s.io/v1`. That a network enforces it, is not shown.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{
    apply, full_name, install, items, list_of, make_account, make_namespace, object, selected,
    selector_text, start, text,
};
use crate::harness::list;
use crate::helm::NAMESPACE;
use crate::helm::rendering::Rendering;

/// Pods that do not belong to the chart: where they are, and where they listen.
const OUTSIDERS: [(&str, &[u16]); 7] = [
    ("monitoring/prometheus", &[9090]),
    ("tracing/jaeger", &[4317, 16686]),
    ("logging/loki", &[80]),
    ("ingress-nginx/controller", &[443]),
    ("kube-system/dns", &[53]),
    // On ports that parts of the chart have, too.
    ("elsewhere/stranger", &[443, 4317, 8081, 9080]),
    ("shop/stranger", &[8081, 9080]),
];

/// All connections within the namespaces of the production profile and to the outsiders, but for those to DNS.
const PRODUCTION: &str = "\
collector -> collector-tier2:4317
collector-tier2 -> logging/loki:80
collector-tier2 -> monitoring/prometheus:9090
collector-tier2 -> tracing/jaeger:16686
collector-tier2 -> tracing/jaeger:4317
data -> collector:4318
data -> downstream:8082
doctor -> gateway:8080
doctor -> logging/loki:80
doctor -> monitoring/prometheus:9090
doctor -> tracing/jaeger:16686
doctor -> tracing/jaeger:4317
downstream -> collector:4318
gateway -> collector:4318
gateway -> data:8081
herald -> collector:4318
herald -> elsewhere/stranger:443
herald -> ingress-nginx/controller:443
herald -> logging/loki:80
herald -> monitoring/prometheus:9090
herald -> tracing/jaeger:16686
herald -> tracing/jaeger:4317
ingress-nginx/controller -> gateway:8080
monitoring/prometheus -> collector-tier2:8888
monitoring/prometheus -> collector-tier2:8889
monitoring/prometheus -> collector-tier2:8890
monitoring/prometheus -> collector:8888
monitoring/prometheus -> data:9080
monitoring/prometheus -> downstream:9080
monitoring/prometheus -> gateway:9080
monitoring/prometheus -> herald:9095
monitoring/prometheus -> probe:9080
omnitrace-node-logs/node-logs -> collector:4317
probe -> collector:4318
probe -> gateway:8080
";

#[test]
#[ignore = "needs Kubernetes' API server: just test-kubernetes"]
fn production_lets_through_what_is_needed_and_nothing_else() {
    let cluster = start();
    let network = Network::new(&cluster, Rendering::plain("production"));
    assert_eq!(network.connections(), PRODUCTION);
    let names = network.pods.iter().filter(|pod| network.is_own(pod));
    for pod in names {
        let dns = network.outsider("kube-system/dns");
        assert!(
            network.connects(pod, dns, &json!({"containerPort": 53})),
            "{}",
            full_name(pod)
        );
    }
}

/// Policies and pods, as the server has them.
struct Network<'a> {
    cluster: &'a Cluster,
    policies: Vec<Value>,
    pods: Vec<Value>,
    /// What a selector means; each is asked once.
    known: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

impl<'a> Network<'a> {
    fn new(cluster: &'a Cluster, rendering: &Rendering) -> Self {
        let mut pods = install(cluster, rendering);
        let outsiders = OUTSIDERS.map(|(name, ports)| outsider(cluster, name, ports));
        pods.extend(apply(cluster, &list_of(outsiders.into())));
        let policies = ["get", "networkpolicies", "-A", "-o", "json"];
        let policies = items(&cluster.kubectl(&policies, "").accepted());
        Self {
            cluster,
            policies,
            pods,
            known: RefCell::default(),
        }
    }

    /// One per line, without those of which no end belongs to the chart, and without DNS.
    fn connections(&self) -> String {
        let mut found = BTreeSet::new();
        for from in &self.pods {
            for to in &self.pods {
                let ours = self.is_own(from) || self.is_own(to);
                if !ours || full_name(from) == full_name(to) {
                    continue;
                }
                for port in ports(to).iter().filter(|port| port["containerPort"] != 53) {
                    if self.connects(from, to, port) {
                        found.insert(format!(
                            "{} -> {}:{}\n",
                            short(from),
                            short(to),
                            port["containerPort"]
                        ));
                    }
                }
            }
        }
        found.into_iter().collect()
    }

    fn is_own(&self, pod: &Value) -> bool {
        !OUTSIDERS.iter().any(|(name, _)| *name == full_name(pod))
    }

    fn connects(&self, from: &Value, to: &Value, port: &Value) -> bool {
        self.allows("Egress", from, to, port) && self.allows("Ingress", to, from, port)
    }

    /// Whether the policies of `subject` allow what it sends (or gets) at the other end.
    fn allows(&self, direction: &str, subject: &Value, other: &Value, port: &Value) -> bool {
        let mut isolated = false;
        for policy in &self.policies {
            let directions = list(&policy["spec"]["policyTypes"]);
            let place = text(policy, "/metadata/namespace");
            let pods = self.means(Some(place), &policy["spec"]["podSelector"]);
            if !directions.iter().any(|known| known == direction)
                || !pods.contains(&full_name(subject))
            {
                continue;
            }
            isolated = true;
            let (rules, peers) = match direction {
                "Egress" => ("egress", "to"),
                _ => ("ingress", "from"),
            };
            let mut rules = policy["spec"][rules].as_array().into_iter().flatten();
            let passes = |rule: &Value| {
                any_or_none(&rule["ports"], |allowed| is_port(allowed, port))
                    && any_or_none(&rule[peers], |peer| self.is_peer(place, peer, other))
            };
            if rules.any(passes) {
                return true;
            }
        }
        !isolated
    }

    fn is_peer(&self, place: &str, peer: &Value, pod: &Value) -> bool {
        // Addresses outside of the cluster: no pod.
        if peer.get("ipBlock").is_some() {
            return false;
        }
        let pods = peer
            .get("podSelector")
            .cloned()
            .unwrap_or_else(|| json!({}));
        let Some(namespaces) = peer.get("namespaceSelector") else {
            return self.means(Some(place), &pods).contains(&full_name(pod));
        };
        let namespaces = self.namespaces(namespaces);
        namespaces.contains(text(pod, "/metadata/namespace"))
            && self.means(None, &pods).contains(&full_name(pod))
    }

    fn means(&self, namespace: Option<&str>, selector: &Value) -> BTreeSet<String> {
        let key = format!("{namespace:?} {selector}");
        let mut known = self.known.borrow_mut();
        known
            .entry(key)
            .or_insert_with(|| selected(self.cluster, namespace, selector))
            .clone()
    }

    fn namespaces(&self, selector: &Value) -> BTreeSet<String> {
        let mut known = self.known.borrow_mut();
        let ask = || {
            let arguments = [
                "get",
                "namespaces",
                "-l",
                &selector_text(selector),
                "-o",
                "json",
            ];
            let found = items(&self.cluster.kubectl(&arguments, "").accepted());
            found
                .iter()
                .map(|found| text(found, "/metadata/name").to_owned())
                .collect()
        };
        known
            .entry(format!("namespaces {selector}"))
            .or_insert_with(ask)
            .clone()
    }

    fn outsider(&self, name: &str) -> &Value {
        self.pods
            .iter()
            .find(|pod| full_name(pod) == name)
            .expect("an outsider")
    }
}

/// No list, or an empty one, is everything.
fn any_or_none(list: &Value, matches: impl Fn(&Value) -> bool) -> bool {
    list.as_array()
        .is_none_or(|list| list.is_empty() || list.iter().any(matches))
}

fn is_port(allowed: &Value, port: &Value) -> bool {
    assert!(
        allowed.get("endPort").is_none(),
        "ranges are not understood here: {allowed}"
    );
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    protocol(allowed) == protocol(port)
        && allowed
            .get("port")
            .is_none_or(|allowed| *allowed == port["containerPort"] || *allowed == port["name"])
}

fn outsider(cluster: &Cluster, name: &str, ports: &[u16]) -> Value {
    let (namespace, name) = name.split_once('/').expect("a namespace");
    if !cluster.kubectl(&["get", "namespace", namespace], "").ok {
        make_namespace(cluster, namespace, &json!({}));
    }
    make_account(cluster, namespace);
    let ports: Vec<Value> = ports
        .iter()
        .map(|port| json!({"containerPort": port}))
        .collect();
    let some = json!({"cpu": "1m", "memory": "1Mi"});
    let container = json!({
        "name": "any", "image": "any:0", "ports": ports,
        "resources": {"requests": some, "limits": some},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    let context = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    let spec = json!({"spec": {"containers": [container], "securityContext": context}});
    object("Pod", namespace, name, &spec)
}

fn ports(pod: &Value) -> Vec<Value> {
    let containers = list(&pod["spec"]["containers"]);
    containers
        .iter()
        .flat_map(|container| list(&container["ports"]))
        .collect()
}

/// Without the namespace of the chart.
fn short(pod: &Value) -> String {
    let name = full_name(pod);
    name.strip_prefix(&format!("{NAMESPACE}/"))
        .map_or(name.clone(), str::to_owned)
}
