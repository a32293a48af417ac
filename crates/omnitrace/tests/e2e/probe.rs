//! `omnitrace probe`: its orders are real ones, and nobody counts them.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::harness::{
    Account, Child, Directory, Kind, Reply, Scrape, Span, Stack, Up, database, eventually, http,
    omnitrace,
};

const TOKEN: &str = "a-token-of-the-probe-s";
const SKU: &str = "omnitrace-probe";
const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];
const REQUESTS: &str = "http_server_request_duration_seconds_count";
const SYNTHETIC: &str = "http_server_synthetic_requests_total";

async fn stack() -> Stack {
    let stack = Stack::builder().env_all("OMNITRACE_PROBE_TOKEN", TOKEN);
    stack.start().await
}

/// The probe of a stack.
struct Probe {
    _child: Child,
    url: String,
    admin_url: String,
}

impl Probe {
    async fn start(stack: &Stack) -> Self {
        let mut command = omnitrace(["probe"]);
        command
            .env("OMNITRACE_HTTP_ADDR", "127.0.0.1:0")
            .env("OMNITRACE_ADMIN_ADDR", "127.0.0.1:0")
            .env("OMNITRACE_PROBE_TOKEN", TOKEN)
            .env("OMNITRACE_PROBE_INTERVAL_MS", "500")
            .env("OMNITRACE_LOG_FORMAT", "json")
            .env("GATEWAY_URL", stack.url("gateway"))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", stack.receiver.url())
            .env("OTEL_BSP_SCHEDULE_DELAY", "100");
        let mut child = Child::spawn("probe", command);
        let listening = child.listening().await;
        let [url, admin_url] =
            [listening.http_addr, listening.admin_addr].map(|address| format!("http://{address}"));
        Self {
            _child: child,
            url,
            admin_url,
        }
    }

    async fn scrape(&self) -> Scrape {
        let page = http().get(format!("{}/metrics", self.admin_url)).send();
        let page = page.await.expect("an answer").text().await;
        Scrape::parse("", page.expect("a text"))
    }

    /// Waits until a probe has found this.
    async fn finds(&self, name: &str, success: f64) -> Scrape {
        eventually(&format!("{name} finds {success}"), async || {
            let scrape = self.scrape().await;
            let found = scrape.value("probe_success", &[("probe", name)]);
            (found == Some(success)).then_some(scrape)
        })
        .await
    }

    /// `GET /probes`: what was found last of one.
    async fn last(&self, name: &str) -> Value {
        let found = http().get(format!("{}/probes", self.url)).send().await;
        let found: Value = Reply::read(found.expect("an answer")).await.json();
        let mut all = found.as_array().expect("a list").iter();
        all.find(|one| one["probe"] == name).expect(name).clone()
    }
}

fn synthetic(spans: &[Span]) -> Vec<bool> {
    let is_marked = |span: &Span| span.text("user_agent.synthetic.type") == "test";
    spans.iter().map(is_marked).collect()
}

/// What the services have counted of users, and of the business.
async fn counted(stack: &Stack) -> f64 {
    let mut sum = 0.0;
    for service in SERVICES {
        let scrape = stack.scrape(service).await;
        for name in [
            REQUESTS,
            "http_client_request_duration_seconds_count",
            "orders_settled_total",
            "outbox_deliveries_total",
        ] {
            sum += scrape.value(name, &[]).unwrap_or(0.0);
        }
    }
    sum
}

#[tokio::test]
async fn its_order_is_settled_and_delivered_and_no_number_of_users_moves() {
    let stack = stack().await;
    let probe = Probe::start(&stack).await;
    for name in ["gateway_health", "gateway_data", "gateway_order"] {
        probe.finds(name, 1.0).await;
    }
    let trace_id = probe.last("gateway_order").await["trace_id"].clone();
    let trace_id = trace_id.as_str().expect("a trace");

    let services = ["probe", "gateway", "data", "downstream"];
    let spans = stack.trace_over(trace_id, &services).await;
    assert!(
        spans
            .iter()
            .any(|span| span.is_root() && span.name == "probe gateway_order")
    );
    let calls = spans.iter().filter(|span| span.kind == Kind::Client);
    assert!(calls.count() > 3, "{spans:#?}");
    assert!(!synthetic(&spans).contains(&false), "{spans:#?}");
    let delivery = stack
        .receiver
        .wait_for_span("the delivery of the order's event", |spans| {
            let mut senders = spans.iter().filter(|span| span.kind == Kind::Producer);
            let sender =
                senders.find(|span| span.links.iter().any(|link| link.trace_id == trace_id))?;
            Some(sender.clone())
        })
        .await;
    assert_eq!(synthetic(&[delivery]), [true]);

    let mut books = stack.database.books().await;
    let account = books.account(SKU).await;
    assert!(account.confirmed >= 1, "{account:?}");
    assert_eq!(books.events().await.len() as i64, account.confirmed);
    assert_eq!(
        counted(&stack).await,
        0.0,
        "{}",
        stack.scrape("gateway").await.text
    );
    let labels = [("http_route", "/api/orders"), ("outcome", "ok")];
    let seen = stack.scrape("gateway").await.value(SYNTHETIC, &labels);
    assert!(seen >= Some(1.0), "{seen:?}");
    let page = stack.get("/api/orders").await.expect(200).json();
    assert_eq!(page["orders"], json!([]));
}

#[tokio::test]
async fn an_order_that_fails_is_told_with_its_trace() {
    let stack = stack().await;
    let probe = Probe::start(&stack).await;
    probe.finds("gateway_order", 1.0).await;
    let fault = stack.fault_set("downstream", "errors", json!({"share": 1.0}));
    fault.await.expect(200);
    let scrape = probe.finds("gateway_order", 0.0).await;
    let status = scrape.value("probe_http_status_code", &[("probe", "gateway_order")]);
    assert!(status >= Some(500.0), "{}", scrape.text);
    let found = probe.last("gateway_order").await;
    let problem = found["problem"].as_str().expect("a problem");
    assert!(problem.starts_with("gateway answered 50"), "{found:#}");
    assert!(
        found["trace_id"].as_str().is_some_and(|id| id.len() == 32),
        "{found:#}"
    );
    // Its failures are nobody's, either.
    assert_eq!(counted(&stack).await, 0.0);
    stack.fault_clear("downstream", "errors").await.expect(200);
    probe.finds("gateway_order", 1.0).await;
    let mut books = stack.database.books().await;
    books.settled(SKU).await;
}

async fn order(stack: &Stack, sku: &str, marks: &[&str]) -> Reply {
    let body = json!({"sku": sku, "quantity": 1, "customer_email": "ada@example.com"});
    let mut request = stack.request(Method::POST, "/api/orders").json(&body);
    for mark in marks {
        request = request.header("x-omnitrace-probe", *mark);
    }
    stack.send(request).await
}

#[tokio::test]
async fn without_the_token_no_request_is_hidden_and_with_it_no_sale() {
    let stack = stack().await;
    let sku = stack.sku().await;
    let wrong = TOKEN.to_uppercase();
    for marks in [
        &["1"][..],
        &[""],
        &[&wrong],
        &[&TOKEN[1..]],
        &[TOKEN, TOKEN],
    ] {
        let before = counted(&stack).await;
        let reply = order(&stack, &sku, marks).await.expect(201);
        assert!(counted(&stack).await > before, "{marks:?}");
        let spans = stack.trace_over(&reply.trace_id(), &SERVICES).await;
        assert!(!synthetic(&spans).contains(&true), "{marks:?}");
        // The probe's item is no other's.
        order(&stack, SKU, marks).await.problem(404, "unknown-sku");
    }
    let scrape = stack.scrape("gateway").await;
    assert_eq!(scrape.value(SYNTHETIC, &[]), Some(0.0), "{}", scrape.text);
    order(&stack, &sku, &[TOKEN])
        .await
        .problem(404, "unknown-sku");
    order(&stack, SKU, &[TOKEN]).await.expect(201);
    let settled = [("status", "confirmed")];
    let scrape = stack.scrape("data").await;
    assert_eq!(scrape.value("orders_settled_total", &settled), Some(5.0));
    let page = stack.get("/api/orders").await.expect(200).json();
    assert_eq!(page["orders"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn without_a_token_of_its_own_a_service_believes_nobody() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;
    order(&stack, &sku, &[TOKEN]).await.expect(201);
    order(&stack, SKU, &[TOKEN])
        .await
        .problem(404, "unknown-sku");
    let scrape = stack.scrape("gateway").await;
    assert_eq!(scrape.value(SYNTHETIC, &[]), Some(0.0));
    let labels = [("http_route", "/api/orders")];
    assert_eq!(scrape.value(REQUESTS, &labels), Some(2.0));
}

#[tokio::test]
async fn old_orders_of_the_probe_go_and_their_stock_comes_back() {
    let mut stack = stack().await;
    let sku = stack.sku().await;
    order(&stack, SKU, &[TOKEN]).await.expect(201);
    order(&stack, &sku, &[]).await.expect(201);
    let mut books = stack.database.books().await;
    assert_eq!(books.settled(SKU).await.confirmed, 1);
    let mut database = stack.database.connect().await;
    sqlx::query("UPDATE omnitrace.orders SET created_at = created_at - interval '2 hours'")
        .execute(&mut database)
        .await
        .expect("older orders");
    database.close().await.expect("closed");
    stack.restart("data").await;
    let is_whole = |account: &Account| account.confirmed == 0 && account.stock == account.initial;
    eventually("the probe's order is gone", async || {
        is_whole(&books.account(SKU).await).then_some(())
    })
    .await;
    assert_eq!(books.account(&sku).await.confirmed, 1, "a user's stays");
}

/// The demo profile, but for the minute that everything may take to start.
fn rules(directory: &Directory) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(crate::harness::repository(&format!("alerts/{name}")))
            .expect("a definition")
    };
    let objectives = read("slo.toml").replace("startup = \"1m\"", "startup = \"5s\"");
    assert!(objectives.contains("startup = \"5s\""));
    let causes = read("causes.toml");
    let definition = slo::Definition::parse(("slo.toml", &objectives), ("causes.toml", &causes));
    let definition = definition.expect("definitions");
    let profile = definition.profile("demo").expect("demo");
    let path = directory.path().join("rules.yml");
    std::fs::write(&path, slo::rules(&definition, profile)).expect("a file");
    path.display().to_string()
}

#[tokio::test]
async fn up_probes_and_a_route_that_nobody_calls_pages_when_it_breaks() {
    let directory = Directory::new();
    let rules = rules(&directory);
    let mut up = Up::start_with(directory, &database().await, |command| {
        command
            .args(["--rules", &rules])
            .env("OMNITRACE_PROBE_INTERVAL_MS", "1000")
    })
    .await;
    let ready = up.ready().await;
    let console = ready["console_url"].as_str().expect("a console").to_owned();
    let downstream = up.started("downstream").await;
    let fault = format!(
        "{}/faults/errors",
        downstream["admin_url"].as_str().expect("a URL")
    );
    let fault = http().put(fault).json(&json!({"share": 1.0})).send().await;
    assert!(fault.expect("an answer").status().is_success());
    let alert = eventually("the order probe pages", async || {
        let alerts = http().get(format!("{console}/api/v1/alerts")).send().await;
        let alerts: Value = alerts.ok()?.json().await.ok()?;
        let mut all = alerts["data"]["alerts"].as_array()?.iter();
        let is_page = |alert: &&Value| {
            let labels = &alert["labels"];
            labels["alertname"] == "ProbeFailing"
                && labels["probe"] == "gateway_order"
                && alert["state"] == "firing"
        };
        all.find(is_page).cloned()
    })
    .await;
    let labels = &alert["labels"];
    assert_eq!(labels["severity"], "page", "{alert:#}");
    assert_eq!(labels["route"], "/api/orders", "{alert:#}");
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    up.directory.deserted().await;
}
