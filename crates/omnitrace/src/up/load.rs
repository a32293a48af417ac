//! `--load`: a low rate of requests, so that the pages have data.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::answer;

/// Beyond this number of requests in progress, new ones are skipped, so that the load does not overwhelm a slow stack.
const MOST_IN_FLIGHT: usize = 64;
/// Every third request is an order, the others read.
const ORDER_EVERY: u64 = 3;
const REMEMBERED_SKUS: usize = 50;

/// Sends `rate` requests/s forever, open loop: a slow response does not delay the next request. The stack's telemetry shows
/// failures, so this reports none.
pub async fn run<E>(client: &reqwest::Client, gateway: &str, rate: u32) -> Result<Infallible, E> {
    if rate == 0 {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let skus = Rc::new(RefCell::new(Vec::new()));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut in_flight = JoinSet::new();
            for number in 0_u64.. {
                ticks.tick().await;
                while in_flight.try_join_next().is_some() {}
                if in_flight.len() < MOST_IN_FLIGHT {
                    in_flight.spawn_local(one(
                        client.clone(),
                        gateway.to_owned(),
                        number,
                        Rc::clone(&skus),
                    ));
                }
            }
            unreachable!("584 years at 1000 requests/s");
        })
        .await
}

async fn one(
    client: reqwest::Client,
    gateway: String,
    number: u64,
    skus: Rc<RefCell<Vec<String>>>,
) {
    let known = skus.borrow().len();
    if number.is_multiple_of(ORDER_EVERY) && known > 0 {
        let sku = skus.borrow()[number as usize / 3 % known].clone();
        let order = json!({"sku": sku, "quantity": 1, "customer_email": format!("customer{}@example.com", number % 1000)});
        client
            .post(format!("{gateway}/api/orders"))
            .json(&order)
            .send()
            .await
            .ok();
        return;
    }
    let Ok(response) = client.get(format!("{gateway}/api/data")).send().await else {
        return;
    };
    let Ok(body) = answer::json(response).await else {
        return;
    };
    if let Some(sku) = body["sku"].as_str() {
        let mut skus = skus.borrow_mut();
        if !skus.iter().any(|known| known == sku) && skus.len() < REMEMBERED_SKUS {
            skus.push(sku.to_owned());
        }
    }
}
