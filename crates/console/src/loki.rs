//! The part of Loki's query API that herald, `omnitrace doctor`, the dashboards and Grafana's Explore use.

mod answer;
mod params;

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::Semaphore;

use crate::logql::{self, Matcher, Query, Scan, Steps, index_labels, senders};
use crate::params::{BadParameter, Params};
use crate::store::Store;
use answer::{Answer, Failure};
use params::{RANGE_DEFAULT, SENDERS_DEFAULT};

/// Queries being evaluated at once; more wait. Each may take as much memory as the largest answer, and a core.
static EVALUATING: Semaphore = Semaphore::const_new(2);

/// A question and how to answer it.
type Handler = fn(&Store, &Params) -> Answer;

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for (path, handler) in [
        ("/loki/api/v1/query", query as Handler),
        ("/loki/api/v1/query_range", query_range),
        ("/loki/api/v1/labels", labels),
        ("/loki/api/v1/label", labels),
        ("/loki/api/v1/series", series),
    ] {
        let to = move |request, body, store| answered(request, body, store, handler);
        config.service(
            web::resource(path)
                .route(web::get().to(to))
                .route(web::post().to(to)),
        );
    }
    config.route("/loki/api/v1/label/{name}/values", web::get().to(values));
}

async fn answered(
    request: HttpRequest,
    body: web::Bytes,
    store: web::Data<Store>,
    handler: Handler,
) -> HttpResponse {
    match parameters(&request, &body) {
        Ok(params) => off_thread(move || handler(&store, &params)).await,
        Err(why) => Failure::from(why).response(),
    }
}

/// Runs a handler where it holds nobody up.
async fn off_thread(job: impl FnOnce() -> Answer + Send + 'static) -> HttpResponse {
    let Ok(_permit) = EVALUATING.acquire().await else {
        return Failure::stopping().response();
    };
    match web::block(job).await {
        Ok(Ok(body)) => HttpResponse::Ok()
            .content_type("application/json")
            .body(body),
        Ok(Err(failure)) => failure.response(),
        Err(_) => Failure::stopping().response(),
    }
}

/// Those of a form come first, as Go's servers read them.
fn parameters(request: &HttpRequest, body: &web::Bytes) -> Result<Params, BadParameter> {
    let query = request.query_string();
    if body.is_empty() {
        return Params::parse(query);
    }
    let sent = request.headers().get(CONTENT_TYPE);
    let sent = sent.and_then(|sent| sent.to_str().ok()).unwrap_or_default();
    if !sent.starts_with("application/x-www-form-urlencoded") {
        let why =
            format!("content type {sent:?} is not read, only application/x-www-form-urlencoded");
        return Err(BadParameter::new("?", why));
    }
    Params::parse(&format!("{}&{query}", String::from_utf8_lossy(body)))
}

fn expression(params: &Params) -> Result<&str, BadParameter> {
    params
        .text("query")
        .ok_or_else(|| BadParameter::new("query", "is missing"))
}

fn query(store: &Store, params: &Params) -> Answer {
    let time = params::time(params, "time")?.unwrap_or_else(params::now);
    match logql::parse(expression(params)?)? {
        Query::Metric(metric) => {
            let mut scan = Scan::default();
            let series = logql::counts(store, &mut scan, &metric, Steps::once(time))?;
            answer::vector(&series, &scan)
        }
        Query::Constant(number) => answer::constant(number, time),
        Query::Logs(_) => Err(Failure::bad(
            "log queries are not supported as an instant query type, please change your query to a range query type",
        )),
    }
}

fn query_range(store: &Store, params: &Params) -> Answer {
    params::not_answered(params, "interval")?;
    let range = params::range(params, RANGE_DEFAULT)?;
    let mut scan = Scan::default();
    match logql::parse(expression(params)?)? {
        Query::Logs(query) => {
            let (limit, direction) = (params::limit(params)?, params::direction(params)?);
            let streams = logql::streams(store, &mut scan, &query, range, limit, direction)?;
            answer::streams(&streams, &scan)
        }
        Query::Metric(metric) => {
            let steps = Steps::new(range.start, range.end, params::step(params, &range)?)?;
            let series = logql::counts(store, &mut scan, &metric, steps)?;
            answer::matrix(&series, &scan)
        }
        Query::Constant(_) => Err(Failure::bad(
            "vector(…) is answered at /loki/api/v1/query only",
        )),
    }
}

/// The streams of a span of time, each once.
fn found_streams(
    store: &Store,
    params: &Params,
    selectors: &[Vec<Matcher>],
) -> Result<BTreeSet<BTreeMap<String, String>>, Failure> {
    let range = params::range(params, SENDERS_DEFAULT)?;
    let found = senders(store, range, selectors)?;
    Ok(found.iter().map(|sender| index_labels(sender)).collect())
}

/// What `query` selects, if it is there.
fn selected(params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    selectors(params, "query")
}

/// `{}` stands for all, so none is left.
fn selectors(params: &Params, name: &str) -> Result<Vec<Vec<Matcher>>, Failure> {
    let texts: Vec<&str> = params.all(name).collect();
    if texts.iter().any(|text| is_empty_selector(text)) {
        return Ok(Vec::new());
    }
    let parsed = texts.into_iter().map(logql::parse_selector);
    Ok(parsed.collect::<Result<_, _>>()?)
}

fn is_empty_selector(text: &str) -> bool {
    let bare = text.split_whitespace().collect::<String>();
    bare == "{}"
}

fn labels(store: &Store, params: &Params) -> Answer {
    let streams = found_streams(store, params, &selected(params)?)?;
    let names: BTreeSet<&String> = streams.iter().flat_map(|labels| labels.keys()).collect();
    answer::body(&names)
}

async fn values(
    name: web::Path<String>,
    request: HttpRequest,
    store: web::Data<Store>,
) -> HttpResponse {
    let params = match parameters(&request, &web::Bytes::new()) {
        Ok(params) => params,
        Err(why) => return Failure::from(why).response(),
    };
    off_thread(move || {
        let streams = found_streams(&store, &params, &selected(&params)?)?;
        let values: BTreeSet<&String> = streams
            .iter()
            .filter_map(|labels| labels.get(name.as_str()))
            .collect();
        answer::body(&values)
    })
    .await
}

fn series(store: &Store, params: &Params) -> Answer {
    if params.text("match[]").is_none() {
        return Err(
            BadParameter::new("match[]", "is missing: name the streams, {} for all").into(),
        );
    }
    answer::body(&found_streams(
        store,
        params,
        &selectors(params, "match[]")?,
    )?)
}
