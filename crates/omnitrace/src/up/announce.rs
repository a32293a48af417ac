//! What `up` says of its stack.

use serde_json::json;

use super::probe::ProbeResult;
use super::stack::Stack;
use super::wiring::Peers;

impl Stack<'_> {
    /// A part listens.
    pub fn report_part(&self, name: &str, moved: &[String]) {
        let state = self.state.borrow();
        let Some(part) = state.part(name) else {
            return;
        };
        let url = part.url.as_deref().unwrap_or_default();
        let others = part.other_urls();
        let others: String = others
            .map(|(what, url)| format!("   {what} {url}"))
            .collect();
        let why = match (moved, part.restarts) {
            ([], 0) => String::new(),
            ([], restarts) => format!("   (restart {restarts})"),
            _ => format!("   ({})", moved.join("; ")),
        };
        let fields = json!({"url": url, "admin_url": part.admin_url, "otlp_grpc_url": part.otlp_grpc_url, "otlp_http_url": part.otlp_http_url, "pid": part.pid, "moved": moved, "restarts": part.restarts});
        self.report
            .started(name, &format!("{url}{others}{why}"), fields);
    }

    /// The services that are scraped, too.
    pub fn report_scraped(&self) {
        for scraped in &self.state.borrow().scraped {
            let (name, url) = (&scraped.name, &scraped.url);
            let message = format!("{name} at {url} (remembered; --no-scrape {name} forgets it)");
            self.report.progress("scrape", &message);
        }
    }

    /// Everything is ready, and where it is.
    pub fn announce(
        &self,
        gateway: &str,
        console: Option<&str>,
        peers: &Peers,
        visible: &ProbeResult,
    ) {
        let seconds = self.report.seconds();
        let state = self.state.borrow();
        let (prometheus, jaeger) = (state.url("prometheus"), state.url("jaeger"));
        let (what, at) = match (console, prometheus.zip(jaeger), &peers.otlp) {
            (Some(console), ..) => ("data visible in", format!("console {console}   ")),
            (None, Some((prometheus, jaeger)), _) => (
                "data visible in",
                format!("prometheus {prometheus}   jaeger {jaeger}   "),
            ),
            (None, None, Some(otlp)) => ("answering after", format!("telemetry to {otlp}   ")),
            (None, None, None) => ("answering after", String::new()),
        };
        let order = json!({"sku": visible.sku, "quantity": 1, "customer_email": "ada@example.com"});
        let command = format!(
            "curl -s -X POST {gateway}/api/orders -H 'content-type: application/json' -d '{order}'"
        );
        let text =
            format!("ready: {what} {seconds:.1} s   {at}gateway {gateway}\ntry:   {command}");
        let fields = json!({"gateway_url": gateway, "console_url": console, "prometheus_url": prometheus, "jaeger_url": jaeger, "trace_id": visible.trace_id, "try": command, "visible_in_seconds": seconds});
        self.report.ready(&text, fields);
    }
}
