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

/// Where herald listens unless it is told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9095";

/// Herald, and what it asks for.
pub struct Herald {
    client: Client,
    url: String,
    /// What to say if nothing answers there.
    way_out: String,
    secret: Option<String>,
}

impl Herald {
    /// Reads the files; sends no request yet.
    pub fn new(args: &HeraldArgs) -> Result<Self> {
        let client = incoming::client().no_proxy().timeout(TIMEOUT);
        let (url, way_out) = url(args);
        Ok(Self {
            client: args.tls.clone().files().client(client)?,
            url,
            way_out,
            secret: herald::secret_to_show(args.secret.clone(), args.secret_file.clone())?,
        })
    }

    /// Sends one request; null for a response without a body. The error is herald's own text.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(secret) = &self.secret {
            request = request.bearer_auth(secret);
        }
        let silent = || format!("herald does not answer at {}: {}", self.url, self.way_out);
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

/// Herald's URL, and what to say if nothing answers there. The port of a running stack's herald may have been moved, when the preferred
/// one was busy.
fn url(args: &HeraldArgs) -> (String, String) {
    let way_out = "is it there? --herald names another address".to_owned();
    if let Some(given) = &args.herald {
        return (given.clone(), way_out);
    }
    let of_stack = |state: State| state.url("herald").map(str::to_owned);
    match State::running(&args.data_dir).map(of_stack) {
        Ok(Some(url)) => (url, way_out),
        Ok(None) => (DEFAULT_URL.to_owned(), way_out),
        Err(no_stack) => (
            DEFAULT_URL.to_owned(),
            format!("{no_stack:#}, or name herald's address with --herald"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        herald: HeraldArgs,
    }

    fn for_line(line: &[&str]) -> (String, String) {
        url(&Line::try_parse_from(line).unwrap().herald)
    }

    /// A test of the command would ask whatever listens at the default address of this machine.
    #[test]
    fn without_a_stack_the_way_out_says_that_none_runs() {
        let (address, way_out) = for_line(&["it", "--data-dir", "/absent"]);
        assert_eq!(address, DEFAULT_URL);
        assert!(
            way_out.contains("no stack runs in /absent") && way_out.contains("--herald"),
            "{way_out}"
        );
        let (address, way_out) =
            for_line(&["it", "--data-dir", "/absent", "--herald", "http://h:1"]);
        assert_eq!(address, "http://h:1");
        assert!(!way_out.contains("/absent"), "{way_out}");
    }
}
