//! `omnitrace new` and `up --scrape`: a service of somebody else's is scraped, alerted, drawn and found, and remembered.

use std::process::Command;

use serde_json::{Value, json};

use crate::adopt::example;
use crate::cli::run;
use crate::harness::{
    Child, Directory, Reply, Up, binary, database, eventually, free_port, http, omnitrace,
};

/// What `omnitrace new` writes for a framework, started as the service `name`.
async fn service(framework: &str, name: &str, console: &str) -> (Child, String) {
    let mut command = Command::new(example(&format!("new_{framework}")));
    command
        .env_clear()
        .env("OTEL_SERVICE_NAME", name)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", console)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("LISTEN", "127.0.0.1:0");
    let mut child = Child::spawn(name, command);
    let address = child.listening().await.http_addr;
    (child, format!("http://{address}"))
}

async fn get(url: &str) -> Value {
    http().get(url).send().await.unwrap().json().await.unwrap()
}

/// Waits until the console has scraped a service, and gives its state.
async fn scraped(console: &str, service: &str) -> Value {
    eventually(&format!("{service} is scraped"), async || {
        let targets = get(&format!("{console}/api/targets")).await;
        let mut targets = targets["targets"].as_array()?.clone().into_iter();
        targets.find(|target| target["service_name"] == service && target["up"] == true)
    })
    .await
}

/// Both objectives of a route, with traffic in them.
async fn judged(console: &str, service: &str, route: &str) {
    eventually(&format!("objectives of {service}"), async || {
        let answer = get(&format!("{console}/api/alerts")).await;
        let objectives = answer["data"]["objectives"].as_array()?;
        let of = |slo: &str| {
            objectives
                .iter()
                .any(|one| one["service"] == service && one["route"] == route && one["slo"] == slo)
        };
        (of("availability") && of("latency")).then_some(())
    })
    .await;
}

/// Greets, and finds the greeting's trace and its log line in the console.
async fn found(console: &str, service: &str, url: &str) {
    let hello = http().get(format!("{url}/hello/ada")).send().await.unwrap();
    let trace_id = Reply::read(hello).await.expect(200).trace_id();
    let line = eventually(&format!("the log line of {service}"), async || {
        let logs = get(&format!("{console}/api/logs?trace_id={trace_id}")).await;
        logs.to_string().contains("said hello").then_some(logs)
    })
    .await;
    assert!(line.to_string().contains(service), "{line}");
    eventually(&format!("the trace of {service}"), async || {
        let found = get(&format!("{console}/api/traces?service={service}")).await;
        found.to_string().contains(&trace_id).then_some(())
    })
    .await;
}

/// Neither health checks nor scrapes are traced or counted.
async fn only_greetings_are_traced(console: &str, service: &str, url: &str) {
    for path in ["/ready", "/metrics"] {
        let answer = http().get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    // What was asked before this greeting would have been sent before its span.
    found(console, service, url).await;
    let operations = get(&format!("{console}/api/operations?service={service}")).await;
    let names: Vec<&Value> = operations["data"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(names[0]["name"], "GET /hello/{name}");
    let page = http().get(format!("{url}/metrics")).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("http_route=\"/hello/{name}\""), "{page}");
    for route in ["\"/ready\"", "\"/metrics\""] {
        assert!(!page.contains(&format!("http_route={route}")), "{page}");
    }
}

async fn start(directory: Directory, arguments: &[&str]) -> Up {
    Up::start_with(directory, &database().await, |command| {
        command.args(arguments)
    })
    .await
}

/// Ctrl-C, and the directory for the next start.
async fn stopped(mut up: Up) -> Directory {
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    up.directory
}

#[tokio::test]
async fn a_service_of_ones_own_is_scraped_alerted_drawn_and_found() {
    // The services start first, so that `up` can be told of them: where the console will be is known before it is there.
    let port = free_port();
    let console = format!("http://127.0.0.1:{port}");
    let (_shop, shop) = service("axum", "shop", &console).await;
    let (_orders, orders) = service("actix", "orders", &console).await;
    let console_port = format!("--console-port={port}");
    let (of_shop, of_orders) = (format!("shop={shop}"), format!("orders={orders}/metrics"));
    let arguments = [
        &*console_port,
        "--strict-ports",
        "--scrape",
        &of_shop,
        "--scrape",
        &of_orders,
    ];
    let mut up = start(Directory::new(), &arguments).await;
    up.ready().await;
    for (name, url) in [("shop", &shop), ("orders", &orders)] {
        found(&console, name, url).await;
        scraped(&console, name).await;
        judged(&console, name, "/hello/{name}").await;
        only_greetings_are_traced(&console, name, url).await;
    }
    let (code, health, _) = run(omnitrace(["health", "--json"]), Some(&up.directory)).await;
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!(code, 0, "{health}");
    let parts = health["parts"].as_array().unwrap().iter();
    let asked: Vec<&Value> = parts
        .filter(|part| part["part"] == "shop")
        .map(|part| &part["url"])
        .collect();
    assert_eq!(asked, [&json!(format!("{shop}/metrics"))]);
    stopped(up).await;
}

#[tokio::test]
async fn what_is_scraped_is_remembered_until_it_is_forgotten() {
    let (_shop, shop) = service("axum", "shop", "http://127.0.0.1:9").await;
    let gone = "gone=http://127.0.0.1:9";
    let shop = format!("shop={shop}");
    let mut up = start(Directory::new(), &["--scrape", gone, "--scrape", &shop]).await;
    up.ready().await;
    let (code, health, _) = run(omnitrace(["health"]), Some(&up.directory)).await;
    assert_eq!(code, 1, "{health}");
    let line = health
        .lines()
        .find(|line| line.starts_with("gone "))
        .expect("gone");
    assert!(
        line.contains("NOT READY") && line.contains("http://127.0.0.1:9/metrics"),
        "{line}"
    );

    let mut up = start(stopped(up).await, &["--no-scrape", "gone"]).await;
    let console = up.ready().await["console_url"].as_str().unwrap().to_owned();
    scraped(&console, "shop").await;
    // The last is herald, which is no service. The console looks at the list once per second.
    let expected = ["downstream", "data", "gateway", "probe", "shop", ""];
    eventually(&format!("{expected:?} are scraped"), async || {
        let targets = get(&format!("{console}/api/targets")).await;
        let targets = targets["targets"].as_array()?.iter();
        let names = targets.filter_map(|one| one["service_name"].as_str());
        names.eq(expected).then_some(())
    })
    .await;
    let told = up.events();
    let told = told.iter().filter(|event| event["part"] == "scrape");
    let told: Vec<&str> = told.filter_map(|event| event["message"].as_str()).collect();
    assert!(
        told.len() == 1 && told[0].starts_with("shop at http://"),
        "{told:?}"
    );

    let directory = stopped(up).await;
    let mut up = start(directory, &["--no-scrape", "shpo"]).await;
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    assert!(
        said.contains("shpo is not scraped") && said.contains("shop"),
        "{said}"
    );
    let file = up.directory.data().join("scrape.json");
    std::fs::write(&file, "[\"shop=https://h\"]").unwrap();
    let mut up = start(up.directory, &[]).await;
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    assert!(
        said.contains("scrape.json: mend or remove it") && said.contains("http:// only"),
        "{said}"
    );
}

#[tokio::test]
async fn a_part_of_up_is_not_scraped_twice() {
    let port = free_port();
    let own = format!("shop=http://localhost:{port}");
    let gateway_port = format!("--gateway-port={port}");
    let arguments = [&*gateway_port, "--strict-ports", "--scrape", &own];
    let mut up = start(Directory::new(), &arguments).await;
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    let whose = format!("http://localhost:{port}/metrics of shop is gateway's address");
    assert!(
        said.contains(&whose) && said.contains("--no-scrape shop"),
        "{said}"
    );
    up.directory.deserted().await;
}

#[tokio::test]
async fn new_writes_a_directory_once() {
    let directory = Directory::new();
    let new = |arguments: &[&str]| {
        let mut command = omnitrace(["new", "shop", "--framework", "axum"]);
        command.args(arguments);
        command
    };
    let (code, said, _) = run(new(&[]), Some(&directory)).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("omnitrace up --scrape shop=http://127.0.0.1:8090"),
        "{said}"
    );
    let manifest = directory.path().join("shop/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let path = table["dependencies"]["telemetry"]["path"].as_str().unwrap();
    assert!(
        std::path::Path::new(path).join("src/lib.rs").is_file(),
        "{text}"
    );

    std::fs::write(&manifest, "mine").unwrap();
    let (code, _, said) = run(new(&[]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("shop exists already, and is left as it is"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), "mine");

    let here = directory.path().to_str().unwrap();
    std::fs::remove_dir_all(directory.path().join("shop")).unwrap();
    let (code, _, said) = run(new(&["--path", here]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(said.contains("is no checkout of OmniTrace"), "{said}");
    assert!(
        !directory.path().join("shop").exists(),
        "nothing half-made stays"
    );

    let url = "https://git.example/omnitrace.git";
    let (code, _, said) = run(new(&["--git", url]), Some(&directory)).await;
    assert_eq!(code, 0, "{said}");
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(
        text.contains(&format!(
            "telemetry = {{ git = \"{url}\", features = [\"axum\"] }}"
        )),
        "{text}"
    );
}

#[tokio::test]
async fn new_leaves_nothing_when_it_cannot_write_all() {
    let directory = Directory::new();
    std::fs::create_dir(directory.path().join("mine")).unwrap();
    // Like a full disk: Cargo.lock is larger than the limit of a file.
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.arg("-c").arg(limited).arg(binary());
    command.args(["new", "shop", "--framework", "axum"]);
    let (code, _, said) = run(command, Some(&directory)).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot write into shop"), "{said}");
    let left = std::fs::read_dir(directory.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
}
