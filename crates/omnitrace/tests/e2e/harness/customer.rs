//! A customer whose client does what it should: it tries again, with the same key, until it has an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{Reply, Stack, eventually};

/// What customers have been told so far.
#[derive(Default)]
pub struct Tally {
    answers: AtomicUsize,
    failures: AtomicUsize,
}

impl Tally {
    /// Requests with a final answer.
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Requests that had to be tried again.
    pub fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Places orders through the gateway, independent of the [`Stack`] that it came from.
pub struct Customer {
    client: reqwest::Client,
    url: String,
    /// The outcomes of all its requests.
    pub tally: Arc<Tally>,
}

impl Customer {
    /// A customer of this stack's gateway.
    pub fn of(stack: &Stack) -> Self {
        Self {
            client: stack.client.clone(),
            url: stack.url("gateway") + "/api/orders",
            tally: Arc::default(),
        }
    }

    /// Orders until it knows what became of it; the last answer. 503 and 504 are tried again, nothing else is.
    pub async fn order(&self, sku: &str, quantity: u32, key: &str) -> Reply {
        let body = json!({"sku": sku, "quantity": quantity, "customer_email": "ada@example.com"});
        self.post(&body, key).await
    }

    /// The same with any body.
    pub async fn post(&self, body: &Value, key: &str) -> Reply {
        eventually(&format!("an answer for {key}"), async || {
            let request = self.client.post(&self.url).header("Idempotency-Key", key);
            let response = request.json(body).send().await.expect("the gateway lives");
            let reply = Reply::read(response).await;
            if matches!(reply.status, 503 | 504) {
                self.tally.failures.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            self.tally.answers.fetch_add(1, Ordering::Relaxed);
            Some(reply)
        })
        .await
    }
}
