//! `POST /watchdog`: passes the alert that always fires on at once, to a receiver that raises the alarm when it stops.
//! Storing, retrying or enriching it would prove nothing: a beat means that herald could accept an alert now, and that some
//! target accepts notifications.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use reqwest::Client;
use serde_json::json;
use service::{ApiError, FieldError, problem};
use slo::routing::{ENVIRONMENT, WATCHDOG};

use crate::intake;
use crate::payload::{Payload, Status};
use crate::queue::Queue;
use crate::settings::SecretUrl;
use crate::target;

/// Largest body that is read.
pub(crate) const BODY_LIMIT: usize = 64 << 10;

/// How long the receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The receiver of the beat, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Watchdog {
    client: Client,
    url: Option<SecretUrl>,
    /// For how long no target may accept anything.
    patience: Duration,
}

impl Watchdog {
    pub(crate) fn new(url: Option<SecretUrl>, patience: Duration) -> reqwest::Result<Self> {
        let client = target::client(TIMEOUT)?;
        Ok(Self {
            client,
            url,
            patience,
        })
    }

    /// Without the alert's texts, which are nobody's business outside.
    async fn beat(&self, payload: &Payload) -> Result<bool, String> {
        let Some(url) = &self.url else {
            return Ok(false);
        };
        // Stacks that share an Alertmanager share the receiver, which has to tell them apart.
        let environment = payload.label(ENVIRONMENT);
        let beat = json!({"alertname": WATCHDOG, "status": Status::Firing, "from": "herald", "environment": environment});
        let answer = self.client.post(url.reveal()).json(&beat).send().await;
        // The URL holds a token.
        let answer = answer.map_err(|error| service::error::chain(&error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// Passes the beat on, unless herald could accept no alert, or no target would receive one. Alertmanager counts the refusal
/// and retries.
pub(crate) async fn watchdog(
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
    queue: web::Data<Queue>,
    watchdog: web::Data<Watchdog>,
) -> Result<HttpResponse, ApiError> {
    let payload = Payload::read(&intake::read(&request, body)?)?;
    if payload.name() != WATCHDOG {
        let allowed = format!("allowed: {WATCHDOG}; whatever else is told goes to /alerts");
        let field = FieldError::new("commonLabels.alertname", allowed);
        return Err(ApiError::invalid(vec![field]));
    }
    let unavailable = |detail: String| ApiError::new(problem::UNAVAILABLE, detail);
    if let Some(reason) = queue.reasons().into_iter().next() {
        return Err(unavailable(reason));
    }
    if queue.reach.is_lost(watchdog.patience) {
        let patience = watchdog.patience;
        return Err(unavailable(format!(
            "no target has taken a notification for {patience:?} (HERALD_SILENT_AFTER): herald's log says why"
        )));
    }
    // Its end is silence.
    let is_told = match payload.status {
        Status::Resolved => Ok(false),
        Status::Firing => watchdog.beat(&payload).await,
    };
    let passed_on = is_told.map_err(|why| {
        tracing::warn!(error = why, "the alert that always fires was not passed on");
        unavailable(format!("HERALD_WATCHDOG_URL: {why}"))
    })?;
    Ok(HttpResponse::Ok().json(json!({"passed_on": passed_on})))
}
