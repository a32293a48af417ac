//! What commands print of texts that came from elsewhere: it writes nothing but itself, and gives no password away.

use serde_json::{Value, json};
use telemetry::redact::plain::is_hidden;

use crate::harness::{Capture, Child, omnitrace};

/// Clears the line and goes up, by ESC and by the one byte of C1; ends the line; turns it around.
const FORGED: &str = "\u{1b}[2K\u{1b}[1A\rservice     ready\n\u{9b}2Kok      order -> gateway\u{2028}\u{202e}\u{e0041}";

/// Exit code, stdout, stderr.
async fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut child = Child::spawn("command", omnitrace(arguments));
    let status = child.wait().await;
    (
        status.code().unwrap_or(-1),
        child.stdout().join("\n"),
        child.stderr().join("\n"),
    )
}

/// No line but those that the command wrote itself.
fn neutral(said: &str, lines: usize) {
    assert!(
        !said.contains(|c: char| is_hidden(c) && c != '\n'),
        "{said:?}"
    );
    assert_eq!(said.lines().count(), lines, "{said:?}");
    assert!(!said.lines().any(|line| line.starts_with("ok ")), "{said}");
}

#[tokio::test]
async fn a_backend_cannot_forge_a_line_of_health() {
    let lacking = json!({"dependencies": [{"name": FORGED, "up": false, "problem": FORGED}]});
    let not_ready = json!({"ready": false, "reasons": [FORGED]});
    for (status, answer) in [(200, lacking), (503, not_ready)] {
        let backend = Capture::answering(&answer);
        backend.answer_with(status);
        let url = backend.url();
        let (_, said, _) = run(&["health", "--url", &url]).await;
        assert!(
            !said.contains(|c: char| is_hidden(c) && c != '\n'),
            "{said:?}"
        );
        assert_eq!(said.lines().count(), 1, "{said:?}");
        let (_, said, _) = run(&["health", "--url", &url, "--json"]).await;
        assert!(!said.contains(is_hidden), "{said:?}");
        serde_json::from_str::<Value>(&said).expect("JSON");
    }
}

#[tokio::test]
async fn a_backend_cannot_forge_a_line_of_the_doctor() {
    let gateway = Capture::answering(&json!({"detail": FORGED}));
    gateway.answer_with(500);
    let arguments = ["doctor", "--timeout", "1s", "--gateway-url", &gateway.url()];
    let (code, said, _) = run(&arguments).await;
    assert_eq!(code, 1, "{said}");
    // Six backends are absent, and so there is none.
    neutral(&said, 9);
    let (_, said, _) = run(&[&arguments[..], &["--json"]].concat()).await;
    assert!(!said.contains(is_hidden), "{said:?}");
    serde_json::from_str::<Value>(&said).expect("JSON");
}

#[tokio::test]
async fn a_service_cannot_forge_a_line_of_fault() {
    let fault = json!({"name": FORGED, "description": FORGED, "parameters": [
        {"name": FORGED, "unit": FORGED, "min": FORGED, "max": 1, "default": 1}]});
    let service = Capture::answering(&json!({"faults": [fault], "title": FORGED, "errors": [
        {"field": FORGED, "message": FORGED}]}));
    let admin = service.url();
    let (code, said, _) = run(&["fault", "list", "--admin", &admin]).await;
    assert_eq!(code, 0, "{said}");
    neutral(&said, 3);
    service.answer_with(422);
    let (code, _, said) = run(&["fault", "clear", "--admin", &admin]).await;
    assert_eq!(code, 1, "{said}");
    neutral(&said, 2);
}

#[tokio::test]
async fn a_password_in_an_address_is_sent_and_not_shown() {
    let backend = Capture::answering(&json!({"ready": true}));
    let url = backend.url().replace("http://", "http://ada:hunter2@");
    let (code, said, _) = run(&["health", "--url", &url]).await;
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let sent = backend.take().remove(0).header("authorization");
    assert_eq!(sent.as_deref(), Some("Basic YWRhOmh1bnRlcjI="));

    let doctor = [
        "doctor",
        "--timeout",
        "1s",
        "--gateway-url",
        &url,
        "--jaeger-url",
        &url,
    ];
    let wrong = ["doctor", "--jaeger-url", "ftp://ada:hunter2@jaeger"];
    let unknown = ["doctor", "ftp://ada:hunter2@jaeger"];
    let fault = ["fault", "list", "--admin", "http://ada:hunter2@127.0.0.1:1"];
    for arguments in [&doctor[..], &wrong, &unknown, &fault] {
        let (_, said, complained) = run(arguments).await;
        let all = said + &complained;
        assert!(
            !all.is_empty() && !all.contains("hunter2"),
            "{arguments:?}: {all}"
        );
    }
    let mut command = omnitrace(["doctor", "--help"]);
    command.env("JAEGER_URL", "http://ada:hunter2@jaeger:16686");
    let mut help = Child::spawn("help", command);
    assert!(help.wait().await.success());
    let said = help.output();
    assert!(
        said.contains("JAEGER_URL") && !said.contains("hunter2"),
        "{said}"
    );
}
