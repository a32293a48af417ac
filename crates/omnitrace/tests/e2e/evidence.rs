//! Herald as a part of `omnitrace up`: its evidence comes from the console, and says what the standard stack's says.

use serde_json::{Value, json};

use crate::harness::{
    Capture, Database, Directory, Reply, Up, database, eventually, http, until_there_is,
};
use crate::herald::{alert, arrived};

/// A stack with some requests, whose herald tells `webhook`.
pub async fn with_load(webhook: &Capture, database: &Database) -> Up {
    let url = webhook.url();
    let mut up = Up::start_with(Directory::new(), database, |command| {
        let command = command.args(["--load", "5"]);
        let command = command.env("HERALD_WEBHOOK_URL", &url);
        // Its door is not that of the caller's herald: the console could not enter.
        command.env("HERALD_SECRET", "for-another-alertmanager")
    })
    .await;
    up.ready().await;
    up
}

/// Posts an alert as the console does.
pub async fn post(up: &mut Up, alert: &Value) {
    let herald = up.started("herald").await;
    let url = format!("{}/alerts", herald["url"].as_str().expect("a URL"));
    let answer = http().post(url).json(alert).send().await;
    Reply::read(answer.expect("an answer")).await.expect(200);
}

/// What is told about an alert of the gateway.
pub async fn told(webhook: &Capture, name: &str) -> Value {
    let title = format!("{name}: gateway");
    eventually(&title, async || {
        let told = arrived(webhook, 1).await.into_iter();
        let mut told = told.map(|request| request.json());
        told.find(|body| body["title"].to_string().contains(&title))
    })
    .await
}

fn callees(evidence: &Value, trail: &str) -> Vec<String> {
    let hops = evidence["dependencies"][trail]["hops"].as_array();
    let hops = hops.unwrap_or_else(|| panic!("{evidence:#}")).iter();
    hops.map(|hop| hop["callee"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn the_console_is_all_the_evidence_that_herald_asks_for() {
    let webhook = Capture::answering(&json!({}));
    let mut up = with_load(&webhook, &database().await).await;
    let ready = up.ready().await;
    let console = ready["console_url"].as_str().expect("a URL");
    up.fault("downstream", "errors", json!({"share": 0.5}))
        .await;
    // The console's own rules notice it, and what fires is posted to herald.
    let page = told(&webhook, "AvailabilityBurnRate").await;
    downstream_is_blamed(&page, console).await;
    every_link_leads_to_a_page(&page["links"], console).await;

    let all = up.faults("downstream").await;
    http().delete(all).send().await.expect("an answer");
    // Longer than the steps in which releases are looked for.
    until_there_is(console, "build_info{service_name=\"data\"} offset 20s").await;
    up.fault("data", "bad_release", json!({"ms": 300})).await;
    let released = "build_info{service_name=\"data\",service_version=\"0.2.0\"} offset 5s";
    until_there_is(console, released).await;
    let slow = "histogram_quantile(0.95, sum by (le) (rate(\
        db_client_operation_duration_seconds_bucket{service_name=\"data\",db_operation_name=\"SELECT\",db_collection_name=\"items\"}[1m]))) > 0.25";
    until_there_is(console, slow).await;
    a_release_is_named(&release_to_blame(&mut up, &webhook).await);
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

async fn downstream_is_blamed(page: &Value, console: &str) {
    let evidence = &page["evidence"];
    // A query that the console refuses would be named here.
    assert_eq!(evidence["missing"], json!([]), "{page:#}");
    assert_eq!(callees(evidence, "failing"), ["data", "downstream"]);
    let cause = &page["diagnosis"]["causes"][0];
    assert_eq!(cause["service"], "downstream", "{page:#}");
    assert_eq!(cause["kind"], "errors", "{page:#}");
    let first = &page["diagnosis"]["first_action"];
    assert_eq!(
        (&first["do"], &first["target"]),
        (&json!("look_at"), &json!("downstream"))
    );
    let traces = evidence["traces"].as_array().expect("traces");
    // Of a trace that has only just ended some spans may be on their way: it seems to fail at the last call that is known.
    let reaches_down = |trace: &Value| {
        let failed_at = trace["failed_at"].as_str().unwrap_or_default();
        failed_at.starts_with("downstream ")
    };
    let whole: Vec<usize> = (0..traces.len())
        .filter(|at| reaches_down(&traces[*at]))
        .collect();
    assert!(whole.len() * 2 > traces.len(), "{evidence:#}");
    let worst = &traces[whole[0]];
    assert_eq!(
        (&worst["error"], &worst["in_jaeger"]),
        (&json!(true), &json!(true))
    );
    let trace = &page["links"]["traces"][whole[0]];
    let id = worst["trace_id"].as_str().expect("an id");
    assert_eq!(*trace, format!("{console}/trace/{id}"));
    let page_of_it = http().get(format!("{console}/trace/{id}")).send().await;
    assert_eq!(page_of_it.expect("an answer").status(), 200);
    let lines = evidence["log_lines"].as_array().expect("lines");
    let leads_on = |line: &Value| {
        let text = line["text"].as_str().unwrap_or_default();
        text.starts_with("request failed") && line["trace_id"].is_string()
    };
    assert!(lines.iter().any(leads_on), "{evidence:#}");
    let releases = &evidence["releases"];
    assert_eq!(releases["changes"], json!([]), "{evidence:#}");
    assert_eq!(
        releases["running"]["data"],
        json!([env!("OMNITRACE_BUILD")])
    );
    assert!(!page.to_string().contains("fault_active"), "{page:#}");
}

/// No Grafana runs: the console answers its addresses.
async fn every_link_leads_to_a_page(links: &Value, console: &str) {
    let address = |name: &str| {
        let address = links[name].as_str();
        address.unwrap_or_else(|| panic!("{name} in {links:#}"))
    };
    let pages = [
        ("dashboard", "/services/gateway"),
        ("logs", "/logs?level=error"),
        ("runbook", "/docs/runbooks/AvailabilityBurnRate.md"),
        ("alertmanager", "/"),
    ];
    for (name, page) in pages {
        let answer = http().get(address(name)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{name} in {links:#}");
        assert_eq!(answer.url().as_str(), format!("{console}{page}"));
    }
    let all = links.as_object().expect("links").keys();
    let known = |name: &&String| *name == "traces" || pages.iter().any(|(page, _)| page == name);
    assert_eq!(all.clone().count(), all.filter(known).count(), "{links:#}");
    let runbook = http().get(address("runbook")).send().await;
    let runbook = runbook.expect("an answer").text().await;
    let heading = "<h1>AvailabilityBurnRate</h1>";
    assert!(runbook.expect("a text").starts_with(heading));
}

/// The rules compare once there are enough requests; and for a minute requests that waited for the new version to start are the slowest.
/// Each alert has a name of its own, that the rules do not tell.
async fn release_to_blame(up: &mut Up, webhook: &Capture) -> Value {
    let mut count = 0;
    eventually("the release is to blame", async || {
        count += 1;
        let name = format!("SlowRelease{count}");
        post(up, &alert(&name, "firing")).await;
        let page = told(webhook, &name).await;
        let change = &page["evidence"]["releases"]["changes"][0];
        let is_blamed = change["roll_back"] == "advised" && looks_up(&page["evidence"]);
        let is_blamed = is_blamed && page["diagnosis"]["first_action"]["do"] == "roll_back";
        let is_whole = page["evidence"]["missing"] == json!([]);
        (is_blamed && is_whole).then_some(page)
    })
    .await
}

/// Whether the slowest calls lead to what looks an item up.
fn looks_up(evidence: &Value) -> bool {
    let slowest = callees(evidence, "slowest");
    let last = slowest.last().expect("a hop");
    ["postgresql SELECT items", "postgresql INSERT orders"].contains(&last.as_str())
}

fn a_release_is_named(page: &Value) {
    let evidence = &page["evidence"];
    let change = &evidence["releases"]["changes"][0];
    let versions = [&change["before"]["version"], &change["now"]["version"]];
    assert_eq!(change["service"], "data", "{evidence:#}");
    assert_eq!(versions, [env!("OMNITRACE_BUILD"), "0.2.0"], "{change:#}");
    assert!(change["now"]["requests"].as_f64() > Some(0.0), "{change:#}");
    assert!(looks_up(evidence), "{evidence:#}");
    assert_eq!(change["roll_back"], "advised", "{change:#}");
    let reason = change["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("its p95 is "), "{change:#}");
    let first = &page["diagnosis"]["first_action"];
    assert_eq!(
        (&first["do"], &first["target"], &first["to"]),
        (
            &json!("roll_back"),
            &json!("data"),
            &json!(env!("OMNITRACE_BUILD"))
        ),
        "{page:#}"
    );
}
