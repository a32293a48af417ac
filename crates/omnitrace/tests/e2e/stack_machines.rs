//! What goes wrong with a machine, for real: its kernel ends a process for lack of memory, and a clock is wrong. Somebody is told.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{NativeStack, eventually};

/// A group of processes that the kernel grants so much memory, as a container has one.
struct Granted(PathBuf);

impl Granted {
    fn to(pid: u32, bytes: u64) -> Self {
        let old = Path::new("/sys/fs/cgroup/memory");
        let (root, files) = if old.is_dir() {
            (
                old,
                [("memory.swappiness", 0), ("memory.limit_in_bytes", bytes)],
            )
        } else {
            (
                Path::new("/sys/fs/cgroup"),
                [("memory.swap.max", 0), ("memory.max", bytes)],
            )
        };
        // In the second version of the interface a group has what its parent hands on.
        std::fs::write(root.join("cgroup.subtree_control"), "+memory").ok();
        let group = Self(root.join(format!("omnitrace-test-{pid}")));
        let why = "a group of processes (root, and a kernel with the controller `memory`)";
        std::fs::create_dir(&group.0).expect(why);
        for (file, value) in files {
            // Not every kernel has swap.
            let set = std::fs::write(group.0.join(file), value.to_string());
            assert!(set.is_ok() || value == 0, "{why}: {file}: {set:?}");
        }
        std::fs::write(group.0.join("cgroup.procs"), pid.to_string()).expect(why);
        group
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}

/// Debian's libfaketime, by which a process sees another time.
fn another_time() -> String {
    let places = std::fs::read_dir("/usr/lib").expect("libraries");
    let places = places.map(|place| {
        place
            .expect("an entry")
            .path()
            .join("faketime/libfaketime.so.1")
    });
    let library = places.into_iter().find(|path| path.is_file());
    let library = library.expect("libfaketime (on Debian, apt-get install libfaketime)");
    library.display().to_string()
}

/// Waits until an alert fires; of which services.
async fn firing(native: &NativeStack, alert: &str) -> Vec<String> {
    let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
    eventually(&format!("{alert} fires"), async || {
        let found = native.prometheus_query(&query).await;
        let service =
            |alert: &serde_json::Value| alert["metric"]["service"].as_str().map(str::to_owned);
        let services: Vec<String> = found.iter().filter_map(service).collect();
        (!services.is_empty()).then_some(services)
    })
    .await
}

#[tokio::test]
#[ignore = "needs root, libfaketime and the programs of deploy/tools/build.sh: just test-stack"]
async fn a_process_that_the_kernel_ends_and_a_clock_that_is_wrong_are_told() {
    let library = another_time();
    let native = NativeStack::builder().services(|services| {
        services
            .env("data", "LD_PRELOAD", &library)
            .env("data", "FAKETIME", "+5s")
            // Timers go by it.
            .env("data", "FAKETIME_DONT_FAKE_MONOTONIC", "1")
    });
    let native = native.without(&[
        "loki",
        "jaeger",
        "collector",
        "postgres-exporter",
        "blackbox",
        "probe",
        "alertmanager",
    ]);
    let mut native = native.start().await;
    assert_eq!(firing(&native, "ClockSkew").await, ["data"]);

    // Compared with a minute before.
    eventually("what the kernel had counted", async || {
        let known = "count(last_over_time(system_oom_kills_total[1m] offset 1m)) >= 3";
        let known = native.prometheus_query(known).await;
        (!known.is_empty()).then_some(())
    })
    .await;
    let silent = native.prometheus_query("ALERTS{alertname=\"OutOfMemory\"}");
    assert!(silent.await.is_empty());
    let _granted = Granted::to(native.stack.pid("downstream"), 48 << 20);
    let leak = json!({"mib_per_s": 64, "max_mib": 256});
    let leak = native.stack.fault_set("downstream", "memory_leak", leak);
    leak.await.expect(200);
    assert_eq!(native.stack.ended("downstream").await, 137);
    assert_eq!(firing(&native, "OutOfMemory").await, ["machine"]);
}
