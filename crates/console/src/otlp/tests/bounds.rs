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
    let of = |key: &str| {
        span.attributes
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    };
    let long = of("long").and_then(Value::as_str).expect("a text");
    assert!(long.len() < 17_000 && long.ends_with("é… (cut)"));
    assert_eq!(
        of("deep").map(Value::to_string).as_deref(),
        Some("[[[[[[[[\"… (nested too deep)\"]]]]]]]]")
    );
    assert_eq!(
        of("wide").and_then(Value::as_array).map(Vec::len),
        Some(129)
    );
    assert_eq!(
        (
            of("otel.dropped_attributes_count"),
            of("otel.dropped_events_count")
        ),
        (Some(&json!(75)), Some(&json!(172)))
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
            let is_too_large = |batch: &Batch| {
                batch
                    .rejected
                    .reasons()
                    .any(|(reason, _)| reason == protobuf::TOO_LARGE)
            };
            match levels {
                ..=40 => assert_eq!(result.expect("within the limit").spans.len(), 1),
                _ => assert!(result.as_ref().map_or(true, is_too_large), "{levels}"),
            }
            let json = "{\"arrayValue\":{\"values\":[".repeat(levels) + &"]}}".repeat(levels);
            let body = format!(
                "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"attributes\":[{{\"value\":{json}}}]}}]}}]}}]}}"
            );
            let result = decode(Signal::Traces, Encoding::Json, body.as_bytes());
            match levels {
                ..=40 => assert_eq!(
                    reasons(&result.expect("within the limit")),
                    [("invalid_trace_id", 1)]
                ),
                _ => assert!(result.as_ref().map_or(true, is_too_large), "{levels}"),
            }
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .expect("a thread");
    thread.join().expect("no overflow");
}

/// A length-delimited field.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    prost::encoding::encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

#[test]
fn small_bodies_cannot_become_large() {
    // Spans of 286 bytes that become 12 kB each, and items of two bytes.
    let mut span = [tagged(0x0a, &[1; 16]), tagged(0x12, &[1; 8])].concat();
    span.extend([0x4a, 0].repeat(128));
    let spans = tagged(0x12, &span).repeat(40_000);
    let batch = traces(&tagged(0x0a, &tagged(0x12, &spans))).expect("well-formed");
    let size: usize = batch.spans.iter().map(cost::span).sum();
    assert!(size < 97 << 20 && batch.rejected.total() > 0, "{size}");
    assert_eq!(reasons(&batch)[0].0, "request_too_large");
    let logs = tagged(0x0a, &tagged(0x12, &[0x12, 0].repeat(1_000_000)));
    let batch = decode(Signal::Logs, Encoding::Protobuf, &logs).expect("well-formed");
    assert!(batch.logs.len() < 700_000);
    assert_eq!(batch.logs.len() as u64 + batch.rejected.total(), 1_000_000);
}
