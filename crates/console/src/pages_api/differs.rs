//! `GET /api/differs`: the attributes by which some traces differ from others that match the same search.

mod features;
mod share;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::answer::{Answers, Page, Refused, off_thread};
use crate::model::TraceId;
use crate::params::{BadParameter, Params, SEARCH};
use crate::search::{Query, bounds, error_count, search};
use crate::store::Store;
use features::{Counts, Difference, Features};

/// Traces that are compared, the newest.
const DEFAULT_LIMIT: usize = 500;

/// How many spans the comparison reads before other answers have a turn, because each may have many attributes.
const SPANS: usize = 64;

/// Adds the route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/differs", web::get().to(differs));
}

async fn differs(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let query = request.query_string().to_owned();
    off_thread(&answers, move |page| {
        let (query, selection) = asked(&query).map_err(|why| Refused {
            status: StatusCode::BAD_REQUEST,
            detail: why.to_string(),
        })?;
        compared(&store, &query, selection, page)
    })
    .await
}

/// Which of the traces are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selection {
    /// Traces that took longer than nine of ten others.
    Slow,
    /// Traces whose duration is in this range, both ends included, in nanoseconds; and, if set, only those with a failed
    /// span.
    Of {
        duration_ns: (u64, u64),
        failed: bool,
    },
}

/// The search, and the selection among its traces.
fn asked(query: &str) -> Result<(Query, Selection), BadParameter> {
    let params = Params::parse(query)?.only(&[&SEARCH[..], &["selection"]].concat())?;
    let mut query = params.search(DEFAULT_LIMIT)?;
    // The selected traces are compared with all traces that match the search without its duration range.
    let duration_ns = std::mem::replace(&mut query.duration_ns, (0, u64::MAX));
    let failed = params.text("error") == Some("true");
    let is_narrow = failed || duration_ns != (0, u64::MAX);
    let selection = match (params.text("selection"), is_narrow) {
        (Some("slow"), false) => Selection::Slow,
        (Some("failed"), false) => Selection::Of {
            duration_ns,
            failed: true,
        },
        (None, true) => Selection::Of {
            duration_ns,
            failed,
        },
        _ => {
            let why = "expected slow or failed, or instead of it min_duration, max_duration or error=true";
            return Err(BadParameter::new("selection", why));
        }
    };
    Ok((query, selection))
}

/// The answer.
#[derive(Serialize)]
struct Comparison {
    /// Traces that are set apart, and the others.
    selected: u32,
    rest: u32,
    /// Whether more traces may match, or their data was too large to compare all of it.
    truncated: bool,
    differs: Vec<Difference>,
    /// Keys of which only some values were compared, because there are too many.
    keys_left_out: usize,
}

/// A trace as far as the selection asks.
struct TraceOutcome {
    id: TraceId,
    duration_ns: u64,
    has_failed: bool,
}

fn compared(
    store: &Store,
    query: &Query,
    selection: Selection,
    page: &mut Page,
) -> Result<Comparison, Refused> {
    let found = search(store, query, page)?;
    let mut looked = Vec::new();
    // A trace that has been evicted meanwhile belongs to neither side.
    for id in found.traces {
        page.pass()?;
        looked.extend(store.trace(id).map(|trace| {
            let (start, end) = bounds(&trace.spans);
            TraceOutcome {
                id,
                duration_ns: end - start,
                has_failed: error_count(&trace.spans) > 0,
            }
        }));
    }
    let is_selected = chooses(selection, &looked);
    let (mut features, mut of) = (Features::default(), Counts::default());
    for trace in &looked {
        let Some(whole) = store.trace(trace.id) else {
            continue;
        };
        page.holds(whole.bytes)?;
        let is_selected = is_selected(trace);
        of.add(is_selected);
        features.next_trace();
        for spans in whole.spans.chunks(SPANS) {
            page.gathers(features.add(spans, is_selected))?;
        }
    }
    page.holds(0)?;
    Ok(Comparison {
        selected: of.selected,
        rest: of.rest,
        truncated: found.truncated || features.is_full,
        keys_left_out: features.keys_left_out(),
        differs: features.ranked(of),
    })
}

/// Which of these are selected.
fn chooses(
    selection: Selection,
    looked: &[TraceOutcome],
) -> impl Fn(&TraceOutcome) -> bool + use<> {
    let (duration_ns, failed) = match selection {
        Selection::Of {
            duration_ns,
            failed,
        } => (duration_ns, failed),
        Selection::Slow => {
            let mut all: Vec<u64> = looked.iter().map(|trace| trace.duration_ns).collect();
            all.sort_unstable();
            let ninth = all.get((all.len() * 9).div_ceil(10).saturating_sub(1));
            let least = ninth.map_or(0, |longest| longest.saturating_add(1));
            ((least, u64::MAX), false)
        }
    };
    move |trace| {
        (duration_ns.0..=duration_ns.1).contains(&trace.duration_ns)
            && (trace.has_failed || !failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_named_or_said_by_the_parameters_of_the_search() {
        let selected = |query: &str| asked(query).map(|(_, selection)| selection);
        let of = |duration_ns, failed| Selection::Of {
            duration_ns,
            failed,
        };
        for (query, selection) in [
            ("selection=slow&service=data", Selection::Slow),
            ("selection=failed", of((0, u64::MAX), true)),
            (
                "error=true&min_duration=1ms",
                of((1_000_000, u64::MAX), true),
            ),
            ("max_duration=1us", of((0, 1_000), false)),
        ] {
            assert_eq!(selected(query), Ok(selection), "{query}");
        }
        for (query, name) in [
            ("", "selection"),
            ("error=false", "selection"),
            ("selection=odd", "selection"),
            ("selection=slow&min_duration=1s", "selection"),
            ("selection=slow&limit=1501", "limit"),
            ("selection=slow&lookback=1h", "lookback"),
        ] {
            let why = selected(query).expect_err(query).to_string();
            assert!(why.contains(&format!("'{name}'")), "{query}: {why}");
        }
    }

    #[test]
    fn slow_is_what_takes_longer_than_nine_of_ten() {
        let slow = |durations: &[u64]| {
            let looked: Vec<TraceOutcome> = durations
                .iter()
                .map(|duration| TraceOutcome {
                    id: TraceId(1),
                    duration_ns: *duration,
                    has_failed: false,
                })
                .collect();
            let is_slow = chooses(Selection::Slow, &looked);
            looked.iter().filter(|trace| is_slow(trace)).count()
        };
        assert_eq!(slow(&[]), 0);
        assert_eq!(slow(&[7]), 0);
        assert_eq!(slow(&[7; 100]), 0);
        assert_eq!(slow(&(1..=10).collect::<Vec<_>>()), 1);
        assert_eq!(slow(&(1..=100).collect::<Vec<_>>()), 10);
    }
}
