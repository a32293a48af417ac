//! The collector of the DaemonSet, with its rendered file, on a directory that is made like a node's `/var/log/pods`.

use std::io::Write;
use std::path::Path;

use super::NAMESPACE;
use super::rendering::{Rendering, text};
use crate::harness::{Directory, Receiver, eventually, free_port, http, spawn_tool};

/// Lines as containerd writes them: a whole one, and one in two parts.
fn write(pods: &Path, pod: &str, container: &str, what: &str) {
    let uid = "01234567-89ab-cdef-0123-456789abcdef";
    let directory = pods.join(format!("{pod}_{uid}/{container}"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut file = std::fs::File::create(directory.join("0.log")).expect("a log file");
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    for line in [
        format!("stdout F {what}"),
        "stderr P half a ".to_owned(),
        "stderr F line".to_owned(),
    ] {
        writeln!(file, "{time} {line}").expect("a line");
    }
}

#[tokio::test]
#[ignore = "needs helm and the collector: just test-helm"]
async fn the_output_of_pods_is_sent_with_their_names_and_that_of_our_services_is_not() {
    let rendering = Rendering::plain("production");
    let pod = rendering.pod("node-logs");
    let map = rendering
        .object("ConfigMap", "node-logs")
        .expect("its file");
    let (directory, receiver) = (Directory::new(), Receiver::start());
    let (pods, store) = (
        directory.path().join("pods"),
        directory.path().join("store"),
    );
    std::fs::create_dir(&store).expect("a directory");
    write(&pods, "old_history", "history", "history");
    let metrics = free_port();
    let config = text(&map["data"]["node-logs.yaml"])
        .replace("/var/log/pods", &pods.display().to_string())
        .replace("/var/lib/otelcol", &store.display().to_string())
        .replace("0.0.0.0:13133", &format!("127.0.0.1:{}", free_port()))
        .replace("port: 8888", &format!("port: {metrics}"));
    let file = directory.path().join("node-logs.yaml");
    std::fs::write(&file, config).expect("a file");
    let arguments = [
        format!("--config={}", file.display()),
        // The receiver of the tests speaks HTTP.
        format!(
            "--config=yaml:exporters::otlp_http::endpoint: {}",
            receiver.url()
        ),
        "--config=yaml:service::pipelines::logs::exporters: [otlp_http]".to_owned(),
    ];
    let variables = pod
        .literals()
        .into_iter()
        .chain([("OMNITRACE_NODE", "node-1")]);
    let variables: Vec<_> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let _collector = spawn_tool("otelcol", &arguments, &variables);
    eventually("the collector has looked for files", async || {
        let page = http()
            .get(format!("http://127.0.0.1:{metrics}/metrics"))
            .send()
            .await
            .ok()?;
        let page = page.text().await.ok()?;
        let opened = |line: &str| {
            line.starts_with("otelcol_fileconsumer_open_files") && !line.ends_with(" 0")
        };
        page.lines().any(opened).then_some(())
    })
    .await;
    write(
        &pods,
        &format!("{NAMESPACE}_gateway-6d4b-x"),
        "gateway",
        "of a service",
    );
    write(
        &pods,
        &format!("{NAMESPACE}_collector-tier2-0"),
        "collector",
        "of a collector",
    );
    write(&pods, "kube-system_coredns-abc", "coredns", "of another");
    let whole = receiver
        .wait_for_log("the line in two parts", |record| {
            record.body == "half a line"
        })
        .await;
    let resource = |name: &str| {
        whole
            .resource
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_string())
    };
    assert_eq!(whole.service, "coredns");
    for (name, value) in [
        ("k8s.namespace.name", "kube-system"),
        ("k8s.pod.name", "coredns-abc"),
        ("k8s.node.name", "node-1"),
    ] {
        let found = resource(name).unwrap_or_default();
        assert!(found.contains(value), "{name}: {found}");
    }
    let bodies: Vec<String> = receiver
        .logs()
        .into_iter()
        .map(|record| record.body)
        .collect();
    assert_eq!(bodies, ["of another", "half a line"]);
}
