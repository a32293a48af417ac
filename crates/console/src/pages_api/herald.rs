//! `/api/herald/…`: herald's alerts and silences. The console adds its own secret, so that a page needs none.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::others::RemoteAnswer;
use super::{Events, RemoteServices};
use crate::answer::{Answers, Refused, problem};
use crate::ingest::Sink;

const HERALD: &str = "herald";

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/herald/alerts", web::get().to(pass))
        .route("/api/herald/alerts/{id}", web::get().to(pass))
        .route("/api/herald/alerts/{id}/acknowledge", web::post().to(pass))
        .route("/api/herald/alerts/{id}/verdict", web::post().to(pass))
        .route("/api/herald/ledger", web::get().to(pass))
        .route("/api/herald/silences", web::get().to(pass))
        .route("/api/herald/silences", web::post().to(pass))
        .route("/api/herald/silences/{id}", web::delete().to(pass));
}

async fn pass(
    request: HttpRequest,
    payload: Payload,
    others: web::Data<RemoteServices>,
    sink: web::Data<Sink>,
    events: web::Data<Events>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    match asked(&request, payload, &others, &sink).await {
        Ok(told) => {
            if request.method() != Method::GET && told.status.is_success() {
                events.herald_changed();
            }
            told.answer(&answers).await
        }
        Err(Refused { status, detail }) => problem(status, &detail),
    }
}

async fn asked(
    request: &HttpRequest,
    payload: Payload,
    others: &RemoteServices,
    sink: &Sink,
) -> Result<RemoteAnswer, Refused> {
    let no = |status, detail: &str| Refused {
        status,
        detail: detail.to_owned(),
    };
    let Some(herald) = &others.herald_url else {
        let why =
            "the console knows no herald: --herald-url (OMNITRACE_HERALD_URL) says where it is";
        return Err(no(StatusCode::NOT_FOUND, why));
    };
    let path = path(request).ok_or_else(|| no(StatusCode::NOT_FOUND, "no such id"))?;
    let mut passed = others.client.request(
        request.method().as_str().parse().unwrap_or_default(),
        format!("{herald}{path}"),
    );
    if let Some(secret) = &others.secret {
        passed = passed.bearer_auth(secret);
    }
    let told = match *request.method() {
        Method::POST => others.pass(passed, payload, sink, HERALD).await?,
        _ => others.ask(passed, HERALD).await?,
    };
    match told.status {
        // The page's user has no credentials that would help.
        StatusCode::UNAUTHORIZED => Err(no(
            StatusCode::BAD_GATEWAY,
            "herald refuses the console's secret: OMNITRACE_NOTIFY_SECRET has to be what HERALD_SECRET is",
        )),
        _ => Ok(told),
    }
}

/// Herald's path, built from the route. Only the id and the query come from the request.
fn path(request: &HttpRequest) -> Option<String> {
    let route = request.match_pattern()?;
    let mut path = route.replacen("/api/herald/", "/api/", 1);
    if let Some(id) = request.match_info().get("id") {
        let id: Uuid = id.parse().ok()?;
        path = path.replace("{id}", &id.to_string());
    }
    match request.query_string() {
        "" => Some(path),
        query => Some(format!("{path}?{query}")),
    }
}
