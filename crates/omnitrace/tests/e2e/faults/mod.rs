//! The fault switchboard of every service: what it lists, takes and refuses, how faults end, and whom the metrics blame.

pub mod blame;
pub(crate) mod release;
mod signals;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use gameday::{Action, Scenario};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Reply, Stack, eventually, repository};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// What `GET /faults` says.
async fn faults(stack: &Stack, service: &str) -> Vec<Value> {
    let list = stack.admin(service, "/faults").await.expect(200).json();
    list["faults"].as_array().expect("a list").clone()
}

fn name(fault: &Value) -> &str {
    fault["name"].as_str().expect("a name")
}

async fn gauge(stack: &Stack, service: &str, fault: &str) -> Option<f64> {
    stack
        .scrape(service)
        .await
        .value("fault_active", &[("fault", fault)])
}

/// Checks that this is a 422 about one field, and returns what it says is allowed.
#[track_caller]
fn refused(reply: &Reply, field: &str) -> String {
    assert_eq!(reply.status, 422, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.invalid_fields(), [field], "{reply:?}");
    reply.json()["errors"][0]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}

/// Service and fault, of every scenario of the game day.
fn played() -> HashSet<(String, String)> {
    let files = std::fs::read_dir(repository("gameday")).expect("scenarios");
    let scenarios = files.map(|file| {
        let path = file.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        Scenario::parse("it", &path.display().to_string(), &text).expect("a scenario")
    });
    let actions = scenarios.flat_map(|scenario| scenario.inject);
    let fault = |action| match action {
        Action::Fault { service, fault, .. } => Some((service, fault)),
        _ => None,
    };
    actions.filter_map(|inject| fault(inject.action)).collect()
}

#[tokio::test]
async fn every_fault_of_every_service_has_a_scenario() {
    let stack = Stack::start().await;
    let played = played();
    for service in SERVICES {
        for fault in faults(&stack, service).await {
            let pair = (service.to_owned(), name(&fault).to_owned());
            assert!(played.contains(&pair), "none in gameday/: {pair:?}");
        }
    }
    stack.stop().await;
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_and_changes_nothing() {
    let stack = Stack::start().await;
    for service in SERVICES {
        // One is on, so that "changes nothing" has something to change.
        let on = json!({"threads": 1, "expires_in_s": 600});
        stack.fault_set(service, "cpu_burn", on).await.expect(200);
        let before = faults(&stack, service).await;
        let names: Vec<&str> = before.iter().map(name).collect();

        for reply in [
            stack.fault_set(service, "latncy", json!({})).await,
            stack.fault_clear(service, "latncy").await,
        ] {
            let allowed = refused(&reply, "fault");
            assert!(names.iter().all(|name| allowed.contains(name)), "{allowed}");
        }
        for fault in &before {
            refuses_parameters(&stack, service, fault).await;
        }

        for fault in names {
            let expected = if fault == "cpu_burn" { 1.0 } else { 0.0 };
            assert_eq!(
                gauge(&stack, service, fault).await,
                Some(expected),
                "{service} {fault}"
            );
        }
        let after = faults(&stack, service).await;
        assert_eq!(without_time(after), without_time(before), "{service}");
        stack.fault_clear(service, "cpu_burn").await.expect(200);
    }
    stack.stop().await;
}

async fn refuses_parameters(stack: &Stack, service: &str, fault: &Value) {
    let set = async |body: Value| stack.fault_set(service, name(fault), body).await;
    let parameters = fault["parameters"].as_array().expect("parameters");
    let mut known: Vec<&str> = parameters
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    known.push("expires_in_s");

    let allowed = refused(&set(json!({"severity": 1})).await, "severity");
    assert!(known.iter().all(|name| allowed.contains(name)), "{allowed}");
    for parameter in parameters {
        let (name, min, max) = (
            parameter["name"].as_str().unwrap(),
            parameter["min"].as_f64().unwrap(),
            parameter["max"].as_f64().unwrap(),
        );
        let mut bad = vec![
            json!(min - 1.0),
            json!(max + 1.0),
            json!("much"),
            json!(true),
            json!([min]),
            Value::Null,
        ];
        if parameter["type"] == "integer" {
            bad.push(json!(min + 0.5));
        }
        for value in bad {
            let allowed = refused(&set(json!({name: value})).await, name);
            for bound in [min, max] {
                assert!(
                    allowed.contains(&bound.to_string()),
                    "{name}: {value}: {allowed}"
                );
            }
        }
    }
    for expiry in [json!(0), json!(-1), json!(3601), json!("soon")] {
        let allowed = refused(&set(json!({"expires_in_s": expiry})).await, "expires_in_s");
        assert!(
            allowed.contains("0.1") && allowed.contains("3600"),
            "{allowed}"
        );
    }
    let reply = set(json!({"a": 1, "b": 2, "expires_in_s": 0}))
        .await
        .expect(422);
    assert_eq!(
        reply.invalid_fields(),
        ["a", "b", "expires_in_s"],
        "all at once"
    );
    set(json!([1])).await.expect(422);
    let url = format!("{}/faults/{}", stack.admin_url(service), name(fault));
    stack
        .send(stack.client.put(url).body("{"))
        .await
        .expect(400);
}

/// The seconds that are left differ between two looks.
fn without_time(mut faults: Vec<Value>) -> Vec<Value> {
    for fault in &mut faults {
        if let Some(active) = fault["active"].as_object_mut() {
            active.remove("seconds_left").expect("seconds_left");
        }
    }
    faults
}

#[tokio::test]
async fn faults_end_by_themselves_or_all_at_once() {
    let stack = Stack::start().await;
    // The gauge goes up, stays up for as long as was asked for, and comes down.
    let start = Instant::now();
    let status = stack
        .fault_set("data", "slow_query", json!({"ms": 7, "expires_in_s": 2.5}))
        .await
        .expect(200)
        .json();
    assert_eq!(status["active"]["parameters"], json!({"ms": 7}));
    let left = status["active"]["seconds_left"]
        .as_f64()
        .expect("seconds_left");
    assert!((2.0..=2.5).contains(&left), "{left}");
    assert_eq!(gauge(&stack, "data", "slow_query").await, Some(1.0));
    stack
        .wait_for_metric(
            "data",
            "fault_active",
            &[("fault", "slow_query")],
            |value| value == 0.0,
        )
        .await;
    assert!(
        start.elapsed() >= Duration::from_millis(2500),
        "{:?}",
        start.elapsed()
    );

    // Every fault of every service at once. Left alone, all of them are over within their time.
    for service in SERVICES {
        for fault in faults(&stack, service).await {
            let status = stack
                .fault_set(service, name(&fault), json!({"expires_in_s": 0.5}))
                .await
                .expect(200)
                .json();
            assert_eq!(status["name"], fault["name"]);
            assert!(
                status["active"]["seconds_left"].as_f64() <= Some(0.5),
                "{status}"
            );
        }
    }
    for service in SERVICES {
        all_over(&stack, service).await;
    }
    healthy(&stack).await;

    // Without an expiry: five minutes, unless somebody clears it.
    for service in SERVICES {
        for fault in faults(&stack, service).await {
            let status = stack
                .fault_set(service, name(&fault), json!({}))
                .await
                .expect(200)
                .json();
            assert!(
                (290.0..=300.0).contains(&status["active"]["seconds_left"].as_f64().unwrap()),
                "{status}"
            );
        }
        let list = stack
            .send(stack.client.delete(stack.admin_url(service) + "/faults"))
            .await
            .expect(200)
            .json();
        assert!(
            list["faults"]
                .as_array()
                .unwrap()
                .iter()
                .all(|fault| fault["active"].is_null()),
            "{list}"
        );
        all_over(&stack, service).await;
    }
    healthy(&stack).await;
    stack.stop().await;
}

async fn all_over(stack: &Stack, service: &str) {
    eventually(&format!("all faults of {service} are over"), async || {
        faults(stack, service)
            .await
            .iter()
            .all(|fault| fault["active"].is_null())
            .then_some(())
    })
    .await;
    for fault in faults(stack, service).await {
        assert_eq!(
            gauge(stack, service, name(&fault)).await,
            Some(0.0),
            "{service} {fault}"
        );
    }
}

/// Requests succeed and every service is ready. What a fault has clogged may take a moment to drain.
async fn healthy(stack: &Stack) {
    eventually("requests succeed", async || {
        let sold = stack.order("omni-mug", 1).await.status == 201;
        (sold && stack.get_data().await.status == 200).then_some(())
    })
    .await;
    for service in SERVICES {
        let ready = async || (stack.admin(service, "/ready").await.status == 200).then_some(());
        eventually(&format!("{service} is ready"), ready).await;
    }
}

/// One request over a connection of its own: the bytes of the answer, or how the connection ended.
async fn raw_get(stack: &Stack, service: &str, path: &str) -> std::io::Result<String> {
    let address = stack.url(service).replace("http://", "");
    let mut stream = TcpStream::connect(&address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn resets_are_resets_and_malformed_is_malformed() {
    let stack = Stack::builder().only(&["downstream"]).start().await;
    let quote = async || raw_get(&stack, "downstream", "/quotes/mug").await;
    let body = async || {
        quote().await.map(|answer| {
            answer
                .split("\r\n\r\n")
                .nth(1)
                .unwrap_or_default()
                .to_owned()
        })
    };
    let parses = |body: &str| serde_json::from_str::<Value>(body).is_ok();
    assert!(parses(&body().await.unwrap()));

    stack
        .fault_set("downstream", "connection_reset", json!({}))
        .await
        .expect(200);
    let ended = quote().await.expect_err("no answer, not even an empty one");
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "RST, not FIN");
    stack
        .fault_clear("downstream", "connection_reset")
        .await
        .expect(200);
    assert!(parses(&body().await.unwrap()));

    stack
        .fault_set("downstream", "malformed_body", json!({}))
        .await
        .expect(200);
    let answer = quote().await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let cut = body().await.unwrap();
    assert!(!cut.is_empty() && !parses(&cut), "{cut}");
    stack
        .fault_clear("downstream", "malformed_body")
        .await
        .expect(200);
    assert!(parses(&body().await.unwrap()));

    // Half of them: some fail, some do not.
    stack
        .fault_set("downstream", "errors", json!({"share": 0.5, "status": 502}))
        .await
        .expect(200);
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..60 {
        let status = stack
            .send(stack.client.get(stack.url("downstream") + "/quotes/mug"))
            .await
            .status;
        *statuses.entry(status).or_insert(0) += 1;
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<u16>>(), [200, 502]);
    assert!(
        (12..=48).contains(&statuses[&502]),
        "about half: {statuses:?}"
    );
    stack.stop().await;
}

#[tokio::test]
async fn where_faults_are_off_nothing_can_be_broken() {
    let builder = Stack::builder().env("downstream", "OMNITRACE_FAULTS", "off");
    let stack = builder.start().await;
    let set = stack.fault_set("downstream", "errors", json!({"share": 1.0}));
    let refusals = [
        stack.admin("downstream", "/faults").await,
        set.await,
        stack.fault_clear("downstream", "errors").await,
    ];
    for refusal in refusals {
        let problem = refusal.expect(403).json();
        assert_eq!(problem["type"], "urn:problem-type:omnitrace:faults-off");
        assert_eq!(problem["title"], "Faults are off here (OMNITRACE_FAULTS)");
        let why = problem["detail"].as_str().unwrap_or_default();
        assert!(why.contains("OMNITRACE_FAULTS=on"), "{problem:#}");
    }
    stack.get_data().await.expect(200);
}
