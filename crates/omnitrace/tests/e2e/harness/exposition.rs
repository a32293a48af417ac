//! A strict reader of OpenMetrics 1.0, for the parts of it that a service uses: what Prometheus would refuse or
//! misread is an error here.

use std::collections::{BTreeMap, BTreeSet};

use super::scrape::{Sample, Scrape};

/// A metric family: its metadata and its samples in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Name without suffix.
    pub name: String,
    /// `counter`, `gauge`, `histogram`.
    pub kind: String,
    /// HELP text.
    pub help: String,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// Parses an OpenMetrics exposition; panics with the line that breaks a rule.
pub fn openmetrics(text: &str) -> Vec<Family> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    let mut families: Vec<Family> = Vec::new();
    for line in body.lines() {
        assert!(!line.trim().is_empty(), "a blank line");
        assert!(line != "# EOF", "# EOF in the middle");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                !families.iter().any(|family| family.name == name),
                "twice: {line}"
            );
            assert!(kind != "counter" || !name.ends_with("_total"), "{line}");
            families.push(Family {
                name: name.to_owned(),
                kind: kind.to_owned(),
                help: String::new(),
                samples: Vec::new(),
            });
            continue;
        }
        let family = families
            .last_mut()
            .unwrap_or_else(|| panic!("before any TYPE: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(
                name == family.name && family.help.is_empty() && family.samples.is_empty(),
                "{line}"
            );
            family.help = help.to_owned();
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let sample = Scrape::parse("", line.to_owned()).samples.remove(0);
            assert!(
                allowed(family).contains(&sample.name),
                "{line} in {} {}",
                family.kind,
                family.name
            );
            assert!(family.kind != "counter" || sample.value >= 0.0, "{line}");
            assert!(
                sample.exemplar.is_none() || sample.name.ends_with("_bucket"),
                "{line}"
            );
            family.samples.push(sample);
        }
    }
    families.iter().for_each(is_consistent);
    families
}

fn allowed(family: &Family) -> Vec<String> {
    let suffixes: &[&str] = match family.kind.as_str() {
        "counter" => &["_total"],
        "gauge" => &[""],
        _ => &["_bucket", "_sum", "_count"],
    };
    suffixes
        .iter()
        .map(|suffix| format!("{}{suffix}", family.name))
        .collect()
}

fn is_consistent(family: &Family) {
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        let series = format!("{}{:?}", sample.name, sample.labels);
        assert!(seen.insert(series), "twice: {sample:?}");
        for name in sample.labels.keys() {
            let valid = |(at, byte): (usize, u8)| {
                byte.is_ascii_lowercase() || byte == b'_' || (at > 0 && byte.is_ascii_digit())
            };
            assert!(
                name.bytes().enumerate().all(valid),
                "label {name:?}: {sample:?}"
            );
        }
    }
    if family.kind == "histogram" {
        for (labels, samples) in histograms(family) {
            is_histogram(&family.name, &labels, &samples);
        }
    }
}

/// The samples of each series of a histogram, in order; `le` left out of the key.
pub fn histograms(family: &Family) -> BTreeMap<BTreeMap<String, String>, Vec<Sample>> {
    let mut found: BTreeMap<BTreeMap<String, String>, Vec<Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        found.entry(labels).or_default().push(sample.clone());
    }
    found
}

/// Buckets rise in bound and count up to `+Inf`, which is the count; exemplars lie in their buckets.
fn is_histogram(name: &str, labels: &BTreeMap<String, String>, samples: &[Sample]) {
    let (mut bound, mut count) = (f64::NEG_INFINITY, 0.0);
    for bucket in samples
        .iter()
        .filter(|sample| sample.labels.contains_key("le"))
    {
        let le = match bucket.labels["le"].as_str() {
            "+Inf" => f64::INFINITY,
            le => le.parse().unwrap_or_else(|_| panic!("{bucket:?}")),
        };
        assert!(le > bound && bucket.value >= count, "{bucket:?}");
        if let Some(exemplar) = &bucket.exemplar {
            let value = exemplar_of(exemplar).value;
            assert!(
                value > bound && value <= le,
                "{exemplar} outside of ({bound}, {le}]"
            );
            assert!(
                bucket.value > count,
                "an exemplar of an empty bucket: {bucket:?}"
            );
        }
        (bound, count) = (le, bucket.value);
    }
    assert_eq!(bound, f64::INFINITY, "{name} {labels:?}");
    let one = |suffix: &str| {
        let mut found = samples
            .iter()
            .filter(|sample| sample.name == format!("{name}{suffix}"));
        let sample = found
            .next()
            .unwrap_or_else(|| panic!("{name}{suffix} {labels:?}"));
        assert!(found.next().is_none(), "two {name}{suffix} {labels:?}");
        sample.value
    };
    assert_eq!(one("_count"), count, "{name} {labels:?}");
    assert!(one("_sum") >= 0.0, "{name} {labels:?}");
}

/// What an exemplar says.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// The observation, in seconds.
    pub value: f64,
}

/// Parses `{trace_id="…",span_id="…"} value timestamp`.
pub fn exemplar_of(text: &str) -> Exemplar {
    let broken = || -> ! { panic!("not an exemplar: {text}") };
    let Some((trace_id, rest)) = text
        .strip_prefix("{trace_id=\"")
        .and_then(|rest| rest.split_once("\",span_id=\""))
    else {
        broken()
    };
    let Some((span_id, rest)) = rest.split_once("\"} ") else {
        broken()
    };
    let Some((value, time)) = rest.split_once(' ') else {
        broken()
    };
    let (Ok(value), Ok(time)) = (value.parse(), time.parse::<f64>()) else {
        broken()
    };
    assert!(trace_id.len() == 32 && span_id.len() == 16, "{text}");
    assert!(time > 1.7e9 && time < 1e11, "seconds since 1970: {text}");
    Exemplar {
        trace_id: trace_id.to_owned(),
        span_id: span_id.to_owned(),
        value,
    }
}
