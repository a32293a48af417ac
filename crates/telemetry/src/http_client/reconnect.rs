//! Waits for a peer that restarts. While no process listens at its address, the system refuses connections, and a request whose connection
//! was refused was never sent: connecting again is safe, whatever the method.
//!
//! Only the first moments of an outage are waited for. A peer that has refused connections for longer is down, and its callers learn that at
//! once: waiting calls would fill them up.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use super::lock;

/// A peer that has refused every connection for so long is down.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(25);

/// Connects again for a moment when the peer refuses; runs inside the client span, so all attempts are one call.
pub(super) struct Reconnect {
    /// The time-out of a request that has none of its own.
    pub(super) timeout: Duration,
    /// The first refused connection since the last one that was accepted.
    pub(super) refused_since: Mutex<Option<Instant>>,
}

impl Reconnect {
    /// Notes a refused connection; true if the peer may only be restarting.
    fn may_restart(&self) -> bool {
        let mut since = lock(&self.refused_since);
        since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }
}

#[async_trait::async_trait]
impl Middleware for Reconnect {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let deadline = Instant::now() + request.timeout().copied().unwrap_or(self.timeout);
        loop {
            // None if the body is a stream, which can be read only once.
            let again = request.try_clone();
            let result = next.clone().run(request, extensions).await;
            if !result.as_ref().is_err_and(is_refused) {
                if result.is_ok() {
                    *lock(&self.refused_since) = None;
                }
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match again {
                // The caller gets this error rather than a time-out, because it says what is wrong.
                Some(again) if self.may_restart() && left > 2 * PAUSE => request = again,
                _ => return result,
            }
            tokio::time::sleep(PAUSE).await;
            *request.timeout_mut() = Some(left.saturating_sub(PAUSE));
        }
    }
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Reqwest(error) if error.is_connect() && !error.is_timeout())
}
