//! Loki's query API: labels and series, forms, refusals.

use reqwest::Url;
use serde_json::json;

use crate::harness::{Reply, Running};
use crate::loki::{ask, refusal, second, shop};

#[tokio::test]
async fn labels_values_and_series_are_those_of_streams() {
    let console = shop().await;
    let (start, end) = (second(0), second(60));
    let asked = async |path: &str, more: &[(&str, &str)]| {
        let mut parameters = vec![("start", start.as_str()), ("end", end.as_str())];
        parameters.extend(more);
        let reply = ask(&console, path, &parameters).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["status"], "success");
        answer["data"].clone()
    };
    let names = json!(["deployment_environment_name", "service_name"]);
    assert_eq!(asked("labels", &[]).await, names);
    assert_eq!(asked("label", &[]).await, names);
    assert_eq!(
        asked("labels", &[("query", r#"{service_name="data"}"#)]).await,
        json!(["service_name"])
    );
    let values = "label/service_name/values";
    assert_eq!(asked(values, &[]).await, json!(["data", "gateway"]));
    assert_eq!(
        asked(
            values,
            &[("query", r#"{deployment_environment_name=~".+"}"#)]
        )
        .await,
        json!(["gateway"])
    );
    assert_eq!(asked("label/trace_id/values", &[]).await, json!([]));
    let all = json!([
        {"deployment_environment_name": "test", "service_name": "gateway"},
        {"service_name": "data"},
    ]);
    assert_eq!(asked("series", &[("match[]", "{}")]).await, all);
    let two = [
        ("match[]", r#"{service_name="data"}"#),
        ("match[]", r#"{service_name=~"g.*"}"#),
    ];
    assert_eq!(asked("series", &two).await, all);
    assert_eq!(
        asked("series", &two[..1]).await,
        json!([{"service_name": "data"}])
    );
    let (start, end) = (second(60), second(120));
    let later = ask(&console, values, &[("start", &start), ("end", &end)]).await;
    assert_eq!(later.json()["data"], json!([]));
}

#[tokio::test]
async fn forms_are_read_too() {
    let console = shop().await;
    let form = [
        ("query", r#"{service_name="data"}"#.to_owned()),
        ("start", second(0)),
        ("end", second(1)),
    ];
    let url = format!("{}/loki/api/v1/query_range", console.url);
    let body = Url::parse_with_params("http://x", &form).expect("a URL");
    let body = body.query().expect("a query").to_owned();
    let reply = Reply::to(
        console
            .client
            .post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body),
    )
    .await;
    assert_eq!(reply.json()["data"]["result"][0]["values"][0][1], "slow");
    let json = Reply::to(console.post(
        "/loki/api/v1/query_range",
        "application/json",
        b"{}".to_vec(),
    ))
    .await;
    assert_eq!(json.status, 400, "{}", json.text());
    let put = Reply::to(console.client.put(&url)).await;
    assert_eq!(
        (put.status.as_u16(), put.header("allow")),
        (405, "GET, HEAD, POST")
    );
    let get = console.get("/otlp/v1/logs").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn what_is_not_answered_is_named() {
    let console = Running::start();
    for (query, named) in [
        (r#"{a="b"} | logfmt"#, "col 11: the stage \"logfmt\""),
        (
            r#"topk(5, rate({a="b"}[1m]))"#,
            "col 1: the function \"topk\"",
        ),
        (r#"sum without (a) (rate({a="b"}[1m]))"#, "\"without\""),
        (r#"rate({a="b"}[1m] offset 5m)"#, "\"offset\""),
        (r#"{a=~"("}"#, "regular expression \"(\""),
        (r#"{a=~".*"}"#, "no empty value"),
        (r#"{a="b""#, "parse error at line 1, col 7"),
    ] {
        let why = refusal(&console, query).await;
        assert!(why.contains(named), "{query}: {why}");
    }
    for (parameters, named) in [
        (vec![], "'query'"),
        (vec![("query", r#"{a="b"}"#), ("limit", "5001")], "'limit'"),
        (vec![("query", r#"{a="b"}"#), ("limit", "0")], "'limit'"),
        (
            vec![("query", r#"{a="b"}"#), ("direction", "up")],
            "'direction'",
        ),
        (
            vec![("query", r#"{a="b"}"#), ("start", "yesterday")],
            "'start'",
        ),
        (
            vec![("query", r#"{a="b"}"#), ("start", "2"), ("end", "1")],
            "'end'",
        ),
        (
            vec![("query", r#"{a="b"}"#), ("interval", "5")],
            "'interval'",
        ),
        (
            vec![("query", r#"rate({a="b"}[1m])"#), ("step", "0")],
            "'step'",
        ),
    ] {
        let reply = ask(&console, "query_range", &parameters).await;
        assert_eq!(reply.status, 400, "{parameters:?}");
        assert!(
            reply.text().contains(named),
            "{parameters:?}: {}",
            reply.text()
        );
    }
    assert_eq!(ask(&console, "series", &[]).await.status, 400);
    assert_eq!(
        ask(&console, "index/stats", &[("query", "{}")])
            .await
            .status,
        404
    );
}
