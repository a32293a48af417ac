//! From a fault to a person, on the standard stack: the real rules, Alertmanager's own routes, herald's evidence. And from
//! no fault to nobody.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Capture, Child, NativeStack, jaeger_services, list, omnitrace};
use crate::stack_alertmanager_config::rendered;

/// The control window.
const QUIET: Duration = Duration::from_secs(180);

/// An alert resolves when its longest short window (2 min in the demo profile) has passed, and Alertmanager tells at the next
/// group interval (1 min).
const PATIENCE: Duration = Duration::from_secs(420);

/// Requests per second: enough for the rules' minimum of bad events, few enough for two cores.
const RATE: u64 = 6;

/// The stack with everything between a fault and a person.
struct Alerting {
    native: NativeStack,
    webhook: Capture,
    _herald: Child,
    _state: tempfile::TempDir,
    load: tokio::task::JoinHandle<()>,
    got: Vec<Value>,
}

impl Alerting {
    async fn start() -> Self {
        // Prometheus and Alertmanager are told of herald before it is told of them.
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a free port")
            .local_addr()
            .expect("its address");
        let herald_at = port.to_string();
        let state = tempfile::tempdir().expect("a directory");
        let native = NativeStack::builder()
            // As `just up` renders it, when no receiver but herald is switched on.
            .alertmanager(rendered(state.path(), &[], Some(&format!("http://{herald_at}"))).await)
            .herald(&herald_at)
            .start()
            .await;
        let webhook = Capture::answering(&json!({}));
        let mut herald = Child::spawn(
            "herald",
            herald(&native, &webhook, state.path(), &herald_at),
        );
        herald.listening().await;
        let load = tokio::spawn(browse(
            native.stack.client.clone(),
            native.stack.url("gateway"),
        ));
        Self {
            native,
            webhook,
            _herald: herald,
            _state: state,
            load,
            got: Vec::new(),
        }
    }

    /// Waits for a notification.
    async fn notified(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            self.got
                .extend(self.webhook.take().iter().map(|request| request.json()));
            if let Some(found) = self.got.iter().position(&matches) {
                let found = self.got.remove(found);
                eprintln!(
                    "{what}: after {:.0} s: {}",
                    start.elapsed().as_secs_f64(),
                    found["title"]
                );
                return found;
            }
            let seen: Vec<&Value> = self.got.iter().map(|body| &body["title"]).collect();
            assert!(
                start.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}; got {seen:?}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Every alert that Prometheus has seen firing lately, but for the one that always does.
    async fn fired(&self, window: &str) -> Vec<Value> {
        let query = format!(
            "max_over_time(ALERTS{{alertstate=\"firing\",alertname!=\"Watchdog\"}}[{window}])"
        );
        self.native.prometheus_query(&query).await
    }
}

fn herald(native: &NativeStack, webhook: &Capture, state: &std::path::Path, at: &str) -> Command {
    let mut command = omnitrace(["herald", "--listen", at, "--state-dir"]);
    command
        .arg(state.join("herald"))
        .env("PROMETHEUS_URL", native.url("prometheus:9090"))
        .env("JAEGER_URL", native.url("jaeger:16686"))
        .env("LOKI_URL", native.url("loki:3100"))
        .env("GRAFANA_URL", "http://grafana.example")
        .env("HERALD_WEBHOOK_URL", webhook.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", native.url("collector:4318"))
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("HERALD_SLACK_WEBHOOK_URL");
    command
}

/// What users do, whatever they get, at a fixed rate.
async fn browse(client: reqwest::Client, gateway: String) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1000 / RATE));
    for number in 0_u64.. {
        ticks.tick().await;
        let request = match number % 4 {
            0 => client.post(format!("{gateway}/api/orders")).json(
                &json!({"sku": "omni-mug", "quantity": 1, "customer_email": "ada@example.com"}),
            ),
            _ => client.get(format!("{gateway}/api/data")),
        };
        tokio::spawn(async move { request.send().await.is_ok() });
    }
}

fn is(name: &'static str, status: &'static str) -> impl Fn(&Value) -> bool {
    move |body| {
        let labels = &body["alerts"][0]["labels"];
        body["status"] == status
            && labels["alertname"] == name
            && labels["severity"] == "page"
            && body["service"] == "gateway"
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_fault_reaches_a_person_with_evidence_and_no_fault_reaches_nobody() {
    let mut alerting = Alerting::start().await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(
        alerting.fired("5m").await,
        [] as [Value; 0],
        "{QUIET:?} without a fault"
    );
    assert_eq!(alerting.webhook.take().len(), 0);
    let watchdog = alerting
        .native
        .prometheus_query("ALERTS{alertname=\"Watchdog\",alertstate=\"firing\"}")
        .await;
    assert_eq!(watchdog.len(), 1, "the rules are at work");

    downstream_fails(&mut alerting).await;
    data_is_released(&mut alerting).await;
    alerting.load.abort();
    assert!(alerting.native.stack.get_data().await.status == 200);
}

async fn downstream_fails(alerting: &mut Alerting) {
    let fault = json!({"share": 0.5, "expires_in_s": 900});
    alerting
        .native
        .stack
        .fault_set("downstream", "errors", fault)
        .await
        .expect(200);
    let page = alerting
        .notified("the page", is("AvailabilityBurnRate", "firing"))
        .await;

    let evidence = &page["evidence"];
    assert_eq!(evidence["missing"], json!([]), "{page:#}");
    // The dependency: the deepest call that fails.
    let hops = list(&evidence["dependencies"]["failing"]["hops"]);
    let callees: Vec<&str> = hops
        .iter()
        .map(|hop| hop["callee"].as_str().unwrap())
        .collect();
    assert_eq!(callees, ["data", "downstream"], "{evidence:#}");
    assert!(hops[1]["error_share"].as_f64() > Some(0.05), "{evidence:#}");
    // The worst trace can be opened, and says the same.
    let worst = &evidence["traces"][0];
    assert!(
        worst["error"] == true
            && worst["failed_at"]
                .as_str()
                .unwrap()
                .starts_with("downstream "),
        "{evidence:#}"
    );
    let id = worst["trace_id"].as_str().unwrap();
    let trace = alerting
        .native
        .jaeger_trace(id)
        .await
        .expect("the trace in Jaeger");
    assert!(
        jaeger_services(&trace)
            .iter()
            .any(|service| service == "downstream")
    );
    assert_eq!(
        page["links"]["traces"][0],
        format!("{}/trace/{id}", alerting.native.url("jaeger:16686"))
    );
    // The first error lines, which lead to a trace too.
    let lines = list(&evidence["log_lines"]);
    assert!(
        lines.iter().any(
            |line| line["text"].as_str().unwrap().starts_with("request failed")
                && line["trace_id"].is_string()
        ),
        "{evidence:#}"
    );
    // No release, hence nothing to roll back.
    assert_eq!(evidence["releases"]["changes"], json!([]), "{evidence:#}");
    assert_eq!(
        evidence["releases"]["running"]["data"],
        json!([env!("OMNITRACE_BUILD")])
    );
    for link in ["dashboard", "runbook", "logs"] {
        assert!(
            page["links"][link].is_string(),
            "{link} in {:#}",
            page["links"]
        );
    }
    // The answer key stays where it is.
    assert!(!page.to_string().contains("fault_active"), "{page:#}");

    alerting
        .native
        .stack
        .fault_clear("downstream", "errors")
        .await
        .expect(200);
    alerting
        .notified("the end", is("AvailabilityBurnRate", "resolved"))
        .await;
}

async fn data_is_released(alerting: &mut Alerting) {
    let fault = json!({"ms": 400, "expires_in_s": 900});
    alerting
        .native
        .stack
        .fault_set("data", "bad_release", fault)
        .await
        .expect(200);
    let page = alerting
        .notified("the page", is("LatencyBurnRate", "firing"))
        .await;
    let changes = list(&page["evidence"]["releases"]["changes"]);
    let change = changes
        .iter()
        .find(|change| change["service"] == "data")
        .unwrap_or_else(|| panic!("{page:#}"));
    assert_eq!(
        (&change["before"]["version"], &change["now"]["version"]),
        (&json!(env!("OMNITRACE_BUILD")), &json!("0.2.0"))
    );
    assert_eq!(change["roll_back"], "advised", "{change:#}");
    assert!(
        change["reason"]
            .as_str()
            .unwrap()
            .starts_with("its p95 is "),
        "{change:#}"
    );
    let slowest = list(&page["evidence"]["dependencies"]["slowest"]["hops"]);
    // The statements that look up an item: one reads it, the other orders it.
    let callee = slowest.last().expect("a hop")["callee"].as_str();
    assert!(
        matches!(
            callee,
            Some("postgresql SELECT items" | "postgresql INSERT orders")
        ),
        "{slowest:#?}"
    );
    alerting
        .native
        .stack
        .fault_clear("data", "bad_release")
        .await
        .expect(200);
    alerting
        .notified("the end", is("LatencyBurnRate", "resolved"))
        .await;
}
