//! Reading an answer: bounded, whoever it is that answers.

use anyhow::{Result, bail};
use serde_json::Value;

/// An answer larger than this is not what was asked for.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The body as text. Its time is bounded by the client's time-out, which counts from the connection to the last byte.
pub async fn text(mut response: reqwest::Response) -> Result<String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MOST_BYTES {
            bail!("the answer is larger than {MOST_BYTES} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The body as JSON.
pub async fn json(response: reqwest::Response) -> Result<Value> {
    Ok(serde_json::from_str(&text(response).await?)?)
}
