//! What the programs of a [`NativeStack`] say about themselves, asked directly.

use super::{NativeStack, Scrape, eventually};

impl NativeStack {
    /// `/metrics` of a compose address: `collector:8888`, `jaeger:8888`, …
    pub async fn scrape_part(&self, address: &str) -> Scrape {
        let url = self.url(address) + "/metrics";
        let text = async || -> Option<String> {
            let answer = self.stack.client.get(&url).send().await.ok()?;
            answer.text().await.ok()
        };
        let text = eventually(&format!("an answer of {url}"), text).await;
        Scrape::parse("", text)
    }

    /// Sum of a metric of the collector's own; 0 when it has not counted anything yet.
    pub async fn collector_value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let scrape = self.scrape_part("collector:8888").await;
        scrape.value(name, labels).unwrap_or(0.0)
    }

    /// Waits until every trace that reached tail sampling is decided, and Jaeger has stored what was kept.
    pub async fn wait_for_decisions(&self) {
        eventually("every trace is decided and stored", async || {
            let collector = self.scrape_part("collector:8888").await;
            let jaeger = self.scrape_part("jaeger:8888").await;
            let value = |scrape: &Scrape, name: &str, labels: &[(&str, &str)]| {
                scrape.value(name, labels).unwrap_or(0.0)
            };
            let sampling = |name: &str| {
                value(
                    &collector,
                    &format!("otelcol_processor_tail_sampling_{name}_total"),
                    &[],
                )
            };
            let (received, decided) = (
                sampling("new_trace_id_received"),
                sampling("global_count_traces_sampled"),
            );
            let to_jaeger = [("exporter", "otlp_grpc/jaeger")];
            let queued = value(&collector, "otelcol_exporter_queue_size", &to_jaeger);
            let sent = value(&collector, "otelcol_exporter_sent_spans_total", &to_jaeger);
            let stored = value(&jaeger, "otelcol_exporter_sent_spans_total", &[]);
            let all = received > 0.0 && received == decided && queued == 0.0 && sent == stored;
            all.then_some(())
        })
        .await;
    }
}
