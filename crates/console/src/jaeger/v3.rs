//! `/api/v3`: Jaeger's newer API, which newer releases of Grafana ask for services, operations and traces. Traces come as
//! OTLP JSON, those of a search all in one list.
//!
//! Parameters are taken in both spellings that Jaeger takes (`query.serviceName`, `query.service_name`). Unlike in
//! Jaeger the time range is optional.

mod otlp;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::DateTime;

use super::answer::Failure;
use super::{NOT_FOUND, Wanted, move_query};
use crate::answer::{Answers, Items, Page, Refused, of_status};
use crate::model::TraceId;
use crate::params::{self, BadParameter, Params};
use crate::search::{DurationOf, Query, search, write_each};
use crate::store::Store;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1500;

/// Everything that a search may say, current and older spelling.
const SEARCH: [&str; 18] = [
    "query.serviceName",
    "query.service_name",
    "query.operationName",
    "query.operation_name",
    "query.startTimeMin",
    "query.start_time_min",
    "query.startTimeMax",
    "query.start_time_max",
    "query.durationMin",
    "query.duration_min",
    "query.durationMax",
    "query.duration_max",
    "query.searchDepth",
    "query.search_depth",
    "query.num_traces",
    "query.attributes",
    "query.rawTraces",
    "query.raw_traces",
];

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/v3/services", web::get().to(services))
        .route("/api/v3/operations", web::get().to(operations))
        .route("/api/v3/traces", web::get().to(traces))
        .route("/api/v3/traces/{id}", web::get().to(one_trace));
}

async fn services(store: web::Data<Store>, answers: web::Data<Answers>) -> HttpResponse {
    let job = move |page| {
        wrapped(page, ("{\"services\":[", "]}"), |items| {
            store.services(|name| items.put(name))
        })
    };
    answered(&answers, job).await
}

async fn operations(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, page| {
        let kind = spelling(&params, &["spanKind", "span_kind"]);
        let wanted = Wanted::by(&params, kind)?;
        wrapped(page, ("{\"operations\":[", "]}"), |items| {
            wanted.write(&store, items)
        })
    });
    answered(&answers, job).await
}

/// A list between two texts.
fn wrapped(
    mut page: Page,
    (before, after): (&str, &str),
    fill: impl FnOnce(&mut Items<'_>) -> Result<(), Refused>,
) -> Result<Page, Failure> {
    page.text(before)?;
    fill(&mut Items::on(&mut page))?;
    page.text(after)?;
    Ok(page)
}

async fn traces(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, mut page| {
        let found = search(&store, &search_query(params)?, &mut page)?;
        if found.traces.is_empty() {
            return Err(Failure::new(StatusCode::NOT_FOUND, "No traces found"));
        }
        shown(page, &store, &found.traces)
    });
    answered(&answers, job).await
}

async fn one_trace(
    store: web::Data<Store>,
    id: web::Path<String>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, page| {
        let id = params::trace_id("trace_id", &id)?;
        // Hints for a storage backend, which this is not; still no place for nonsense.
        time(&params, &["startTime", "start_time"])?;
        time(&params, &["endTime", "end_time"])?;
        if store.span_count(id).is_none() {
            return Err(Failure::new(StatusCode::NOT_FOUND, NOT_FOUND));
        }
        shown(page, &store, &[id])
    });
    answered(&answers, job).await
}

/// All in one message `TracesData`.
fn shown(page: Page, store: &Store, ids: &[TraceId]) -> Result<Page, Failure> {
    let around = ("{\"result\":{\"resourceSpans\":[", "]}}");
    wrapped(page, around, |items| {
        write_each(items, store, ids, |items, trace| {
            let groups = otlp::groups(trace);
            groups.iter().try_for_each(|group| items.put(group))
        })
    })
}

/// The spelling that the request uses, else the current one.
fn spelling<'a>(params: &Params, names: &[&'a str]) -> &'a str {
    let used = names.iter().find(|name| params.text(name).is_some());
    used.or(names.first()).copied().unwrap_or_default()
}

fn search_query(params: Params) -> Result<Query, BadParameter> {
    let params = params.only(&SEARCH)?;
    let text = |names: &[&str]| params.text(spelling(&params, names)).map(str::to_owned);
    let latest_name = spelling(&params, &["query.startTimeMax", "query.start_time_max"]);
    let earliest = time(&params, &["query.startTimeMin", "query.start_time_min"])?.unwrap_or(0);
    let latest = time(&params, &[latest_name])?.unwrap_or(u64::MAX);
    if earliest > latest {
        return Err(BadParameter::new(
            latest_name,
            "must not be before the start of the range",
        ));
    }
    Ok(Query {
        service: text(&["query.serviceName", "query.service_name"]),
        operation: text(&["query.operationName", "query.operation_name"]),
        tags: params.tag_objects("query.attributes")?,
        failed: false,
        start_ns: (earliest, latest),
        duration_ns: params.duration_range(
            spelling(&params, &["query.durationMin", "query.duration_min"]),
            spelling(&params, &["query.durationMax", "query.duration_max"]),
        )?,
        duration_of: DurationOf::Span,
        limit: params.count(
            spelling(
                &params,
                &[
                    "query.searchDepth",
                    "query.search_depth",
                    "query.num_traces",
                ],
            ),
            DEFAULT_LIMIT,
            MAX_LIMIT,
        )?,
    })
}

/// Nanoseconds of a time in RFC 3339.
fn time(params: &Params, names: &[&str]) -> Result<Option<u64>, BadParameter> {
    let name = spelling(params, names);
    let Some(text) = params.text(name) else {
        return Ok(None);
    };
    // Grafana does not escape the plus of an offset, and in a query string that means a space.
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    let nanoseconds = time.ok().and_then(|time| time.timestamp_nanos_opt());
    let nanoseconds = nanoseconds.and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
    let why = || {
        BadParameter::new(
            name,
            format!("expected a time such as 2026-01-31T12:00:00Z, got {text:?}"),
        )
    };
    nanoseconds.map(Some).ok_or_else(why)
}

/// Errors of this API have a shape of their own.
async fn answered<F>(answers: &Answers, job: F) -> HttpResponse
where
    F: FnOnce(Page) -> Result<Page, Failure> + Send + 'static,
{
    answers.compute(job).await.unwrap_or_else(|failure| {
        let details =
            serde_json::json!({"httpCode": failure.status.as_u16(), "message": failure.message});
        of_status(failure.status).json(serde_json::json!({"error": details}))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, String> {
        let params = Params::parse(text).map_err(|e| e.to_string())?;
        search_query(params).map_err(|e| e.to_string())
    }

    #[test]
    fn both_spellings_are_read() {
        let old = "query.service_name=shop&query.start_time_min=1970-01-01T01:00:01+01:00&query.duration_max=5ms&query.num_traces=3";
        let new = "query.serviceName=shop&query.startTimeMin=1970-01-01T00:00:01Z&query.durationMax=5ms&query.searchDepth=3";
        for text in [old, new] {
            let query = query(text).expect(text);
            assert_eq!(query.service.as_deref(), Some("shop"));
            assert_eq!(query.start_ns, (1_000_000_000, u64::MAX));
            assert_eq!((query.duration_ns, query.limit), ((0, 5_000_000), 3));
        }
    }

    #[test]
    fn each_bad_parameter_is_named() {
        for (text, name) in [
            ("query.filter={}", "query.filter"),
            ("query.startTimeMin=5", "query.startTimeMin"),
            ("query.start_time_max=x", "query.start_time_max"),
            (
                "query.startTimeMin=2026-01-02T00:00:00Z&query.startTimeMax=2026-01-01T00:00:00Z",
                "query.startTimeMax",
            ),
            ("query.num_traces=0", "query.num_traces"),
            ("query.attributes=a", "query.attributes"),
        ] {
            let why = query(text).expect_err(text);
            assert!(
                why.starts_with(&format!("parameter '{name}'")),
                "{text}: {why}"
            );
        }
    }
}
