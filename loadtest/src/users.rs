//! What users do: goose runs them, this file says what a request is.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use api::routes::{IDEMPOTENCY_KEY, gateway};
use goose::goose::{GooseUser, Scenario, Transaction, TransactionResult};
use reqwest::Method;
use reqwest::header::USER_AGENT;
use reqwest_middleware::ClientWithMiddleware;
use serde_json::{Value, json};
use telemetry::http_client::UrlTemplate;

use crate::truth::{Observation, Truth};

/// Longer than the gateway's own limit of a request: it is the gateway that gives up first, and says so.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Orders that may be read back.
const REMEMBERED: usize = 1000;
const AGENT: &str = concat!("omnitrace-load/", env!("CARGO_PKG_VERSION"));

/// One thing a user does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Browse,
    Order,
    ReadOrder,
    Health,
}

/// Weights: of a hundred requests, so many.
const MODEL: [(Step, &str, usize); 4] = [
    (Step::Browse, "browse", 60),
    (Step::Order, "order", 25),
    (Step::ReadOrder, "read an order", 10),
    (Step::Health, "health", 5),
];

/// What all users share: the client, the books, and what they have seen of the shop.
pub struct Shop {
    client: ClientWithMiddleware,
    base: String,
    truth: Arc<Truth>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    skus: BTreeSet<String>,
    orders: VecDeque<String>,
}

/// A request, before it is sent.
struct Ask {
    method: Method,
    route: &'static str,
    path: String,
    body: Option<Value>,
    /// Statuses beside 2xx that are a proper answer.
    proper: &'static [u16],
}

impl Ask {
    fn get(route: &'static str, path: String) -> Self {
        Self {
            method: Method::GET,
            route,
            path,
            body: None,
            proper: &[],
        }
    }
}

impl Shop {
    /// A shop at `base`, a URL without a trailing slash.
    pub fn new(base: &str, truth: Arc<Truth>) -> Result<Self> {
        Ok(Self {
            client: telemetry::http_client::client("gateway", TIMEOUT)?,
            base: base.trim_end_matches('/').to_owned(),
            truth,
            seen: Mutex::default(),
        })
    }

    async fn step(&self, user: &mut GooseUser, step: Step) -> TransactionResult {
        match step {
            Step::Browse => self.browse(user).await,
            Step::Order => match self.a_sku() {
                Some(sku) => self.order(user, &sku).await,
                // Nobody has seen an item yet.
                None => self.browse(user).await,
            },
            Step::ReadOrder => match self.an_order() {
                Some(id) => {
                    let path = gateway::ORDER.replace("{id}", &id);
                    self.send(user, Ask::get(gateway::ORDER, path))
                        .await
                        .map(drop)
                }
                None => self.browse(user).await,
            },
            Step::Health => {
                let ask = Ask::get(gateway::HEALTH, gateway::HEALTH.to_owned());
                self.send(user, ask).await.map(drop)
            }
        }
    }

    fn a_sku(&self) -> Option<String> {
        pick(self.seen().skus.iter())
    }

    fn an_order(&self) -> Option<String> {
        pick(self.seen().orders.iter())
    }

    async fn browse(&self, user: &mut GooseUser) -> TransactionResult {
        let ask = Ask::get(gateway::DATA, gateway::DATA.to_owned());
        if let Some(sku) = text(self.send(user, ask).await?.as_deref(), "sku") {
            self.seen().skus.insert(sku);
        }
        Ok(())
    }

    async fn order(&self, user: &mut GooseUser, sku: &str) -> TransactionResult {
        let customer = rand::random_range(0..1000);
        let ask = Ask {
            method: Method::POST,
            route: gateway::ORDERS,
            path: gateway::ORDERS.to_owned(),
            body: Some(json!({
                "sku": sku,
                "quantity": 1,
                "customer_email": format!("customer{customer}@example.com"),
            })),
            // Payment declined, out of stock: the shop works.
            proper: &[402, 409],
        };
        if let Some(id) = text(self.send(user, ask).await?.as_deref(), "id") {
            let mut seen = self.seen();
            seen.orders.push_back(id);
            if seen.orders.len() > REMEMBERED {
                seen.orders.pop_front();
            }
        }
        Ok(())
    }

    /// Sends, reads all of the answer, books it here and tells goose. The body of a success, if there was one.
    async fn send(
        &self,
        user: &mut GooseUser,
        ask: Ask,
    ) -> Result<Option<Vec<u8>>, Box<goose::goose::TransactionError>> {
        let method = if ask.method == Method::POST {
            "POST"
        } else {
            "GET"
        };
        let route = ask.route;
        let proper = ask.proper;
        let request = self.prepare(ask);
        let started = Instant::now();
        let (status, body) = match request.send().await {
            Ok(response) => (
                Some(response.status().as_u16()),
                response.bytes().await.map_err(|error| reason(&error)),
            ),
            Err(reqwest_middleware::Error::Reqwest(error)) => (None, Err(reason(&error))),
            Err(reqwest_middleware::Error::Middleware(_)) => (None, Err("middleware")),
        };
        let elapsed = started.elapsed();
        let failure = match (status, &body) {
            (_, Err(reason)) => Some((*reason).to_owned()),
            (Some(status), Ok(_)) if (200..300).contains(&status) || proper.contains(&status) => {
                None
            }
            (Some(status), Ok(_)) => Some(format!("HTTP {status}")),
            (None, Ok(_)) => None,
        };
        self.truth.observe(&Observation {
            method,
            route,
            status,
            failure: failure.clone(),
            whole: body.is_ok(),
            elapsed,
        });
        user.record_custom_request_duration(
            method,
            route,
            elapsed,
            failure.is_none(),
            status,
            failure.as_deref(),
        )
        .await?;
        let success = status.is_some_and(|status| (200..300).contains(&status));
        Ok(body.ok().filter(|_| success).map(|body| body.to_vec()))
    }

    fn prepare(&self, ask: Ask) -> reqwest_middleware::RequestBuilder {
        let request = self
            .client
            .request(ask.method, format!("{}{}", self.base, ask.path))
            .header(USER_AGENT, AGENT)
            .with_extension(UrlTemplate(ask.route));
        match ask.body {
            Some(body) => request
                .header(IDEMPOTENCY_KEY, uuid::Uuid::new_v4().to_string())
                .json(&body),
            None => request,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick<'a>(mut from: impl ExactSizeIterator<Item = &'a String>) -> Option<String> {
    let length = from.len();
    (length > 0)
        .then(|| from.nth(rand::random_range(0..length)).cloned())
        .flatten()
}

fn text(body: Option<&[u8]>, field: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(body?).ok()?;
    value.get(field)?.as_str().map(str::to_owned)
}

/// In few words, and always the same ones: reports count by them.
fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "connection broken"
    }
}

/// A transaction that runs `act` with the shop.
fn transaction<A>(shop: &Arc<Shop>, act: A) -> Transaction
where
    A: for<'u> Fn(Arc<Shop>, &'u mut GooseUser) -> Acting<'u> + Send + Sync + 'static,
{
    let shop = Arc::clone(shop);
    Transaction::new(Arc::new(move |user| act(Arc::clone(&shop), user)))
}

type Acting<'u> = std::pin::Pin<Box<dyn Future<Output = TransactionResult> + Send + 'u>>;

/// The users, with `think` as the shortest and longest pause after each request.
pub fn scenario(shop: &Arc<Shop>, think: (Duration, Duration)) -> Result<Scenario> {
    let mut scenario = Scenario::new("customers").set_wait_time(think.0, think.1)?;
    let come = transaction(shop, |shop, _| {
        shop.truth.user_came();
        Box::pin(std::future::ready(Ok(())))
    });
    let go = transaction(shop, |shop, _| {
        shop.truth.user_went();
        Box::pin(std::future::ready(Ok(())))
    });
    scenario = scenario
        .register_transaction(come.set_name("come").set_on_start())
        .register_transaction(go.set_name("go").set_on_stop());
    for (step, name, weight) in MODEL {
        let act = transaction(shop, move |shop, user| {
            Box::pin(async move { shop.step(user, step).await })
        });
        scenario = scenario.register_transaction(act.set_name(name).set_weight(weight)?);
    }
    Ok(scenario)
}
