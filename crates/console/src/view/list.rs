//! The list of traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::model::Span;
use crate::params::{BadParameter, Params};
use crate::search::{DurationOf, Query, bounds, error_count, search};
use crate::store::{Store, Trace};
use crate::tree::Tree;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1500;
const KNOWN: [&str; 8] = [
    "service",
    "operation",
    "tag",
    "tags",
    "min_duration",
    "max_duration",
    "error",
    "limit",
];

/// The answer.
#[derive(Serialize)]
pub(super) struct List {
    traces: Vec<Summary>,
    /// How many traces were looked at.
    searched: usize,
    /// Whether there may be more because the answer became too big (not because of `limit`).
    truncated: bool,
}

#[derive(Serialize)]
struct Summary {
    trace_id: String,
    root_service: String,
    root_name: String,
    start_us: u64,
    duration_us: f64,
    span_count: usize,
    error_count: usize,
    services: Vec<Service>,
}

#[derive(Serialize)]
struct Service {
    name: String,
    spans: usize,
}

/// The search that the parameters ask for. `error=true` wants traces in which any span failed, `error=false` all.
pub(super) fn query(params: Params) -> Result<Query, BadParameter> {
    let params = params.only(&KNOWN)?;
    let failed = match params.text("error") {
        Some("true") => true,
        Some("false") | None => false,
        Some(other) => {
            return Err(BadParameter::new(
                "error",
                format!("expected true or false, got {other:?}"),
            ));
        }
    };
    Ok(Query {
        service: params.text("service").map(str::to_owned),
        operation: params.text("operation").map(str::to_owned),
        tags: params.tags()?,
        failed,
        start_ns: (0, u64::MAX),
        duration_ns: params.duration_range("min_duration", "max_duration")?,
        duration_of: DurationOf::Trace,
        limit: params.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?,
    })
}

/// Searches and summarises.
pub(super) fn list(store: &Store, query: &Query) -> List {
    let found = search(store, query);
    List {
        traces: found.traces.iter().map(summary).collect(),
        searched: found.searched,
        truncated: found.truncated,
    }
}

fn summary(trace: &Trace) -> Summary {
    let (start, end) = bounds(&trace.spans);
    let root = Tree::new(&trace.spans)
        .main_root(&trace.spans)
        .map(|root| &trace.spans[root]);
    Summary {
        trace_id: trace.id.to_string(),
        root_service: root
            .map(|root| root.resource.service.clone())
            .unwrap_or_default(),
        root_name: root.map(|root| root.name.clone()).unwrap_or_default(),
        start_us: start / 1_000,
        duration_us: (end - start) as f64 / 1_000.0,
        span_count: trace.spans.len(),
        error_count: error_count(&trace.spans),
        services: services(&trace.spans),
    }
}

/// Spans of each service, by name.
fn services(spans: &[Arc<Span>]) -> Vec<Service> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for span in spans {
        *counts.entry(&span.resource.service).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(name, spans)| Service {
            name: name.to_owned(),
            spans,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Query, String> {
        query(Params::parse(text).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_form_lists_the_newest() {
        let query = parsed("service=&operation=&tags=&min_duration=&max_duration=&error=&limit=")
            .expect("a query");
        assert_eq!(
            (query.service, query.failed, query.limit),
            (None, false, DEFAULT_LIMIT)
        );
    }

    #[test]
    fn each_bad_parameter_is_named() {
        for (text, name) in [
            ("lookback=1h", "lookback"),
            ("error=maybe", "error"),
            ("limit=1501", "limit"),
            ("min_duration=1", "min_duration"),
            ("min_duration=2s&max_duration=1s", "max_duration"),
            ("tags=x", "tags"),
        ] {
            let why = parsed(text).expect_err(text);
            assert!(
                why.starts_with(&format!("parameter '{name}'")),
                "{text}: {why}"
            );
        }
    }
}
