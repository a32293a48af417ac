//! Collectors in two tiers, as in Kubernetes: one instance of the first, which the services send to, and any number of the
//! second. All have the same ports, and each an address of its own on this machine. For the first tier a name leads to the
//! instances that a test lists: in a file that this process alone sees as `/etc/hosts`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use standard::{Addresses, Command, Deployment, Part};

use super::native_config::deploy;
use super::{Child, NativeStack, Scrape, Signal, eventually, spawn_tool, spawn_tool_with_hosts};

/// Stands for the headless service.
const NAME: &str = "collector-tier2.test";

/// Exporters of the first tier that resolve the name, each for itself: of traces, of log records, of metrics.
const RESOLVERS: f64 = 3.0;

/// What a collector listens on.
const PORTS: [&str; 6] = ["4317", "4318", "8888", "8889", "8890", "13133"];

/// An instance: the last number of its address, 1 for that of the first tier.
pub type Instance = u8;

const FIRST: Instance = 1;

/// The standard stack with two tiers of collectors. Dropped: every process is killed.
pub struct Tiers {
    /// Everything but the collectors.
    pub native: NativeStack,
    collectors: BTreeMap<Instance, Child>,
    percentage: u8,
}

impl Tiers {
    /// Starts everything, with two instances in the second tier, 2 and 3. The `percentage` of traces is kept that nothing else
    /// keeps.
    pub async fn start(percentage: u8) -> Self {
        let mut native = NativeStack::builder()
            .without(&[
                "collector",
                "alertmanager",
                "blackbox",
                "probe",
                "postgres-exporter",
                "prometheus",
            ])
            .start()
            .await;
        scrape_each(&native, &[2, 3, 4]);
        native.restart("prometheus").await;
        let mut tiers = Self {
            native,
            collectors: BTreeMap::new(),
            percentage,
        };
        tiers.write_hosts(&[2, 3]);
        for instance in [2, 3, FIRST] {
            tiers.add(instance).await;
        }
        tiers
    }

    /// Starts an instance, with the disk that it had if it was there before; ready when this returns.
    pub async fn add(&mut self, instance: Instance) {
        let addresses = addresses_of(&self.native, instance);
        let child = if instance == FIRST {
            self.first(&addresses)
        } else {
            self.second(instance, &addresses)
        };
        self.collectors.insert(instance, child);
        let url = Part::Collector.ready_url(&addresses);
        let client = &self.native.stack.client;
        eventually(
            &format!("collector {instance} is ready at {url}"),
            async || {
                let child = self.collectors.get_mut(&instance).expect("just started");
                if let Some(status) = child.try_wait() {
                    panic!("it ended with {status}\n{}", child.output());
                }
                let answer = client.get(&url).send().await.ok()?;
                answer.status().is_success().then_some(())
            },
        )
        .await;
    }

    /// Ends an instance at once, as a crash would.
    pub async fn kill(&mut self, instance: Instance) {
        let mut child = self.collectors.remove(&instance).expect("it runs");
        child.signal(Signal::SIGKILL);
        child.wait().await;
    }

    /// Holds the first tier, or lets it go on.
    pub fn signal_first(&self, signal: Signal) {
        self.collectors[&FIRST].signal(signal);
    }

    /// Has the name lead to these instances; how long it took until the first tier balanced over them.
    pub async fn lead_to(&self, instances: &[Instance]) -> Duration {
        let updates = async || {
            let scrape = self.scrape(FIRST).await;
            scrape.value("otelcol_loadbalancer_num_backend_updates_total", &[])
        };
        let (start, before) = (Instant::now(), updates().await.expect("a first update"));
        self.write_hosts(instances);
        eventually(&format!("balanced over {instances:?}"), async || {
            (updates().await? >= before + RESOLVERS).then(|| start.elapsed())
        })
        .await
    }

    /// What an instance says of itself.
    pub async fn scrape(&self, instance: Instance) -> Scrape {
        let url = addresses_of(&self.native, instance).url("collector:8888") + "/metrics";
        let client = &self.native.stack.client;
        let text = async || client.get(&url).send().await.ok()?.text().await.ok();
        Scrape::parse("", eventually(&format!("an answer of {url}"), text).await)
    }

    fn hosts(&self) -> PathBuf {
        self.native.directory.path().join("hosts")
    }

    /// In place, since it is this file that is mounted.
    fn write_hosts(&self, instances: &[Instance]) {
        let lines = instances
            .iter()
            .map(|last| format!("127.0.0.{last} {NAME}\n"));
        std::fs::write(self.hosts(), lines.collect::<String>()).expect("a file of hosts");
    }

    fn first(&self, addresses: &Addresses) -> Child {
        let deploy = deploy();
        let directory = self.native.directory.path();
        let deployment = Deployment::new(&deploy, directory, addresses, BTreeMap::new());
        let Command {
            arguments,
            environment,
        } = deployment
            .and_then(|deployment| deployment.first_tier(NAME, addresses.port("collector:4317")))
            .expect("tier1.yaml");
        spawn_tool_with_hosts("otelcol", &self.hosts(), &arguments, &environment)
    }

    fn second(&self, instance: Instance, addresses: &Addresses) -> Child {
        let (deploy, directory) = (deploy(), self.native.directory.path());
        let directory = directory.join(format!("collector-{instance}"));
        std::fs::create_dir_all(&directory).expect("a directory");
        let deployment = Deployment::new(&deploy, &directory, addresses, BTreeMap::new());
        let deployment = deployment.expect("the files of deploy/");
        let overlay = |name: &str| deployment.config(name, "collector").expect("an overlay");
        let share = format!("sampling_percentage: {}", self.percentage);
        let sampling =
            overlay("collector/production.yaml").replace("sampling_percentage: 10", &share);
        let overlays = vec![
            sampling.expect("a share of 10 %"),
            overlay("collector/tier2.yaml"),
        ];
        let Command {
            arguments,
            environment,
        } = deployment.collector(overlays).expect("collector.yaml");
        spawn_tool("otelcol", &arguments, &environment)
    }
}

/// The stack's addresses as this instance is to see them: the collector's are its own.
fn addresses_of(native: &NativeStack, instance: Instance) -> Addresses {
    let mut addresses = native.addresses.clone();
    for port in PORTS {
        let name = format!("collector:{port}");
        let own = format!("127.0.0.{instance}:{}", addresses.port(&name));
        addresses.set(&name, &own);
    }
    addresses
}

/// Has Prometheus scrape the first tier as a job of its own, and each of `second` in place of the one collector. A label tells
/// the instances apart where series keep their own labels: docs/PIPELINE.md says so.
fn scrape_each(native: &NativeStack, second: &[Instance]) {
    let path = native.directory.path().join("prometheus-prometheus.yml");
    let mut config = std::fs::read_to_string(&path).expect("Prometheus's configuration");
    for name in ["collector:8888", "collector:8889", "collector:8890"] {
        let one = format!("targets: [{}]", native.addresses.of(name));
        let each = second.iter();
        let each = each.map(|instance| addresses_of(native, *instance).of(name).to_owned());
        let each = each.collect::<Vec<_>>().join(", ");
        assert!(config.contains(&one), "Prometheus does not scrape {name}");
        let each = format!(
            "targets: [{each}]\n    relabel_configs:\n      - {{source_labels: [__address__], target_label: collector}}"
        );
        config = config.replace(&one, &each);
    }
    let first = addresses_of(native, FIRST);
    let first = first.of("collector:8888");
    config += &format!(
        "\n  - job_name: otel-collector-tier1\n    static_configs:\n      - targets: [{first}]\n"
    );
    std::fs::write(path, config).expect("Prometheus's configuration");
}
