//! The time-out of a request, and what is left of it.
use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::problem;

/// When the request at hand will be answered with 504. A handler takes it as an argument and passes it on to
/// its calls, so that a retry never starts that nobody will wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// A deadline from now.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// The earlier of this deadline and `limit` from now.
    pub fn within(self, limit: Duration) -> Self {
        Self(self.0.min(Instant::now() + limit))
    }

    /// What is left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

impl FromRequest for Deadline {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let deadline = request.extensions().get::<Self>().copied();
        ready(deadline.ok_or_else(|| ApiError::internal("the route has no deadline")))
    }
}

/// Answers 504 when the handler takes longer than `limit` once the request is there, and drops it.
///
/// It wraps each route and not the application: only after routing may the request be cloned, which
/// is needed to answer in its place.
pub(crate) async fn enforce(
    limit: Duration,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let deadline = Deadline::after(limit);
    request.extensions_mut().insert(deadline);
    let http_request = request.request().clone();
    match telemetry::deadline::enforce(deadline.0, next.call(request)).await {
        Ok(result) => result.map(ServiceResponse::map_into_boxed_body),
        Err(_) => {
            let error = ApiError::new(
                problem::TIMEOUT,
                format!("not answered within {} ms", limit.as_millis()),
            );
            Ok(ServiceResponse::from_err(error, http_request))
        }
    }
}
