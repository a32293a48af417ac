//! Decoded items go into the stores, and those without room are counted.

use super::Sink;
use crate::clock::now_us;
use crate::counters::AcceptedItems;
use crate::model::{Resource, Value};
use crate::otlp::{self, Batch, Rejected};
use crate::samples::Labels;
use crate::store::MAX_TRACE_SPANS;

/// Why an item is refused for which there is no room.
const TRACE_FULL: &str = "trace_full";
const NO_ROOM: &str = "no_room";

/// Why a data point is refused that says nothing new.
const OUT_OF_ORDER: &str = "out_of_order";

/// Keeps them; returns what is refused, what could not be decoded included.
pub(super) fn keep(batch: Batch, sink: &Sink) -> Rejected {
    let mut rejected = batch.rejected;
    let mut taken = AcceptedItems {
        traces: batch.spans.len() as u64,
        logs: batch.logs.len() as u64,
        metrics: 0,
    };
    let spans = sink.store.add_spans(batch.spans);
    let logs = sink.store.add_logs(batch.logs);
    (taken.traces, taken.logs) = (taken.traces - spans, taken.logs - logs);
    if spans + logs > 0 {
        let why = format!(
            "a trace holds {MAX_TRACE_SPANS} spans, and what one answer has room for (--memory)"
        );
        rejected.refuse_many(TRACE_FULL, spans + logs, why);
    }
    for (name, described) in batch.described {
        sink.metadata.add(name, described, true);
    }
    for sender in batch.metrics {
        let (service, labels) = (&sender.resource.service, sender_labels(&sender.resource));
        let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
        let source = format!("sender {values:?}");
        let samples = sender.samples.len() as u64;
        let info = otlp::target_info(&sender.resource, &sender.samples);
        let lost = sink
            .series
            .merge(&source, service, &labels, sender.samples, now_us());
        if lost.no_room > 0 {
            let why = "all series take at most an eighth of the memory (--memory), those of one sender half of that";
            rejected.refuse_many(NO_ROOM, lost.no_room, why.to_owned());
        }
        if lost.out_of_order > 0 {
            let why = "a point must be newer than the last one of its series, at most 10 minutes in the future, and of the same sender";
            rejected.refuse_many(OUT_OF_ORDER, lost.out_of_order, why.to_owned());
        }
        // Nobody sent it, so it is neither taken nor refused.
        let info = info.into_iter().collect();
        sink.series.merge(&source, service, &labels, info, now_us());
        taken.metrics += samples.saturating_sub(lost.no_room + lost.out_of_order);
    }
    sink.counters.accepted(taken);
    rejected
}

/// The labels of a sender, the same as those of a scraped target: `instance` and `service_name`.
fn sender_labels(resource: &Resource) -> Labels {
    let instance = resource.attributes.get(otlp::SERVICE_INSTANCE);
    let mut labels = Labels::new();
    if let Some(Value::Text(instance)) = instance {
        labels.push(("instance".into(), instance.to_owned()));
    }
    labels.push(("service_name".into(), resource.service.clone()));
    labels
}
