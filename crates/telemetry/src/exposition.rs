//! One registry, two renderings: Prometheus text as the exporter writes it, and OpenMetrics made from that very text,
//! with exemplars added.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::UNIX_EPOCH;

use crate::metric;
use crate::observe::{Exemplar, exemplar, series_key};

pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether an `Accept` header prefers OpenMetrics to plain text.
pub(crate) fn wants_openmetrics(accept: &str) -> bool {
    let quality = |wanted: &str| {
        accept
            .split(',')
            .filter_map(|part| {
                let mut fields = part.split(';').map(str::trim);
                let media = fields.next()?;
                let q = fields
                    .find_map(|field| field.strip_prefix("q="))
                    .map_or(Some(1.0), |q| q.parse::<f64>().ok())?;
                media.eq_ignore_ascii_case(wanted).then_some(q)
            })
            .fold(0.0, f64::max)
    };
    let openmetrics = quality("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= quality("text/plain")
}

/// Turns the exporter's text into OpenMetrics 1.0: counter families lose `_total`, blank lines go, `# EOF` ends it.
pub(crate) fn openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    // HELP comes before TYPE, but how the family is called depends on the type.
    let mut help = None;
    let mut buckets: Option<(&str, &[f64])> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let family = if kind == "counter" {
                name.strip_suffix("_total").unwrap_or(name)
            } else {
                name
            };
            let _ = writeln!(out, "# TYPE {family} {kind}");
            if let Some(text) = help.take() {
                let _ = writeln!(out, "# HELP {family} {}", text.replace('"', "\\\""));
            }
            buckets = (kind == "histogram")
                .then(|| metric::find(name))
                .flatten()
                .map(|metric| (metric.name, metric.buckets));
        } else if !line.trim().is_empty() {
            out.push_str(line);
            if let Some(found) = buckets.and_then(|(name, bounds)| exemplar_of(line, name, bounds))
            {
                write_exemplar(&mut out, &found);
            }
            out.push('\n');
        }
    }
    out.push_str("# EOF\n");
    out
}

fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let time = exemplar
        .time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let _ = write!(
        out,
        " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {time:.3}",
        exemplar.trace_id, exemplar.span_id, exemplar.value
    );
}

fn exemplar_of(line: &str, name: &str, bounds: &[f64]) -> Option<Exemplar> {
    let labels = labels(line.strip_prefix(name)?.strip_prefix("_bucket{")?);
    let le = labels
        .iter()
        .find(|(name, _)| *name == "le")
        .map(|(_, value)| value.clone())?;
    let key = series_key(
        name,
        labels
            .iter()
            .filter(|(name, _)| *name != "le")
            .map(|(name, value)| (*name, value.as_ref())),
    );
    exemplar(&key, bounds, &le)
}

/// Parses `name="value",…}`; values unescaped.
pub(crate) fn labels(mut rest: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut labels = Vec::new();
    while let Some((name, after)) = rest.trim_start_matches(',').split_once("=\"") {
        let mut escaped = false;
        let end = after.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let Some(end) = end else { break };
        labels.push((name, unescape(&after[..end])));
        rest = &after[end + 1..];
        if rest.starts_with('}') {
            break;
        }
    }
    labels
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scraper_decides() {
        assert!(wants_openmetrics("application/openmetrics-text"));
        assert!(wants_openmetrics(
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
        ));
        assert!(!wants_openmetrics(
            "text/plain;q=0.9,application/openmetrics-text;q=0.2"
        ));
        assert!(!wants_openmetrics("application/openmetrics-text;q=0"));
        assert!(!wants_openmetrics("*/*"));
    }

    #[test]
    fn labels_with_escapes() {
        let parsed = labels(r#"a="x,\"}\\",b="",le="+Inf"} 3"#);
        let want = [("a", r#"x,"}\"#), ("b", ""), ("le", "+Inf")];
        assert!(
            parsed
                .iter()
                .map(|(name, value)| (*name, value.as_ref()))
                .eq(want)
        );
    }
}
