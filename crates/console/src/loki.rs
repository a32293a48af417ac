//! The part of Loki's query API that herald, `omnitrace doctor`, the dashboards and Grafana's Explore use.

mod answer;
mod params;

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};

use crate::answer::Answers;
use crate::clock::now_ns;
use crate::ingest::{Sink, read_small};
use crate::logql::{self, Matcher, Query, Scan, Steps, index_labels, senders};
use crate::params::{BadParameter, Params};
use crate::store::Store;
use answer::{Answer, Failure};
use params::{RANGE_DEFAULT, SENDERS_DEFAULT};

/// The data that a query reads.
type Shared = (web::Data<Store>, web::Data<Sink>, web::Data<Answers>);

/// A question and how to answer it.
type Handler = fn(&Store, &Params, &mut Scan) -> Answer;

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for (path, handler) in [
        ("/loki/api/v1/query", query as Handler),
        ("/loki/api/v1/query_range", query_range),
        ("/loki/api/v1/labels", labels),
        ("/loki/api/v1/label", labels),
        ("/loki/api/v1/series", series),
    ] {
        let to = move |request, body, asked| answered(request, body, asked, handler);
        config
            .route(path, web::get().to(to))
            .route(path, web::post().to(to));
    }
    config.route("/loki/api/v1/label/{name}/values", web::get().to(values));
}

async fn answered(
    request: HttpRequest,
    payload: Payload,
    shared: Shared,
    handler: Handler,
) -> HttpResponse {
    let outcome = async {
        // The account covers the parameters while they wait.
        let (body, _account) = read_small(payload, &shared.1.gate).await?;
        let params = Params::of(&request, &body)?;
        off_thread(shared, move |store, scan| handler(store, &params, scan)).await
    };
    outcome.await.unwrap_or_else(Failure::response)
}

/// Runs a handler where it holds nobody up.
async fn off_thread(
    (store, _, answers): Shared,
    job: impl FnOnce(&Store, &mut Scan) -> Answer + Send + 'static,
) -> Result<HttpResponse, Failure> {
    let job = move |page| job(&store, &mut Scan::on(page));
    answers.compute(job).await
}

fn query(store: &Store, params: &Params, scan: &mut Scan) -> Answer {
    let time = params::time(params, "time")?.unwrap_or_else(now_ns);
    match logql::parse(params.required("query")?, &mut |bytes| scan.gathers(bytes))? {
        Query::Metric(metric) => {
            let series = logql::counts(store, scan, &metric, Steps::once(time))?;
            answer::vector(&series, scan)
        }
        Query::Constant(number) => answer::constant(number, time, scan),
        Query::Logs(_) => Err(Failure::bad(
            "log queries are not supported as an instant query type, please change your query to a range query type",
        )),
    }
}

fn query_range(store: &Store, params: &Params, scan: &mut Scan) -> Answer {
    params::not_answered(params, "interval")?;
    let range = params::range(params, RANGE_DEFAULT)?;
    match logql::parse(params.required("query")?, &mut |bytes| scan.gathers(bytes))? {
        Query::Logs(query) => {
            let (limit, direction) = (params::limit(params)?, params::direction(params)?);
            let streams = logql::streams(store, scan, &query, range, limit, direction)?;
            answer::streams(&streams, scan)
        }
        Query::Metric(metric) => {
            let steps = Steps::new(range.start, range.end, params::step(params, &range)?)?;
            let series = logql::counts(store, scan, &metric, steps)?;
            answer::matrix(&series, scan)
        }
        Query::Constant(_) => Err(Failure::bad(
            "vector(…) is answered at /loki/api/v1/query only",
        )),
    }
}

/// The streams of a span of time, each once.
fn found_streams(
    store: &Store,
    scan: &mut Scan,
    params: &Params,
    selectors: &[Vec<Matcher>],
) -> Result<BTreeSet<BTreeMap<String, String>>, Failure> {
    let range = params::range(params, SENDERS_DEFAULT)?;
    let mut streams = BTreeSet::new();
    for sender in senders(scan, store, range, selectors)? {
        let labels = index_labels(&sender);
        if !streams.contains(&labels) {
            scan.gathers_labels(&labels)?;
            streams.insert(labels);
        }
    }
    Ok(streams)
}

/// The selectors of `query`, if the parameter is present.
fn selected(params: &Params, scan: &mut Scan) -> Result<Vec<Vec<Matcher>>, Failure> {
    selectors(params, "query", scan)
}

/// `{}` stands for all, so none is left.
fn selectors(params: &Params, name: &str, scan: &mut Scan) -> Result<Vec<Vec<Matcher>>, Failure> {
    let texts = params.selectors(name)?;
    if texts.iter().any(|text| is_empty_selector(text)) {
        return Ok(Vec::new());
    }
    let parsed = texts
        .into_iter()
        .map(|text| logql::parse_selector(text, &mut |bytes| scan.gathers(bytes)));
    Ok(parsed.collect::<Result<_, _>>()?)
}

fn is_empty_selector(text: &str) -> bool {
    let bare = text.split_whitespace().collect::<String>();
    bare == "{}"
}

fn labels(store: &Store, params: &Params, scan: &mut Scan) -> Answer {
    let selectors = selected(params, scan)?;
    let streams = found_streams(store, scan, params, &selectors)?;
    let names: BTreeSet<&String> = streams.iter().flat_map(|labels| labels.keys()).collect();
    answer::body(scan.page(), &names)
}

async fn values(name: web::Path<String>, request: HttpRequest, shared: Shared) -> HttpResponse {
    let params = match Params::of(&request, &[]) {
        Ok(params) => params,
        Err(why) => return Failure::from(why).response(),
    };
    let job = move |store: &Store, scan: &mut Scan| {
        let selectors = selected(&params, scan)?;
        let streams = found_streams(store, scan, &params, &selectors)?;
        let values: BTreeSet<&String> = streams
            .iter()
            .filter_map(|labels| labels.get(name.as_str()))
            .collect();
        answer::body(scan.page(), &values)
    };
    let answer = off_thread(shared, job).await;
    answer.unwrap_or_else(Failure::response)
}

fn series(store: &Store, params: &Params, scan: &mut Scan) -> Answer {
    if params.text("match[]").is_none() {
        return Err(
            BadParameter::new("match[]", "is missing: name the streams, {} for all").into(),
        );
    }
    let selectors = selectors(params, "match[]", scan)?;
    let streams = found_streams(store, scan, params, &selectors)?;
    answer::body(scan.page(), &streams)
}
