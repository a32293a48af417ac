//! Reading an answer: bounded, whoever it is that answers.

use anyhow::Result;
use incoming::{Body, Unread};
use serde_json::Value;

/// An answer larger than this is not what was asked for.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The body as text. Its time is bounded by the client's time-out, which counts from the connection to the last byte.
pub async fn text(response: reqwest::Response) -> Result<String, Unread> {
    let body = Body::of(response, MOST_BYTES).whole().await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The body as JSON.
pub async fn json(response: reqwest::Response) -> Result<Value> {
    Ok(serde_json::from_str(&text(response).await?)?)
}
