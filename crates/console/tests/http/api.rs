//! Jaeger's query API and the console's own, end to end.

use serde_json::{Value, json};

use crate::harness::{Reply, Running, attribute};
use crate::payload::{MS, START, log, logs, span, span_id, trace_id, traces};

/// `POST /orders` of the gateway, which calls data, which fails to call the bank; a mail handles the message.
async fn shop() -> Running {
    let console = Running::start();
    let at = |mut span: Value, kind: u8, from: u64, to: u64| {
        span["kind"] = kind.into();
        span["startTimeUnixNano"] = (START + from * MS).to_string().into();
        span["endTimeUnixNano"] = (START + to * MS).to_string().into();
        span
    };
    let mut failed = at(span(0xa, 3, Some(2), "POST /payments"), 2, 20, 30);
    failed["status"] = json!({"code": 2, "message": "declined"});
    failed["attributes"] = json!([{"key": "http.response.status_code", "value": {"intValue": "402"}}, {"key": "amount", "value": {"doubleValue": 9.5}}]);
    failed["events"] = json!([{"name": "exception", "timeUnixNano": (START + 25 * MS).to_string(), "attributes": [{"key": "retry", "value": {"boolValue": false}}]}]);
    let mut mail = at(span(0xb, 5, None, "order-events process"), 5, 500, 510);
    mail["links"] = json!([{"traceId": trace_id(0xa), "spanId": span_id(2)}]);
    console
        .take(
            "/v1/traces",
            &traces(
                "gateway",
                vec![at(span(0xa, 1, None, "POST /orders"), 2, 0, 100)],
            ),
        )
        .await;
    console
        .take(
            "/v1/traces",
            &traces("data", vec![at(span(0xa, 2, Some(1), "INSERT"), 3, 10, 40)]),
        )
        .await;
    console
        .take("/v1/traces", &traces("bank", vec![failed]))
        .await;
    console
        .take("/v1/traces", &traces("mail", vec![mail]))
        .await;
    console
        .take(
            "/v1/logs",
            &logs("bank", vec![log(17, "card refused", Some((0xa, 3)))]),
        )
        .await;
    console
}

#[tokio::test]
async fn grafana_reads_a_trace_through_jaegers_api() {
    let console = shop().await;
    assert_eq!(
        console.json("/api/services").await,
        json!({"data": ["bank", "data", "gateway", "mail"], "total": 4, "limit": 0, "offset": 0, "errors": null})
    );
    assert_eq!(
        console.json("/api/services/gateway/operations").await["data"],
        json!(["POST /orders"])
    );
    let found = console.json("/api/traces?service=bank&tags=%7B%22error%22%3A%22true%22%7D&minDuration=1ms&maxDuration=1s&limit=5&lookback=1h&start=1767225600000000&end=1767225700000000").await;
    assert_eq!(found["data"][0]["traceID"], trace_id(0xa));
    // A short id is padded.
    let trace = &console.json("/api/traces/a").await["data"][0];
    let span = trace["spans"]
        .as_array()
        .and_then(|spans| {
            spans
                .iter()
                .find(|span| span["operationName"] == "POST /payments")
        })
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        span["references"],
        json!([{"refType": "CHILD_OF", "traceID": trace_id(0xa), "spanID": span_id(2)}])
    );
    assert_eq!(
        (&span["startTime"], &span["duration"]),
        (&json!(START / 1_000 + 20_000), &json!(10_000))
    );
    let tags = span["tags"].as_array().cloned().unwrap_or_default();
    for tag in [
        json!({"key": "http.response.status_code", "type": "int64", "value": 402}),
        json!({"key": "amount", "type": "float64", "value": 9.5}),
        json!({"key": "span.kind", "type": "string", "value": "server"}),
        json!({"key": "error", "type": "bool", "value": true}),
        json!({"key": "otel.status_code", "type": "string", "value": "ERROR"}),
    ] {
        assert!(tags.contains(&tag), "{tag} in {tags:?}");
    }
    assert_eq!(span["logs"][0]["timestamp"], START / 1_000 + 25_000);
    let process = span["processID"].as_str().unwrap_or_default();
    assert_eq!(trace["processes"][process]["serviceName"], "bank");
    let mail = &console.json("/api/traces/000000000000000b").await["data"][0]["spans"][0];
    assert_eq!(
        mail["references"],
        json!([{"refType": "FOLLOWS_FROM", "traceID": trace_id(0xa), "spanID": span_id(2)}])
    );
    let links = console
        .json("/api/dependencies?endTs=1767225700000&lookback=200000")
        .await["data"]
        .clone();
    assert!(
        links
            .as_array()
            .is_some_and(|links| links
                .contains(&json!({"parent": "gateway", "child": "data", "callCount": 1}))),
        "{links}"
    );
}

#[tokio::test]
async fn jaegers_errors_have_jaegers_shape() {
    let console = shop().await;
    for (path, status, word) in [
        ("/api/traces/dead", 404, "not found"),
        ("/api/traces/xyz", 400, "traceID"),
        ("/api/traces", 400, "service"),
        ("/api/traces?service=bank&limit=x", 400, "limit"),
        ("/api/traces?service=bank&minDuration=1", 400, "minDuration"),
        ("/api/traces?service=bank&start=x", 400, "start"),
        ("/api/traces?service=bank&tags=x", 400, "tags"),
    ] {
        let reply = console.get(path).await;
        assert_eq!(reply.status, status, "{path}");
        let body = reply.json();
        assert_eq!(
            (&body["data"], &body["errors"][0]["code"]),
            (&Value::Null, &json!(status)),
            "{path}"
        );
        assert!(
            body["errors"][0]["msg"]
                .as_str()
                .is_some_and(|text| text.contains(word)),
            "{path}: {body}"
        );
    }
    let other = console.get("/api/nowhere").await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn the_waterfall_has_rows_path_lines_and_both_ends_of_a_link() {
    let console = shop().await;
    let trace = console.json("/api/console/traces/a").await;
    assert_eq!(
        (
            &trace["complete"],
            &trace["missing_parents"],
            &trace["error_count"]
        ),
        (&json!(true), &json!([]), &json!(1))
    );
    let rows: Vec<(&str, u64)> = trace["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row["name"].as_str()?, row["depth"].as_u64()?)))
        .collect();
    assert_eq!(
        rows,
        [("POST /orders", 0), ("INSERT", 1), ("POST /payments", 2)]
    );
    let path: f64 = trace["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|row| row["critical"].as_array().cloned().unwrap_or_default())
        .filter_map(|section| section["duration_us"].as_f64())
        .sum();
    assert_eq!(path, 100_000.0, "the critical path covers the root");
    assert_eq!(trace["rows"][2]["logs"][0]["body"], "card refused");
    assert_eq!(trace["linked_from"][0]["service"], "mail");
    let mail = console.json("/api/console/traces/b").await;
    assert_eq!(mail["rows"][0]["links"][0]["known"], true);
    console
        .take(
            "/v1/traces",
            &traces(
                "data",
                vec![span(0xc, 2, Some(1), "a"), span(0xc, 4, Some(3), "b")],
            ),
        )
        .await;
    let torn = console.json("/api/console/traces/c").await;
    assert_eq!(
        (&torn["complete"], &torn["missing_parents"]),
        (&json!(false), &json!([span_id(1), span_id(3)]))
    );
    assert_eq!(console.get("/api/console/traces/dead").await.status, 404);
    assert_eq!(console.get("/api/console/traces/xyz").await.status, 400);
}

#[tokio::test]
async fn the_list_is_searched() {
    let console = shop().await;
    let ids = async |query: &str| {
        let answer = console.json(&format!("/api/console/traces?{query}")).await;
        let traces = answer["traces"].as_array().cloned().unwrap_or_default();
        traces
            .iter()
            .filter_map(|trace| {
                trace["trace_id"]
                    .as_str()
                    .map(|id| id.trim_start_matches('0').to_owned())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, ["b", "a"]);
    assert_eq!(ids("error=true").await, ["a"]);
    assert_eq!(ids("service=mail").await, ["b"]);
    assert_eq!(ids("operation=INSERT").await, ["a"]);
    assert_eq!(ids("min_duration=50ms").await, ["a"]);
    assert_eq!(ids("max_duration=50ms").await, ["b"]);
    assert_eq!(ids("tags=%7B%22amount%22%3A9.5%7D").await, ["a"]);
    assert_eq!(ids("limit=1").await, ["b"]);
    assert_eq!(ids("where=service%3Dma*").await, ["b"]);
    assert_eq!(ids("where=operation%3DINS*+duration>0s").await, ["a"]);
    assert_eq!(ids("where=amount>%3D9.5").await, ["a"]);
    assert_eq!(ids("where=amount!%3D9.*").await, [] as [&str; 0]);
    assert_eq!(ids("where=service%3D%22ma*%22").await, [] as [&str; 0]);
    // Elsewhere a star is a star, as in Jaeger.
    assert_eq!(ids("tag=amount:*").await, [] as [&str; 0]);
    let jaeger = console.json("/api/traces?service=gateway&tag=amount:9.*");
    assert_eq!(jaeger.await["data"], serde_json::json!([]));
    let all = console.json("/api/console/traces").await;
    let trace = &all["traces"][1];
    assert_eq!(
        (
            &trace["root_service"],
            &trace["root_name"],
            &trace["span_count"]
        ),
        (&json!("gateway"), &json!("POST /orders"), &json!(3))
    );
    assert_eq!(all["searched"], 2);
}

#[tokio::test]
async fn the_console_counts_itself() {
    let console = shop().await;
    assert_eq!(
        Reply::to(console.post("/v1/traces", "application/json", b"{".to_vec()))
            .await
            .status,
        400
    );
    let stats = console.json("/api/stats").await;
    assert_eq!(
        (&stats["traces"], &stats["spans"], &stats["logs"]),
        (&json!(2), &json!(4), &json!(1))
    );
    assert!(
        stats["bytes"].as_u64() > Some(1_000) && stats["limit_bytes"] == 64 << 20,
        "{stats}"
    );
    let reply = console.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("text/plain"));
    let text = reply.text();
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    assert_eq!(
        (
            value("console_traces "),
            value("console_spans "),
            value("console_logs ")
        ),
        (Some(2.0), Some(4.0), Some(1.0)),
        "{text}"
    );
    let said: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    let declared: Vec<String> = console::METRICS
        .iter()
        .flat_map(|metric| {
            let (name, kind) = (metric.name, metric.kind.as_str());
            [
                format!("# HELP {name} {}", metric.help),
                format!("# TYPE {name} {kind}"),
            ]
        })
        .collect();
    assert_eq!(said, declared);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let metric = console::METRICS.iter().find(|metric| metric.name == name);
        let labels = metric.expect(line).labels;
        let found = line.matches("=\"").count();
        assert!(
            found == labels.len()
                && labels
                    .iter()
                    .all(|label| line.contains(&format!("{label}=\""))),
            "{line}"
        );
    }
    assert_eq!(console.get("/ready").await.status, 200);
}

#[tokio::test]
async fn log_lines_are_found_by_trace_service_and_level() {
    let console = Running::start();
    console
        .take(
            "/v1/traces",
            &traces("shop", vec![span(7, 1, None, "GET /")]),
        )
        .await;
    let mut structured = log(13, "", None);
    structured["body"] =
        json!({"kvlistValue": {"values": [{"key": "n", "value": {"intValue": "1"}}]}});
    let records = vec![
        log(9, "of the span", Some((7, 1))),
        log(17, "of no trace", None),
        structured,
        log(5, "stray", Some((7, 99))),
    ];
    console.take("/v1/logs", &logs("shop", records)).await;
    console
        .take("/v1/logs", &logs("bank", vec![log(21, "elsewhere", None)]))
        .await;

    let trace = console
        .json(&format!("/api/console/traces/{}", trace_id(7)))
        .await;
    assert_eq!(trace["rows"][0]["logs"][0]["body"], "of the span");
    assert_eq!(trace["logs"][0]["body"], "stray");
    let bodies = async |query: &str| {
        let answer = console.json(&format!("/api/logs?{query}")).await;
        let lines = answer["logs"].as_array().cloned().unwrap_or_default();
        let mut bodies: Vec<String> = lines
            .iter()
            .filter_map(|line| line["body"].as_str().map(str::to_owned))
            .collect();
        bodies.sort();
        bodies
    };
    assert_eq!(
        bodies(&format!("trace_id={}", trace_id(7))).await,
        ["of the span", "stray"]
    );
    assert_eq!(bodies("trace_id=7&level=info").await, ["of the span"]);
    assert_eq!(bodies("service=bank").await, ["elsewhere"]);
    assert_eq!(bodies("level=error").await, ["elsewhere", "of no trace"]);
    assert_eq!(
        bodies("service=shop&level=WARN").await,
        ["of no trace", "{\"n\":1}"]
    );
    assert_eq!(bodies("limit=2").await.len(), 2);
    let line = console
        .json(&format!("/api/logs?trace_id={}&level=INFO", trace_id(7)))
        .await["logs"][0]
        .clone();
    assert_eq!(
        (&line["severity"], &line["span_id"], &line["service"]),
        (&json!("INFO"), &json!(span_id(1)), &json!("shop"))
    );
    assert_eq!(line["time_us"], START / 1_000);
    for bad in [
        "level=loud",
        "limit=0",
        "limit=many",
        "trace_id=xyz",
        "colour=red",
    ] {
        let reply = console.get(&format!("/api/logs?{bad}")).await;
        let name = bad.split('=').next().unwrap_or_default();
        assert_eq!(reply.status, 400, "{bad}");
        assert!(reply.text().contains(name), "{bad}: {}", reply.text());
    }
}

/// What the protocol says of a span and its scope beside its attributes can be seen and searched.
#[tokio::test]
async fn what_is_no_attribute_is_a_tag() {
    let console = Running::start();
    let mut sent = span(0xc, 1, None, "op");
    sent["traceState"] = "vendor=abc".into();
    sent["kind"] = 2.into();
    sent["links"] =
        json!([{"traceId": trace_id(0xd), "spanId": "00000000000000dd", "traceState": "linked=1"}]);
    // They imitate fields, and the scope's attribute.
    let imitation = |key: &str| json!({"key": key, "value": {"stringValue": "imitated"}});
    sent["attributes"] = ["span.kind", "otel.scope.name", "team"]
        .map(imitation)
        .into();
    sent["droppedAttributesCount"] = 4.into();
    sent["droppedEventsCount"] = 5.into();
    sent["droppedLinksCount"] = 6.into();
    let mut body = traces("shop", vec![sent]);
    body["resourceSpans"][0]["scopeSpans"][0]["scope"] = json!({"name": "lib", "version": "1.2.3", "attributes": [
        {"key": "lines", "value": {"intValue": "7"}}, {"key": "team", "value": {"stringValue": "shop"}}]});
    console.take("/v1/traces", &body).await;

    let trace = console
        .json(&format!("/api/traces/{}", trace_id(0xc)))
        .await;
    let tags = &trace["data"][0]["spans"][0]["tags"];
    for (key, value) in [
        ("otel.scope.name", json!("lib")),
        ("otel.scope.version", json!("1.2.3")),
        ("w3c.tracestate", json!("vendor=abc")),
        ("span.kind", json!("server")),
        ("lines", json!(7)),
        ("team", json!("imitated")),
        ("otel.dropped_attributes_count", json!(4)),
        ("otel.dropped_events_count", json!(5)),
        ("otel.dropped_links_count", json!(6)),
    ] {
        assert_eq!(attribute(tags, key), &value, "{key}");
    }
    for (key, value, count) in [
        ("otel.scope.version", "1.2.3", 1),
        ("w3c.tracestate", "linked=1", 1),
        ("team", "shop", 1),
        ("span.kind", "imitated", 0),
    ] {
        let found = console
            .json(&format!(
                "/api/traces?service=shop&tags=%7B%22{key}%22:%22{value}%22%7D"
            ))
            .await;
        assert_eq!(found["total"], count, "{key}={value}: {found}");
    }
}
