//! Parses `/metrics` pages: Prometheus text (0.0.4) and OpenMetrics (1.0) with exemplars.
//!
//! A page that breaks the format is refused as a whole, as Prometheus does: half a page would look like series that
//! have vanished. Two mistakes are forgiven on purpose: an exemplar that cannot be read costs only itself, and lines may end in
//! `\r\n`.

mod described;
#[cfg(test)]
mod tests;

use redact::{redact, redact_value};

use crate::model::{SpanId, TraceId};
use crate::samples::{Exemplar, Labels, Sample, microseconds};
pub(crate) use described::described;

/// The most samples of one page.
const MAX_SAMPLES: usize = 100_000;

/// The most labels of one sample.
const MAX_LABELS: usize = 128;

/// Which of the two formats it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Time stamps are milliseconds; no exemplars.
    Prometheus,
    /// Time stamps are seconds; ends with `# EOF`.
    OpenMetrics,
}

impl Format {
    /// The format that the page's content type names.
    pub fn of(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

/// Passes the samples of a page to the caller one by one, because together they would need many times the memory of the
/// page. The error names the line.
pub(crate) fn parse(
    page: &str,
    format: Format,
    each: &mut dyn FnMut(Sample),
) -> Result<(), String> {
    let mut count = 0;
    let mut has_ended = false;
    for (number, line) in page.lines().enumerate() {
        let at_line = |why: &str| format!("line {}: {why}", number + 1);
        if has_ended && !line.is_empty() {
            return Err(at_line("text after # EOF"));
        }
        let comment = match format {
            Format::Prometheus if line.trim().is_empty() => continue,
            Format::Prometheus => line.trim_start().strip_prefix('#'),
            Format::OpenMetrics => line.strip_prefix('#'),
        };
        if let Some(comment) = comment {
            match format {
                Format::Prometheus => {}
                Format::OpenMetrics if comment == " EOF" => has_ended = true,
                Format::OpenMetrics => described::check(comment).map_err(at_line)?,
            }
            continue;
        }
        count += 1;
        if count > MAX_SAMPLES {
            return Err(at_line("too many samples: more than 100000"));
        }
        each(sample(line, format).map_err(at_line)?);
    }
    if format == Format::OpenMetrics && !has_ended {
        return Err("the page is cut off: # EOF is missing".into());
    }
    Ok(())
}

/// One line: `name{labels} value [timestamp] [# {labels} value [timestamp]]`. Names outside of the classic character set are
/// quoted and stand inside the braces, as Prometheus 3 writes them. The parser skips an exemplar that it cannot read and
/// keeps the sample.
fn sample(line: &str, format: Format) -> Result<Sample, &'static str> {
    let mut rest = match format {
        Format::Prometheus => Cursor(line.trim(), format),
        Format::OpenMetrics => Cursor(line, format),
    };
    let plain = match rest.0.starts_with('{') {
        true => None,
        false => Some(rest.name(true)?.to_owned()),
    };
    let (quoted, labels) = rest.labels()?;
    let name = match (plain, quoted) {
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => return Err("expected a name"),
        (Some(_), Some(_)) => return Err("a second name"),
    };
    let value = rest.number()?.ok_or("a value is missing")?;
    let timestamp = rest.number()?;
    if timestamp.is_some_and(|timestamp| !timestamp.is_finite()) {
        return Err("the timestamp is no point in time");
    }
    let exemplar = match format {
        Format::OpenMetrics => rest.exemplar(),
        Format::Prometheus => None,
    };
    if !rest.0.is_empty() {
        return Err("text after the sample");
    }
    let seconds = match format {
        Format::Prometheus => timestamp.map(|milliseconds| milliseconds / 1e3),
        Format::OpenMetrics => timestamp,
    };
    Ok(Sample {
        name,
        labels,
        value,
        timestamp_us: seconds.and_then(microseconds),
        exemplar,
        begins: true,
    })
}

/// The rest of a line, and the format that says where blanks may stand: anywhere, or one space before each number.
struct Cursor<'a>(&'a str, Format);

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        if self.1 == Format::Prometheus {
            self.0 = self.0.trim_start_matches([' ', '\t']);
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn name(&mut self, is_metric: bool) -> Result<&'a str, &'static str> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (is_metric && c == ':');
        let end = self.0.find(|c| !fits(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("expected a name");
        }
        self.0 = rest;
        Ok(name)
    }

    /// `{"name",a="b",c="d"}`, possibly nothing: the metric's name, if it is quoted, and the labels.
    fn labels(&mut self) -> Result<(Option<String>, Labels), &'static str> {
        let (mut metric, mut labels) = (None, Labels::new());
        self.skip_blanks();
        if !self.take('{') {
            return Ok((metric, labels));
        }
        loop {
            self.skip_blanks();
            if self.take('}') {
                return Ok((metric, labels));
            }
            let is_quoted = self.0.starts_with('"');
            let name = match is_quoted {
                true => redact(&self.quoted()?).into_owned(),
                false => self.name(false)?.to_owned(),
            };
            if name.is_empty() {
                return Err("an empty name");
            }
            self.skip_blanks();
            if self.take('=') {
                self.skip_blanks();
                self.label(name, &mut labels)?;
            } else if is_quoted && metric.is_none() {
                metric = Some(name);
            } else {
                return Err("expected = after a label's name");
            }
            self.skip_blanks();
            if !self.take(',') && !self.0.starts_with('}') {
                return Err("expected , or } after a label");
            }
        }
    }

    /// The value of a label, which joins the others.
    fn label(&mut self, name: String, labels: &mut Labels) -> Result<(), &'static str> {
        if labels.len() >= MAX_LABELS {
            return Err("too many labels: more than 128");
        }
        if labels.iter().any(|(known, _)| *known == name) {
            return Err("a label is there twice");
        }
        let value = redact_value(&name, &self.quoted()?).into_owned();
        labels.push((name, value));
        Ok(())
    }

    /// A quoted text with `\\`, `\"` and `\n`; any other escape stands for itself, as Prometheus takes it.
    fn quoted(&mut self) -> Result<String, &'static str> {
        if !self.take('"') {
            return Err("expected a quoted label value");
        }
        let mut is_escaped = false;
        let ends = |character| {
            let ends = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            ends
        };
        let end = self
            .0
            .find(ends)
            .ok_or("a quoted label value does not end")?;
        let text = unescaped(&self.0[..end]);
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// The next number, if something else than `#` follows.
    fn number(&mut self) -> Result<Option<f64>, &'static str> {
        self.skip_blanks();
        if self.0.is_empty() {
            return Ok(None);
        }
        if self.1 == Format::OpenMetrics && !self.take(' ') {
            return Err("expected one space");
        }
        if self.0.starts_with('#') {
            return Ok(None);
        }
        let end = self.0.find([' ', '\t']).unwrap_or(self.0.len());
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        // Rust parses all spellings that Go writes: NaN, +Inf, -Inf, 1e9.
        number.parse().map(Some).map_err(|_| "expected a number")
    }

    /// The exemplar behind `#`, to the end of the line. `None` if it has no trace id or cannot be read.
    fn exemplar(&mut self) -> Option<Exemplar> {
        self.0 = self.0.trim_start();
        if !self.take('#') {
            return None;
        }
        let mut rest = Cursor(std::mem::take(&mut self.0), Format::Prometheus);
        rest.exemplar_text().ok().flatten()
    }

    /// `{trace_id="…",span_id="…"} value [timestamp]`.
    fn exemplar_text(&mut self) -> Result<Option<Exemplar>, &'static str> {
        let (_, labels) = self.labels()?;
        let value = self.number()?.ok_or("an exemplar's value is missing")?;
        let timestamp_us = self.number()?.and_then(microseconds);
        if !self.0.is_empty() {
            return Err("text after the exemplar");
        }
        let label = |wanted: &str| {
            labels
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        let trace_id = label("trace_id")
            .and_then(|id| hex(id, 32))
            .filter(|id| *id != 0);
        let span_id = label("span_id")
            .and_then(|id| hex(id, 16))
            .filter(|id| *id != 0);
        Ok(trace_id.map(|trace_id| Exemplar {
            trace_id: TraceId(trace_id),
            span_id: span_id.map(|id| SpanId(id as u64)),
            value,
            timestamp_us,
        }))
    }
}

/// `\\`, `\n` and `\"`; any other escape stands for itself.
fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(escaped @ ('\\' | '"'))) => out.push(escaped),
            _ => {
                out.push(character);
                continue;
            }
        }
        characters.next();
    }
    out
}

/// Exactly so many hex digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}
