//! The faults of services that are scraped on this machine.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Reply, Running};
use crate::others::{self, Other};
use crate::scraping::{file, group, write_targets};

const BOARD: &str = r#"{"faults": [{"name": "latency", "active": null}]}"#;

async fn sent(console: &Running, method: Method, path: &str, body: &str) -> Reply {
    let request = console
        .client
        .request(method, format!("{}/api/faults{path}", console.url));
    Reply::to(request.body(body.to_owned())).await
}

/// A console that scrapes one service, and the directory of its list.
async fn scraping(data: &Other) -> (tempfile::TempDir, Running) {
    let (directory, file) = file();
    write_targets(&file, &json!([group(&[&data.address], "data")]));
    let console = Running::scraping(file);
    console
        .until("/api/targets", |answer| {
            answer["targets"].as_array().map_or(0, Vec::len) > 0
        })
        .await;
    (directory, console)
}

#[tokio::test]
async fn every_service_of_this_machine_shows_its_faults_or_says_why_not() {
    let (data, off, none, page) = tokio::join!(
        Other::start(others::json("200 OK", BOARD)),
        Other::start(others::json(
            "403 Forbidden",
            r#"{"type": "about:blank", "title": "t", "status": 403, "detail": "faults are off here"}"#
        )),
        Other::start(others::json("404 Not Found", "{}")),
        Other::start(others::answer("200 OK", "text/html", "<script>")),
    );
    let (_directory, file) = file();
    let herald = json!({"targets": [none.address], "labels": {"job": "herald"}});
    write_targets(
        &file,
        &json!([
            group(&[&data.address], "data"),
            group(&["10.255.255.1:9080"], "elsewhere"),
            group(&[&off.address], "off"),
            group(&[&none.address], "none"),
            group(&[&page.address, "127.0.0.1:1"], "page"),
            group(&["127.0.0.1:2"], "away"),
            herald,
        ]),
    );
    let console = Running::scraping(file);
    console
        .until("/api/targets", |answer| {
            answer["targets"].as_array().map_or(0, Vec::len) > 5
        })
        .await;
    let answer = console.json("/api/faults").await;
    let board: serde_json::Value = serde_json::from_str(BOARD).expect("JSON");
    let services = answer["services"].as_array().expect("a list");
    let names: Vec<_> = services
        .iter()
        .map(|one| one["service"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        ["data", "off", "page", "page-2", "away"],
        "{answer:#}"
    );
    assert_eq!(
        services[0],
        json!({"service": "data", "faults": board, "error": null})
    );
    assert_eq!(
        services[1],
        json!({"service": "off", "faults": null, "error": "faults are off here"})
    );
    for (index, why) in [
        (2, "no JSON"),
        (3, "cannot be asked"),
        (4, "cannot be asked"),
    ] {
        assert!(
            services[index]["error"]
                .as_str()
                .is_some_and(|said| said.contains(why)),
            "{answer:#}"
        );
    }
    let stats = |stats: &serde_json::Value| stats["under_way_bytes"] == 0;
    console.until("/api/stats", stats).await;
}

#[tokio::test]
async fn each_instance_of_a_service_has_a_switchboard_of_its_own() {
    let (first, second) = tokio::join!(
        Other::start(others::json("200 OK", "{}")),
        Other::start(others::json("200 OK", "{}")),
    );
    let (_directory, file) = file();
    write_targets(
        &file,
        &json!([group(&[&first.address, &second.address], "data")]),
    );
    let console = Running::scraping(file);
    console
        .until("/api/targets", |answer| {
            answer["targets"].as_array().map_or(0, Vec::len) > 1
        })
        .await;
    for (name, expected) in [("data", [1, 0]), ("data-2", [0, 1])] {
        let path = format!("/{name}/latency");
        let reply = sent(&console, Method::PUT, &path, "{}").await;
        assert_eq!(reply.status, 200, "{path}");
        let asked = [first.asked().len(), second.asked().len()];
        assert_eq!(asked, expected, "{path}");
    }
    let reply = sent(&console, Method::PUT, "/data-3/latency", "{}").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn a_fault_is_set_and_cleared_and_no_name_is_a_path() {
    let data = Other::start(others::json("200 OK", "{}")).await;
    let (_directory, console) = scraping(&data).await;
    for (method, path, passed, body) in [
        (
            Method::PUT,
            "/data/latency",
            "/faults/latency",
            r#"{"ms": 400}"#,
        ),
        (Method::DELETE, "/data/latency", "/faults/latency", ""),
        (Method::DELETE, "/data", "/faults", ""),
    ] {
        let reply = sent(&console, method.clone(), path, body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (200, "{}"),
            "{path}"
        );
        let asked = data.asked();
        let first = format!("{} {passed} http/1.1\r\n", method.as_str().to_lowercase());
        assert!(
            asked.len() == 1 && asked[0].starts_with(&first),
            "{asked:?}"
        );
        assert!(asked[0].ends_with(&format!("\r\n\r\n{body}")), "{asked:?}");
    }
    let problem = r#"{"type": "urn:x", "title": "t", "status": 422, "detail": "", "errors": [{"field": "ms", "message": "allowed: 1 to 9"}]}"#;
    data.answers(others::answer(
        "422 Unprocessable Content",
        "application/problem+json",
        problem,
    ));
    let reply = sent(&console, Method::PUT, "/data/latency", r#"{"ms": 0}"#).await;
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (422, problem.to_owned())
    );
    assert_eq!(data.asked().len(), 1);
    for path in [
        "/data/..%2fmetrics",
        "/data/%2e%2e",
        "/data/Latency",
        "/data/la-tency",
        "/nobody/latency",
        "/%2e%2e/latency",
    ] {
        let reply = sent(&console, Method::PUT, path, "{}").await;
        assert_eq!(reply.status, 404, "{path}");
    }
    assert_eq!(data.asked(), [] as [String; 0]);
    for (path, allowed) in [
        ("", "GET, HEAD"),
        ("/data", "DELETE"),
        ("/data/latency", "PUT, DELETE"),
    ] {
        let reply = sent(&console, Method::POST, path, "").await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("allow")),
            (405, allowed),
            "{path}"
        );
    }
}

#[tokio::test]
async fn no_page_of_another_origin_changes_anything() {
    let data = Other::start(others::json("200 OK", "{}")).await;
    let (_directory, console) = scraping(&data).await;
    let own = console.url.clone();
    let url = format!("{own}/api/faults/data/latency");
    let with = async |name: &'static str, value: &str| {
        let requests = [Method::PUT, Method::DELETE].map(|method| {
            Reply::to(
                console
                    .client
                    .request(method, &url)
                    .header(name, value)
                    .body("{}"),
            )
        });
        let [put, delete] = futures_util::future::join_all(requests)
            .await
            .try_into()
            .expect("two");
        assert_eq!(put.status, delete.status, "{name}: {value}");
        put
    };
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://localhost:4200",
        "",
    ] {
        let reply = with("origin", origin).await;
        assert!(
            reply.status == 403 && reply.text().contains("another origin"),
            "{origin}: {}",
            reply.text()
        );
    }
    for site in ["cross-site", "same-site", ""] {
        assert_eq!(with("sec-fetch-site", site).await.status, 403, "{site}");
    }
    assert_eq!(with("host", "evil.example").await.status, 403);
    assert_eq!(data.asked(), [] as [String; 0]);
    for (name, value) in [
        ("origin", own.as_str()),
        ("origin", "http://host.docker.internal:9"),
        ("sec-fetch-site", "same-origin"),
        ("x", "curl"),
    ] {
        assert_eq!(with(name, value).await.status, 200, "{name}: {value}");
    }
    // A question of another origin's page gets an answer that the page cannot read.
    let asked = console
        .client
        .get(format!("{own}/api/stats"))
        .header("origin", "http://evil.example");
    assert_eq!(Reply::to(asked).await.status, 200);
}
