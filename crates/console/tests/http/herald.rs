//! Herald behind the console: what a page asks of it, and what it gets.

use console::{Notify, Settings};
use reqwest::Method;

use crate::events;
use crate::harness::{Reply, Running, settings};
use crate::others::{Other, answer, json};
use crate::rules::written;

const ID: &str = "0198f000-0000-7000-8000-000000000001";
const SECRET: &str = "correct-horse-battery";

fn console(herald: &Other) -> Running {
    Running::with(Settings {
        herald_url: Some(format!("http://{}/", herald.address)),
        notify: Notify {
            secret: Some(SECRET.to_owned()),
            ..Notify::default()
        },
        ..settings()
    })
}

async fn sent(console: &Running, method: Method, path: &str, body: &str) -> Reply {
    let request = console
        .client
        .request(method, format!("{}/api/herald/{path}", console.url))
        .header("authorization", "Bearer of-the-page")
        .header("cookie", "of=the-page");
    Reply::to(request.body(body.to_owned())).await
}

#[tokio::test]
async fn what_a_page_asks_of_herald_is_passed_on_with_the_consoles_secret() {
    let herald = Other::start(json("200 OK", r#"{"alerts": [], "more": 0}"#)).await;
    let console = console(&herald);
    let (list, one) = (
        "alerts?state=firing&limit=5".to_owned(),
        format!("alerts/{ID}"),
    );
    let acknowledge = format!("{one}/acknowledge");
    let silence = format!("silences/{ID}");
    for (method, path, body) in [
        (Method::GET, &list, ""),
        (Method::GET, &one, ""),
        (Method::POST, &acknowledge, r#"{"by": "ada"}"#),
        (
            Method::POST,
            &format!("{one}/verdict"),
            r#"{"true_alarm": true, "by": "ada"}"#,
        ),
        (Method::GET, &"ledger".to_owned(), ""),
        (Method::GET, &"silences".to_owned(), ""),
        (Method::POST, &"silences".to_owned(), "{}"),
        (Method::DELETE, &silence, ""),
    ] {
        let reply = sent(&console, method.clone(), path, body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (200, "application/json"),
            "{path}"
        );
        assert_eq!(reply.json()["more"], 0, "{path}");
        let asked = herald.asked();
        let first = format!(
            "{} /api/{path} http/1.1\r\n",
            method.as_str().to_lowercase()
        );
        assert!(
            asked.len() == 1 && asked[0].starts_with(&first),
            "{asked:?}"
        );
        assert!(
            asked[0].contains(&format!("authorization: bearer {SECRET}\r\n")),
            "{asked:?}"
        );
        assert!(!asked[0].contains("of-the-page"), "{asked:?}");
        assert!(asked[0].ends_with(&format!("\r\n\r\n{body}")), "{asked:?}");
    }
}

#[tokio::test]
async fn what_herald_refuses_is_passed_on_and_what_it_cannot_answer_is_said() {
    let herald = Other::start(String::new()).await;
    let console = console(&herald);
    let problem = r#"{"type": "about:blank", "title": "Conflict", "status": 409, "detail": "the alert is over"}"#;
    let page = "<script>alert(1)</script>";
    let huge = format!("[{}]", "1,".repeat(2 << 20));
    for (told, status, said) in [
        (
            answer("409 Conflict", "application/problem+json", problem),
            409,
            "the alert is over",
        ),
        (json("204 No Content", ""), 204, ""),
        (json("201 Created", r#"{"id": "x"}"#), 201, r#"{"id":"#),
        (
            json("401 Unauthorized", problem),
            502,
            "OMNITRACE_NOTIFY_SECRET",
        ),
        (json("302 Found", ""), 502, "herald answers with 302"),
        (answer("200 OK", "text/html", page), 502, "no JSON"),
        (json("200 OK", &huge), 502, "larger than"),
        // A refused connection is noticed sooner than a hanging one.
        (String::new(), 504, "has not answered within 4s"),
    ] {
        herald.answers(told);
        let reply = sent(&console, Method::POST, "silences", "{}").await;
        let text = reply.text();
        assert!(
            reply.status == status && text.contains(said),
            "{status}: {} {text}",
            reply.status
        );
        assert!(!text.contains(page) && !text.contains(SECRET), "{text}");
        let is_problem = reply.header("content-type") == "application/problem+json";
        assert_eq!(is_problem, status >= 400, "{status}");
    }
    assert_eq!(console.json("/api/stats").await["under_way_bytes"], 0);
}

#[tokio::test]
async fn nothing_but_ids_is_passed_on_and_without_herald_the_setting_is_named() {
    let herald = Other::start(json("200 OK", "{}")).await;
    let console = console(&herald);
    for path in [
        "alerts/..%2f..%2fmetrics",
        "alerts/%2e%2e",
        "alerts/0198f000",
        "alerts/0198f000-0000-7000-8000-000000000001%2fverdict",
        "silences/x",
    ] {
        let reply = sent(&console, Method::GET, path, "").await;
        assert!(
            [404, 405].contains(&reply.status.as_u16()),
            "{path}: {}",
            reply.status
        );
    }
    let large = "x".repeat((64 << 10) + 1);
    assert_eq!(
        sent(&console, Method::POST, "silences", &large)
            .await
            .status,
        413
    );
    assert_eq!(herald.asked(), [] as [String; 0]);
    for (path, allowed) in [
        ("silences", "GET, HEAD, POST"),
        ("alerts/x/verdict", "POST"),
        ("silences/x", "DELETE"),
        ("alerts", "GET, HEAD"),
    ] {
        let reply = sent(&console, Method::PUT, path, "").await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("allow")),
            (405, allowed),
            "{path}"
        );
    }
    let gone = Running::with(Settings {
        herald_url: Some("http://127.0.0.1:1".to_owned()),
        ..settings()
    });
    let reply = gone.get("/api/herald/alerts").await;
    assert!(
        reply.status == 502 && reply.text().contains("herald cannot be asked"),
        "{}",
        reply.text()
    );
    let reply = Running::start().get("/api/herald/alerts").await;
    let said = reply.text();
    assert!(
        reply.status == 404 && said.contains("--herald-url (OMNITRACE_HERALD_URL)"),
        "{said}"
    );
}

#[tokio::test]
async fn other_pages_hear_what_one_says_of_an_alert() {
    let herald = Other::start(json("200 OK", "{}")).await;
    // Rules that say nothing: no alert changes by itself.
    let directory = tempfile::tempdir().expect("a directory");
    let rules = "groups: [{name: none, interval: 1s, rules: [{record: a, expr: vector(1)}]}]";
    let console = Running::with(Settings {
        rules_file: Some(written(&directory, rules)),
        herald_url: Some(format!("http://{}", herald.address)),
        ..settings()
    });
    let mut reader = events::reader(&console).await;
    assert_eq!(events::next(&mut reader).await["alerts"], 0);
    let acknowledge = format!("alerts/{ID}/acknowledge");
    let reply = sent(&console, Method::POST, &acknowledge, r#"{"by": "ada"}"#).await;
    assert_eq!(reply.status, 200);
    assert_eq!(events::next(&mut reader).await["alerts"], 1);
}
