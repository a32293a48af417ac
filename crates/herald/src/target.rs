//! The targets of notifications.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use url::Url;

use crate::notification::Notification;
use crate::settings::{SecretUrl, Targets};
use crate::slack;

/// How long a target may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The header by which a receiver knows a notification that it has got already.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The target has received it.
    Delivered,
    /// Not now, but perhaps later; with the minimum pause that the target asks for.
    Later(String, Option<Duration>),
    /// Never: another attempt would be refused too.
    Refused(String),
}

/// One target.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its name in metrics, logs and on disk.
    pub(crate) name: &'static str,
    way: Protocol,
}

#[derive(Debug, Clone)]
enum Protocol {
    Slack(Client, SecretUrl),
    Webhook(Client, SecretUrl),
    Log,
    #[cfg(test)]
    Call(fn(&Notification<'_>) -> Attempt),
}

/// For URLs that contain a token.
pub(crate) fn client(timeout: Duration) -> reqwest::Result<Client> {
    incoming::client()
        .timeout(timeout)
        // A redirect could send the token to another server.
        .redirect(Policy::none())
        .user_agent(concat!("omnitrace-herald/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The configured targets; the log if there is none.
pub(crate) fn all(targets: &Targets) -> reqwest::Result<Vec<Target>> {
    let client = client(TIMEOUT)?;
    let mut all = Vec::new();
    if let Some(url) = &targets.slack {
        let way = Protocol::Slack(client.clone(), url.clone());
        all.push(Target { name: "slack", way });
    }
    if let Some(url) = &targets.webhook {
        let way = Protocol::Webhook(client, url.clone());
        all.push(Target {
            name: "webhook",
            way,
        });
    }
    if all.is_empty() {
        all.push(Target {
            name: "log",
            way: Protocol::Log,
        });
    }
    Ok(all)
}

impl Target {
    /// A function in the place of a webhook.
    #[cfg(test)]
    pub(crate) fn call(name: &'static str, call: fn(&Notification<'_>) -> Attempt) -> Self {
        let way = Protocol::Call(call);
        Self { name, way }
    }

    /// One attempt.
    pub(crate) async fn deliver(&self, notification: &Notification<'_>) -> Attempt {
        match &self.way {
            Protocol::Slack(client, url) => {
                send(
                    client,
                    url.reveal(),
                    notification.key,
                    &slack::message(notification),
                )
                .await
            }
            Protocol::Webhook(client, url) => {
                send(client, url.reveal(), notification.key, notification).await
            }
            #[cfg(test)]
            Protocol::Call(call) => call(notification),
            Protocol::Log => {
                let body = serde_json::to_string(notification).unwrap_or_default();
                tracing::warn!(
                    key = notification.key,
                    notification = body,
                    "{}",
                    notification.title
                );
                Attempt::Delivered
            }
        }
    }
}

async fn send(client: &Client, url: Url, key: &str, body: &impl Serialize) -> Attempt {
    let request = client.post(url).header(IDEMPOTENCY_KEY, key).json(body);
    match request.send().await {
        Ok(response) => judge(
            response.status(),
            telemetry::retry_after(response.headers()),
        ),
        // The URL holds a token.
        Err(error) => Attempt::Later(service::error::chain(&error.without_url()), None),
    }
}

fn judge(status: StatusCode, asked: Option<Duration>) -> Attempt {
    let answered = format!("it answered {status}");
    match status.as_u16() {
        200..=299 => Attempt::Delivered,
        // Timeouts, rate limits and server errors: the same request may succeed later.
        408 | 425 | 429 | 500..=599 => Attempt::Later(answered, asked),
        300..=399 => Attempt::Refused(format!(
            "{answered}: redirects are not followed, set its final URL"
        )),
        _ => Attempt::Refused(answered),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// One attempt to deliver to a target whose response consists of these lines.
    async fn answered(lines: &str) -> Attempt {
        // Another test may have installed it already; the executable does the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\"body\"") {
                assert_ne!(connection.read_buf(&mut request).await.unwrap(), 0);
            }
            connection.write_all(lines.as_bytes()).await.unwrap();
        };
        let url = url.parse().unwrap();
        let client = Client::new();
        tokio::join!(send(&client, url, "key", &"body"), answer).0
    }

    #[tokio::test]
    async fn what_a_target_asks_for_is_understood_as_seconds_as_a_date_and_without_bounds() {
        for (asked, seconds) in [
            ("6", 6),
            ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
            ("18446744073709551616", u64::MAX),
        ] {
            let date = "Sun, 06 Nov 1994 08:49:37 GMT";
            let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0";
            let answer = format!("{head}\r\nDate: {date}\r\nRetry-After: {asked}\r\n\r\n");
            let Attempt::Later(_, pause) = answered(&answer).await else {
                panic!("{asked}");
            };
            assert_eq!(pause, Some(Duration::from_secs(seconds)), "{asked}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_wrong_is_not() {
        let judged = |status| judge(StatusCode::from_u16(status).unwrap(), None);
        assert_eq!(judged(204), Attempt::Delivered);
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(judged(status), Attempt::Later(..)), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 410] {
            assert!(matches!(judged(status), Attempt::Refused(_)), "{status}");
        }
    }
}
