//! The part of Prometheus's query API that herald, `omnitrace doctor`, the dashboards and Grafana use, over scraped and
//! received metrics.

mod answer;
mod params;
mod reading;

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use promql::{Expression, Matcher};
use serde::Serialize;
use serde_json::json;

use crate::answer::{Answers, Page};
use crate::ingest::{Sink, read_small};
use crate::params::Params;
use crate::series::{LabelSet, SeriesStore};
use answer::Answer;
pub(crate) use answer::Failure;
pub(crate) use params::MAX_TIME;
use reading::Reading;

/// The data that a query reads.
type Shared = (web::Data<Sink>, web::Data<Answers>);

/// The version of Prometheus whose API this is. Clients such as Grafana choose their requests by it.
const VERSION: &str = "3.5.0";

/// A question and how to answer it.
type Handler = fn(&Params, Reading) -> Answer;

/// The parameters that a request may have besides [`EVERYWHERE`].
type ParameterNames = &'static [&'static str];

/// The parameters that every request may have. The console returns no statistics.
const EVERYWHERE: [&str; 2] = ["timeout", "stats"];

/// The parameters that narrow a list of series, labels or values.
const NARROWED: ParameterNames = &["match[]", "start", "end", "limit"];

/// The requests that may also be sent as a form.
const FORMS: [(&str, Handler, ParameterNames); 5] = [
    (
        "/api/v1/query",
        query,
        &["query", "time", "limit", "lookback_delta"],
    ),
    (
        "/api/v1/query_range",
        query_range,
        &["query", "start", "end", "step", "limit", "lookback_delta"],
    ),
    ("/api/v1/series", series, NARROWED),
    ("/api/v1/labels", labels, NARROWED),
    (
        "/api/v1/query_exemplars",
        exemplars,
        &["query", "start", "end"],
    ),
];

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for (path, handler, known) in FORMS {
        let to = move |request, body, asked| answered(request, body, asked, handler, known);
        config
            .route(path, web::get().to(to))
            .route(path, web::post().to(to));
    }
    config
        .route("/api/v1/metadata", web::get().to(metadata))
        .route("/api/v1/status/buildinfo", web::get().to(build))
        .route("/api/v1/label/{name}/values", web::get().to(values));
}

/// Whether a path takes forms, too.
pub(crate) fn takes_forms(path: &str) -> bool {
    FORMS.iter().any(|(known, ..)| *known == path)
}

async fn answered(
    request: HttpRequest,
    payload: Payload,
    shared: Shared,
    handler: Handler,
    known: ParameterNames,
) -> HttpResponse {
    let outcome = async {
        // The account covers the parameters while they wait.
        let (body, _account) = read_small(payload, &shared.0.gate).await?;
        let params = Params::of(&request, &body)?.only(&[known, &EVERYWHERE].concat())?;
        off_thread(shared, params, handler).await
    };
    outcome.await.unwrap_or_else(Failure::response)
}

/// Answers a request about something other than series in the same format; nothing is evaluated.
pub(crate) async fn told<T: Serialize>(
    request: &HttpRequest,
    answers: &Answers,
    known: &[&str],
    tell: impl FnOnce(&Params, &mut Page) -> Result<T, Failure> + Send + 'static,
) -> HttpResponse {
    let outcome = async {
        let params = Params::of(request, &[])?.only(&[known, &EVERYWHERE].concat())?;
        params::timeout(&params)?;
        let job = move |mut page: Page| {
            let data = tell(&params, &mut page)?;
            answer::body(&data, page)
        };
        answers.compute(job).await
    };
    outcome.await.unwrap_or_else(Failure::response)
}

/// The result of an expression for a rule, or the reason why there is none.
pub(crate) fn evaluated(
    expression: &Expression,
    series: &SeriesStore,
    page: Page,
    (at_ms, max_time): (i64, Duration),
) -> Result<promql::Value, String> {
    let reading = Reading::new(series.clone(), page, max_time);
    let found = reading.instant(expression, at_ms, None);
    found.map_err(Failure::into_message)
}

/// Runs a handler where it holds nobody up, in its turn.
async fn off_thread(
    (sink, answers): Shared,
    params: Params,
    handler: impl FnOnce(&Params, Reading) -> Answer + Send + 'static,
) -> Result<HttpResponse, Failure> {
    let max_time = params::timeout(&params)?;
    let store = sink.series.clone();
    let evaluation = answers.evaluation(max_time).await;
    let evaluation = evaluation.ok_or_else(|| Failure::crowded(max_time))?;
    let job = move |page| {
        let _evaluation = evaluation;
        handler(&params, Reading::new(store, page, max_time))
    };
    answers.compute(job).await
}

fn expression(params: &Params) -> Result<Expression, Failure> {
    promql::parse(params.required("query")?).map_err(Failure::unread)
}

fn query(params: &Params, reading: Reading) -> Answer {
    let at_ms = params::time(params, "time")?.unwrap_or_else(params::now);
    let limit = params::limit(params)?;
    let expression = expression(params)?;
    let look_back = params::look_back(params)?;
    let found = reading.instant(&expression, at_ms, look_back)?;
    answer::value(&found, at_ms, limit, reading)
}

fn query_range(params: &Params, reading: Reading) -> Answer {
    let steps = params::steps(params)?;
    let limit = params::limit(params)?;
    let expression = expression(params)?;
    let look_back = params::look_back(params)?;
    let found = reading.range(&expression, steps, look_back)?;
    answer::value(&found, steps.end_ms, limit, reading)
}

/// The selectors of `match[]`; none if the parameter is absent.
fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    let texts = params.selectors("match[]")?;
    let parsed = texts.into_iter().map(promql::selector);
    parsed.collect::<Result<_, _>>().map_err(Failure::unread)
}

/// Series with samples in the time asked for that pass one of the selectors, all if there is none.
fn found(params: &Params, reading: &Reading) -> Result<BTreeSet<LabelSet>, Failure> {
    let time_ms = params::range(params)?;
    let mut selectors = selectors(params)?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let mut found = BTreeSet::new();
    for matchers in &selectors {
        reading.labels(matchers, time_ms.clone(), |labels| {
            if found.contains(&labels) {
                return Ok(());
            }
            reading.gathers(labels.cost() + size_of::<LabelSet>() * 2)?;
            found.insert(labels);
            Ok(())
        })?;
    }
    Ok(found)
}

fn series(params: &Params, reading: Reading) -> Answer {
    params.required("match[]")?;
    let limit = params::limit(params)?;
    let found = found(params, &reading)?;
    answer::list(found.iter().map(answer::Map), limit, reading)
}

fn labels(params: &Params, reading: Reading) -> Answer {
    let limit = params::limit(params)?;
    let found = found(params, &reading)?;
    let names = found.iter().flat_map(LabelSet::iter).map(|(name, _)| name);
    let names: BTreeSet<&str> = names.collect();
    answer::list(names.iter(), limit, reading)
}

async fn values(name: web::Path<String>, request: HttpRequest, shared: Shared) -> HttpResponse {
    let known = [NARROWED, &EVERYWHERE].concat();
    let outcome = async {
        let params = Params::of(&request, &[])?.only(&known)?;
        let handler = move |params: &Params, reading: Reading| {
            let limit = params::limit(params)?;
            let found = found(params, &reading)?;
            let values = found.iter().map(|labels| labels.get(&name));
            let values: BTreeSet<&str> = values.filter(|value| !value.is_empty()).collect();
            answer::list(values.iter(), limit, reading)
        };
        off_thread(shared, params, handler).await
    };
    outcome.await.unwrap_or_else(Failure::response)
}

fn exemplars(params: &Params, reading: Reading) -> Answer {
    let time_ms = params::range(params)?;
    let expression = expression(params)?;
    let found = reading.exemplars(&expression, &time_ms)?;
    answer::exemplars(&found, reading)
}

/// The metadata of metrics.
async fn metadata(request: HttpRequest, (sink, answers): Shared) -> HttpResponse {
    let tell = move |params: &Params, page: &mut Page| {
        let most = |name| Ok::<_, Failure>(params.number(name)?.map(|most| most as usize));
        let metrics = most("limit")?.unwrap_or(usize::MAX);
        let variants = most("limit_per_metric")?.filter(|most| *most > 0);
        let limits = (metrics, variants.unwrap_or(usize::MAX));
        let room = |bytes| page.gathers(bytes);
        let found = sink.metadata.read(params.text("metric"), limits, room)?;
        Ok(found)
    };
    let known = ["metric", "limit", "limit_per_metric"];
    told(&request, &answers, &known, tell).await
}

async fn build(request: HttpRequest, answers: web::Data<Answers>) -> HttpResponse {
    let build = json!({
        "version": VERSION,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": concat!("omnitrace console ", env!("CARGO_PKG_VERSION")),
    });
    told(&request, &answers, &[], move |_, _| Ok(build)).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service};

    use super::*;
    use crate::budget::Budget;
    use crate::counters::Counters;
    use crate::ingest::Gate;
    use crate::metadata::Metadata;
    use crate::rules::{self, Rules};
    use crate::series::SeriesStore;
    use crate::store::Store;

    #[actix_web::test]
    async fn what_needs_no_evaluation_does_not_wait_for_one() {
        let budget = Budget::new(64 << 20);
        let answers = Answers::new(budget.clone());
        let sink = Sink {
            store: Store::new(1 << 20),
            series: SeriesStore::new(1 << 20),
            metadata: Metadata::new(1 << 20),
            counters: Counters::default(),
            gate: Gate::new(budget, 1 << 20),
        };
        let app = App::new()
            .app_data(web::Data::new(sink))
            .app_data(web::Data::new(answers.clone()))
            .app_data(web::Data::new(Rules::load(None).unwrap().reports()))
            .configure(configure)
            .configure(rules::configure);
        let app = init_service(app).await;
        let mut running = Vec::new();
        while let Some(one) = answers.evaluation(Duration::from_millis(1)).await {
            running.push(one);
        }
        for (question, status) in [
            ("query?query=1&", 503),
            ("status/buildinfo?", 200),
            ("metadata?", 200),
            ("rules?", 200),
            ("alerts?", 200),
        ] {
            let uri = format!("/api/v1/{question}timeout=1ms");
            let response = call_service(&app, TestRequest::get().uri(&uri).to_request()).await;
            assert_eq!(response.status(), status, "{question}");
        }
    }
}
