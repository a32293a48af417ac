//! Asks a backend over HTTP: bounded answers, errors fit to be shown.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use serde_json::Value;
use url::Url;

use crate::text::quoted;

/// Larger answers are not read: as JSON values they take several times as much memory.
const ANSWER_LIMIT: usize = 2 << 20;

/// How long a backend may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// One backend.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    client: Client,
    base: Option<Url>,
    /// What to set when it is not.
    variable: &'static str,
}

/// The client of all backends, but for its certificates.
pub(crate) fn client() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .user_agent(concat!("omnitrace-herald/", env!("CARGO_PKG_VERSION")))
}

impl Backend {
    /// A backend at `base`; without one every question is answered with what to set.
    pub(crate) fn new(client: Client, variable: &'static str, base: &Option<Url>) -> Self {
        Self {
            client,
            base: base.clone(),
            variable,
        }
    }

    /// GET, the answer as JSON.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, String> {
        let Some(base) = &self.base else {
            return Err(format!("{} is not set", self.variable));
        };
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        let problem =
            |error: reqwest::Error| quoted(&service::error::chain(&error.without_url()), 200);
        let mut response = self.client.get(url).send().await.map_err(problem)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(problem)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_LIMIT {
                return Err(format!("its answer is larger than {ANSWER_LIMIT} bytes"));
            }
        }
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("it answered {status}: {}", quoted(&text, 150)));
        }
        serde_json::from_slice(&body).map_err(|_| "its answer is not JSON".to_owned())
    }
}
