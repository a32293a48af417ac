//! One call: its deadline, its retry, and the classification of its failures.

use std::time::Duration;

use incoming::{Body, Unread};
use problem::Problem;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest_middleware::{ClientWithMiddleware, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use telemetry::deadline::Deadline;
use telemetry::error_type::BODY;
use telemetry::http_client::{Call, DECODE, ResendCount, UrlTemplate};

use crate::error::{CallError, Cause};

/// A response larger than this is not one of ours.
const MAX_RESPONSE: usize = 1024 * 1024;

/// Less than this is not worth another attempt.
const MIN_ATTEMPT: Duration = Duration::from_millis(20);

/// Pause before the retry, drawn anew each time so that callers do not come back all at once.
const RETRY_PAUSE_MS: std::ops::Range<u64> = 10..60;

/// Another service.
#[derive(Clone)]
pub(crate) struct Peer {
    name: &'static str,
    base: String,
    client: ClientWithMiddleware,
    /// Limit of a call, its retry included.
    timeout: Duration,
}

/// A request that can be sent twice.
pub(crate) struct Outgoing {
    method: Method,
    template: &'static str,
    path: String,
    body: Option<Vec<u8>>,
    headers: HeaderMap,
    idempotent: bool,
}

/// An answer and its headers.
pub(crate) struct Answer<T> {
    pub(crate) body: T,
    pub(crate) headers: HeaderMap,
}

impl Outgoing {
    /// A `GET`; `path` is the template with its parameters filled in.
    pub(crate) fn get(template: &'static str, path: String) -> Self {
        Self {
            method: Method::GET,
            template,
            path,
            body: None,
            headers: HeaderMap::new(),
            idempotent: true,
        }
    }

    /// A `POST` of JSON, not repeatable unless said so.
    pub(crate) fn post(template: &'static str, body: &impl Serialize) -> Self {
        // Our own types have no keys that are not text, and that is all that could fail.
        Self::post_json(template, serde_json::to_vec(body).unwrap_or_default())
    }

    /// The same with a body that is JSON already.
    pub(crate) fn post_json(template: &'static str, body: Vec<u8>) -> Self {
        let (method, path) = (Method::POST, template.to_owned());
        Self {
            method,
            template,
            path,
            body: Some(body),
            headers: HeaderMap::new(),
            idempotent: false,
        }
    }

    /// Doing it twice is the same as doing it once.
    pub(crate) fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Adds a header. It skips an invalid value, so the caller checks it before.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Peer {
    /// `name` is `service.peer.name`; `base` is a URL without a path.
    pub(crate) fn new(
        name: &'static str,
        base: &str,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = telemetry::http_client::client(name, timeout)?;
        Ok(Self {
            name,
            base: base.trim_end_matches('/').to_owned(),
            client,
            timeout,
        })
    }

    /// Sends the request and reads the JSON of a successful answer. A repeatable request gets one retry when it
    /// failed in a way that may pass, if enough time is left.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: Outgoing,
        deadline: Deadline,
    ) -> Result<Answer<T>, CallError> {
        let deadline = deadline.within(self.timeout);
        let error = match self.attempt(&request, deadline, None).await {
            Err(error) if request.idempotent && error.is_transient() => error,
            result => return result,
        };
        let pause = Duration::from_millis(rand::random_range(RETRY_PAUSE_MS));
        if deadline.left() < pause + MIN_ATTEMPT {
            return Err(error);
        }
        tracing::debug!(service.peer.name = self.name, %error, "one retry");
        tokio::time::sleep(pause).await;
        self.attempt(&request, deadline, Some(ResendCount(1))).await
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        request: &Outgoing,
        deadline: Deadline,
        resend: Option<ResendCount>,
    ) -> Result<Answer<T>, CallError> {
        let sent = self.prepare(request, deadline, resend).send().await;
        let response = sent.map_err(|error| self.failed(error))?;
        // Held until the body is parsed: a call with an unusable response counts as failed.
        let call = Call::of(&response);
        let (status, headers) = (response.status(), response.headers().clone());
        let body = Body::of(response, MAX_RESPONSE).whole().await;
        let body = body.map_err(|unread| match unread {
            Unread::Broken(error) => self.failed(error.into()),
            large @ Unread::TooLarge(_) => {
                call.failed(BODY);
                self.malformed(large.to_string())
            }
        })?;
        if !status.is_success() {
            let problem = serde_json::from_slice::<Problem>(&body).ok().map(Box::new);
            return Err(CallError::Status {
                peer: self.name,
                status: status.as_u16(),
                problem,
            });
        }
        match serde_json::from_slice(&body) {
            Ok(body) => Ok(Answer { body, headers }),
            Err(error) => {
                call.failed(DECODE);
                Err(self.malformed(place(&error)))
            }
        }
    }

    fn prepare(
        &self,
        request: &Outgoing,
        deadline: Deadline,
        resend: Option<ResendCount>,
    ) -> RequestBuilder {
        let mut builder = self
            .client
            .request(
                request.method.clone(),
                format!("{}{}", self.base, request.path),
            )
            .headers(request.headers.clone())
            .with_extension(UrlTemplate(request.template))
            // The client's own time-out is the maximum for any call; this call may have less time left.
            .timeout(deadline.left());
        if let Some(resend) = resend {
            builder = builder.with_extension(resend);
        }
        match &request.body {
            Some(body) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            None => builder,
        }
    }

    fn failed(&self, error: reqwest_middleware::Error) -> CallError {
        let peer = self.name;
        match error {
            reqwest_middleware::Error::Reqwest(error)
                if error.is_timeout() && !error.is_connect() =>
            {
                CallError::TimedOut { peer }
            }
            reqwest_middleware::Error::Reqwest(error) if error.is_connect() => {
                CallError::Unreachable {
                    peer,
                    source: Cause::of(&error.without_url()),
                }
            }
            reqwest_middleware::Error::Reqwest(error) => CallError::Broken {
                peer,
                source: Cause::of(&error.without_url()),
            },
            reqwest_middleware::Error::Middleware(error) => CallError::Broken {
                peer,
                source: Cause::of(error.as_ref()),
            },
        }
    }

    fn malformed(&self, problem: String) -> CallError {
        let peer = self.name;
        CallError::Malformed { peer, problem }
    }
}

/// Says where the JSON is wrong, not what it says.
fn place(error: &serde_json::Error) -> String {
    let (kind, line, column) = (error.classify(), error.line(), error.column());
    format!("{kind:?} error at line {line} column {column}")
}
