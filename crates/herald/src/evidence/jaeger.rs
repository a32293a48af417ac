//! Traces as Jaeger's API tells them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::answer::{FirstItems, Plain, Text, excerpt, head, parse, plausible};
use super::dependencies::Kind;
use super::traces::{FailedSpan, SEARCHED, Trace, trace_id};

/// More spans of a trace are not read.
const SPANS: usize = 20_000;

/// The attributes with the reason of an error, the best first.
const REASONS: [&str; 3] = [
    "otel.status_description",
    "error.type",
    "http.response.status_code",
];

/// Its place in `REASONS`.
const ERROR_TYPE: usize = 1;

/// The attributes of a call: of one to a service, of a statement, of a wait for a connection.
const CALL: [&str; 3] = [
    "service.peer.name",
    "db.system.name",
    "db.client.connection.pool.name",
];

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<FirstItems<OneTrace<'a>, SEARCHED>>,
}

#[derive(Deserialize)]
struct OneTrace<'a> {
    #[serde(borrow, default, rename = "traceID")]
    id: Text<'a>,
    #[serde(borrow, default)]
    spans: FirstItems<Span<'a>, SPANS>,
    #[serde(borrow, default)]
    processes: Option<HashMap<Cow<'a, str>, Process<'a>>>,
}

#[derive(Deserialize)]
struct Process<'a> {
    #[serde(borrow, default, rename = "serviceName")]
    service: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    #[serde(borrow, default, rename = "spanID")]
    id: Text<'a>,
    #[serde(borrow, default)]
    operation_name: Text<'a>,
    #[serde(borrow, default)]
    references: FirstItems<Reference<'a>, 1>,
    /// The duration in microseconds.
    #[serde(default)]
    duration: Microseconds,
    #[serde(borrow, default, rename = "processID")]
    process: Text<'a>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default, rename = "spanID")]
    span: Text<'a>,
}

/// A duration in seconds; 0 if the value is invalid.
#[derive(Debug, Default, Clone, Copy)]
struct Microseconds(f64);

/// The tags that give the reason of an error, and those of a call.
#[derive(Debug, Default)]
struct Tags {
    error: bool,
    reasons: [Option<Box<str>>; REASONS.len()],
    call: [Option<Box<str>>; CALL.len()],
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, default)]
    key: Text<'a>,
    #[serde(default)]
    value: Plain,
}

impl Span<'_> {
    fn parent(&self) -> Option<&str> {
        self.references
            .items
            .first()
            .map(|reference| &*reference.span.0)
    }
}

/// Every trace of an answer.
pub(super) fn read(body: &[u8]) -> Result<Vec<Trace>, String> {
    let answer: Answer<'_> = parse(body)?;
    let traces = answer.data.ok_or("its answer has no data")?;
    Ok(traces.items.iter().filter_map(summary).collect())
}

/// Looks at each span a fixed number of times.
fn summary(trace: &OneTrace<'_>) -> Option<Trace> {
    let spans = &trace.spans.items;
    let known: HashSet<&str> = spans.iter().map(|span| &*span.id.0).collect();
    let is_root = |span: &&Span<'_>| span.parent().is_none_or(|parent| !known.contains(parent));
    let root = spans.iter().find(is_root)?;
    let failed = || spans.iter().filter(|span| span.tags.error);
    // The deepest failed span: none of its children has failed.
    let parents: HashSet<&str> = failed().filter_map(Span::parent).collect();
    let deepest = failed().find(|span| !parents.contains(&*span.id.0));
    Some(Trace {
        trace_id: trace_id(&trace.id.0)?,
        operation: excerpt(&root.operation_name.0, 100),
        duration_s: root.duration.0,
        error: failed().next().is_some(),
        failed_at: deepest
            .map(|span| describe(trace, span))
            .unwrap_or_default(),
        failed: deepest.map(|span| failed_span(trace, span)),
        in_jaeger: true,
    })
}

fn service<'a>(trace: &'a OneTrace<'a>, span: &'a Span<'a>) -> &'a str {
    let processes = trace.processes.as_ref();
    let process = processes.and_then(|processes| processes.get(&span.process.0));
    process.map_or("", |process| &*process.service.0)
}

fn failed_span(trace: &OneTrace<'_>, span: &Span<'_>) -> FailedSpan {
    let text = |tag: &Option<Box<str>>| tag.as_ref().map(|text| excerpt(text, 60));
    let [peer, database, pool] = &span.tags.call;
    let called = match (text(database), text(pool)) {
        (Some(database), Some(_)) => Some((Kind::Pool, database)),
        (Some(database), None) => Some((Kind::Database, database)),
        (None, _) => text(peer).map(|peer| (Kind::Http, peer)),
    };
    FailedSpan {
        service: excerpt(service(trace, span), 60),
        called,
        error_type: text(&span.tags.reasons[ERROR_TYPE]).unwrap_or_default(),
    }
}

fn describe(trace: &OneTrace<'_>, span: &Span<'_>) -> String {
    let service = service(trace, span);
    let why = span.tags.reasons.iter().flatten().next();
    let why = why.map_or("", |why| &**why);
    let parts = [service, &span.operation_name.0, why].map(head);
    let text = format!("{} {}: {}", parts[0], parts[1], parts[2]);
    excerpt(text.trim().trim_end_matches(':'), 160)
}

impl<'de> Deserialize<'de> for Microseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Plain::deserialize(deserializer)?.0;
        let seconds = text.parse().map(|micros: f64| micros / 1e6);
        Ok(Self(seconds.ok().and_then(plausible).unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KnownTags)
    }
}

struct KnownTags;

impl<'de> Visitor<'de> for KnownTags {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    /// `null`.
    fn visit_unit<E>(self) -> Result<Tags, E> {
        Ok(Tags::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tags, A::Error> {
        let mut tags = Tags::default();
        while let Some(tag) = list.next_element::<Tag<'_>>()? {
            let (key, value) = (&*tag.key.0, tag.value.0);
            tags.error |= key == "error" && value == "true";
            let known = REASONS.iter().zip(&mut tags.reasons);
            let mut known = known.chain(CALL.iter().zip(&mut tags.call));
            let kept = known.find(|(name, _)| **name == key);
            if let Some((_, kept)) = kept.filter(|_| !value.is_empty()) {
                kept.get_or_insert_with(|| head(&value).into());
            }
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn span(id: &str, parent: Option<&str>, process: &str, tags: Value) -> Value {
        let references = parent.map(|id| json!([{"refType": "CHILD_OF", "spanID": id}]));
        json!({"spanID": id, "operationName": format!("op {id}"), "references": references,
               "duration": 1_500_000, "processID": process, "tags": tags})
    }

    fn error(status: &str) -> Value {
        json!([{"key": "error", "value": true}, {"key": "otel.status_description", "value": status}])
    }

    fn traces(spans: &[Value]) -> Vec<Trace> {
        let processes = json!({"p1": {"serviceName": "gateway"}, "p2": {"serviceName": "data"}});
        let trace = json!({"traceID": "ab", "spans": spans, "processes": processes});
        read(json!({"data": [trace]}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_deepest_error_of_a_trace_is_named() {
        let [trace] = traces(&[
            span("1", None, "p1", error("503")),
            span("2", Some("1"), "p2", error("card 4111 1111 1111 1111")),
            span(
                "3",
                Some("1"),
                "p2",
                json!([{"key": "error", "value": [1]}]),
            ),
        ])
        .try_into()
        .unwrap();
        assert_eq!(trace.trace_id, format!("{:0>32}", "ab"));
        assert_eq!(
            (trace.operation.as_str(), trace.duration_s, trace.error),
            ("op 1", 1.5, true)
        );
        assert_eq!(trace.failed_at, "data op 2: card [redacted]");
    }

    #[test]
    fn a_failed_call_says_what_it_called() {
        let failed = |more: Value| {
            let mut tags = error("no");
            let list = tags.as_array_mut().unwrap();
            for (key, value) in more.as_object().unwrap() {
                list.push(json!({"key": key, "value": value}));
            }
            let [trace] = traces(&[span("1", None, "p2", tags)]).try_into().unwrap();
            let span = trace.failed.unwrap();
            (span.service, span.called, span.error_type)
        };
        let (database, pool) = ("db.system.name", "db.client.connection.pool.name");
        let peer = "service.peer.name";
        for (tags, called, error_type) in [
            (json!({}), None, ""),
            (
                json!({peer: "downstream", "error.type": "timeout"}),
                Some((Kind::Http, "downstream")),
                "timeout",
            ),
            (
                json!({peer: "postgresql", database: "postgresql", "error.type": "53100"}),
                Some((Kind::Database, "postgresql")),
                "53100",
            ),
            (
                json!({database: "postgresql", pool: "requests", "error.type": "53300"}),
                Some((Kind::Pool, "postgresql")),
                "53300",
            ),
        ] {
            let called = called.map(|(kind, name)| (kind, name.to_owned()));
            let expected = ("data".to_owned(), called, error_type.to_owned());
            assert_eq!(failed(tags), expected);
        }
    }

    #[test]
    fn a_chain_of_thousands_of_failed_spans_is_followed_to_its_end() {
        let chain: Vec<Value> = (1..=14_000)
            .map(|id: u32| {
                let parent = (id > 1).then(|| (id - 1).to_string());
                span(&id.to_string(), parent.as_deref(), "p2", error("503"))
            })
            .collect();
        let [trace] = traces(&chain).try_into().unwrap();
        assert_eq!(trace.failed_at, "data op 14000: 503");
    }

    #[test]
    fn traces_that_cannot_be_do_no_harm() {
        let circle = [
            span("1", Some("2"), "p9", error("")),
            span("2", Some("1"), "p9", error("")),
        ];
        assert_eq!(traces(&circle), []);
        let mut odd = span("1", None, "p1", Value::Null);
        odd["duration"] = json!(1e308);
        assert_eq!(traces(&[odd])[0].duration_s, 0.0);
        assert_eq!(traces(&[]), []);
        let nothing = json!({"data": [{"traceID": "", "spans": null, "processes": null}]});
        assert_eq!(read(nothing.to_string().as_bytes()), Ok(Vec::new()));
    }
}
