//! What was counted, and which spans have ended. Telemetry is one a process, so all tests of a file share it; each has a
//! route of its own.

use telemetry::testing::{Span, eventually, recorder};

/// How often requests ended in one way: method, status, `error_type`, `outcome`, count.
pub type Count = (String, String, String, String, u64);

/// What the registry says of a histogram where `label` is `value`, series at zero left out.
pub fn counts(histogram: &str, label: &str, value: &str) -> Vec<Count> {
    let name = format!("{histogram}_count");
    let mut samples = recorder().metrics();
    samples.retain(|s| s.name == name && s.has(&[(label, value)]) && s.value > 0.0);
    let of = |sample: &telemetry::testing::Sample, name: &str| sample.labels[name].clone();
    samples
        .iter()
        .map(|sample| {
            (
                of(sample, "http_request_method"),
                of(sample, "http_response_status_code"),
                of(sample, "error_type"),
                of(sample, "outcome"),
                sample.value as u64,
            )
        })
        .collect()
}

/// Waits for so many spans with this attribute.
pub fn spans_with(name: &str, value: &str, count: usize) -> Vec<Span> {
    eventually(&format!("{count} spans with {name} {value:?}"), || {
        let mut spans = recorder().spans();
        spans.retain(|span| attribute(span, name) == value);
        (spans.len() >= count).then_some(spans)
    })
}

/// A span's attribute; empty when absent.
pub fn attribute<'a>(span: &'a Span, name: &str) -> &'a str {
    span.attributes.get(name).map_or("", String::as_str)
}
