//! What it refuses, and what it leaves behind.

use crate::harness::Receiver;
use crate::support::{Run, finish, load, loadtest, roomy_stack};

async fn refused(arguments: &[&str]) -> Run {
    let run = finish(loadtest(&Receiver::start(), arguments)).await;
    assert_eq!(run.code, 2, "{}", run.output);
    assert_eq!(run.stdout, "", "nothing but the report goes to stdout");
    run
}

#[tokio::test]
async fn remote_targets_are_refused() {
    for target in ["http://example.com", "http://192.0.2.1:8080"] {
        let run = refused(&["--target", target]).await;
        assert!(run.output.contains("--allow-remote"), "{}", run.output);
    }
}

#[tokio::test]
async fn mistakes_name_the_flag() {
    let short = refused(&["--profile", "spike", "--duration", "9s"]).await;
    assert!(short.output.contains("at least 10 s"), "{}", short.output);
    let file = env!("CARGO_MANIFEST_PATH");
    for (arguments, named) in [
        (["--duration", "forever"], "--duration"),
        (["--users", "0"], "--users"),
        (["--max-error-share", "2"], "--max-error-share"),
        (["--think-min-ms", "501"], "--think-min-ms"),
        (["--report-dir", file], "--report-dir"),
        (["--target", "gateway"], "--target"),
    ] {
        let run = refused(&arguments).await;
        assert!(run.output.contains(named), "{named}: {}", run.output);
    }
}

#[tokio::test]
async fn thresholds_decide_the_exit_code_and_reports_stand_alone() {
    let stack = roomy_stack().await;
    let directory = tempfile::tempdir().expect("a directory");
    let into = directory.path().join("new/reports");
    let text = into.to_str().expect("UTF-8");
    let kept = load(&stack, &["--report-dir", text, "--max-p99-ms", "60000"]).await;
    assert_eq!(kept.code, 0, "{}", kept.output);
    assert!(
        kept.stdout.starts_with("# Load test of http://127.0.0.1:"),
        "{}",
        kept.stdout
    );
    let read = |name: &str| std::fs::read_to_string(into.join(name)).expect(name);
    let page = read("report.html");
    for never in [
        "<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "https://",
    ] {
        assert!(!page.contains(never), "{never}\n{page}");
    }
    assert!(
        page.contains("/api/orders/{id}") && page.contains("<polyline"),
        "{page}"
    );
    assert_eq!(read("report.md").trim(), kept.stdout.trim());
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).expect("JSON");
    assert!(
        json["timeline"].as_array().expect("points").len() >= 3,
        "{json}"
    );

    for (flag, limit) in [
        ("--max-p95-ms", "0.001"),
        ("--max-p99-ms", "0.001"),
        ("--min-requests", "1000000"),
    ] {
        let broken = load(&stack, &[flag, limit, "--quiet"]).await;
        assert_eq!(broken.code, 1, "{flag}: {}", broken.output);
        assert!(
            broken.output.contains(&format!("error: {flag} ")),
            "{}",
            broken.output
        );
    }
}

#[tokio::test]
async fn an_absent_target_is_a_failed_test() {
    let run = finish(loadtest(
        &Receiver::start(),
        &[
            "--target",
            "http://127.0.0.1:1",
            "--users",
            "2",
            "--duration",
            "3s",
            "--json",
            "--quiet",
        ],
    ))
    .await;
    assert_eq!(run.code, 1, "{}", run.output);
    let report = run.json();
    assert_eq!(report["error_share"], 1.0);
    assert_eq!(report["failures"][0]["reason"], "no connection");
    assert_eq!(report["counts"][0]["status"], "");
}
