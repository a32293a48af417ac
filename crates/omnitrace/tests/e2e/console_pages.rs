//! What the console's pages ask beside the vendors' APIs: of a whole stack, and beyond loopback.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Child, Directory, Up, database, eventually, http, omnitrace};

/// Asks the console of a stack.
async fn asked(url: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = http().request(method, format!("{url}/api/{path}"));
    let request = match body.is_null() {
        true => request,
        false => request.json(&body),
    };
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn faults_and_herald_are_reached_through_the_console() {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command.env("OMNITRACE_CONSOLE_TOKEN", "of-another-console")
    })
    .await;
    let ready = up.ready().await;
    let note = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        message.starts_with("OMNITRACE_CONSOLE_TOKEN is not used: ")
    };
    assert!(up.events().iter().any(note), "{}", up.child.output());
    let url = ready["console_url"].as_str().expect("an address");
    faults(url).await;
    silences(url).await;
    let (status, alerts) = asked(url, Method::GET, "herald/alerts?limit=5", Value::Null).await;
    assert!(status == 200 && alerts["alerts"].is_array(), "{alerts}");
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

#[tokio::test]
async fn a_machine_without_certificates_of_authorities_can_run_a_console() {
    let directory = Directory::new();
    let mut command = omnitrace(["console", "--listen=127.0.0.1:0"]);
    command.env("SSL_CERT_FILE", directory.path().join("none.pem"));
    command.env("SSL_CERT_DIR", directory.path());
    let mut console = Child::spawn("console", command);
    let url = format!("http://{}", console.listening().await.http_addr);
    let (status, _) = asked(&url, Method::GET, "faults", Value::Null).await;
    assert_eq!(status, 200, "{}", console.output());
    assert!(console.terminate().await.success());
}

async fn faults(url: &str) {
    // The probe is the last to be scraped.
    let services = eventually("all services", async || {
        let (_, answer) = asked(url, Method::GET, "faults", Value::Null).await;
        let services = answer["services"].as_array().cloned().unwrap_or_default();
        (services.len() > 3).then_some(services)
    })
    .await;
    for service in ["gateway", "data", "downstream"] {
        let board = services.iter().find(|board| board["service"] == service);
        let board = board.unwrap_or_else(|| panic!("no {service} in {services:?}"));
        let names = board["faults"]["faults"].as_array().expect("faults");
        assert!(!names.is_empty() && board["error"].is_null(), "{board}");
    }
    let set = json!({"ms": 5, "expires_in_s": 60});
    let latency = "faults/downstream/latency";
    let (status, fault) = asked(url, Method::PUT, latency, set).await;
    assert!(
        status == 200 && fault["active"]["parameters"]["ms"] == 5,
        "{fault}"
    );
    let (status, refused) = asked(url, Method::PUT, latency, json!({"ms": 0})).await;
    assert!(
        status == 422 && refused["errors"][0]["field"] == "ms",
        "{refused}"
    );
    let (status, cleared) = asked(url, Method::DELETE, "faults/downstream", Value::Null).await;
    let is_off = |fault: &Value| fault["active"].is_null();
    let cleared = cleared["faults"].as_array().expect("faults");
    assert!(status == 200 && cleared.iter().all(is_off), "{cleared:?}");
}

async fn silences(url: &str) {
    let ends = chrono::Utc::now() + chrono::TimeDelta::minutes(5);
    let wanted = json!({
        "matchers": [{"name": "alertname", "value": "Nothing", "isRegex": false, "isEqual": true}],
        "endsAt": ends.to_rfc3339(), "by": "ada", "comment": "a test",
    });
    let (status, silence) = asked(url, Method::POST, "herald/silences", wanted).await;
    let id = silence["id"].as_str().expect("an id").to_owned();
    assert_eq!(status, 201);
    let (_, silences) = asked(url, Method::GET, "herald/silences", Value::Null).await;
    assert_eq!(silences["silences"][0]["id"], id.as_str());
    let path = format!("herald/silences/{id}");
    let (status, _) = asked(url, Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, 204);
    let (status, refused) = asked(url, Method::POST, "herald/silences", json!({})).await;
    assert!((400..500).contains(&status.as_u16()), "{status}: {refused}");
}

#[tokio::test]
async fn beyond_loopback_the_console_prints_a_token_which_other_commands_take() {
    let mut console = Child::spawn("console", omnitrace(["console", "--listen=0.0.0.0:0"]));
    let address = console.listening().await.http_addr;
    let (_, port) = address.rsplit_once(':').expect("a port");
    let lines = console.json_lines();
    let printed: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["url"].as_str())
        .collect();
    let page = format!("http://localhost:{port}/?token=");
    let token = printed[0].strip_prefix(&page).expect("a token").to_owned();
    assert_eq!((printed.len(), token.len()), (1, 32), "{printed:?}");
    for (user, succeeds) in [(String::new(), false), (format!("any:{token}@"), true)] {
        let mut query = omnitrace(["query", "vector(1)"]);
        query.env("PROMETHEUS_URL", format!("http://{user}127.0.0.1:{port}"));
        let output = tokio::task::spawn_blocking(move || query.output()).await;
        let output = output.expect("a thread").expect("it runs");
        assert_eq!(output.status.success(), succeeds, "{output:?}");
    }
    assert!(console.terminate().await.success());
    assert_eq!(console.output().matches(&token).count(), 1, "printed once");
}

#[tokio::test]
async fn what_is_wrong_with_the_token_or_herald_is_said_without_being_shown() {
    for (variable, value, arguments, said) in [
        ("OMNITRACE_CONSOLE_TOKEN", "s3cret", &[][..], "allowed: "),
        (
            "OMNITRACE_CONSOLE_TOKEN",
            "s3cret-s3cret-s3cret",
            &["--no-token"],
            "--no-token",
        ),
        ("OMNITRACE_HERALD_URL", "s3cret", &[], "allowed: "),
    ] {
        let mut command = omnitrace(["console", "--listen=127.0.0.1:0"]);
        command.args(arguments).env(variable, value);
        let mut console = Child::spawn("console", command);
        assert_eq!(console.wait().await.code(), Some(1), "{variable}");
        let complaint = console.stderr().join("\n");
        assert!(
            complaint.contains(variable) && complaint.contains(said),
            "{complaint}"
        );
        assert!(!console.output().contains("s3cret"), "{complaint}");
    }
}
