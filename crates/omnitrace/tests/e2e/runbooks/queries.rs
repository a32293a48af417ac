//! Each query of each page, asked of a standard stack: it finds something, if need be once there is the trouble that it is about.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::pages::pages;
use crate::faults::release;
use crate::harness::{Child, DEADLINE, Directory, NativeStack, Signal, Wire, database};
use crate::herald::Herald;
use crate::stack_causes::{browse, soon_expired};

/// What finds nothing on a stack that is well, by the trouble that it is about, in the order in which the test makes it.
const TROUBLE: [(&str, &[&str]); 5] = [
    (
        "rows are locked",
        &[
            "sum by (service_name, db_operation_name, db_collection_name, error_type) (increase(db_client_operation_duration_seconds_count{outcome=\"error\"}[5m]))",
        ],
    ),
    (
        "no connection is left",
        &[
            "sum by (service_name, db_client_connection_pool_name, error_type) (increase(db_client_connection_wait_time_seconds_count{outcome=\"error\"}[5m]))",
        ],
    ),
    (
        "gateway is not ready now and then, and a certificate ends soon",
        &[
            "service_ready == 0",
            "(probe_ssl_earliest_cert_expiry - time()) / 86400",
        ],
    ),
    (
        "a newer release of data is slower",
        &[
            "release:latency:p95_change_ratio",
            "release:errors:ratio_change",
            "release:rollback:advised",
        ],
    ),
    (
        "downstream is gone, and the database does not answer",
        &[
            "up == 0",
            "service:known:info unless on (service_name) build_info",
            "service_dependency_up == 0",
        ],
    ),
];

/// What nothing here says, and why.
const NOT_HERE: [(&str, &str); 3] = [
    (
        "sum by (reason) (rate(loki_discarded_samples_total[5m]))",
        "no Loki runs in the tests",
    ),
    (
        "sum by (endpoint) (increase(otelcol_loadbalancer_backend_outcome_total{success=\"false\"}[5m]))",
        "one tier of collectors: `stack_tiers` has two",
    ),
    (
        "otelcol_loadbalancer_num_backends",
        "one tier of collectors: `stack_tiers` has two",
    ),
];

/// Language and query.
type Asked = (&'static str, String);

fn asked() -> BTreeSet<Asked> {
    let mut asked = BTreeSet::new();
    for page in pages() {
        for language in ["promql", "logql"] {
            let queries = page.queries(language).into_iter();
            asked.extend(queries.map(|query| (language, query)));
        }
    }
    asked
}

async fn finds(native: &NativeStack, (language, query): &Asked) -> bool {
    match *language {
        "promql" => !native.prometheus_query(query).await.is_empty(),
        _ => !native.loki_query(query).await.is_empty(),
    }
}

async fn until_found(native: &NativeStack, when: &str, mut missing: BTreeSet<Asked>) {
    let start = Instant::now();
    while !missing.is_empty() {
        let mut still = BTreeSet::new();
        for asked in missing {
            if !finds(native, &asked).await {
                still.insert(asked);
            }
        }
        missing = still;
        assert!(
            start.elapsed() < 3 * DEADLINE,
            "{when}, and nothing is found by {missing:#?}"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Makes one of [`TROUBLE`]; what it returns has to be kept.
async fn make(native: &mut NativeStack, wire: &Wire, step: usize) -> Option<Child> {
    // One after the other: each would hide the next.
    for service in ["gateway", "data", "downstream"] {
        let faults = format!("{}/faults", native.stack.admin_url(service));
        let cleared = native.stack.client.delete(faults).send().await;
        cleared.expect("an answer");
    }
    let (service, fault, parameters) = match step {
        0 => ("data", "lock_contention", json!({"hold_ms": 10_000})),
        1 => ("data", "pool_exhaustion", json!({})),
        2 => ("gateway", "readiness_flap", json!({"period_ms": 4000})),
        3 => ("data", "bad_release", json!({})),
        _ => {
            // The older release cannot start again on a database that does not answer.
            release::is_back(&native.stack).await;
            native.stack.kill("downstream", Signal::SIGKILL).await;
            wire.freeze();
            return None;
        }
    };
    native
        .stack
        .fault_set(service, fault, parameters)
        .await
        .expect(200);
    (step == 2).then(|| {
        let (server, address) = soon_expired(native);
        native.probe("soon_expired", &address, "tls_certificate");
        server
    })
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn stack_runbooks_every_query_finds_something() {
    let mut loud = asked();
    let mut take = |query: &str| {
        let found = loud.take(&("promql", query.to_owned()));
        found.unwrap_or_else(|| panic!("no page asks this any more: {query}"))
    };
    let troubles = TROUBLE.map(|(what, queries)| {
        let queries: BTreeSet<Asked> = queries.iter().map(|query| take(query)).collect();
        (what, queries)
    });
    let not_here = NOT_HERE.map(|(query, why)| (take(query), why));
    assert!(loud.len() > 60, "only {} queries", loud.len());

    let directory = Directory::new();
    let herald = Herald::start(directory.path(), &[]).await;
    let listen = format!("127.0.0.1:{}", herald.port());
    let database = database().await;
    let wire = Wire::to(&database.url).await;
    let builder = NativeStack::builder()
        .overlay("production.yaml")
        .services(|services| {
            let services = services.database(database);
            services.env("data", "DATABASE_URL", wire.url())
        });
    let mut native = builder.herald(&listen).start().await;
    let load = tokio::spawn(browse(
        native.stack.client.clone(),
        native.stack.url("gateway"),
    ));
    let errors = json!({"share": 0.3, "status": 500});
    let errors = native.stack.fault_set("downstream", "errors", errors);
    errors.await.expect(200);
    until_found(&native, "calls fail", loud).await;
    let mut kept = Vec::new();
    for (step, (what, queries)) in troubles.into_iter().enumerate() {
        kept.push(make(&mut native, &wire, step).await);
        until_found(&native, what, queries).await;
        eprintln!("{what}: found");
    }
    for (asked, why) in not_here {
        let found = finds(&native, &asked).await;
        assert!(
            !found,
            "found after all, so no exception ({why}): {asked:?}"
        );
    }
    load.abort();
}
