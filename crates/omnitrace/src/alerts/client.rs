//! Herald's API.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::args::HeraldArgs;
use crate::answer;
use crate::problem;
use crate::up::state::State;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Herald, and what it asks for.
pub struct Herald {
    client: Client,
    url: String,
    secret: Option<String>,
}

impl Herald {
    /// Reads the files; sends no request yet.
    pub fn new(args: &HeraldArgs) -> Result<Self> {
        let client = incoming::client().no_proxy().timeout(TIMEOUT);
        Ok(Self {
            client: args.tls.clone().files().client(client)?,
            url: url(args),
            secret: herald::secret_to_show(args.secret.clone(), args.secret_file.clone())?,
        })
    }

    /// Sends one request; null for a response without a body. The error is herald's own text.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(secret) = &self.secret {
            request = request.bearer_auth(secret);
        }
        let silent = || {
            format!(
                "herald does not answer at {}: is it there? --herald names another address",
                self.url
            )
        };
        let (status, text) = answer::ask(request, body, silent).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match answer {
            Value::Object(_) if status.is_success() => Ok(answer),
            Value::Object(_) if status == StatusCode::UNAUTHORIZED => {
                bail!(
                    "herald: {}; here: --secret or --secret-file",
                    problem::in_words(&answer)
                )
            }
            Value::Object(_) => Err(anyhow!("herald: {}", problem::in_words(&answer))),
            _ => bail!(
                "what answers at {} with {status} is not herald: --herald names another address",
                self.url
            ),
        }
    }
}

/// Its port may have been moved, when the preferred one was busy.
fn url(args: &HeraldArgs) -> String {
    let running = || {
        State::running(&args.data_dir)
            .ok()?
            .url("herald")
            .map(str::to_owned)
    };
    let given = args.herald.clone().or_else(running);
    given.unwrap_or_else(|| "http://127.0.0.1:9095".to_owned())
}
