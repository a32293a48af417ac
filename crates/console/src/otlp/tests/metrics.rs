use super::*;

#[test]
fn metrics_become_samples() {
    let batch = json_batch(
        Signal::Metrics,
        &json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "http.server.request.duration", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [{
                "count": "6", "sum": 1.5, "bucketCounts": ["1", "2", 3], "explicitBounds": [0.1, 1], "timeUnixNano": "5000",
                "attributes": [{"key": "http.route", "value": {"stringValue": "/a"}}],
                "exemplars": [{"asDouble": 0.5, "traceId": TRACE, "spanId": SPAN, "timeUnixNano": "4000"}]}]}},
            {"name": "jobs", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": true, "dataPoints": [{"asInt": "3"}]}},
            {"name": "level", "gauge": {"dataPoints": [{"asDouble": "NaN"}, {}, {"flags": 1}]}},
            {"name": "q", "summary": {"dataPoints": [{"count": 1, "sum": 2, "quantileValues": [{"quantile": 0.5, "value": 2}]}]}},
            {"name": "delta", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": 3}, {"asInt": 4}]}},
            {"name": "exp", "exponentialHistogram": {"dataPoints": [{}]}},
            {"name": "odd", "histogram": {"dataPoints": [{"bucketCounts": [1], "explicitBounds": [1]}]}},
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

#[test]
fn protobuf_metrics_are_walked_too() {
    let metrics = vec![Metric {
        name: "nothing".into(),
        ..Metric::default()
    }];
    let scope_metrics = vec![ScopeMetrics {
        metrics,
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    let body = MetricsData { resource_metrics }.encode_to_vec();
    let batch = whole(Signal::Metrics, Encoding::Protobuf, &body).expect("well-formed");
    assert_eq!(reasons(&batch), [("metric_without_data", 1)]);
}
