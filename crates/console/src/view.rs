//! What the web page reads: the list of traces and one trace as the rows of a waterfall.

mod list;
#[cfg(test)]
mod tests;
mod waterfall;

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::answer::problem;
use crate::params::{self, BadParameter, Params};
use crate::store::Store;

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/console/traces", web::get().to(traces))
        .route("/api/console/traces/{id}", web::get().to(one_trace));
}

async fn traces(store: web::Data<Store>, request: HttpRequest) -> HttpResponse {
    let query = request.query_string().to_owned();
    blocking(move || {
        let query = list::query(Params::parse(&query)?)?;
        json(&list::list(&store, &query))
    })
    .await
}

async fn one_trace(store: web::Data<Store>, id: web::Path<String>) -> HttpResponse {
    blocking(move || {
        let id = params::trace_id("trace_id", &id)?;
        let missing = || Failure {
            status: StatusCode::NOT_FOUND,
            detail: format!(
                "trace {id} is not in the store: it has not come yet, or made room for newer ones"
            ),
        };
        let trace = store.trace(id).ok_or_else(missing)?;
        json(&waterfall::waterfall(&store, &trace))
    })
    .await
}

/// Why there is no answer.
struct Failure {
    status: StatusCode,
    detail: String,
}

impl From<BadParameter> for Failure {
    fn from(bad: BadParameter) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            detail: bad.to_string(),
        }
    }
}

fn json<T: Serialize>(body: &T) -> Result<Vec<u8>, Failure> {
    let failure = |e: serde_json::Error| Failure {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        detail: e.to_string(),
    };
    serde_json::to_vec(body).map_err(failure)
}

/// Runs `job` off the worker thread, since it may look through the whole store. Failures become problem
/// documents (RFC 9457).
async fn blocking<F>(job: F) -> HttpResponse
where
    F: FnOnce() -> Result<Vec<u8>, Failure> + Send + 'static,
{
    let stopping = || Failure {
        status: StatusCode::SERVICE_UNAVAILABLE,
        detail: "the console is stopping".into(),
    };
    match web::block(job).await.unwrap_or_else(|_| Err(stopping())) {
        Ok(body) => HttpResponse::Ok()
            .content_type(ContentType::json())
            .body(body),
        Err(Failure { status, detail }) => problem(status, &detail),
    }
}
