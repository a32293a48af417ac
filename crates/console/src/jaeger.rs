//! Jaeger's query API (the JSON that Jaeger's own UI and Grafana's Jaeger data source read), over the store.
//!
//! Parameters that only steer a storage backend are taken and change nothing: `start` and `end` of one trace, `raw`
//! and `prettyPrint`. All others are used or refused.

mod answer;
mod dependencies;
mod query;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::HashSet;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use self::answer::{ApiError, Failure, answer, blocking, list};
use crate::answer::{Answers, Page};
use crate::model::{Kind, TraceId};
use crate::params::{self, BadParameter, Params};
use crate::search::{MAX_SPANS, SearchResult, search, write_each};
use crate::store::Store;

/// Jaeger's text for a missing trace.
const NOT_FOUND: &str = "trace not found";

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/services", web::get().to(services))
        .route(
            "/api/services/{service}/operations",
            web::get().to(operation_names),
        )
        .route("/api/operations", web::get().to(operations))
        .route("/api/traces", web::get().to(traces))
        .route("/api/traces/{id}", web::get().to(one_trace))
        .route("/api/dependencies", web::get().to(dependency_links));
}

async fn services(store: web::Data<Store>, answers: web::Data<Answers>) -> HttpResponse {
    blocking(&answers, move |page| {
        list(page, None, |items| store.services(|name| items.put(name)))
    })
    .await
}

async fn operation_names(
    store: web::Data<Store>,
    service: web::Path<String>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    blocking(&answers, move |page| {
        list(page, None, |items| {
            let mut last = None;
            store.operations(&service, |name, _| {
                if last.as_deref() == Some(name) {
                    return Ok(());
                }
                last = Some(name.to_owned());
                items.put(name)
            })
        })
    })
    .await
}

/// An operation as `/api/operations` lists it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation<'a> {
    name: &'a str,
    span_kind: &'static str,
}

async fn operations(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, page| {
        let service = params
            .text("service")
            .ok_or_else(|| BadParameter::new("service", "is required"))?;
        let wanted = params.text("spanKind").map(kind_named).transpose()?;
        list(page, None, |items| {
            store.operations(service, |name, kind| {
                if wanted.is_some_and(|wanted| wanted != kind) {
                    return Ok(());
                }
                let span_kind = kind.as_str();
                items.put(&Operation { name, span_kind })
            })
        })
    });
    blocking(&answers, job).await
}

fn kind_named(text: &str) -> Result<Kind, BadParameter> {
    let kinds = [
        Kind::Internal,
        Kind::Server,
        Kind::Client,
        Kind::Producer,
        Kind::Consumer,
    ];
    let found = kinds.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| {
        let allowed = kinds.map(Kind::as_str).join(", ");
        BadParameter::new(
            "spanKind",
            format!("expected one of {allowed}, got {text:?}"),
        )
    })
}

async fn traces(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, mut page| {
        let ids = params
            .all("traceID")
            .map(|id| params::trace_id("traceID", id));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        if !ids.is_empty() {
            return traces_by_id(page, &store, &ids);
        }
        let query = query::search_query(&params, chrono::Utc::now())?;
        let SearchResult {
            traces,
            truncated,
            max_bytes,
            ..
        } = search(&store, &query, &mut page)?;
        let last = traces.last().copied().filter(|_| truncated);
        list(page, None, |items| {
            write_each(items, &store, &traces, |items, trace| {
                let mut shown = trace::render(trace);
                if last == Some(trace.id) {
                    shown.warn(format!(
                        "there are more traces; this answer ends at {MAX_SPANS} spans or {max_bytes} bytes: ask for less at once"
                    ));
                }
                items.put(&shown)
            })
        })
    });
    blocking(&answers, job).await
}

/// The traces that are in the store. Each missing trace adds an error, as in Jaeger.
fn traces_by_id(mut page: Page, store: &Store, ids: &[TraceId]) -> Result<Page, Failure> {
    let mut asked = HashSet::new();
    let mut found: Vec<TraceId> = Vec::new();
    let mut errors = Vec::new();
    let mut spans = 0;
    for id in ids.iter().copied().filter(|id| asked.insert(*id)) {
        page.pass()?;
        match store.span_count(id) {
            Some(count) if found.is_empty() || spans + count <= MAX_SPANS => {
                spans += count;
                store.keep(id);
                found.push(id);
            }
            Some(_) => errors.push(ApiError::of_trace(
                id,
                format!("left out: more than {MAX_SPANS} spans at once"),
            )),
            None => errors.push(ApiError::of_trace(id, NOT_FOUND.to_owned())),
        }
    }
    let errors = (!errors.is_empty()).then_some(errors);
    list(page, errors, |items| {
        write_each(items, store, &found, |items, trace| {
            items.put(&trace::render(trace))
        })
    })
}

async fn one_trace(
    store: web::Data<Store>,
    id: web::Path<String>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, mut page| {
        let id = params::trace_id("traceID", &id)?;
        // `start` is not used as a filter: Grafana sends milliseconds where Jaeger's API has microseconds.
        params.number("start")?;
        params.number("end")?;
        let found = store
            .trace_by_id(id)
            .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, NOT_FOUND))?;
        page.holds(found.bytes)?;
        answer(page, &[trace::render(&found)], 1, None)
    });
    blocking(&answers, job).await
}

async fn dependency_links(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let job = move_query(request, move |params, mut page| {
        let window = query::dependency_window(&params, chrono::Utc::now())?;
        let mut links = dependencies::links(&store, window, &mut page)?;
        if let Some(service) = params.text("service") {
            links.retain(|link| link.parent == service || link.child == service);
        }
        answer(page, &links, links.len(), None)
    });
    blocking(&answers, job).await
}

/// A job over the decoded query string, to be run off the worker thread.
fn move_query<F>(
    request: HttpRequest,
    job: F,
) -> impl FnOnce(Page) -> Result<Page, Failure> + Send + 'static
where
    F: FnOnce(Params, Page) -> Result<Page, Failure> + Send + 'static,
{
    let query = request.query_string().to_owned();
    move |page| job(Params::parse(&query)?, page)
}
