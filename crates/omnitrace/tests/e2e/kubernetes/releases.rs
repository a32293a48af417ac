//! The life of a release: from an earlier version of the chart to the present one, back, and away. Nobody runs jobs here, so
//! the test says of each how it ended, as the job's controller does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::cluster::{Answer, Cluster};
use super::{apply, full_name, items, object, start, text};
use crate::harness::{DEADLINE, Directory, POLL, list};
use crate::helm::path;

/// What the chart's first version made of values-production.yaml: `helm template`, an object per line, without what may change
/// at will: ConfigMaps and monitoring.
const EARLIER: &str = include_str!("earlier.yaml");

#[test]
#[ignore = "needs Kubernetes' API server: just test-kubernetes"]
fn an_earlier_release_is_upgraded_rolled_back_and_removed() {
    let cluster = start();
    let release = Release(&cluster);
    let directory = Directory::new();
    let empty = release.objects();
    let old = earlier(&directory, "earlier", EARLIER);
    release
        .change(&["install", "omnitrace", &old], Job::Completes)
        .accepted();
    let before = release.objects();
    assert!(before.len() >= empty.len() + 30, "{before:?}");

    // A migration that fails changes nothing: the earlier pods go on.
    let (chart, production) = (path(""), path("values-production.yaml"));
    let upgrade = ["upgrade", "omnitrace", &chart, "-f", &production];
    let said = release.change(&upgrade, Job::Fails).refused();
    assert!(said.contains("pre-upgrade hooks failed"), "{said}");
    assert_eq!(release.objects(), before);

    release.change(&upgrade, Job::Completes).accepted();
    assert_ne!(release.objects(), before);
    release
        .change(&["rollback", "omnitrace", "1"], Job::Completes)
        .accepted();
    assert_eq!(release.objects(), before);

    // What Kubernetes lets nobody change is noticed.
    let label = |value: &str| format!(r#""app.kubernetes.io/component":"{value}""#);
    let other = EARLIER.replace(&label("gateway"), &label("front"));
    let other = earlier(&directory, "other", &other);
    let said = release
        .change(&["upgrade", "omnitrace", &other], Job::Completes)
        .refused();
    assert!(said.contains("field is immutable"), "{said}");

    let volumes = release.make_volumes();
    cluster.helm(&["uninstall", "omnitrace"]).accepted();
    let left = release.objects().into_keys();
    let left: Vec<String> = left.filter(|name| !empty.contains_key(name)).collect();
    assert_eq!(left, volumes, "all that outlives the release");
}

/// A chart whose only template is what another one made.
fn earlier(directory: &Directory, name: &str, rendering: &str) -> String {
    let chart = directory.path().join(name);
    std::fs::create_dir_all(chart.join("templates")).expect("a directory");
    let write = |file: &str, text: &str| std::fs::write(chart.join(file), text).expect("a file");
    write(
        "Chart.yaml",
        "apiVersion: v2\nname: omnitrace\nversion: 0.0.1\n",
    );
    write("rendering.yaml", rendering);
    write("templates/all.yaml", "{{ .Files.Get \"rendering.yaml\" }}");
    chart.display().to_string()
}

/// How a job of a hook ends.
#[derive(Clone, Copy)]
enum Job {
    Completes,
    Fails,
}

/// The release `omnitrace` of a cluster.
struct Release<'a>(&'a Cluster);

impl Release<'_> {
    /// `helm install|upgrade|rollback …`, and meanwhile each job of a hook ends in one way.
    fn change(&self, arguments: &[&str], end: Job) -> Answer {
        let start = Instant::now();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) && start.elapsed() < DEADLINE {
                    self.end_jobs(end);
                    std::thread::sleep(POLL);
                }
            });
            let answer = self.0.helm(arguments);
            over.store(true, Ordering::Relaxed);
            answer
        })
    }

    fn end_jobs(&self, end: Job) {
        let jobs = self.0.kubectl(&["get", "jobs", "-o", "json"], "");
        for job in items(&jobs.accepted()) {
            if job.pointer("/status/conditions").is_some() {
                continue;
            }
            let time = &job["metadata"]["creationTimestamp"];
            let conditions = |types: [&str; 2]| {
                types
                    .map(|name| json!({"type": name, "status": "True", "lastTransitionTime": time}))
            };
            let status = match end {
                Job::Completes => json!({
                    "startTime": time, "completionTime": time, "succeeded": 1,
                    "conditions": conditions(["SuccessCriteriaMet", "Complete"]),
                }),
                Job::Fails => json!({
                    "startTime": time, "failed": 1, "conditions": conditions(["FailureTarget", "Failed"]),
                }),
            };
            let patch = json!({"status": status}).to_string();
            let arguments = ["patch", "job", text(&job, "/metadata/name")];
            let how = ["--subresource=status", "--type=merge", "-p", &patch];
            self.0
                .kubectl(&[&arguments[..], &how].concat(), "")
                .accepted();
        }
    }

    /// All that the server keeps for users, by kind and name, without what it says of its state. Jobs of hooks come and go,
    /// and Helm's records tell the history.
    fn objects(&self) -> BTreeMap<String, Value> {
        let kinds = [
            "api-resources",
            "--namespaced",
            "--verbs=list",
            "--output=name",
        ];
        let kinds = self.0.kubectl(&kinds, "").accepted();
        let kinds: Vec<&str> = kinds
            .lines()
            .filter(|kind| !TRANSIENT.contains(kind))
            .collect();
        let all = ["get", &kinds.join(","), "-A", "-o", "json"];
        let objects = items(&self.0.kubectl(&all, "").accepted()).into_iter();
        let objects = objects.filter(|object| object["type"] != "helm.sh/release.v1");
        objects
            .map(|mut object| {
                let name = format!("{} {}", text(&object, "/kind"), full_name(&object));
                let labels = object["metadata"]["labels"].take();
                object["metadata"] = labels;
                object.as_object_mut().unwrap().remove("status");
                (name, object)
            })
            .collect()
    }

    /// The volumes that a controller makes for the stateful workloads; their names.
    fn make_volumes(&self) -> Vec<String> {
        let all = ["get", "statefulsets", "-A", "-o", "json"];
        let all = items(&self.0.kubectl(&all, "").accepted());
        let mut names = Vec::new();
        for workload in &all {
            let kept = &workload["spec"]["persistentVolumeClaimRetentionPolicy"];
            assert_eq!(
                kept,
                &json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
                "{}",
                full_name(workload)
            );
            for claim in &list(&workload["spec"]["volumeClaimTemplates"]) {
                let name = format!(
                    "{}-{}-0",
                    text(claim, "/metadata/name"),
                    text(workload, "/metadata/name")
                );
                let place = text(workload, "/metadata/namespace");
                let spec = json!({"spec": claim["spec"]});
                apply(
                    self.0,
                    &object("PersistentVolumeClaim", place, &name, &spec),
                );
                names.push(format!("PersistentVolumeClaim {place}/{name}"));
            }
        }
        assert!(names.len() >= 2, "{names:?}");
        names.sort();
        names
    }
}

const TRANSIENT: [&str; 4] = [
    "events",
    "events.events.k8s.io",
    "jobs.batch",
    "leases.coordination.k8s.io",
];
