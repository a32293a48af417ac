//! The API for people and pages: history, acknowledgements, verdicts and silences of alerts.

use std::io;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Resource, Route, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use service::{ApiError, FieldError, Json, ProblemType, Query, problem};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::history::{EditError, Record, Verdict};
use crate::ledger::WINDOW;
use crate::person_text::{self, person_text};
use crate::queue::{Queue, no_disk};
use crate::server::RECEIVE_TIMEOUT;
use crate::silences::{AddError, MAX_SILENCES, NewSilence};
use crate::view;

/// Largest body that is read.
const BODY_LIMIT: usize = 64 << 10;

const MAX_LISTED: usize = 100;

/// How many requests read files at the same time. More would take threads that incoming alerts need.
const AT_ONCE: usize = 4;

static READING: Semaphore = Semaphore::const_new(AT_ONCE);

const CONFLICT: ProblemType = ProblemType::new("conflict", 409, "Not possible as it stands");

const BUSY: ProblemType = ProblemType::new("busy", 429, "Too much at once");

/// All paths.
pub(crate) fn resources() -> [Resource; 7] {
    let resource = |path, methods| resource(path, methods, BODY_LIMIT);
    let body = |route| body(route, BODY_LIMIT);
    [
        resource("/api/alerts", "GET").route(web::get().to(list)),
        resource("/api/alerts/{id}", "GET").route(web::get().to(show)),
        resource("/api/alerts/{id}/acknowledge", "POST").route(body(web::post().to(acknowledge))),
        resource("/api/alerts/{id}/verdict", "POST").route(body(web::post().to(judge))),
        resource("/api/ledger", "GET").route(web::get().to(ledger)),
        resource("/api/silences", "GET, POST")
            .route(web::get().to(silences))
            .route(body(web::post().to(silence))),
        resource("/api/silences/{id}", "DELETE").route(web::delete().to(expire)),
    ]
}

/// A path that answers to these methods, and takes bodies of so many bytes.
pub(crate) fn resource(path: &str, methods: &'static str, limit: usize) -> Resource {
    let other =
        move || async move { Err::<HttpResponse, _>(ApiError::method_not_allowed(methods)) };
    web::resource(path)
        .app_data(web::PayloadConfig::new(limit))
        .default_service(web::to(other))
}

/// A route that reads a body of so many bytes, in the time that there is for it.
pub(crate) fn body(route: Route, limit: usize) -> Route {
    route.wrap(from_fn(move |request, next| {
        service::upload::receive(limit, RECEIVE_TIMEOUT, request, next)
    }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Firing,
    Resolved,
    #[default]
    All,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    state: State,
    limit: Option<usize>,
}

async fn list(queue: web::Data<Queue>, wanted: Query<ListQuery>) -> Result<HttpResponse, ApiError> {
    let over = match wanted.0.state {
        State::Firing => Some(false),
        State::Resolved => Some(true),
        State::All => None,
    };
    let limit = wanted.0.limit.unwrap_or(50);
    if !(1..=MAX_LISTED).contains(&limit) {
        let allowed = format!("allowed: 1 to {MAX_LISTED}");
        return Err(ApiError::invalid(vec![FieldError::new("limit", allowed)]));
    }
    let listed = read(move || {
        let (alerts, more) = queue.history.list(over, limit, view::summary);
        json!({"alerts": alerts, "more": more})
    });
    Ok(HttpResponse::Ok().json(listed.await?))
}

async fn show(queue: web::Data<Queue>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id = parsed(&id)?;
    let shown = read(move || queue.history.get(id, view::whole));
    let shown = shown.await?.ok_or_else(unknown)?;
    Ok(HttpResponse::Ok().json(shown))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    by: String,
    #[serde(default)]
    note: String,
}

async fn acknowledge(
    queue: web::Data<Queue>,
    id: web::Path<String>,
    asked: Json<Acknowledgement>,
) -> Result<HttpResponse, ApiError> {
    let mut errors = Vec::new();
    let by = person_text("by", &asked.0.by, person_text::NAME, &mut errors);
    let note = person_text(
        "note",
        &asked.0.note,
        person_text::OPTIONAL_NOTE,
        &mut errors,
    );
    valid(errors)?;
    edited(queue, &id, move |record| {
        if record.resolved.is_some() {
            return Err("the alert is over".to_owned());
        }
        match record.acknowledged_by().filter(|before| before.by != by) {
            Some(before) => Err(format!(
                "{} has acknowledged it at {}",
                before.by, before.at
            )),
            None => {
                record.acknowledge(by, note);
                Ok(())
            }
        }
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerdictRequest {
    true_alarm: bool,
    by: String,
}

async fn judge(
    queue: web::Data<Queue>,
    id: web::Path<String>,
    asked: Json<VerdictRequest>,
) -> Result<HttpResponse, ApiError> {
    let mut errors = Vec::new();
    let by = person_text("by", &asked.0.by, person_text::NAME, &mut errors);
    valid(errors)?;
    edited(queue, &id, move |record| {
        record.verdict = Some(Verdict {
            true_alarm: asked.0.true_alarm,
            by,
            at: Utc::now(),
        });
        Ok(())
    })
    .await
}

/// Changes an alert, and answers with all that is known of it then.
async fn edited(
    queue: web::Data<Queue>,
    id: &str,
    edit: impl FnOnce(&mut Record) -> Result<(), String> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    let id = parsed(id)?;
    match beside(move || queue.history.edit(id, edit)).await? {
        Ok(record) => Ok(HttpResponse::Ok().json(view::whole(&record))),
        Err(EditError::Unknown) => Err(unknown()),
        Err(EditError::Refused(why)) => Err(ApiError::new(CONFLICT, why)),
        Err(EditError::Disk(error)) => Err(disk(&error)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    since: Option<DateTime<Utc>>,
}

async fn ledger(
    queue: web::Data<Queue>,
    wanted: Query<LedgerQuery>,
) -> Result<HttpResponse, ApiError> {
    let since = wanted.0.since.unwrap_or_else(|| Utc::now() - WINDOW);
    let counted = read(move || {
        let (severities, alerts, more) = queue.history.ledger(since);
        json!({"since": since, "severities": severities, "alerts": alerts, "more": more})
    });
    Ok(HttpResponse::Ok().json(counted.await?))
}

async fn silences(queue: web::Data<Queue>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"silences": queue.silences.list()}))
}

async fn silence(
    queue: web::Data<Queue>,
    asked: Json<NewSilence>,
) -> Result<HttpResponse, ApiError> {
    match beside(move || queue.silences.add(asked.0)).await? {
        Ok(silence) => Ok(HttpResponse::build(StatusCode::CREATED).json(silence)),
        Err(AddError::Invalid(errors)) => Err(ApiError::invalid(errors)),
        Err(AddError::TooMany) => {
            let detail =
                format!("there are {MAX_SILENCES} silences, as many as may be: expire one");
            Err(ApiError::new(CONFLICT, detail))
        }
        Err(AddError::Disk(error)) => Err(disk(&error)),
    }
}

async fn expire(queue: web::Data<Queue>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id = parsed(&id)?;
    match beside(move || queue.silences.expire(id)).await? {
        Ok(true) => Ok(HttpResponse::NoContent().finish()),
        Ok(false) => Err(ApiError::new(
            problem::NOT_FOUND,
            "no silence has this id; GET /api/silences lists them",
        )),
        Err(error) => Err(disk(&error)),
    }
}

fn parsed(id: &str) -> Result<Uuid, ApiError> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> ApiError {
    ApiError::new(
        problem::NOT_FOUND,
        "no such id; GET /api/alerts and GET /api/silences list them",
    )
}

fn disk(error: &io::Error) -> ApiError {
    ApiError::new(problem::UNAVAILABLE, no_disk(&error.to_string()))
}

fn valid(errors: Vec<FieldError>) -> Result<(), ApiError> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(errors)),
    }
}

/// On a thread that may wait for the disk.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    web::block(work).await.map_err(ApiError::internal)
}

/// Does the same, unless too many requests do it already.
async fn read<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let busy = |_| {
        ApiError::new(
            BUSY,
            "herald answers as many such questions as it may; ask again",
        )
    };
    let one = READING.try_acquire().map_err(busy)?;
    beside(move || {
        // Finishes, even if the client no longer waits for the answer.
        let _one = one;
        work()
    })
    .await
}
