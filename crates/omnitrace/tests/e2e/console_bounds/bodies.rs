//! Bodies made to cost much, gzipped.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::encoding::{WireType, encode_key, encode_varint};

/// What gets ids that no other span has.
const PER_ROUND: u64 = 1 << 20;

/// A field that holds bytes.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(content.len() + 8);
    encode_key(number, WireType::LengthDelimited, &mut field);
    encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn attribute(key: &str, value: &str) -> Vec<u8> {
    let value = field(1, value.as_bytes());
    [field(1, key.as_bytes()), field(2, &value)].concat()
}

/// A group of items of one sender: the same for all three signals.
fn group(service: &str, more: &[u8], items: &[u8]) -> Vec<u8> {
    let name = field(1, &attribute("service.name", service));
    let resource = field(1, &[&name, more].concat());
    field(1, &[resource, field(2, items)].concat())
}

fn ids(trace: u64, span: u64) -> Vec<u8> {
    let trace = u128::from(trace).to_be_bytes();
    [field(1, &trace), field(2, &span.to_be_bytes())].concat()
}

fn span(trace: u64, id: u64, more: &[u8]) -> Vec<u8> {
    field(2, &[&ids(trace, id), more].concat())
}

/// A summary whose labels would be copied for each of 512 quantiles: 64 points, 1 MB of labels each or just under the limit.
pub fn labels_times_quantiles() -> Vec<u8> {
    let point = |label: &str, count: usize| {
        let labels = (0..count).map(|i| field(7, &attribute(&format!("k{i}"), label)));
        let labels: Vec<u8> = labels.flatten().collect();
        field(1, &[labels, field(6, &[]).repeat(512)].concat())
    };
    let points = [
        point(&"v".repeat(16_000), 60),
        point(&"v".repeat(3_900), 1).repeat(64),
    ];
    let metric = [field(1, b"s"), field(11, &points.concat())].concat();
    gzip(&group("labels", &[], &field(2, &metric)))
}

/// One span of a million empty attributes, and many of 128.
pub fn empty_attributes() -> Vec<u8> {
    let one = span(1, 1, &field(9, &[]).repeat(500_000));
    let many = span(1, 2, &field(9, &[]).repeat(128)).repeat(12_000);
    gzip(&group("empty", &[], &[one, many].concat()))
}

/// Spans of some bytes in groups whose resource is large.
pub fn empty_spans_of_a_long_resource() -> Vec<u8> {
    let more = field(1, &attribute("long", &"r".repeat(16_000))).repeat(10);
    gzip(&group("long", &more, &span(2, 1, &[])).repeat(30))
}

/// Spans of a trace each, with 128 links to traces that nobody knows.
pub fn linked_spans(round: usize, count: u64) -> Vec<u8> {
    let first = round as u64 * PER_ROUND;
    let spans = (first..first + count).map(|i| {
        let links = (0..128).map(|link| field(13, &ids((1 << 62) + i * 128 + link, 1)));
        span(i + 1, 1, &links.flatten().collect::<Vec<u8>>())
    });
    gzip(&group("links", &[], &spans.flatten().collect::<Vec<u8>>()))
}

/// Spans whose sender, name and trace nobody else has.
pub fn senders(round: usize, count: u64) -> Vec<u8> {
    let first = round as u64 * PER_ROUND;
    let groups = (first..first + count).map(|i| {
        let name = format!("{i:016x}");
        group(&name, &[], &span(i + 1, 1, &field(5, name.as_bytes())))
    });
    gzip(&groups.flatten().collect::<Vec<u8>>())
}

/// One trace of so many spans.
pub fn one_trace(count: u64) -> Vec<u8> {
    let spans = (1..=count).flat_map(|id| span(7, id, &[]));
    gzip(&group("one", &[], &spans.collect::<Vec<u8>>()))
}

/// Spans with the id of that trace's first span, and of another kind.
pub fn spans_of_one_id(count: usize) -> Vec<u8> {
    let kind = [6 << 3, 3];
    gzip(&group("one", &[], &span(7, 1, &kind).repeat(count)))
}

fn gauge(labels: &[Vec<u8>]) -> Vec<u8> {
    // as_double 1.0
    let value = [&[4 << 3 | 1][..], &1_f64.to_le_bytes()].concat();
    let points = labels
        .iter()
        .flat_map(|label| field(1, &[&field(7, label), &value[..]].concat()));
    let points: Vec<u8> = points.collect();
    field(2, &[field(1, b"m"), field(5, &points)].concat())
}

/// A number of series of one sender.
pub fn series(count: usize) -> Vec<u8> {
    let labels: Vec<_> = (0..count).map(|i| attribute("i", &i.to_string())).collect();
    gzip(&group("many", &[], &gauge(&labels)))
}

/// A number of groups of that sender, with one sample each.
pub fn groups_of_one_sender(count: usize) -> Vec<u8> {
    let one = group("many", &[], &gauge(&[attribute("i", "1")]));
    gzip(&one.repeat(count))
}

/// Log records without a trace whose resources are so large and all different.
pub fn logs_with_resources(count: usize, bytes: usize) -> Vec<u8> {
    let body = field(2, &field(5, &field(1, b"line")));
    let groups = (0..count).map(|i| {
        let pod = format!("{i}{}", "x".repeat(bytes));
        group("jobs", &field(1, &attribute("pod", &pod)), &body)
    });
    gzip(&groups.flatten().collect::<Vec<u8>>())
}

/// Spans of a trace each with 16 kB of text.
pub fn long_spans(round: u64, count: u64) -> Vec<u8> {
    let text = field(9, &attribute("text", &"t".repeat(16_000)));
    let first = round * PER_ROUND;
    let spans = (first..first + count).flat_map(|i| span(i + 1, 1, &text));
    gzip(&group("long", &[], &spans.collect::<Vec<u8>>()))
}

/// Points of 20 labels each, of which no two points have the same.
pub fn sets_of_labels(count: usize) -> Vec<u8> {
    let labels = |i: usize| (0..20).map(move |k| attribute(&format!("k{k}"), &i.to_string()));
    let value = [&[4 << 3 | 1][..], &1_f64.to_le_bytes()].concat();
    let point = |i: usize| {
        let labels = labels(i).flat_map(|label| field(7, &label));
        field(1, &[labels.collect(), value.clone()].concat())
    };
    let points: Vec<u8> = (0..count).flat_map(point).collect();
    let metric = field(2, &[field(1, b"l"), field(5, &points)].concat());
    gzip(&group("labels", &[], &metric))
}

/// Summaries of 512 quantiles, all different.
pub fn quantiles(count: usize) -> Vec<u8> {
    let quantile = |i: u32| {
        let quantile = (f64::from(i) / 512.0).to_le_bytes();
        field(6, &[&[1 << 3 | 1][..], &quantile].concat())
    };
    let quantiles: Vec<u8> = (0..512).flat_map(quantile).collect();
    let point = |i: usize| {
        let label = field(7, &attribute("i", &i.to_string()));
        field(1, &[label, quantiles.clone()].concat())
    };
    let points: Vec<u8> = (0..count).flat_map(point).collect();
    let metric = [field(1, b"q"), field(11, &points)].concat();
    gzip(&group("quantiles", &[], &field(2, &metric)))
}
