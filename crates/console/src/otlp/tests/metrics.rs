use super::*;

#[test]
fn metrics_become_samples() {
    let batch = json_batch(
        Signal::Metrics,
        &json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "http.server.request.duration", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [{
                "count": "6", "sum": 1.5, "bucketCounts": ["1", "2", 3], "explicitBounds": [0.1, 1], "timeUnixNano": "5000",
                "attributes": [{"key": "http.route", "value": {"stringValue": "/a"}}],
                "exemplars": [{"asDouble": 0.5, "traceId": TRACE, "spanId": SPAN, "timeUnixNano": "4000", "filteredAttributes": []}]}]}},
            {"name": "jobs", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": true, "dataPoints": [{"asInt": "3"}]}},
            {"name": "level", "metadata": [], "gauge": {"dataPoints": [{"asDouble": "NaN"}, {}, {"flags": 1}]}, "sum": null},
            {"name": "q", "summary": {"dataPoints": [{"count": 1, "sum": 2, "quantileValues": [{"quantile": 0.5, "value": 2}]}]}},
            {"name": "delta", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": 3}, {"asInt": 4}]}},
            {"name": "exp", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"scale": 0, "positive": {"bucketCounts": ["1"]}}]}},
            {"name": "odd", "histogram": {"dataPoints": [{"bucketCounts": ["1"], "explicitBounds": [1.0]}]}},
            {"name": "nothing at all"}
        ]}]}]}),
    );
    let samples = &batch.metrics[0].samples;
    let shown: Vec<String> = samples
        .iter()
        .map(|s| {
            format!(
                "{} {:?} {}",
                s.name,
                s.labels
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>(),
                s.value
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"http_server_request_duration_seconds_bucket ["http_route=/a", "le=0.1"] 1"#,
            r#"http_server_request_duration_seconds_bucket ["http_route=/a", "le=1"] 3"#,
            r#"http_server_request_duration_seconds_bucket ["http_route=/a", "le=+Inf"] 6"#,
            r#"http_server_request_duration_seconds_sum ["http_route=/a"] 1.5"#,
            r#"http_server_request_duration_seconds_count ["http_route=/a"] 6"#,
            "jobs_total [] 3",
            "level [] NaN",
            r#"q ["quantile=0.5"] 2"#,
            "q_sum [] 2",
            "q_count [] 1",
        ]
    );
    assert_eq!(
        samples[1]
            .exemplar
            .map(|exemplar| (exemplar.value, exemplar.timestamp_us)),
        Some((0.5, Some(4)))
    );
    assert!(samples[0].exemplar.is_none() && samples[2].exemplar.is_none());
    assert_eq!(
        reasons(&batch),
        [
            ("bad_buckets", 1),
            ("delta_temporality", 2),
            ("exponential_histogram", 1),
            ("metric_without_data", 1),
            ("point_without_value", 1)
        ]
    );
}

/// The samples of one request in either encoding, as `name{label=value,…} value`.
fn shown(metrics: &Value) -> Vec<String> {
    let request = json!({"resourceMetrics": [{"scopeMetrics": metrics}]});
    let as_json = lines(&json_batch(Signal::Metrics, &request));
    assert_eq!(as_json, lines(&metrics_batch(&request)), "as protobuf");
    as_json
}

fn lines(batch: &Batch) -> Vec<String> {
    assert_eq!(batch.rejected.total(), 0);
    let labels = |sample: &Sample| {
        let pairs = sample
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    };
    let samples = batch.metrics.iter().flat_map(|sender| &sender.samples);
    samples
        .map(|sample| format!("{}{{{}}} {}", sample.name, labels(sample), sample.value))
        .collect()
}

#[test]
fn scopes_are_told_apart() {
    let calls = |scope: Value, calls: u8| json!({"scope": scope, "metrics": [{"name": "calls", "sum": {"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [{"asInt": calls}]}}]});
    let two = json!({"name": "two", "version": "1.2", "attributes": [{"key": "short.name", "value": {"stringValue": "x"}}]});
    assert_eq!(
        shown(&json!([
            calls(json!({"name": "one"}), 3),
            calls(two, 40),
            calls(json!({}), 5)
        ])),
        [
            "calls_total{otel_scope_name=one} 3",
            "calls_total{otel_scope_name=two,otel_scope_short_name=x,otel_scope_version=1.2} 40",
            "calls_total{} 5",
        ]
    );
}

#[test]
fn of_attributes_that_become_one_label_none_is_lost() {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let attributes = json!([
        attribute("a_b", "2"),
        attribute("a.b", "1"),
        attribute("a-b", "0"),
        attribute("c", ""),
        attribute("a b", ""),
        attribute("le", "x"),
        attribute("otel.scope.name", "own"),
    ]);
    let gauge =
        json!({"name": "g", "gauge": {"dataPoints": [{"asInt": 1, "attributes": attributes}]}});
    let histogram = json!({"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
        {"count": 5, "attributes": [attribute("le", "x"), attribute("exported_le", "y")]}]}});
    assert_eq!(
        shown(&json!([{"scope": {"name": "s"}, "metrics": [gauge]}, {"metrics": [histogram]}])),
        [
            "g{a_b=0;1;2,le=x,otel_scope_name=own;s} 1",
            "h_bucket{exported_le=y,exported_exported_le=x,le=+Inf} 5",
            "h_count{exported_le=y,le=x} 5",
        ]
    );
}

#[test]
fn lists_of_another_signal_are_unknown_members() {
    let span = json!({"traceId": TRACE, "spanId": SPAN, "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
    let body = json!({
        "resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "of another request"}}]}]}],
        "resourceSpans": [
            {"scopeLogs": [{"spans": [span]}], "scopeSpans": [{"logRecords": [span], "metrics": "none", "spans": [span]}]}
        ],
        "resourceMetrics": 7,
    });
    let batch = json_batch(Signal::Traces, &body);
    assert_eq!((batch.spans.len(), batch.rejected.total()), (1, 0));
}
