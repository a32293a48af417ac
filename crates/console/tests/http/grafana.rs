//! Where links to Grafana lead.

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::harness::{Reply, Running};

/// Asks without following redirects.
async fn reply(console: &Running, address: &str) -> Reply {
    let client = Client::builder().no_proxy().redirect(Policy::none());
    let request = client
        .build()
        .expect("a client")
        .get(format!("{}{address}", console.url));
    Reply::to(request).await
}

/// Where the address redirects to. Each target is a page.
async fn target(console: &Running, address: &str) -> String {
    let reply = reply(console, address).await;
    assert_eq!(reply.status, 302, "{address}: {}", reply.text());
    assert_eq!(reply.text(), "", "{address}");
    let target = reply.header("location").to_owned();
    let url = Url::parse(&console.url).expect("a URL").join(&target);
    let url = url.expect("an address");
    assert_eq!(url.port(), Some(console.address.port()), "{target}");
    assert_eq!(console.get(&target).await.status, 200, "{target}");
    target
}

fn explore(panes: &Value) -> String {
    let pairs = [("schemaVersion", "1"), ("panes", &panes.to_string())];
    let url = Url::parse_with_params("http://console/explore", pairs).expect("a URL");
    format!("/explore?{}", url.query().expect("a query"))
}

fn asking(query: &Value) -> String {
    let range = json!({"from": "1000", "to": "2000"});
    explore(&json!({"a": {"datasource": "any", "queries": [query], "range": range}}))
}

#[tokio::test]
async fn a_dashboard_leads_to_its_services_page() {
    let console = Running::start();
    for (address, page) in [
        (
            "/d/omnitrace-slo?var-service=gateway&from=1000&to=now",
            "/services/gateway",
        ),
        (
            "/d/omnitrace-postgres/postgres?orgId=1&var-service=data",
            "/services/data",
        ),
        (
            "/d/omnitrace-service?var-service=a%26b%20c",
            "/services/a%26b%20c",
        ),
        (
            "/d/omnitrace-service?var-service=%E2%98%83",
            "/services/%E2%98%83",
        ),
        ("/d/omnitrace-overview?from=1000&to=now", "/"),
        ("/d/omnitrace-slo?var-service=&from=1000", "/"),
        ("/d/omnitrace-slo?var-service=$__all", "/"),
        ("/d/omnitrace-slo?var-service=%FF", "/services/%EF%BF%BD"),
        ("/d/omnitrace-slo?var-service=..", "/"),
        ("/d/omnitrace-slo?var-service=.", "/"),
        (
            "/d/a?var-service=//evil.example/",
            "/services/%2F%2Fevil%2Eexample%2F",
        ),
        (
            "/d/a?var-service=x%0D%0ASet-Cookie:%20a=b",
            "/services/x%0D%0ASet%2DCookie%3A%20a%3Db",
        ),
        (
            "/d/a?var-service=%22%3E%3Cscript%3E",
            "/services/%22%3E%3Cscript%3E",
        ),
    ] {
        assert_eq!(target(&console, address).await, page, "{address}");
    }
    let many = format!("/d/a?var-service=gateway{}", "&x=1".repeat(1000));
    assert_eq!(target(&console, &many).await, "/");
}

#[tokio::test]
async fn explore_leads_to_the_log_lines_or_to_the_trace() {
    let console = Running::start();
    let id = "0af7651916cd43dd8448eb211c80319c";
    for (expression, page) in [
        (
            r#"{service_name=~".+"} | severity_text="ERROR""#.to_owned(),
            "/logs?level=error".to_owned(),
        ),
        (
            format!(r#"{{service_name=~".+"}} | trace_id="{id}""#),
            format!("/logs?trace_id={id}"),
        ),
        (
            r#"{ service_name = "data" } |= "a&level=x" | detected_level="warn""#.to_owned(),
            "/logs?level=warn&service=data&text=a%26level%3Dx".to_owned(),
        ),
        (
            r#"{service_name!="data"} != "a" | trace_id="x" | severity_text="ODD""#.to_owned(),
            "/logs".to_owned(),
        ),
        ("{".repeat(2000), "/logs".to_owned()),
    ] {
        let address = asking(&json!({"refId": "A", "expr": expression}));
        assert_eq!(target(&console, &address).await, page, "{expression}");
    }
    let trace = asking(&json!({"refId": "A", "query": id}));
    assert_eq!(target(&console, &trace).await, format!("/trace/{id}"));
}

#[tokio::test]
async fn what_is_no_query_leads_to_the_plain_page() {
    let console = Running::start();
    let mut addresses = vec![
        "/explore".to_owned(),
        "/explore?panes=".to_owned(),
        "/explore?panes=%7B".to_owned(),
        format!("/explore?panes={}", "%5B".repeat(2000)),
        asking(&json!({"query": "//evil.example"})),
        asking(&json!({"query": "../../evil"})),
        asking(&json!({"expr": 7})),
        asking(&json!(null)),
    ];
    let panes = [
        json!([]),
        json!({}),
        json!({"a": {}}),
        json!({"a": {"queries": []}}),
    ];
    addresses.extend(panes.iter().map(explore));
    for address in addresses {
        assert_eq!(target(&console, &address).await, "/logs", "{address}");
    }
}
