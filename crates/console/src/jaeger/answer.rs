//! The envelope around all answers of Jaeger's API, errors too.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::answer::{Answers, Items, Page, Refused, of_status};
use crate::model::TraceId;
use crate::params::BadParameter;

#[derive(Serialize)]
struct Envelope<'a, T: Serialize + ?Sized> {
    data: Option<&'a T>,
    total: usize,
    limit: usize,
    offset: usize,
    errors: Option<Vec<ApiError>>,
}

/// An entry of `errors`.
#[derive(Serialize)]
pub(super) struct ApiError {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl ApiError {
    /// About one trace of several.
    pub fn of_trace(id: TraceId, msg: String) -> Self {
        Self {
            code: None,
            msg,
            trace_id: Some(id.to_string()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub message: String,
}

impl Failure {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn response(self) -> HttpResponse {
        let error = ApiError {
            code: Some(self.status.as_u16()),
            msg: self.message,
            trace_id: None,
        };
        let body: Envelope<'_, ()> = Envelope {
            data: None,
            total: 0,
            limit: 0,
            offset: 0,
            errors: Some(vec![error]),
        };
        of_status(self.status).json(body)
    }
}

impl From<BadParameter> for Failure {
    fn from(bad: BadParameter) -> Self {
        Self::new(StatusCode::BAD_REQUEST, bad.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(Refused { status, detail }: Refused) -> Self {
        Self::new(status, detail)
    }
}

/// A good answer.
pub(super) fn answer<T: Serialize + ?Sized>(
    page: Page,
    data: &T,
    total: usize,
    errors: Option<Vec<ApiError>>,
) -> Result<Page, Failure> {
    let body = Envelope {
        data: Some(data),
        total,
        limit: 0,
        offset: 0,
        errors,
    };
    Ok(page.json(&body)?)
}

/// A good answer with a list, which `fill` writes.
pub(super) fn list(
    mut page: Page,
    errors: Option<Vec<ApiError>>,
    fill: impl FnOnce(&mut Items<'_>) -> Result<(), Refused>,
) -> Result<Page, Failure> {
    page.text("{\"data\":[")?;
    let mut items = Items::on(&mut page);
    fill(&mut items)?;
    let total = items.count;
    page.text(&format!(
        "],\"total\":{total},\"limit\":0,\"offset\":0,\"errors\":"
    ))?;
    page.put(&errors)?;
    page.text("}")?;
    Ok(page)
}

/// Runs `job` off the worker thread: a search may look through the whole store.
pub(super) async fn blocking<F>(answers: &Answers, job: F) -> HttpResponse
where
    F: FnOnce(Page) -> Result<Page, Failure> + Send + 'static,
{
    let answer = answers.compute(job).await;
    answer.unwrap_or_else(Failure::response)
}
