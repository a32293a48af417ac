//! The list of traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::answer::{Items, Page, Refused};
use crate::model::Span;
use crate::params::{BadParameter, Params, SEARCH};
use crate::search::{Query, bounds, error_count, search, write_each};
use crate::store::{Store, Trace};
use crate::tree::Tree;

const DEFAULT_LIMIT: usize = 20;

#[derive(Serialize)]
struct Summary<'a> {
    trace_id: String,
    root_service: &'a str,
    root_name: &'a str,
    start_us: u64,
    duration_us: f64,
    span_count: usize,
    error_count: usize,
    services: Vec<Service<'a>>,
}

#[derive(Serialize)]
struct Service<'a> {
    name: &'a str,
    spans: usize,
}

/// The search that the parameters describe. `error=true` selects traces with a failed span, `error=false` all traces.
pub(super) fn query(params: Params) -> Result<Query, BadParameter> {
    let params = params.only(&SEARCH)?;
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
        failed,
        ..params.search(DEFAULT_LIMIT)?
    })
}

/// Searches and summarises. `searched` is the number of examined traces. `truncated` says whether more may match, because
/// the answer became too large (not because of `limit`).
pub(super) fn list(mut page: Page, store: &Store, query: &Query) -> Result<Page, Refused> {
    let found = search(store, query, &mut page)?;
    page.text("{\"traces\":[")?;
    let mut items = Items::on(&mut page);
    write_each(&mut items, store, &found.traces, |items, trace| {
        items.put(&summary(trace))
    })?;
    let (searched, truncated) = (found.searched, found.truncated);
    page.text(&format!(
        "],\"searched\":{searched},\"truncated\":{truncated}}}"
    ))?;
    Ok(page)
}

fn summary(trace: &Trace) -> Summary<'_> {
    let (start, end) = bounds(&trace.spans);
    let root = Tree::new(&trace.spans).main_root(&trace.spans);
    let root = root.map(|root| &trace.spans[root]);
    Summary {
        trace_id: trace.id.to_string(),
        root_service: root.map_or("", |root| &root.resource.service),
        root_name: root.map_or("", |root| &root.name),
        start_us: start / 1_000,
        duration_us: (end - start) as f64 / 1_000.0,
        span_count: trace.spans.len(),
        error_count: error_count(&trace.spans),
        services: services(&trace.spans),
    }
}

/// Spans of each service, by name.
fn services(spans: &[Arc<Span>]) -> Vec<Service<'_>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for span in spans {
        *counts.entry(&span.resource.service).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(name, spans)| Service { name, spans })
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
