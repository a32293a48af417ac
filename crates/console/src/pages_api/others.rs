//! Requests herald and services on behalf of a page, in bounded time and memory. Only JSON is passed on.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::web::Payload;
use anyhow::{Context, Result};
use incoming::{Body, Unread};
use problem::MEDIA_TYPE;
use reqwest::RequestBuilder;
use serde_json::value::RawValue;

use crate::answer::{Answers, Page, Refused, problem};
use crate::budget::{Account, Budget, Purpose};
use crate::ingest::{Sink, read_small};
use crate::scrape::{Targets, reason};
use crate::settings::Settings;

/// A page that waits longer shows nothing new.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The largest answer: herald's list of 100 alerts is a fraction of it.
const MAX_ANSWER: usize = 2 << 20;

/// The client for herald and services.
#[derive(Clone)]
pub(crate) struct RemoteServices {
    pub client: reqwest::Client,
    budget: Budget,
    /// Herald's URL, without a slash at its end.
    pub herald_url: Option<String>,
    /// The secret that herald requires.
    pub secret: Option<String>,
    /// The services are among them.
    pub targets: Targets,
}

impl RemoteServices {
    /// # Errors
    /// There can be no client.
    pub fn new(settings: &Settings, targets: Targets, budget: Budget) -> Result<Self> {
        let herald_url = settings.herald_url.as_deref();
        let client = incoming::client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build();
        Ok(Self {
            client: client.context("nobody can be asked on behalf of pages")?,
            budget,
            herald_url: herald_url.map(|url| url.trim_end_matches('/').to_owned()),
            secret: settings.notify.secret.clone(),
            targets,
        })
    }

    /// Sends the page's JSON to `who` and returns the answer. The JSON stays charged until then.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and when the page's body cannot be read.
    pub async fn pass(
        &self,
        request: RequestBuilder,
        payload: Payload,
        sink: &Sink,
        who: &str,
    ) -> Result<RemoteAnswer, Refused> {
        let read = read_small(payload, &sink.gate).await;
        let (body, _account) = read.map_err(|why| bad(why.status, why.message))?;
        let request = request
            .header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_vec());
        self.ask(request, who).await
    }

    /// The answer of `who`.
    ///
    /// # Errors
    /// 504 and 502 when there is no answer, or none that a page could read; 503 when there is no room for it.
    pub async fn ask(&self, request: RequestBuilder, who: &str) -> Result<RemoteAnswer, Refused> {
        let failed = |why: reqwest::Error| match why.is_timeout() {
            true => bad(
                StatusCode::GATEWAY_TIMEOUT,
                format!("{who} has not answered within {TIMEOUT:?}"),
            ),
            false => bad_gateway(format!("{who} cannot be asked: {}", reason(&why))),
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let status = StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
        if status.is_redirection() {
            return Err(bad_gateway(format!("{who} answers with {status}")));
        }
        let unread = |why: Unread| match why {
            Unread::Broken(why) => failed(why),
            large @ Unread::TooLarge(_) => bad_gateway(format!("{who}: {large}")),
        };
        let mut account = self.budget.account(Purpose::Answer);
        let (mut body, mut text) = (Body::of(response, MAX_ANSWER), Vec::new());
        while let Some(part) = body.part().await.map_err(unread)? {
            // The text is copied when it grows, and then written.
            if !account.cover(2 * (text.len() + part.len())) {
                let why = format!("no room for what {who} answers (--memory): try again");
                return Err(bad(StatusCode::SERVICE_UNAVAILABLE, why));
            }
            text.extend_from_slice(&part);
        }
        RemoteAnswer::new(status, text, account)
            .ok_or_else(|| bad_gateway(format!("{who} answers {status} with what is no JSON")))
    }
}

fn bad_gateway(detail: String) -> Refused {
    bad(StatusCode::BAD_GATEWAY, detail)
}

fn bad(status: StatusCode, detail: String) -> Refused {
    Refused { status, detail }
}

/// The answer of another process.
#[derive(Debug)]
pub(crate) struct RemoteAnswer {
    pub status: StatusCode,
    /// `None` of an empty answer.
    pub json: Option<Box<RawValue>>,
    _account: Account,
}

impl RemoteAnswer {
    /// `None` if it is neither empty nor JSON.
    fn new(status: StatusCode, text: Vec<u8>, account: Account) -> Option<Self> {
        let text = String::from_utf8(text).ok()?;
        let json = match text.is_empty() {
            true => None,
            false => Some(RawValue::from_string(text).ok()?),
        };
        Some(Self {
            status,
            json,
            _account: account,
        })
    }

    /// The error text of the process that refused.
    pub fn refusal(&self) -> String {
        let problem = self
            .json
            .as_ref()
            .map(|json| serde_json::from_str(json.get()));
        let problem: Option<problem::Problem> = problem.and_then(Result::ok);
        match problem {
            Some(problem) if !problem.detail.is_empty() => problem.detail,
            Some(problem) => problem.title,
            None => format!("status {}", self.status),
        }
    }

    /// Passes it on.
    pub async fn answer(self, answers: &Answers) -> HttpResponse {
        let status = self.status;
        if self.json.is_none() {
            return HttpResponse::build(status).finish();
        }
        let write = move |page: Page| page.json(&self.json);
        let answer = answers.compute(write).await;
        let mut answer =
            answer.unwrap_or_else(|Refused { status, detail }| problem(status, &detail));
        if answer.status() == StatusCode::OK {
            *answer.status_mut() = status;
        }
        if !status.is_success() {
            let kind = HeaderValue::from_static(MEDIA_TYPE);
            answer.headers_mut().insert(CONTENT_TYPE, kind);
        }
        answer
    }
}
