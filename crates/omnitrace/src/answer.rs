//! Reads an answer up to a limit.

use anyhow::{Context, Result};
use incoming::{Body, Unread};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

/// A larger response cannot be the requested one.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Sends a request, with JSON if there is a body. Returns status and text. `silent` names the service and its address for
/// the error.
pub async fn ask(
    mut request: RequestBuilder,
    body: Option<Value>,
    silent: impl FnOnce() -> String,
) -> Result<(StatusCode, String)> {
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.map_err(reqwest::Error::without_url);
    let response = response.with_context(silent)?;
    Ok((response.status(), text(response).await?))
}

/// The body as text. Its time is bounded by the client's time-out, which counts from the connection to the last byte.
pub async fn text(response: reqwest::Response) -> Result<String, Unread> {
    let body = Body::of(response, MOST_BYTES).whole().await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The body as JSON.
pub async fn json(response: reqwest::Response) -> Result<Value> {
    Ok(serde_json::from_str(&text(response).await?)?)
}
