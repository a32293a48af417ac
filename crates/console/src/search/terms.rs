//! The language of the page's search: `http.route!=/health service=data* duration>="1.5 ms"`. One span must satisfy all terms.

use crate::model::{Span, Value};
use crate::tags;
use slo::duration;

/// The span's own length, which has a unit.
const DURATION: &str = "duration";

/// A condition on a span.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    key: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Is(TextPattern),
    /// The span has the key, with other values only.
    IsNot(TextPattern),
    Compared(Comparison, f64),
}

/// The text or pattern that a value is compared with.
#[derive(Debug, Clone)]
enum TextPattern {
    Exactly(String),
    /// A glob: the texts before the first star, between stars, and after the last.
    Like {
        start: String,
        middle: Vec<String>,
        end: String,
    },
}

type Comparison = fn(f64, f64) -> bool;

#[derive(Clone, Copy)]
enum Operator {
    Is,
    IsNot,
    Compares(Comparison),
}

/// An operator stands before those that it contains at its start.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::IsNot),
    (">=", Operator::Compares(|number, bound| number >= bound)),
    ("<=", Operator::Compares(|number, bound| number <= bound)),
    ("=", Operator::Is),
    (">", Operator::Compares(|number, bound| number > bound)),
    ("<", Operator::Compares(|number, bound| number < bound)),
];

/// Reads terms that are separated by spaces. The error says which part cannot be read, and what is expected.
pub(crate) fn parse(text: &str) -> Result<Vec<Term>, String> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (term, after) = term(rest).map_err(|why| {
            let shown: String = rest.chars().take(40).collect();
            format!("{why}, got {shown:?}")
        })?;
        terms.push(term);
        rest = after.trim_start();
    }
    Ok(terms)
}

fn term(text: &str) -> Result<(Term, &str), String> {
    let expected =
        || "expected key=value, key=\"two words\" or a comparison by !=, >=, <=, > or <".to_owned();
    let (key, _, rest) = word(text, |c| "=!<>".contains(c))?;
    let found = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)));
    let (operator, rest) = found.filter(|_| !key.is_empty()).ok_or_else(expected)?;
    let (value, is_quoted, rest) = word(rest, |_| false)?;
    let is_other_operator = !is_quoted && value.starts_with(['=', '~', '<', '>']);
    if is_other_operator || rest.starts_with(|c: char| !c.is_whitespace()) {
        return Err(expected());
    }
    let test = match operator {
        Operator::Is | Operator::IsNot if key == DURATION => {
            return Err("expected duration to be compared by >=, <=, > or <".to_owned());
        }
        Operator::Is => Test::Is(TextPattern::of(value, is_quoted)),
        Operator::IsNot => Test::IsNot(TextPattern::of(value, is_quoted)),
        Operator::Compares(holds) => Test::Compared(holds, number(&key, &value)?),
    };
    Ok((Term { key, test }, rest))
}

/// A quoted text, with `\"` and `\\` in it, or all characters up to a space, a quote or `ends`; whether it was quoted; and
/// the rest.
fn word(text: &str, ends: impl Fn(char) -> bool) -> Result<(String, bool, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == '"' || ends(c));
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        return Ok((word.to_owned(), false, rest));
    };
    let mut word = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((word, true, &quoted[at + 1..])),
            '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
            c => word.push(c),
        }
    }
    Err("expected a closing quote".to_owned())
}

/// The right side of a comparison: nanoseconds for `duration`, which is written as the pages write it, else a number.
fn number(key: &str, value: &str) -> Result<f64, String> {
    if key == DURATION {
        let compact: String = value.split_whitespace().collect();
        let length = duration::parse_long(&compact.replace("min", "m"))?;
        return Ok(length as f64);
    }
    let number = value.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("expected a number to compare {key:?} with"))
}

impl TextPattern {
    /// A quoted star is not a wildcard.
    fn of(value: String, is_quoted: bool) -> Self {
        let Some((start, rest)) = value.split_once('*').filter(|_| !is_quoted) else {
            return Self::Exactly(value);
        };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        // Adjacent stars count as one; otherwise each value would be searched for thousands of them.
        let middle = middle.split('*').filter(|part| !part.is_empty());
        Self::Like {
            start: start.to_owned(),
            middle: middle.map(str::to_owned).collect(),
            end: end.to_owned(),
        }
    }

    fn fits(&self, value: Value<'_>) -> bool {
        match self {
            Self::Exactly(wanted) => tags::is(value, wanted),
            Self::Like { start, middle, end } => {
                let text = value.text();
                let inner = text.strip_prefix(start.as_str());
                let inner = inner.and_then(|inner| inner.strip_suffix(end.as_str()));
                inner.is_some_and(|inner| has_in_order(inner, middle))
            }
        }
    }
}

/// The parts stand in the text in this order. Taking the first occurrence of each is always right, so the search never goes
/// back and its time is linear in the text.
fn has_in_order(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let found = rest.split_once(part.as_str());
        found.is_some_and(|(_, after)| {
            rest = after;
            true
        })
    })
}

impl Term {
    /// Whether the span satisfies it.
    pub fn accepts(&self, span: &Span) -> bool {
        match &self.test {
            Test::Is(wanted) => self.any(span, |value| wanted.fits(value)),
            Test::IsNot(wanted) => {
                let mut is_there = false;
                let fits = self.any(span, |value| {
                    is_there = true;
                    wanted.fits(value)
                });
                is_there && !fits
            }
            Test::Compared(holds, bound) if self.key == DURATION => {
                holds(span.duration_ns as f64, *bound)
            }
            Test::Compared(holds, bound) => self.any(span, |value| {
                numeric(value).is_some_and(|number| holds(number, *bound))
            }),
        }
    }

    /// Whether any value of the key fits; the span's service and operation are values too.
    fn any(&self, span: &Span, mut fits: impl FnMut(Value<'_>) -> bool) -> bool {
        let own = match self.key.as_str() {
            "service" => Some(&span.resource.service),
            "operation" => Some(&span.name),
            _ => None,
        };
        own.is_some_and(|own| fits(Value::Text(own))) || tags::any(span, &self.key, fits)
    }
}

/// Some senders write numbers as texts.
fn numeric(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::tests::span;

    fn accepts(text: &str) -> bool {
        let mut span = span(1, None, 0, 1_500_000);
        span.name = "GET /items".into();
        for (key, value) in [
            ("http.route", json!("/items/{id}")),
            ("code", json!(503)),
            ("size", json!("42")),
            ("a key", json!("two \"words\"")),
            ("star", json!("a*b")),
        ] {
            span.attributes.push(key, (&value).into());
        }
        let terms = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        terms.iter().all(|term| term.accepts(&span))
    }

    #[test]
    fn terms_accept_spans() {
        for text in [
            "",
            "code=503 http.route=/items/{id}",
            "http.route!=/health code!=5031",
            "http.route=/items/* http.route=*{id} http.route=*tem*/*d* http.route=*",
            "http.route!=/health*",
            "operation=GET* operation!=POST*",
            "code>=503 code<=503 code>502.5 code<504 size>=42",
            "duration>=1.5ms duration<\"1 min 5 s\" duration>=\"1500 µs\"",
            r#""a key"="two \"words\"""#,
            "star=\"a*b\" star=a*b",
            "span.kind=*",
        ] {
            assert!(accepts(text), "{text}");
        }
        for text in [
            "code=50",
            "code!=503",
            "code!=5*",
            "http.route=items*",
            "http.route=*items",
            "http.route=/items/{id}*{id}",
            "http.route!=*id*",
            // A missing key does not count as a different value.
            "absent!=x",
            "absent>=0",
            "code>503",
            "http.route>=0",
            "duration>1.5ms",
            "star!=\"a*b\"",
            "star=\"a*\"",
            "operation=get*",
        ] {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (text, why) in [
            ("code", "key=value"),
            ("=x", "key=value"),
            ("a=b\"c\"", "key=value"),
            ("a=\"b\"c", "key=value"),
            ("good=1 a~b", "\"a~b\""),
            ("a=\"b", "closing quote"),
            ("a=\"b\\", "closing quote"),
            ("code>=x", "number to compare \"code\""),
            ("code>=NaN", "number"),
            ("code>=5ms", "number"),
            ("duration>=5", "unit"),
            ("duration=1ms", ">=, <="),
            ("service==data", "key=value"),
            ("service=~data", "key=value"),
            ("duration>=-5ms", "length of time"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_glob_that_would_make_others_turn_back_takes_linear_time() {
        let text = "a".repeat(100_000) + "b";
        let start = std::time::Instant::now();
        for glob in [
            "*a".repeat(5_000),
            "*aab*aab*c".to_owned(),
            "*".repeat(30_000) + "c*",
        ] {
            let wanted = TextPattern::of(glob, false);
            for _ in 0..100 {
                assert!(!wanted.fits(Value::Text(&text)));
            }
        }
        assert!(start.elapsed().as_secs() < 10);
    }
}
