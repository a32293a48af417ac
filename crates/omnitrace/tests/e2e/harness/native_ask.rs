//! What a person asks the backends of a [`NativeStack`].

use serde_json::Value;

use super::{NativeStack, eventually};

impl NativeStack {
    pub(super) async fn get(&self, url: String) -> Option<Value> {
        let answer = self.stack.client.get(url).send().await.ok()?;
        answer.json().await.ok()
    }

    /// An instant query: the result vector; panics on an expression that Prometheus refuses.
    pub async fn prometheus_query(&self, expression: &str) -> Vec<Value> {
        let url = format!(
            "{}/api/v1/query?{}",
            self.url("prometheus:9090"),
            encoded(&[("query", expression)])
        );
        let answer = self.get(url).await.expect("an answer of Prometheus");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        list(&answer["data"]["result"])
    }

    /// The sum over an instant vector; 0 when it is empty.
    pub async fn prometheus_sum(&self, expression: &str) -> f64 {
        let samples = self.prometheus_query(expression).await;
        let value = |sample: &Value| sample["value"][1].as_str()?.parse::<f64>().ok();
        samples.iter().filter_map(value).sum()
    }

    /// Exemplars of the last hour: labels (`trace_id`, `span_id`) and value.
    pub async fn exemplars(&self, expression: &str) -> Vec<Value> {
        let now = chrono::Utc::now().timestamp();
        let url = format!(
            "{}/api/v1/query_exemplars?{}",
            self.url("prometheus:9090"),
            encoded(&[
                ("query", expression),
                ("start", &(now - 3600).to_string()),
                ("end", &(now + 60).to_string())
            ])
        );
        let answer = self.get(url).await.expect("an answer of Prometheus");
        let series = list(&answer["data"]);
        series
            .iter()
            .flat_map(|series| list(&series["exemplars"]))
            .collect()
    }

    /// A trace as Jaeger shows it; `None` when it has none with this id.
    pub async fn jaeger_trace(&self, trace_id: &str) -> Option<Value> {
        let url = format!("{}/api/traces/{trace_id}", self.url("jaeger:16686"));
        let answer = self.get(url).await?;
        answer["data"].get(0).cloned()
    }

    /// Traces of a service that Jaeger finds by tags.
    pub async fn jaeger_search(&self, service: &str, tags: &Value, limit: usize) -> Vec<Value> {
        self.jaeger_find(&[
            ("service", service),
            ("tags", &tags.to_string()),
            ("limit", &limit.to_string()),
            ("lookback", "1h"),
        ])
        .await
    }

    /// Traces that Jaeger finds by the parameters of its search.
    pub async fn jaeger_find(&self, parameters: &[(&str, &str)]) -> Vec<Value> {
        let url = format!(
            "{}/api/traces?{}",
            self.url("jaeger:16686"),
            encoded(parameters)
        );
        let answer = self.get(url).await.expect("an answer of Jaeger");
        list(&answer["data"])
    }

    /// Waits until Jaeger has a trace with spans of all these services, and returns it.
    pub async fn traced_over(&self, trace_id: &str, services: &[&str]) -> Value {
        eventually(
            &format!("Jaeger has {trace_id} over {services:?}"),
            async || {
                let trace = self.jaeger_trace(trace_id).await?;
                let seen = jaeger_services(&trace);
                services
                    .iter()
                    .all(|service| seen.iter().any(|name| name == service))
                    .then_some(trace)
            },
        )
        .await
    }
}

/// Names of the services that have spans in a trace of Jaeger's API, one for each span.
pub fn jaeger_services(trace: &Value) -> Vec<String> {
    list(&trace["spans"])
        .iter()
        .map(|span| {
            let process = span["processID"].as_str().unwrap_or_default();
            trace["processes"][process]["serviceName"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

/// A span's tag in Jaeger's API, as text.
pub fn jaeger_tag(span: &Value, key: &str) -> Option<String> {
    let tag = list(&span["tags"])
        .into_iter()
        .find(|tag| tag["key"] == key)?;
    Some(match &tag["value"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// The elements of an array; none of anything else.
pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}
