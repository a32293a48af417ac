//! Alertmanager's webhook, version 4.

use std::collections::BTreeMap;

use promql::Labels;
use serde_json::{Value, json};

use super::super::alert::State;
use super::groups::Notification;
use crate::answer::wrapped::time;

/// The maximum number of alerts in one body; the others are counted.
const MAX_ALERTS: usize = 100;

/// The body that tells about alerts.
pub(super) fn body(notification: &Notification, external_url: &str) -> Value {
    let (route, shared) = &notification.key;
    let all = &notification.alerts;
    let some = &all[..all.len().min(MAX_ALERTS)];
    let labels: Vec<BTreeMap<&str, &str>> =
        some.iter().map(|one| one.labels.iter().collect()).collect();
    let annotations = some.iter().map(|one| {
        let texts = one.annotations.iter();
        texts
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect()
    });
    let annotations: Vec<BTreeMap<&str, &str>> = annotations.collect();
    let alerts = some.iter().zip(&labels).zip(&annotations);
    let alerts: Vec<Value> = alerts
        .map(|((alert, labels), annotations)| {
            json!({
                "status": status(alert.state == State::Firing),
                "labels": labels,
                "annotations": annotations,
                "startsAt": time(alert.fired_ms.unwrap_or(alert.active_ms)),
                "endsAt": time(alert.resolved_ms),
                "generatorURL": format!("{external_url}/api/v1/rules"),
                "fingerprint": format!("{:016x}", fingerprint(&alert.labels)),
            })
        })
        .collect();
    json!({
        "version": "4",
        "receiver": route.receiver,
        "groupKey": format!("{{}}/{}:{shared}", route.receiver),
        "status": status(notification.fires()),
        "groupLabels": shared.iter().collect::<BTreeMap<_, _>>(),
        "commonLabels": common(&labels),
        "commonAnnotations": common(&annotations),
        "externalURL": external_url,
        "truncatedAlerts": all.len() - some.len(),
        "alerts": alerts,
    })
}

fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

/// The labels or annotations that all alerts share.
fn common<'a>(all: &[BTreeMap<&'a str, &'a str>]) -> BTreeMap<&'a str, &'a str> {
    let Some((first, others)) = all.split_first() else {
        return BTreeMap::new();
    };
    let mut common = first.clone();
    common.retain(|name, value| others.iter().all(|one| one.get(name) == Some(value)));
    common
}

/// The fingerprint of Prometheus's libraries (FNV-1a): an alert has the same one, whichever program sends it.
fn fingerprint(labels: &Labels) -> u64 {
    const BETWEEN: u8 = 0xff;
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([BETWEEN]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
