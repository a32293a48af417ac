//! Several instances of a service behind one address: `omnitrace up --replicas`.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cli::run;
use crate::harness::{
    Directory, Reply, Scrape, Signal, Stack, Up, database, eventually, http, omnitrace,
    until_there_is,
};
use crate::restarts::{kill_pid, restarted};

const REQUESTS: &str = "http_server_request_duration_seconds";

/// Two instances of data. Only the test sends requests.
async fn two_of_data(more: &[&str]) -> (Up, String) {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        let replicas = ["--no-probe", "--replicas", "data=2"];
        // Without a console telemetry goes nowhere.
        let disabled = more.contains(&"--no-console").to_string();
        let command = command.args(replicas).args(more);
        command.env("OTEL_SDK_DISABLED", disabled)
    })
    .await;
    let gateway = up.ready().await["gateway_url"].as_str().unwrap().to_owned();
    (up, gateway)
}

async fn get_data(gateway: &str) -> Reply {
    let answer = http().get(format!("{gateway}/api/data")).send().await;
    Reply::read(answer.expect("an answer")).await
}

/// A counter of an instance, over all routes; 0 before the first request.
async fn count(up: &mut Up, part: &str, suffix: &str, labels: &[(&str, &str)]) -> f64 {
    let admin = up.started(part).await["admin_url"].clone();
    let metrics = format!("{}/metrics", admin.as_str().expect("a URL"));
    let page = http().get(metrics).send().await.expect("an answer");
    let page = Scrape::parse("", page.text().await.expect("a text"));
    page.value(&format!("{REQUESTS}_{suffix}"), labels)
        .unwrap_or_default()
}

async fn requests(up: &mut Up, part: &str) -> f64 {
    count(up, part, "count", &[]).await
}

/// Sends requests, of which none may fail, until each instance has got `more` than before.
async fn until_both_have(up: &mut Up, gateway: &str, more: f64) {
    let before = [requests(up, "data").await, requests(up, "data-2").await];
    eventually("both instances get requests", async || {
        get_data(gateway).await.expect(200);
        let now = [requests(up, "data").await, requests(up, "data-2").await];
        (now[0] >= before[0] + more && now[1] >= before[1] + more).then_some(())
    })
    .await;
}

async fn said(up: &Up, arguments: &[&str]) -> String {
    let (code, said, complained) = run(omnitrace(arguments), Some(&up.directory)).await;
    assert_eq!(code, 0, "{arguments:?}: {complained}");
    said
}

#[tokio::test]
async fn both_instances_get_requests_and_each_has_a_name_of_its_own_everywhere() {
    let (mut up, gateway) = two_of_data(&[]).await;
    let console = up.ready().await["console_url"].as_str().unwrap().to_owned();
    let (first, second) = (up.started("data").await, up.started("data-2").await);
    assert_eq!(first["url"], second["url"]);
    for own in ["admin_url", "pid"] {
        assert_ne!(first[own], second[own], "{own}");
    }
    until_both_have(&mut up, &gateway, 5.0).await;
    let instances =
        "count(group by (instance, service_instance_id) (build_info{service_name=\"data\"})) == 2";
    until_there_is(&console, instances).await;
    until_there_is(
        &console,
        "service:instances:count{service_name=\"data\"} == 2",
    )
    .await;

    let boards = http().get(format!("{console}/api/faults")).send().await;
    let boards: Value = boards.unwrap().json().await.unwrap();
    let names = boards["services"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|board| &board["service"]).collect();
    assert_eq!(names, ["downstream", "data", "data-2", "gateway"]);

    let status: Value = serde_json::from_str(&said(&up, &["status", "--json"]).await).unwrap();
    let parts = status["parts"].as_array().unwrap().iter();
    let parts: Vec<_> = parts
        .filter(|part| part["admin_url"] == second["admin_url"])
        .collect();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0]["part"], "data-2");
    assert_eq!(parts[0]["pid"], second["pid"]);
    let health = said(&up, &["health"]).await;
    assert!(health.contains("data-2      ready"), "{health}");
    assert!(said(&up, &["logs", "data-2"]).await.contains("listening"));
    said(&up, &["doctor"]).await;

    // Nobody looks up an item in less than the fault lasts, and the other instance is as fast as before.
    let set = ["fault", "set", "data-2", "slow_query", "ms=1000"];
    assert!(said(&up, &set).await.starts_with("data-2: slow_query"));
    let fast = [("le", "0.5")];
    let before = [
        count(&mut up, "data", "bucket", &fast).await,
        count(&mut up, "data-2", "bucket", &fast).await,
    ];
    until_both_have(&mut up, &gateway, 3.0).await;
    assert!(count(&mut up, "data", "bucket", &fast).await > before[0]);
    assert_eq!(count(&mut up, "data-2", "bucket", &fast).await, before[1]);
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

#[tokio::test]
async fn an_instance_that_is_killed_or_hangs_is_passed_by_until_it_is_back() {
    let (mut up, gateway) = two_of_data(&["--no-console"]).await;
    let before = up.started("data-2").await;
    kill_pid(&before["pid"]);
    let is_back = |up: &Up| up.events().iter().any(|event| event["restarts"] == 1);
    while !is_back(&up) {
        get_data(&gateway).await.expect(200);
    }
    let after = restarted(&mut up, "data-2", 1).await;
    assert_eq!(after["admin_url"], before["admin_url"]);
    until_both_have(&mut up, &gateway, 1.0).await;

    let pid = i32::try_from(after["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("it runs");
    // The one that it has already may be late, and another one before it is known to hang.
    let mut in_a_row = 0;
    eventually("the other one answers alone", async || {
        let is_answered = get_data(&gateway).await.status == 200;
        in_a_row = if is_answered { in_a_row + 1 } else { 0 };
        (in_a_row == 20).then_some(())
    })
    .await;
    kill(Pid::from_raw(pid), Signal::SIGCONT).expect("it runs");
    until_both_have(&mut up, &gateway, 1.0).await;
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

/// Orders without a key, which nobody may repeat.
async fn order_until(gateway: String, mut end: tokio::sync::watch::Receiver<bool>) -> usize {
    let body = json!({"sku": "omni-mug", "quantity": 1, "customer_email": "ada@example.com"});
    let (client, mut orders) = (http(), 0);
    while !*end.borrow_and_update() {
        let request = client.post(format!("{gateway}/api/orders")).json(&body);
        let answer = request.send().await.expect("an answer");
        Reply::read(answer).await.expect(201);
        orders += 1;
    }
    orders
}

#[tokio::test]
async fn no_request_is_lost_when_one_instance_after_the_other_is_restarted() {
    let more = ["--no-console", "--replicas", "gateway=2"];
    let (mut up, gateway) = two_of_data(&more).await;
    let (end, ended) = tokio::sync::watch::channel(false);
    let clients = [(); 3].map(|()| tokio::spawn(order_until(gateway.clone(), ended.clone())));
    for part in ["data-2", "data", "gateway", "gateway-2"] {
        let line = said(&up, &["restart", part]).await;
        assert!(line.starts_with(&format!("{part} restarted")), "{line}");
    }
    end.send_replace(true);
    for client in clients {
        assert!(client.await.expect("every order goes through") > 0);
    }
    until_both_have(&mut up, &gateway, 1.0).await;
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

#[tokio::test]
async fn a_number_of_instances_that_cannot_be_is_refused() {
    let directory = Directory::new();
    for (given, why) in [
        (["data=0", "data=0"], "allowed: SERVICE=N, such as data=2"),
        (["data=9", "data=9"], "N is 1 to 8"),
        (["probe=2", "probe=2"], "no service \"probe\""),
        (["data=2", "data=3"], "data is given twice"),
    ] {
        let mut command = Up::command(&directory);
        command.args(given.map(|value| format!("--replicas={value}")));
        let (code, _, complained) = run(command, Some(&directory)).await;
        assert_ne!(code, 0, "{given:?}");
        assert!(complained.contains("--replicas"), "{complained}");
        assert!(complained.contains(why), "{complained}");
    }
}

/// `OMNITRACE_DRAIN_DELAY_MS`
#[tokio::test]
async fn a_service_that_is_to_stop_says_so_before_it_refuses_requests() {
    let builder = Stack::builder().only(&["downstream"]);
    let mut stack = builder
        .env_all("OMNITRACE_DRAIN_DELAY_MS", "600000")
        .start()
        .await;
    stack.signal("downstream", Signal::SIGTERM);
    eventually("it is not ready", async || {
        let reply = stack.admin("downstream", "/ready").await;
        (reply.status == 503 && reply.json()["reasons"] == json!(["draining"])).then_some(())
    })
    .await;
    let quote = format!("{}/quotes/omni-mug", stack.url("downstream"));
    // A new connection.
    Reply::read(http().get(quote).send().await.expect("an answer"))
        .await
        .expect(200);
    // The second signal does not wait.
    assert_eq!(stack.kill("downstream", Signal::SIGTERM).await, 0);
}
