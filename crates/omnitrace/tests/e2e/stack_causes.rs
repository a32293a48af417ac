//! Every cause that has an alert: a real fault or outage makes it fire, on the standard stack with the demo rules.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Child, Deliveries, NativeStack, Proxy, Signal, eventually, repository};

/// A cause lasts half a minute within a window of one, before it is told; memory and restarts look back for longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until all these alerts have fired; those that have are kept in `fired`.
async fn fire(native: &NativeStack, fired: &mut BTreeSet<String>, names: &[&str]) {
    let start = Instant::now();
    loop {
        let alerts = native
            .prometheus_query("max_over_time(ALERTS{alertstate=\"firing\"}[10m])")
            .await;
        fired.extend(
            alerts
                .iter()
                .filter_map(|alert| alert["metric"]["alertname"].as_str().map(str::to_owned)),
        );
        let missing: Vec<&&str> = names
            .iter()
            .filter(|name| !fired.contains(**name))
            .collect();
        if missing.is_empty() {
            eprintln!("{names:?} after {:.0} s", start.elapsed().as_secs_f64());
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {missing:?}; fired: {fired:?}"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What users do, whatever they get.
pub async fn browse(client: reqwest::Client, gateway: String) {
    let order = json!({"sku": "omni-mug", "quantity": 1, "customer_email": "ada@example.com"});
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let requests = [
            client.get(format!("{gateway}/api/data")),
            client.post(format!("{gateway}/api/orders")).json(&order),
        ];
        for request in requests {
            tokio::spawn(async move { request.send().await.is_ok() });
        }
    }
}

/// A server whose certificate is valid for five days.
pub fn soon_expired(native: &NativeStack) -> (Child, String) {
    let directory = native.directory.path();
    let (key, certificate) = (directory.join("soon.key"), directory.join("soon.crt"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "5",
        ])
        .args(["-subj", "/CN=soon", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl (on Debian, apt-get install openssl)");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = free.expect("a free port").to_string();
    let mut server = Command::new("openssl");
    server
        .args(["s_server", "-quiet", "-accept", &address, "-cert"])
        .arg(&certificate)
        .arg("-key")
        .arg(&key);
    (Child::spawn("s_server", server), address)
}

/// Puts an event into the outbox that downstream does not understand, and waits until it is set aside.
async fn refuse_one_event(native: &NativeStack) {
    let mut connection = native.stack.database.connect().await;
    sqlx::query("INSERT INTO omnitrace.outbox (id, event) SELECT id, jsonb_build_object('id', id) FROM gen_random_uuid() id")
        .execute(&mut connection)
        .await
        .expect("an event");
    native
        .stack
        .wait_for_metric("data", "outbox_dead_letter_events", &[], |value| {
            value == 1.0
        })
        .await;
}

/// Names of the causes in `alerts/causes.toml`, without those that watch the watchers: that their metrics exist, `stack_watchers` says.
fn causes() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository("alerts/causes.toml")).expect("causes.toml");
    let file: toml::Table = text.parse().expect("TOML");
    let causes = file["cause"].as_array().expect("causes");
    causes
        .iter()
        .filter(|cause| cause.get("watches").is_none())
        .map(|cause| cause["alert"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn every_cause_is_told_when_a_fault_or_an_outage_brings_it_about() {
    let proxy = Proxy::start();
    let mut native = NativeStack::builder()
        .without(&["loki", "alertmanager", "postgres-exporter"])
        .services(|services| services.env("data", "DOWNSTREAM_URL", &proxy.url()))
        .start()
        .await;
    proxy.forward_to(native.stack.url("downstream"));
    let load = tokio::spawn(browse(
        native.stack.client.clone(),
        native.stack.url("gateway"),
    ));
    let mut fired = BTreeSet::new();
    // What grows is compared with what was there before.
    eventually("Prometheus knows the services as they were", async || {
        let services = native
            .prometheus_query("process_resident_memory_bytes{service_name!=\"\"}")
            .await;
        (services.len() >= 3).then_some(())
    })
    .await;

    refuse_one_event(&native).await;
    // Side by side, since none hides another.
    proxy.deliveries(Deliveries::Hold);
    native.kill("jaeger").await;
    for (service, fault, parameters) in [
        ("data", "slow_query", json!({"ms": 400})),
        ("downstream", "errors", json!({"share": 0.3, "status": 500})),
        ("downstream", "readiness_flap", json!({"period_ms": 2000})),
        ("gateway", "log_storm", json!({"lines_per_s": 200})),
        ("downstream", "cpu_burn", json!({"threads": 4})),
        (
            "gateway",
            "memory_leak",
            json!({"mib_per_s": 32, "max_mib": 256}),
        ),
    ] {
        native
            .stack
            .fault_set(service, fault, parameters)
            .await
            .expect(200);
    }
    let (_server, address) = soon_expired(&native);
    native.probe("soon_expired", &address, "tls_certificate");
    let together = [
        "SlowQueries",
        "DependencyErrors",
        "NotReady",
        "LogStorm",
        "MemoryGrowth",
        "HighCpu",
        "OutboxBacklog",
        "OutboxDeadLetters",
        "CollectorDropping",
        "ScrapeDown",
        "CertificateExpiring",
    ];
    fire(&native, &mut fired, &together).await;

    for service in ["gateway", "data", "downstream"] {
        native
            .stack
            .client
            .delete(format!("{}/faults", native.stack.admin_url(service)))
            .send()
            .await
            .expect("an answer");
    }
    // Requests without a connection are refused, so there are few statements: a case of its own.
    native.kill("collector").await;
    native
        .stack
        .fault_set("data", "pool_exhaustion", json!({}))
        .await
        .expect(200);
    for instances in 2..=4 {
        native.stack.restart("downstream").await;
        let seen = "count(count by (service_instance_id) (last_over_time(process_start_time_seconds{service_name=\"downstream\"}[1h])))";
        eventually("Prometheus has seen the new instance", async || {
            (native.prometheus_sum(seen).await >= f64::from(instances)).then_some(())
        })
        .await;
    }
    native.stack.restart("downstream").await;
    fire(
        &native,
        &mut fired,
        &["TelemetryBlind", "PoolSaturated", "ServiceRestarting"],
    )
    .await;

    native.stack.kill("gateway", Signal::SIGKILL).await;
    fire(&native, &mut fired, &["ServiceDown", "ProbeFailing"]).await;
    load.abort();
    let silent: Vec<String> = causes().difference(&fired).cloned().collect();
    assert!(
        silent.is_empty(),
        "no fault of this test makes them fire: {silent:?}"
    );
}
