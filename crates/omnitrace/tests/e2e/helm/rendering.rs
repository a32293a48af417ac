//! A rendering of the chart: its objects, and the pods that they make.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use serde_json::Value;

use super::{NAMESPACE, helm};
use crate::harness::list;

/// A profile, and values that change it: together they switch every part on and off.
const SELECTIONS: [(&str, &[&str]); 5] = [
    ("trial", &[]),
    (
        "trial",
        &[
            "faults=off",
            "monitoring.dashboardLabel=",
            "nodeLogs.enabled=true",
        ],
    ),
    ("production", &[]),
    (
        "production",
        &[
            "collector.tier1.enabled=false",
            "collector.tier2.replicas=1",
            "nodeLogs.enabled=false",
            "monitoring.namespace=",
        ],
    ),
    (
        "production",
        &[
            "backends.traces=",
            "backends.metrics=",
            "backends.peers=null",
            "backends.databasePeers=null",
            "gateway.hosts=null",
            "monitoring.operator=false",
            "monitoring.alertmanager=false",
        ],
    ),
];

static ALL: LazyLock<Vec<Rendering>> = LazyLock::new(|| {
    SELECTIONS
        .map(|(profile, set)| Rendering::of(profile, set))
        .into()
});

/// What Helm makes of a profile.
pub(crate) struct Rendering {
    profile: &'static str,
    set: &'static [&'static str],
    pub(crate) objects: Vec<Value>,
}

impl fmt::Display for Rendering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.profile, self.set)
    }
}

impl Rendering {
    fn of(profile: &'static str, set: &'static [&'static str]) -> Self {
        let (succeeded, said) = helm(&["template", "omnitrace"], Some(profile), set);
        assert!(succeeded, "{profile} {set:?}: {said}");
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&said).unwrap_or_else(|error| panic!("{profile}: {error}"));
        assert!(objects.len() > 40, "{profile}: {} objects", objects.len());
        Self {
            profile,
            set,
            objects,
        }
    }

    /// Every selection, rendered once.
    pub(crate) fn all() -> &'static [Self] {
        &ALL
    }

    /// The profile without a change.
    pub(crate) fn plain(profile: &str) -> &'static Self {
        let plain = |rendering: &&Self| rendering.profile == profile && rendering.set.is_empty();
        ALL.iter().find(plain).expect(profile)
    }

    pub(crate) fn is_trial(&self) -> bool {
        self.profile == "trial"
    }

    pub(crate) fn kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.kind(kind).find(|object| name_of(object) == name)
    }

    /// The pods of every workload; no rendering is without some.
    pub(crate) fn pods(&self) -> Vec<Pod<'_>> {
        let kinds = ["Deployment", "StatefulSet", "DaemonSet", "Job"];
        let workloads = self
            .objects
            .iter()
            .filter(|object| kinds.contains(&text(&object["kind"])));
        let pods: Vec<_> = workloads.map(Pod::of).collect();
        assert!(pods.len() >= 7, "{self}: {} workloads", pods.len());
        pods
    }

    pub(crate) fn pod(&self, owner: &str) -> Pod<'_> {
        let found = self.pods().into_iter().find(|pod| pod.owner == owner);
        found.unwrap_or_else(|| panic!("{self}: no workload {owner}"))
    }

    /// Owners of the pods in `namespace` that a selector finds.
    pub(crate) fn selected(&self, namespace: &str, selector: &Value) -> BTreeSet<&str> {
        let pods = self
            .pods()
            .into_iter()
            .filter(|pod| pod.namespace == namespace);
        pods.filter(|pod| pod.matches(selector))
            .map(|pod| pod.owner)
            .collect()
    }
}

/// The pods of a workload.
pub(crate) struct Pod<'a> {
    /// Name of the workload.
    pub(crate) owner: &'a str,
    pub(crate) workload: &'a Value,
    pub(crate) namespace: &'a str,
    pub(crate) spec: &'a Value,
    labels: &'a Value,
}

impl<'a> Pod<'a> {
    fn of(workload: &'a Value) -> Self {
        let template = &workload["spec"]["template"];
        Self {
            owner: name_of(workload),
            workload,
            namespace: namespace_of(workload),
            spec: &template["spec"],
            labels: &template["metadata"]["labels"],
        }
    }

    pub(crate) fn kind(&self) -> &str {
        text(&self.workload["kind"])
    }

    pub(crate) fn containers(&self) -> &'a [Value] {
        let containers = self.spec["containers"].as_array();
        containers
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| panic!("{} has no container", self.owner))
    }

    /// Names and values of variables that stand in the rendering itself.
    pub(crate) fn literals(&self) -> BTreeMap<&'a str, &'a str> {
        let variables = self
            .containers()
            .iter()
            .flat_map(|container| container["env"].as_array())
            .flatten();
        let literal =
            |variable: &'a Value| Some((text(&variable["name"]), variable["value"].as_str()?));
        variables.filter_map(literal).collect()
    }

    pub(crate) fn matches(&self, selector: &Value) -> bool {
        let has = |(key, value): (&String, &Value)| self.labels.get(key) == Some(value);
        // Of a Service the selector is the map itself.
        let labels = match selector.get("matchLabels") {
            Some(labels) => Some(labels),
            None if selector.get("matchExpressions").is_some() => None,
            None => Some(selector),
        };
        let by_labels = labels
            .and_then(Value::as_object)
            .is_none_or(|labels| labels.iter().all(has));
        by_labels
            && list(&selector["matchExpressions"])
                .iter()
                .all(|expression| {
                    assert_eq!(expression["operator"], "In", "{expression}");
                    let value = self.labels.get(text(&expression["key"]));
                    value.is_some_and(|value| list(&expression["values"]).contains(value))
                })
    }

    /// The container port that a number or a name means.
    pub(crate) fn port(&self, port: &Value) -> Option<u64> {
        let ports = self
            .containers()
            .iter()
            .flat_map(|container| list(&container["ports"]));
        let number = |one: Value| {
            (one["name"] == *port || one["containerPort"] == *port)
                .then(|| one["containerPort"].as_u64())
        };
        ports.filter_map(number).next().flatten()
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn name_of(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub(crate) fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"]
        .as_str()
        .unwrap_or(NAMESPACE)
}
