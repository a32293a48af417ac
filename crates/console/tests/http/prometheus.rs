//! Prometheus's query API: what herald, `omnitrace doctor`, the dashboards and Grafana ask.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsDouble;
use prost::Message;
use reqwest::Url;
use serde_json::{Value, json};

use crate::harness::{Reply, Running};
use crate::payload::{MS, START, metrics, span_id, trace_id};
use crate::scraping::{Behaviour, Target, file, group, write_targets};

pub const SECOND: u64 = 1_000 * MS;

/// Seconds since the epoch of the first sample.
pub const FROM: u64 = START / SECOND;

/// Asks as a client of Prometheus does.
pub async fn ask(console: &Running, path: &str, parameters: &[(&str, &str)]) -> Reply {
    let url = Url::parse_with_params(&format!("{}/api/v1/{path}", console.url), parameters);
    Reply::to(console.client.get(url.expect("a URL"))).await
}

/// The data of a good answer.
pub async fn data(console: &Running, path: &str, parameters: &[(&str, &str)]) -> Value {
    let reply = ask(console, path, parameters).await;
    let text = reply.text();
    assert_eq!(reply.status, 200, "{path} {parameters:?}: {text}");
    assert_eq!(reply.header("content-type"), "application/json");
    let answer = reply.json();
    assert_eq!(answer["status"], "success", "{path} {parameters:?}");
    answer["data"].clone()
}

/// Status, kind and text of a refusal.
pub async fn refusal(
    console: &Running,
    path: &str,
    parameters: &[(&str, &str)],
) -> (u16, String, String) {
    let reply = ask(console, path, parameters).await;
    refused(&reply)
}

/// The same for an answer.
pub fn refused(reply: &Reply) -> (u16, String, String) {
    let answer = reply.json();
    assert_eq!(answer["status"], "error", "{answer}");
    let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
    (reply.status.as_u16(), text("errorType"), text("error"))
}

/// One point of a metric, so many seconds after the start.
pub fn point(second: u64, path: &str, value: f64) -> Value {
    let time = (START + second * SECOND).to_string();
    let route = json!([{"key": "http.route", "value": {"stringValue": path}}]);
    json!({"timeUnixNano": time, "attributes": route, "asDouble": value})
}

pub fn gauge(name: &str, points: Vec<Value>) -> Value {
    json!({"name": name, "gauge": {"dataPoints": points}})
}

/// Two routes, a sample each ten seconds of the first minute: second and ten times the second.
pub async fn shop() -> Running {
    let console = Running::start();
    for second in (0..=60).step_by(10) {
        let value = second as f64;
        let points = vec![
            point(second, "/a", value),
            point(second, "/b", 10.0 * value),
        ];
        let sent = metrics("shop", vec![gauge("queue", points)]);
        console.take_metrics(&sent).await;
    }
    let odd = ["NaN", "Infinity", "-Infinity"].map(|route| point(60, route, 0.0));
    let sent = metrics("mill", vec![gauge("odd", odd.to_vec())]);
    let mut request: ExportMetricsServiceRequest = serde_json::from_value(sent).expect("OTLP");
    let metric = &mut request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Gauge(odd)) = &mut metric.data else {
        panic!("no gauge: {metric:?}");
    };
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for (point, value) in odd.data_points.iter_mut().zip(values) {
        point.value = Some(AsDouble(value));
    }
    let sent = console.send_protobuf("/v1/metrics", request.encode_to_vec());
    assert_eq!(sent.await.body, b"");
    console
}

fn at(second: u64) -> String {
    (FROM + second).to_string()
}

#[tokio::test]
async fn an_instant_query_answers_what_is_asked_for() {
    let console = shop().await;
    let ask = async |query: &str, second: u64| {
        let time = at(second);
        data(&console, "query", &[("query", query), ("time", &time)]).await
    };
    let metric =
        |path: &str| json!({"__name__": "queue", "http_route": path, "service_name": "shop"});
    assert_eq!(
        ask("queue", 35).await,
        json!({"resultType": "vector", "result": [
            {"metric": metric("/a"), "value": [FROM + 35, "30"]},
            {"metric": metric("/b"), "value": [FROM + 35, "300"]},
        ]})
    );
    assert_eq!(
        ask(r#"sum by (service_name) (queue{http_route=~"/.*"})"#, 60).await["result"],
        json!([{"metric": {"service_name": "shop"}, "value": [FROM + 60, "660"]}])
    );
    assert_eq!(
        ask(r#"queue{http_route!="/b"}[15s]"#, 30).await,
        json!({"resultType": "matrix", "result": [
            {"metric": metric("/a"), "values": [[FROM + 20, "20"], [FROM + 30, "30"]]},
        ]})
    );
    assert_eq!(
        ask("1 + 1.5", 0).await,
        json!({"resultType": "scalar", "result": [FROM, "2.5"]})
    );
    assert_eq!(
        ask(r#""text""#, 0).await,
        json!({"resultType": "string", "result": [FROM, "text"]})
    );
    let odd = ask("odd", 60).await["result"].clone();
    let values = odd.as_array().expect("a list").iter();
    let mut values: Vec<&str> = values.filter_map(|one| one["value"][1].as_str()).collect();
    values.sort_unstable();
    assert_eq!(values, ["+Inf", "-Inf", "NaN"]);
    // Nothing is found before, nor five minutes after, the last sample.
    for second in [0, 400] {
        assert_eq!(
            ask(r#"odd{http_route="NaN"}"#, second).await["result"],
            json!([])
        );
    }
}

#[tokio::test]
async fn a_range_query_answers_points_over_time() {
    let console = shop().await;
    let (start, end) = (at(10), "2026-01-01T00:00:30.5Z".to_owned());
    let range = [("start", start.as_str()), ("end", &end), ("step", "10s")];
    let range = async |query: &str| {
        let parameters = [&[("query", query)], &range[..]].concat();
        data(&console, "query_range", &parameters).await
    };
    assert_eq!(
        range(r#"queue{http_route="/b"} > 100"#).await,
        json!({"resultType": "matrix", "result": [{
            "metric": {"__name__": "queue", "http_route": "/b", "service_name": "shop"},
            "values": [[FROM + 20, "200"], [FROM + 30, "300"]],
        }]})
    );
    assert_eq!(
        range("sum(rate(queue[20s]))").await["result"][0]["values"],
        json!([[FROM + 10, "5.5"], [FROM + 20, "11"], [FROM + 30, "11"]])
    );
    let fraction = [
        ("query", "vector(1)"),
        ("start", "1767225600.25"),
        ("end", "1767225601"),
        ("step", "0.5"),
    ];
    assert_eq!(
        data(&console, "query_range", &fraction).await["result"][0]["values"],
        json!([[1767225600.25, "1"], [1767225600.75, "1"]])
    );
}

#[tokio::test]
async fn series_labels_and_values_are_listed() {
    let console = shop().await;
    let list =
        async |path: &str, parameters: &[(&str, &str)]| data(&console, path, parameters).await;
    assert_eq!(
        list("labels", &[]).await,
        json!(["__name__", "http_route", "service_name"])
    );
    assert_eq!(
        list("label/__name__/values", &[]).await,
        json!(["odd", "queue"])
    );
    let of_queue = ("match[]", "queue");
    let routes = "label/http_route/values";
    assert_eq!(list(routes, &[of_queue]).await, json!(["/a", "/b"]));
    assert_eq!(
        list(routes, &[of_queue, ("match[]", r#"odd{http_route="NaN"}"#)]).await,
        json!(["/a", "/b", "NaN"])
    );
    assert_eq!(list("label/nothing/values", &[]).await, json!([]));
    assert_eq!(
        list("series", &[("match[]", r#"{http_route="/a"}"#)]).await,
        json!([{"__name__": "queue", "http_route": "/a", "service_name": "shop"}])
    );
    // Only what has samples in that time.
    let (start, end) = (at(61), at(99));
    for path in ["labels", routes, "series"] {
        let later = [of_queue, ("start", &start), ("end", &end)];
        assert_eq!(list(path, &later).await, json!([]), "{path}");
    }
    let (start, end) = (at(0), at(50));
    let earlier = [("start", start.as_str()), ("end", &end)];
    assert_eq!(
        list("label/__name__/values", &earlier).await,
        json!(["queue"])
    );
}

#[tokio::test]
async fn a_limit_cuts_and_says_so() {
    let console = shop().await;
    let time = at(60);
    let (end, start) = (at(60), at(50));
    for (path, parameters) in [
        ("query", vec![("query", "queue"), ("time", &*time)]),
        (
            "query_range",
            vec![
                ("query", "queue"),
                ("start", &*start),
                ("end", &*end),
                ("step", "5"),
            ],
        ),
        ("series", vec![("match[]", "queue")]),
        ("labels", vec![]),
        ("label/http_route/values", vec![]),
    ] {
        let count = |answer: &Value| {
            let data = &answer["data"];
            let list = data["result"].as_array().or(data.as_array());
            list.map(Vec::len)
        };
        let limited = async |limit: &str| {
            let parameters = [&parameters[..], &[("limit", limit)]].concat();
            ask(&console, path, &parameters).await.json()
        };
        let cut = limited("1").await;
        assert_eq!(count(&cut), Some(1), "{path}: {cut}");
        let warning = json!(["results truncated due to limit"]);
        assert_eq!(cut["warnings"], warning, "{path}");
        for all in ["0", "100"] {
            let all = limited(all).await;
            assert!(count(&all) > Some(1), "{path}: {all}");
            assert_eq!(all["warnings"], Value::Null, "{path}");
        }
    }
}

#[tokio::test]
async fn a_target_has_the_series_that_rules_ask_for() {
    let id = trace_id(7);
    let page = format!(
        "# TYPE d histogram\nd_bucket{{le=\"1\"}} 3 # {{trace_id=\"{id}\",span_id=\"{}\"}} 0.5\nd_count 3\n# EOF\n",
        span_id(1)
    );
    let target = Target::start(Behaviour::Answers(page)).await;
    let (_directory, file) = file();
    write_targets(&file, &json!([group(&[&target.address], "gateway")]));
    let console = Running::scraping(file);
    let up = "/api/v1/query?query=min%20by%20(job,instance)(up)";
    let value = |answer: &Value| answer["data"]["result"][0]["value"][1].clone();
    let answer = console.until(up, |answer| value(answer) == "1").await;
    assert_eq!(
        answer["data"]["result"][0]["metric"],
        json!({"job": "services", "instance": target.address})
    );
    let one = async |query: &str| {
        let found = data(&console, "query", &[("query", query)]).await;
        found["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    let samples = r#"scrape_samples_scraped{job="services",service_name="gateway"}"#;
    assert_eq!(one(samples).await.as_deref(), Some("2"));
    assert_eq!(
        one("scrape_duration_seconds > bool 0").await.as_deref(),
        Some("1")
    );
    assert_eq!(one("d_count").await.as_deref(), Some("3"));

    let now = (START / SECOND).to_string();
    let query = ("query", "histogram_quantile(0.9, rate(d_bucket[1m]))");
    let found = data(&console, "query_exemplars", &[query, ("start", &now)]).await;
    assert_eq!(found[0]["seriesLabels"]["__name__"], "d_bucket", "{found}");
    let exemplar = &found[0]["exemplars"][0];
    let labels = json!({"trace_id": id, "span_id": span_id(1)});
    assert_eq!(
        (&exemplar["labels"], &exemplar["value"]),
        (&labels, &json!("0.5"))
    );
    assert!(
        exemplar["timestamp"].as_f64() > Some(FROM as f64),
        "{exemplar}"
    );
    assert_eq!(found[0]["exemplars"].as_array().map(Vec::len), Some(1));
    let earlier = [query, ("start", "1"), ("end", &now)];
    assert_eq!(data(&console, "query_exemplars", &earlier).await, json!([]));

    // What a target that is down said has ended at once, not after five minutes.
    target.now(Behaviour::Fails);
    console.until(up, |answer| value(answer) == "0").await;
    assert_eq!(one("d_count").await, None);
    assert_eq!(one(samples).await.as_deref(), Some("0"));
    assert!(one("count_over_time(d_count[1m])").await.is_some());
    // And what is no target any more has no `up`.
    let (directory, gone) = (_directory, json!([]));
    write_targets(&directory.path().join("targets.json"), &gone);
    console.until(up, |answer| value(answer).is_null()).await;
}

#[tokio::test]
async fn forms_are_read_too() {
    let console = shop().await;
    let form = async |path: &str, kind: &str, body: &str| {
        let path = format!("/api/v1/{path}");
        Reply::to(console.post(&path, kind, body.into())).await
    };
    let kind = "application/x-www-form-urlencoded";
    let time = at(60);
    let body = format!("query=sum(queue)&time={time}");
    let answer = form("query", kind, &body).await.json();
    assert_eq!(answer["data"]["result"][0]["value"][1], "660", "{answer}");
    // The rest may be in the URL.
    let body = format!("query=sum(queue)&end={time}");
    let answer = form(&format!("query_range?step=1&start={time}"), kind, &body).await;
    let answer = answer.json();
    assert_eq!(
        answer["data"]["result"][0]["values"][0][1], "660",
        "{answer}"
    );
    let series = form("series", kind, "match[]=queue&match[]=odd")
        .await
        .json();
    assert_eq!(series["data"].as_array().map(Vec::len), Some(5), "{series}");
    for (path, body) in [
        ("labels", "match[]=queue"),
        ("query_exemplars", "query=queue"),
    ] {
        assert_eq!(form(path, kind, body).await.status, 200, "{path}");
    }
    let json = form("query", "application/json", "{}").await;
    assert_eq!(refused(&json).0, 400);
    let values = form("label/a/values", kind, "match[]=queue").await;
    assert_eq!(
        (values.status.as_u16(), values.header("allow")),
        (405, "GET, HEAD")
    );
}

#[tokio::test]
async fn what_grafana_asks_beside_is_answered() {
    let console = Running::start();
    let build = data(&console, "status/buildinfo", &[]).await;
    assert_eq!(build["version"], "3.5.0");
    let receivers = json!({"activeAlertmanagers": [], "droppedAlertmanagers": []});
    assert_eq!(data(&console, "alertmanagers", &[]).await, receivers);
    let health = data(&console, "query", &[("query", "1+1"), ("time", "4")]).await;
    assert_eq!(health["result"], json!([4, "2"]));
}
