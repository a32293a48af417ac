//! Query parameters of the search APIs. Every complaint names its parameter.

use std::fmt;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};

use crate::model::TraceId;
use crate::search::{DurationOf, Query, Term, parse_terms};
use slo::duration;

/// The parameters of a search of traces.
pub(crate) const SEARCH: [&str; 9] = [
    "service",
    "operation",
    "tag",
    "tags",
    "where",
    "min_duration",
    "max_duration",
    "error",
    "limit",
];

/// The most traces of a search.
const MAX_TRACES: usize = 1_500;

/// Tags that one search may ask for.
const MAX_TAGS: usize = 32;

/// A parameter that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadParameter {
    name: String,
    why: String,
}

impl BadParameter {
    pub fn new(name: &str, why: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            why: why.into(),
        }
    }
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter '{}': {}", self.name, self.why)
    }
}

/// The most selectors of one question.
const MAX_SELECTORS: usize = 16;

/// The maximum number of parameters of a request, because each needs many times the memory of its text.
const MAX_PARAMS: usize = 128;

/// The decoded query string. An empty value counts as absent, as search forms send them.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a request. Those of a form come first, as in Go's servers.
    pub fn of(request: &HttpRequest, body: &[u8]) -> Result<Self, BadParameter> {
        let query = request.query_string();
        if body.is_empty() {
            return Self::parse(query);
        }
        let sent = request.headers().get(CONTENT_TYPE);
        let sent = sent.and_then(|sent| sent.to_str().ok()).unwrap_or_default();
        if !sent.starts_with("application/x-www-form-urlencoded") {
            let why = format!(
                "content type {sent:?} is not read, only application/x-www-form-urlencoded"
            );
            return Err(BadParameter::new("?", why));
        }
        Self::parse(&format!("{}&{query}", String::from_utf8_lossy(body)))
    }

    /// Decodes `a=b&c=d`.
    pub fn parse(query: &str) -> Result<Self, BadParameter> {
        let count = query.split('&').filter(|pair| !pair.is_empty()).count();
        if count > MAX_PARAMS {
            let why = format!("{count} parameters are too many, at most {MAX_PARAMS} are read");
            return Err(BadParameter::new("?", why));
        }
        web::Query::<Vec<(String, String)>>::from_query(query)
            .map(|pairs| Self(pairs.into_inner()))
            .map_err(|e| BadParameter::new("?", format!("the query string cannot be read: {e}")))
    }

    /// Refuses parameters that the endpoint does not know.
    pub fn only(self, known: &[&str]) -> Result<Self, BadParameter> {
        match self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            Some((name, _)) => Err(BadParameter::new(
                name,
                format!("not known here, only {}", known.join(", ")),
            )),
            None => Ok(self),
        }
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self
            .0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty());
        values.map(|(_, value)| value.as_str())
    }

    /// Its first value.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Its first value, which must be there.
    pub fn required(&self, name: &str) -> Result<&str, BadParameter> {
        let text = self.text(name);
        text.ok_or_else(|| BadParameter::new(name, "is missing"))
    }

    /// All values of a parameter that selects streams or series.
    pub fn selectors(&self, name: &str) -> Result<Vec<&str>, BadParameter> {
        let texts: Vec<&str> = self.all(name).collect();
        if texts.len() > MAX_SELECTORS {
            let why = format!(
                "{} selectors are too many, at most {MAX_SELECTORS}",
                texts.len()
            );
            return Err(BadParameter::new(name, why));
        }
        Ok(texts)
    }

    /// A whole number, not negative.
    pub fn number(&self, name: &str) -> Result<Option<u64>, BadParameter> {
        let parse = |text: &str| {
            let why = || {
                BadParameter::new(
                    name,
                    format!("expected a whole number, not negative, got {text:?}"),
                )
            };
            text.parse().map_err(|_| why())
        };
        self.text(name).map(parse).transpose()
    }

    /// Nanoseconds of a Go duration.
    pub fn duration(&self, name: &str) -> Result<Option<u64>, BadParameter> {
        let parse = |text| duration::parse(text).map_err(|why| BadParameter::new(name, why));
        self.text(name).map(parse).transpose()
    }

    /// Two Go durations in ascending order, in nanoseconds; all durations if both are absent.
    pub fn duration_range(&self, min: &str, max: &str) -> Result<(u64, u64), BadParameter> {
        let range = (
            self.duration(min)?.unwrap_or(0),
            self.duration(max)?.unwrap_or(u64::MAX),
        );
        if range.0 > range.1 {
            return Err(BadParameter::new(
                max,
                format!("must not be less than '{min}'"),
            ));
        }
        Ok(range)
    }

    /// A count from 1 to `max`.
    pub fn count(&self, name: &str, default: usize, max: usize) -> Result<usize, BadParameter> {
        let count = self
            .number(name)?
            .map_or(Some(default), |n| usize::try_from(n).ok());
        let count = count.filter(|n| (1..=max).contains(n));
        count.ok_or_else(|| BadParameter::new(name, format!("expected 1 to {max}")))
    }

    /// The search of traces that the parameters describe, of `limit` traces by default. The caller interprets `error`.
    pub fn search(&self, limit: usize) -> Result<Query, BadParameter> {
        Ok(Query {
            service: self.text("service").map(str::to_owned),
            operation: self.text("operation").map(str::to_owned),
            tags: self.tags()?,
            terms: self.terms()?,
            failed: false,
            start_ns: (0, u64::MAX),
            duration_ns: self.duration_range("min_duration", "max_duration")?,
            duration_of: DurationOf::Trace,
            limit: self.count("limit", limit, MAX_TRACES)?,
        })
    }

    /// The terms of all `where`.
    fn terms(&self) -> Result<Vec<Term>, BadParameter> {
        let mut terms = Vec::new();
        for text in self.all("where") {
            terms.extend(parse_terms(text).map_err(|why| BadParameter::new("where", why))?);
        }
        if terms.len() > MAX_TAGS {
            let why = format!("at most {MAX_TAGS} terms at once, got {}", terms.len());
            return Err(BadParameter::new("where", why));
        }
        Ok(terms)
    }

    /// The tags that a span must have: `tags` is a JSON object, `tag` is `key:value`; both may be repeated.
    pub fn tags(&self) -> Result<Vec<(String, String)>, BadParameter> {
        let mut tags = Vec::new();
        for object in self.all("tags") {
            let object: Map<String, Value> = serde_json::from_str(object).map_err(|e| {
                let why = format!("expected a JSON object such as {{\"error\":\"true\"}}: {e}");
                BadParameter::new("tags", why)
            })?;
            for (key, value) in object {
                tags.push((key, plain(value)?));
            }
        }
        for tag in self.all("tag") {
            let pair = tag.split_once(':').filter(|(key, _)| !key.is_empty());
            let why = || BadParameter::new("tag", format!("expected key:value, got {tag:?}"));
            let (key, value) = pair.ok_or_else(why)?;
            tags.push((key.to_owned(), value.to_owned()));
        }
        // The search looks for each tag in each span.
        if tags.len() > MAX_TAGS {
            let why = format!("at most {MAX_TAGS} tags at once, got {}", tags.len());
            return Err(BadParameter::new("tag", why));
        }
        Ok(tags)
    }
}

/// The text that a wanted value is compared as.
fn plain(value: Value) -> Result<String, BadParameter> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(BadParameter::new(
            "tags",
            "values must be strings, numbers or booleans",
        )),
    }
}

/// A trace id: 1 to 32 hex digits, short ones padded with zeros on the left.
pub(crate) fn trace_id(name: &str, text: &str) -> Result<TraceId, BadParameter> {
    let is_hex =
        !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = is_hex
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    id.map(TraceId).ok_or_else(|| {
        BadParameter::new(name, format!("expected 1 to 32 hex digits, got {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::parse(query).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn tags_come_as_pairs_and_as_objects() {
        let query =
            "tag=a:b:c&tag=x:&tags=%7B%22error%22:%22true%22,%22code%22:200,%22ok%22:true%7D&tags=";
        let expected = [
            ("a", "b:c"),
            ("code", "200"),
            ("error", "true"),
            ("ok", "true"),
            ("x", ""),
        ];
        let mut tags = params(query).tags().expect("good tags");
        tags.sort();
        let tags: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, expected);
        for bad in [
            "tag=a",
            "tag=:b",
            "tags=[]",
            "tags=%7B",
            "tags=%7B%22a%22:null%7D",
            "tags=a:b",
        ] {
            let why = params(bad).tags().expect_err(bad).to_string();
            assert!(why.starts_with("parameter 'tag"), "{bad}: {why}");
        }
        assert_eq!(
            params(&"tag=a:b&".repeat(32)).tags().map(|tags| tags.len()),
            Ok(32)
        );
        assert!(params(&"tag=a:b&".repeat(33)).tags().is_err());
        let terms = |count| params(&format!("where={}", "a%3Db+".repeat(count))).terms();
        assert_eq!(terms(32).map(|terms| terms.len()), Ok(32));
        assert!(terms(33).is_err());
    }

    #[test]
    fn numbers_have_ranges() {
        assert_eq!(params("").count("limit", 20, 1500), Ok(20));
        assert_eq!(params("limit=1500").count("limit", 20, 1500), Ok(1500));
        for bad in [
            "limit=0",
            "limit=1501",
            "limit=-1",
            "limit=ten",
            "limit=99999999999999999999",
        ] {
            let why = params(bad)
                .count("limit", 20, 1500)
                .expect_err(bad)
                .to_string();
            assert!(why.contains("'limit'"), "{why}");
        }
        assert_eq!(
            params("a=5ms&b=").duration_range("a", "b"),
            Ok((5_000_000, u64::MAX))
        );
        assert!(params("a=5ms&b=4ms").duration_range("a", "b").is_err());
    }

    #[test]
    fn trace_ids_are_padded() {
        assert_eq!(trace_id("t", "aB"), Ok(TraceId(0xab)));
        assert_eq!(trace_id("t", &"f".repeat(32)), Ok(TraceId(u128::MAX)));
        for bad in ["", "xyz", "+1", "0x1", " 1", &"0".repeat(33)] {
            assert!(trace_id("t", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strangers_are_refused_by_name() {
        assert!(params("a=1").only(&["a", "b"]).is_ok());
        let why = params("c=1").only(&["a", "b"]).err().map(|e| e.to_string());
        assert_eq!(
            why.as_deref(),
            Some("parameter 'c': not known here, only a, b")
        );
    }
}
