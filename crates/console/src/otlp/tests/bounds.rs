use super::*;

#[test]
fn clocks_may_be_nonsense() {
    for (start, end, duration) in [
        (5, 3, 0),
        (0, u64::MAX, u64::MAX),
        (u64::MAX, u64::MAX, 0),
        (u64::MAX, 0, 0),
    ] {
        let span = Span {
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            ..proto_span(1)
        };
        let batch = traces(&request(vec![span])).expect("well-formed");
        assert_eq!(
            (batch.spans[0].start_ns, batch.spans[0].duration_ns),
            (start, duration)
        );
    }
}

#[test]
fn values_are_bounded() {
    let mut nested = text("core");
    for _ in 0..12 {
        nested = AnyValue {
            value: Some(Any::ArrayValue(ArrayValue {
                values: vec![nested],
            })),
        };
    }
    let wide = AnyValue {
        value: Some(Any::ArrayValue(ArrayValue {
            values: vec![text("x"); 1_000],
        })),
    };
    let mut attributes = vec![
        attribute("long", text(&"é".repeat(20_000))),
        attribute("deep", nested),
        attribute("wide", wide),
    ];
    attributes.extend((0..200).map(|i| attribute(&format!("a{i}"), text("x"))));
    let many = Span {
        attributes,
        events: vec![span::Event::default(); 300],
        ..proto_span(1)
    };
    let batch = traces(&request(vec![many])).expect("well-formed");
    let span = &batch.spans[0];
    let of = |key: &str| span.attributes.get(key).map(|value| json!(value));
    let long = of("long");
    let long = long.as_ref().and_then(Value::as_str).expect("a text");
    assert!(long.len() < 17_000 && long.ends_with("é… (cut)"));
    assert_eq!(
        of("deep").map(|value| value.to_string()).as_deref(),
        Some("[[[[[[[[\"… (nested too deep)\"]]]]]]]]")
    );
    assert_eq!(
        of("wide").as_ref().and_then(Value::as_array).map(Vec::len),
        Some(129)
    );
    assert_eq!(
        (
            of("otel.dropped_attributes_count"),
            of("otel.dropped_events_count")
        ),
        (Some(json!(75)), Some(json!(172)))
    );
    assert_eq!(span.attributes.len(), 130);
}

#[test]
fn nesting_without_end_is_refused_and_overflows_nothing() {
    // On a small stack, as threads of a runtime may have.
    let run = || {
        for levels in [10, 40, 60, 1_000, 5_000] {
            let mut nested = Vec::new();
            for _ in 0..levels {
                nested = [tagged(0x0a, &nested)].concat();
                nested = tagged(0x2a, &nested);
            }
            let attribute = tagged(0x4a, &[tagged(0x0a, b"k"), tagged(0x12, &nested)].concat());
            let span = [tagged(0x0a, &[1; 16]), tagged(0x12, &[1; 8]), attribute].concat();
            let result = traces(&tagged(0x0a, &tagged(0x12, &tagged(0x12, &span))));
            let batch = result.expect("well-formed outside");
            match levels {
                ..=40 => assert_eq!(batch.spans.len(), 1),
                _ => assert_eq!(reasons(&batch), [("undecodable", 1)], "{levels}"),
            }
            let json = "{\"arrayValue\":{\"values\":[".repeat(levels) + &"]}}".repeat(levels);
            let body = format!(
                "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"attributes\":[{{\"value\":{json}}}]}}]}}]}}]}}"
            );
            let batch = whole(Signal::Traces, Encoding::Json, body.as_bytes());
            let reason = match levels {
                ..=40 => "invalid_trace_id",
                _ => "undecodable",
            };
            let batch = batch.expect("well-formed outside");
            assert_eq!(reasons(&batch), [(reason, 1)], "{levels}");
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .expect("a thread");
    thread.join().expect("no overflow");
}

/// A length-delimited field.
pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    prost::encoding::encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

/// The most bytes that one part of a request becomes, by the estimate, and how many items there are in all.
fn largest_part(signal: Signal, encoding: Encoding, body: &[u8]) -> (usize, usize, Rejected) {
    check(signal, encoding, body).expect("well-formed outside");
    let (mut largest, mut count, mut rejected) = (0, 0, Rejected::default());
    decode(signal, encoding, body, &mut |part| {
        let samples = || part.metrics.iter().flat_map(|sender| &sender.samples);
        let spans: usize = part.spans.iter().map(cost::span).sum();
        let logs: usize = part.logs.iter().map(cost::log).sum();
        largest = largest.max(spans + logs + samples().map(Sample::cost).sum::<usize>());
        count += part.spans.len() + part.logs.len() + samples().count();
        rejected.merge(part.rejected);
    });
    (largest, count, rejected)
}

const PROTOBUF: Encoding = Encoding::Protobuf;

#[test]
fn small_bodies_cannot_become_large() {
    // Spans of 286 bytes that become 12 kB each, and items of two bytes.
    let mut span = [tagged(0x0a, &[1; 16]), tagged(0x12, &[1; 8])].concat();
    span.extend([0x4a, 0].repeat(128));
    let spans = tagged(0x0a, &tagged(0x12, &tagged(0x12, &span).repeat(4_000)));
    let (largest, count, _) = largest_part(Signal::Traces, PROTOBUF, &spans);
    assert!(largest < 2 * PART && count == 4_000, "{largest} {count}");
    let logs = tagged(0x0a, &tagged(0x12, &[0x12, 0].repeat(100_000)));
    let (largest, count, _) = largest_part(Signal::Logs, PROTOBUF, &logs);
    assert!(largest < 2 * PART && count == 100_000, "{largest} {count}");
}

#[test]
fn items_of_very_many_parts_are_refused_before_they_are_decoded() {
    let ids = [tagged(0x0a, &[1; 16]), tagged(0x12, &[1; 8])].concat();
    let nested = tagged(
        0x4a,
        &tagged(0x12, &tagged(0x2a, &[0x0a, 0].repeat(100_000))),
    );
    let events = [0x5a, 0].repeat(100_000);
    for many in [nested, events] {
        let span = tagged(0x12, &[ids.clone(), many].concat());
        let body = tagged(0x0a, &tagged(0x12, &span));
        let (_, count, rejected) = largest_part(Signal::Traces, PROTOBUF, &body);
        assert_eq!((count, rejected.total()), (0, 1));
        assert!(
            rejected
                .why()
                .is_some_and(|why| why.contains("32768 parts"))
        );
    }
    let many = ["{}"; 100_000].join(",");
    let span = format!("{{\"traceId\":\"{TRACE}\",\"attributes\":[{many}]}}");
    let body = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{span}]}}]}}]}}");
    let (_, count, rejected) = largest_part(Signal::Traces, Encoding::Json, body.as_bytes());
    assert_eq!((count, rejected.total()), (0, 1));
}

/// A summary of 512 quantiles with labels of so many bytes.
fn summary(points: usize, labels: usize) -> Value {
    let label = json!({"key": "k", "value": {"stringValue": "v".repeat(labels)}});
    let point = json!({"attributes": [label], "quantileValues": vec![json!({"quantile": 0.5, "value": 0.5}); 512]});
    let metric = json!({"name": "s", "summary": {"dataPoints": vec![point; points]}});
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]})
}

#[test]
fn labels_are_not_multiplied_without_end() {
    let body = protobuf_of(&summary(20, 3_900));
    let (largest, count, _) = largest_part(Signal::Metrics, PROTOBUF, &body);
    assert!(largest < 4 * PART && count == 20 * 514, "{largest} {count}");
    let long = protobuf_of(&summary(3, 16_000));
    let (largest, count, rejected) = largest_part(Signal::Metrics, PROTOBUF, &long);
    assert_eq!((largest, count, rejected.total()), (0, 0, 3));
    assert!(rejected.reasons().eq([("labels_too_large", 3)]));
}

#[test]
fn labels_of_the_scope_count_with_those_of_each_point() {
    let with_scope = |size: usize| {
        let scope = json!({"name": "s", "attributes": [{"key": "k", "value": {"stringValue": "x".repeat(size)}}]});
        let body = json!({"resourceMetrics": [{"scopeMetrics": [{"scope": scope, "metrics": [
            {"name": "level", "gauge": {"dataPoints": [{"asDouble": 1.0}, {"asDouble": 2.0}]}}]}]}]});
        metrics_batch(&body)
    };
    assert_eq!(with_scope(4_000).rejected.total(), 0);
    let batch = with_scope(5_000);
    assert!(batch.metrics.is_empty());
    assert_eq!(reasons(&batch), [("labels_too_large", 2)]);
}

#[test]
fn a_metric_of_many_points_is_decoded_point_by_point() {
    let points = vec![
        tagged(
            0x0a,
            &[0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        50_000
    ];
    let metric = [tagged(0x0a, b"m"), tagged(0x2a, &points.concat())].concat();
    let body = tagged(0x0a, &tagged(0x12, &tagged(0x12, &metric)));
    let (largest, count, _) = largest_part(Signal::Metrics, PROTOBUF, &body);
    assert!(largest < 2 * PART && count == 50_000, "{largest} {count}");
}
