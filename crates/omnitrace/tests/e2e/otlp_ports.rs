//! The ports at which an OTLP SDK sends unless it is told otherwise.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::cli::run;
use crate::harness::{Child, Directory, Up, database, http, omnitrace, repository};

const FLAGS: [&str; 2] = ["--otlp-grpc-port", "--otlp-http-port"];

/// Makes sure that nobody who comes later gets these ports. Whom one of them belongs to does not matter.
fn taken(ports: [u16; 2]) -> [Option<TcpListener>; 2] {
    ports.map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
}

fn busy() -> [TcpListener; 2] {
    [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"))
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("an address").port()
}

async fn post(url: &str, path: &str) -> u16 {
    let request = http().post(format!("{url}{path}")).json(&json!({}));
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn up_takes_otlp_on_ports_of_their_own_and_says_where() {
    let mut up = Up::start().await;
    let started = up.started("console").await;
    let [grpc, http_only] = ["otlp_grpc_url", "otlp_http_url"]
        .map(|name| started[name].as_str().expect(name).to_owned());
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        assert_eq!(post(&http_only, path).await, 200, "{path}");
    }
    for page in ["/", "/api/traces", "/metrics"] {
        let request = http()
            .get(format!("{http_only}{page}"))
            .header("accept", "text/html");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{page}");
        let why = answer.text().await.expect("a text");
        assert!(why.contains("this port takes OTLP only"), "{page}: {why}");
    }
    let (_, said, _) = run(omnitrace(["status"]), Some(&up.directory)).await;
    for (what, url) in [("OTLP/gRPC", &grpc), ("OTLP/HTTP", &http_only)] {
        assert!(said.contains(&format!("{what} {url}")), "{said}");
    }

    // Another process has the same ports.
    let (code, said, complained) =
        run(omnitrace(["restart", "console"]), Some(&up.directory)).await;
    assert_eq!(code, 0, "{said}{complained}");
    assert_eq!(post(&http_only, "/v1/traces").await, 200);
    let grpc = grpc.trim_start_matches("http://");
    tokio::net::TcpStream::connect(grpc)
        .await
        .expect("it listens");
}

#[tokio::test]
async fn a_default_port_that_somebody_else_has_is_told_and_no_reason_not_to_start() {
    let _held = taken([4317, 4318]);
    let directory = Directory::new();
    let mut command = Up::command_with_default_otlp(&directory);
    command.env("DATABASE_URL", database().await.url);
    let mut up = Up {
        child: Child::spawn("up", command),
        directory,
    };
    up.ready().await;
    let started = up.started("console").await;
    assert_eq!(started["otlp_grpc_url"], Value::Null);
    assert_eq!(started["otlp_http_url"], Value::Null);
    let events = up.events();
    for (protocol, port) in [("gRPC", 4317), ("HTTP", 4318)] {
        let said = format!("no OTLP over {protocol}: port {port} is in use");
        let told = events.iter().filter(|event| {
            let message = event["message"].as_str();
            message.is_some_and(|message| message.starts_with(&said))
        });
        assert_eq!(told.count(), 1, "{said}: {events:#?}");
    }
}

#[tokio::test]
async fn a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_the_option() {
    let busy = busy();
    let given = |flag: &str, busy| format!("{flag}={}", port(busy));
    let directory = Directory::new();
    for (flag, busy) in FLAGS.iter().zip(&busy) {
        let mut command = omnitrace(["console", "--listen=127.0.0.1:0"]);
        command.arg(given(flag, busy));
        let mut console = Child::spawn("console", command);
        assert!(!console.wait().await.success());
        let said = console.stderr().join("\n");
        assert!(said.contains(flag) && said.contains("`off`"), "{said}");

        let mut command = Up::command(&directory);
        command.arg(given(flag, busy));
        let mut up = Child::spawn("up", command);
        assert!(!up.wait().await.success());
        let said = up.stderr().join("\n");
        let expected = format!("{flag}: port {} is in use", port(busy));
        assert!(said.contains(&expected), "{said}");
    }
}

#[tokio::test]
async fn with_strict_ports_the_default_ports_are_needed_too() {
    let _held = taken([4317, 4318]);
    let directory = Directory::new();
    let mut command = omnitrace(["up", "--strict-ports", "--gateway-port=0", "--data-dir"]);
    command.arg(directory.data());
    let mut up = Child::spawn("up", command);
    assert!(!up.wait().await.success());
    let said = up.stderr().join("\n");
    for flag in FLAGS {
        assert!(said.contains(&format!("{flag}: port 431")), "{said}");
    }
}

#[tokio::test]
async fn a_port_may_be_off_and_nonsense_is_refused() {
    let mut command = omnitrace(["console", "--listen=127.0.0.1:0"]);
    command.args(["--otlp-grpc-port=off", "--otlp-http-port=0"]);
    let mut console = Child::spawn("console", command);
    let line = console.listening().await.line;
    assert_eq!(line["otlp_grpc_addr"], Value::Null);
    assert!(line["otlp_http_addr"].is_string(), "{line}");

    let (code, _, said) = run(omnitrace(["up", "--otlp-grpc-port=none"]), None).await;
    assert_eq!(code, 2);
    assert!(said.contains("or off"), "{said}");

    let mut standard = omnitrace(["up", "--standard", "--otlp-http-port=off", "--deploy"]);
    standard.arg(repository("deploy"));
    let (code, _, said) = run(standard, Some(&Directory::new())).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("--otlp-http-port off: the collector"),
        "{said}"
    );
}
