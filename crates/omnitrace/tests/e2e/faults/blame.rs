//! Whom the metrics blame: the deepest call that fails, followed down from the gateway as herald's evidence does.

use std::collections::BTreeMap;

use super::SERVICES;
use crate::harness::Stack;

/// A call that fails less often is not to blame; herald's threshold.
const FAILING: f64 = 0.01;

/// Calls and statements of all services, by all labels.
pub struct Calls(BTreeMap<BTreeMap<String, String>, f64>);

impl Calls {
    /// What has been counted so far.
    pub async fn so_far(stack: &Stack) -> Self {
        let mut counts = BTreeMap::new();
        for service in SERVICES {
            let scrape = stack.scrape(service).await;
            for metric in ["http_client_request", "db_client_operation"] {
                let samples = scrape.matching(&format!("{metric}_duration_seconds_count"), &[]);
                counts.extend(
                    samples
                        .into_iter()
                        .map(|sample| (sample.labels.clone(), sample.value)),
                );
            }
        }
        Self(counts)
    }

    /// The service at the end of the deepest failing call since `before`; a database is the part of who asks it.
    pub fn blamed_since(&self, before: &Self) -> Option<String> {
        let edges = self.edges_since(before);
        let mut blamed: Option<String> = None;
        loop {
            let at = blamed.as_deref().unwrap_or("gateway");
            let failing = edges
                .iter()
                .filter_map(|((caller, callee), [errors, all])| {
                    let share = errors / all;
                    (caller == at && share >= FAILING).then_some((callee, share))
                });
            match failing.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
                Some((callee, _)) if Some(callee) != blamed.as_ref() => {
                    blamed = Some(callee.clone());
                }
                _ => return blamed,
            }
        }
    }

    /// Errors and all, by caller and callee.
    pub fn edges_since(&self, before: &Self) -> BTreeMap<(String, String), [f64; 2]> {
        let mut edges = BTreeMap::new();
        for (labels, count) in &self.0 {
            let new = count - before.0.get(labels).unwrap_or(&0.0);
            if new > 0.0 {
                let caller = &labels["service_name"];
                let callee = labels.get("service_peer_name").unwrap_or(caller);
                let edge: &mut [f64; 2] =
                    edges.entry((caller.clone(), callee.clone())).or_default();
                edge[0] += if labels["outcome"] == "error" {
                    new
                } else {
                    0.0
                };
                edge[1] += new;
            }
        }
        edges
    }
}
