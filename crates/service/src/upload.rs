//! Receives the body of a request before the request's own time starts, so that a slow client does not look like a slow
//! service.
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::error::ApiError;
use crate::problem;

/// Longer than writing the response takes.
const HOLD: Duration = Duration::from_secs(1);

/// Middleware of a route: waits for the whole body, at most `limit` bytes and at most `time`; after that it is the client's
/// fault: 408. What else is wrong with the body is told to whoever reads it.
///
/// # Errors
/// Those of the handler.
pub async fn receive(
    limit: usize,
    time: Duration,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if declared(&request).is_some_and(|size| size > limit) {
        return next.call(request).await;
    }
    let mut payload = request.take_payload();
    let received = timeout(time, whole(&mut payload, limit)).await;
    telemetry::http_server::arrived(request.request());
    if !matches!(received, Ok(Ok(_))) {
        hold(payload);
    }
    match received {
        Ok(body) => {
            request.set_payload(stream::iter([body]).boxed_local().into());
            next.call(request).await
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {} ms", time.as_millis());
            let error = ApiError::new(problem::REQUEST_TIMEOUT, detail);
            Ok(request.error_response(error))
        }
    }
}

fn declared(request: &ServiceRequest) -> Option<usize> {
    let length = request.headers().get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// While somebody has the payload, actix closes the connection after the answer. One that is dropped it reads to its end,
/// and a chunked one may have none.
pub fn hold(payload: Payload) {
    actix_web::rt::spawn(async move {
        sleep(HOLD).await;
        drop(payload);
    });
}

async fn whole(payload: &mut Payload, limit: usize) -> Result<Bytes, PayloadError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.try_next().await? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err(PayloadError::Overflow);
        }
    }
    Ok(body.freeze())
}
