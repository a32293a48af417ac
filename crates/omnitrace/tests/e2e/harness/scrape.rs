//! A scrape of `/metrics`, parsed.

use std::collections::BTreeMap;

/// One line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Metric name with suffix (`_bucket`, `_count`, …).
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
    /// What follows ` # ` in OpenMetrics: the exemplar, raw.
    pub exemplar: Option<String>,
}

/// A whole exposition.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// `Content-Type` of the answer.
    pub content_type: String,
    /// The raw text.
    pub text: String,
    /// Every sample.
    pub samples: Vec<Sample>,
}

impl Scrape {
    /// Parses Prometheus text or OpenMetrics; panics on a line that is neither sample nor comment.
    pub fn parse(content_type: &str, text: String) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}")))
            .collect();
        Self {
            content_type: content_type.to_owned(),
            text,
            samples,
        }
    }

    /// All samples of `name` whose labels include `labels`.
    pub fn matching(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let wanted = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(wanted).collect()
    }

    /// Sum over the matching samples; `None` when there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.matching(name, labels);
        (!found.is_empty()).then(|| found.iter().map(|sample| sample.value).sum())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, rest) = match line.find('{') {
        Some(open) if !line[..open].contains(' ') => {
            let (labels, rest) = labels(&line[open + 1..])?;
            ((line[..open].to_owned(), labels), rest)
        }
        _ => {
            let (name, rest) = line.split_once(' ')?;
            ((name.to_owned(), BTreeMap::new()), rest)
        }
    };
    let (number, exemplar) = match rest.split_once(" # ") {
        Some((number, exemplar)) => (number, Some(exemplar.to_owned())),
        None => (rest, None),
    };
    let value = match number.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().ok()?,
    };
    Some(Sample {
        name: series.0,
        labels: series.1,
        value,
        exemplar,
    })
}

/// Labels up to the closing brace (values may hold escaped quotes and braces), and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (at, '"') => break at,
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = &after[end + 1..];
    }
}
