//! Requests to a backend: JSON of bounded size, and errors in words.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use herald::BackendTls;
use incoming::Unread;
use serde_json::Value;

use crate::answer;

/// How much of an invalid response is shown.
const SHOWN: usize = 120;
const TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP client with its own user agent: tail sampling keeps the probe's trace because of it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// One client for all backends.
    pub fn new(tls: &BackendTls) -> Result<Self> {
        let http = incoming::client()
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("omnitrace-doctor/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            http: tls.client(http)?,
        })
    }

    /// The plain client, for the probe.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a GET with query parameters; the response must be a success.
    pub async fn text(&self, url: &str, query: &[(&str, &str)]) -> Result<String> {
        self.send(self.http.get(with_query(url, query)?)).await
    }

    /// The same, parsed as JSON.
    pub async fn json(&self, url: &str, query: &[(&str, &str)]) -> Result<Value> {
        parse(&self.text(url, query).await?)
    }

    /// JSON behind HTTP's basic authentication.
    pub async fn json_as(&self, url: &str, user: &str, password: &str) -> Result<Value> {
        parse(
            &self
                .send(self.http.get(url).basic_auth(user, Some(password)))
                .await?,
        )
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<String> {
        let response = request.send().await.map_err(in_words)?;
        let status = response.status();
        let text = answer::text(response)
            .await
            .map_err(|unread| match unread {
                Unread::Broken(error) => in_words(error),
                large @ Unread::TooLarge(_) => large.into(),
            })?;
        if status.is_success() {
            Ok(text)
        } else {
            Err(anyhow!("{status} {}", excerpt(&text)))
        }
    }
}

fn with_query(url: &str, query: &[(&str, &str)]) -> Result<url::Url> {
    let mut url = url::Url::parse(url).with_context(|| format!("not a URL: {url}"))?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|_| anyhow!("the answer is not JSON: {}", excerpt(text)))
}

fn in_words(error: reqwest::Error) -> anyhow::Error {
    if error.is_timeout() {
        anyhow!("no answer within {TIMEOUT:?}")
    } else if is_refused(&error) {
        anyhow!("nothing answers there")
    } else {
        anyhow!("{}", service::error::chain(&error.without_url()))
    }
}

/// No process listens there. Other failures to connect, of TLS for example, have a reason of their own.
fn is_refused(error: &reqwest::Error) -> bool {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    let mut causes = chain.filter_map(|error| error.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// The start of the response, printable and without secrets.
fn excerpt(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let clean = redact::redact(text);
    clean.chars().take(SHOWN).map(plain).collect()
}
