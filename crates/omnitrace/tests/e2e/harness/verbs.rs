//! What a user of the system does, as methods of [`Stack`].

use serde_json::{Value, json};

use super::{Kind, Reply, Scrape, Span, Stack, eventually};

impl Stack {
    /// A request to the gateway, for tests that need headers of their own: finish it with [`Stack::send`].
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url("gateway") + path)
    }

    /// Sends a request and reads the answer; panics when there is none.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Reply::read(request.send().await.expect("an answer")).await
    }

    /// GET on the gateway.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(reqwest::Method::GET, path)).await
    }

    /// `GET /api/data`.
    pub async fn get_data(&self) -> Reply {
        self.get("/api/data").await
    }

    /// A stock keeping unit that exists.
    pub async fn sku(&self) -> String {
        let reply = self.get_data().await.expect(200);
        find_sku(&reply.json()).unwrap_or_else(|| panic!("no sku in {reply:?}"))
    }

    /// `POST /api/orders` for a customer made up for the occasion.
    pub async fn order(&self, sku: &str, quantity: u32) -> Reply {
        self.post_order(
            &json!({"sku": sku, "quantity": quantity, "customer_email": "ada@example.com"}),
            None,
        )
        .await
    }

    /// `POST /api/orders` with any body, and an `Idempotency-Key` if given.
    pub async fn post_order(&self, body: &Value, idempotency_key: Option<&str>) -> Reply {
        let mut request = self
            .request(reqwest::Method::POST, "/api/orders")
            .json(body);
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        self.send(request).await
    }

    /// `GET /api/orders/{id}`.
    pub async fn get_order(&self, id: &str) -> Reply {
        self.get(&format!("/api/orders/{id}")).await
    }

    /// GET on a service's admin listener (`/ready`, `/faults`, …).
    pub async fn admin(&self, service: &str, path: &str) -> Reply {
        self.asked(&self.client.get(self.admin_url(service) + path))
            .await
    }

    /// Asks until there is an answer: data may be replaced by another release at that very moment (`bad_release`), and
    /// as at every restart of an HTTP server, a connection that was just accepted then ends without one.
    async fn asked(&self, request: &reqwest::RequestBuilder) -> Reply {
        eventually("an answer of the admin listener", async || {
            let request = request.try_clone().expect("a request without a body");
            Some(Reply::read(request.send().await.ok()?).await)
        })
        .await
    }

    /// `PUT /faults/{name}` on a service's admin listener.
    pub async fn fault_set(&self, service: &str, name: &str, parameters: Value) -> Reply {
        self.send(
            self.client
                .put(format!("{}/faults/{name}", self.admin_url(service)))
                .json(&parameters),
        )
        .await
    }

    /// `DELETE /faults/{name}`.
    pub async fn fault_clear(&self, service: &str, name: &str) -> Reply {
        self.send(
            self.client
                .delete(format!("{}/faults/{name}", self.admin_url(service))),
        )
        .await
    }

    /// `GET /metrics` as Prometheus asks for plain text.
    pub async fn scrape(&self, service: &str) -> Scrape {
        self.scrape_as(service, "text/plain;version=0.0.4").await
    }

    /// `GET /metrics` as Prometheus asks for OpenMetrics, exemplars and all.
    pub async fn scrape_openmetrics(&self, service: &str) -> Scrape {
        self.scrape_as(service, "application/openmetrics-text;version=1.0.0")
            .await
    }

    /// `GET /metrics` with a given `Accept`.
    pub async fn scrape_as(&self, service: &str, accept: &str) -> Scrape {
        let request = self.client.get(self.admin_url(service) + "/metrics");
        let reply = self
            .asked(&request.header("Accept", accept))
            .await
            .expect(200);
        Scrape::parse(reply.header("content-type"), reply.body.clone())
    }

    /// Waits until the sum of a metric's matching samples satisfies `holds` (an absent one counts as 0).
    pub async fn wait_for_metric(
        &self,
        service: &str,
        name: &str,
        labels: &[(&str, &str)],
        holds: impl Fn(f64) -> bool,
    ) -> f64 {
        eventually(
            &format!("{service} reports {name} {labels:?}"),
            async || {
                let value = self
                    .scrape(service)
                    .await
                    .value(name, labels)
                    .unwrap_or(0.0);
                holds(value).then_some(value)
            },
        )
        .await
    }

    /// Waits until a trace has a span of each of `services`, and has ended in the first of them, where it came
    /// in; returns its spans.
    pub async fn trace_over(&self, trace_id: &str, services: &[&str]) -> Vec<Span> {
        self.receiver
            .wait_for_trace(trace_id, |spans| {
                is_whole(spans, services[0])
                    && services
                        .iter()
                        .all(|name| spans.iter().any(|span| span.service == *name))
            })
            .await
    }
}

/// Every span's parent is there, except that of one: the entry, whose parent (if any) is the caller's.
/// A parent is exported after its children, so this is when nothing more is to come from within.
fn is_whole(spans: &[Span], entry: &str) -> bool {
    let known = |id: &str| spans.iter().any(|span| span.span_id == id);
    let tops: Vec<&Span> = spans
        .iter()
        .filter(|span| !known(&span.parent_span_id))
        .collect();
    matches!(tops[..], [top] if top.is_root() || (top.kind == Kind::Server && top.service == entry))
}

fn find_sku(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => match fields.get("sku") {
            Some(Value::String(sku)) => Some(sku.clone()),
            _ => fields.values().find_map(find_sku),
        },
        Value::Array(items) => items.iter().find_map(find_sku),
        _ => None,
    }
}
