//! The data of the web page: the list of traces, and one trace as the rows of a waterfall.

mod list;
#[cfg(test)]
mod tests;
mod waterfall;

pub(crate) use waterfall::pairs;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::answer::{Answers, Page, Refused, problem};
use crate::model::TraceId;
use crate::params::{self, BadParameter, Params};
use crate::store::Store;

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/console/traces", web::get().to(traces))
        .route("/api/console/traces/{id}", web::get().to(one_trace));
}

async fn traces(
    store: web::Data<Store>,
    request: HttpRequest,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let query = request.query_string().to_owned();
    blocking(&answers, move |page| {
        let query = list::query(Params::parse(&query)?)?;
        Ok(list::list(page, &store, &query)?)
    })
    .await
}

async fn one_trace(
    store: web::Data<Store>,
    id: web::Path<String>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    blocking(&answers, move |mut page| {
        let id = params::trace_id("trace_id", &id)?;
        let trace = store.trace_by_id(id).ok_or_else(|| not_here(id))?;
        page.holds(trace.bytes)?;
        let waterfall = waterfall::waterfall(&store, &trace, |bytes| page.gathers(bytes))?;
        Ok(page.json(&waterfall)?)
    })
    .await
}

/// Why there is no answer.
pub(crate) struct Failure {
    status: StatusCode,
    detail: String,
}

/// A trace that nobody has.
pub(crate) fn not_here(id: TraceId) -> Failure {
    Failure {
        status: StatusCode::NOT_FOUND,
        detail: format!(
            "trace {id} is not in the store: it has not come yet, or made room for newer ones"
        ),
    }
}

impl From<BadParameter> for Failure {
    fn from(bad: BadParameter) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            detail: bad.to_string(),
        }
    }
}

impl From<Refused> for Failure {
    fn from(Refused { status, detail }: Refused) -> Self {
        Self { status, detail }
    }
}

/// Runs `job` off the worker thread, since it may look through the whole store. Failures become problem
/// documents (RFC 9457).
pub(crate) async fn blocking<F>(answers: &Answers, job: F) -> HttpResponse
where
    F: FnOnce(Page) -> Result<Page, Failure> + Send + 'static,
{
    let answer = answers.compute(job).await;
    answer.unwrap_or_else(|Failure { status, detail }| problem(status, &detail))
}
