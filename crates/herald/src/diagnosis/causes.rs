//! From what was seen to what is likely to be the cause.

use slo::CauseKind;

use super::declared::Declared;
use super::{Cause, SHOWN};
use crate::evidence::Evidence;
use crate::evidence::dependencies::{Edge, Kind};
use crate::evidence::locks::Lock;
use crate::text::{percent, seconds};

/// A call that takes so many times as long as before is slower …
const SLOWER: f64 = 1.5;

/// … unless it is still shorter than this, in seconds.
const STILL_FAST: f64 = 0.05;

/// The likely causes, the most likely first; at least one.
pub(super) fn likely(alerts: &[Declared], evidence: &Evidence) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut add = |cause: Cause| {
        if causes.len() < SHOWN && !causes.iter().any(|known| known.is_same(&cause)) {
            causes.push(cause);
        }
    };
    let certain = alerts.iter().filter(|alert| !alert.kind.is_symptom());
    certain.for_each(|alert| add(itself(alert, evidence)));
    if let Some(symptom) = alerts.iter().find(|alert| alert.kind.is_symptom()) {
        seen(symptom.kind, evidence).into_iter().for_each(&mut add);
        add(itself(symptom, evidence));
    }
    causes
}

/// What the alert says, with the evidence that is missing.
fn itself(alert: &Declared, evidence: &Evidence) -> Cause {
    let mut why = alert.summary.clone();
    if alert.kind.is_symptom() && !evidence.missing.is_empty() {
        let missing: Vec<&str> = evidence.missing.iter().map(|gap| gap.backend).collect();
        why += &format!("; evidence from {} is missing", missing.join(", "));
    }
    Cause {
        service: alert.service.clone(),
        dependency: None,
        kind: alert.kind,
        why,
    }
}

/// What the calls and the locks show.
fn seen(symptom: CauseKind, evidence: &Evidence) -> Vec<Cause> {
    let trails = &evidence.dependencies;
    let last = |trail: &Option<crate::evidence::trail::Trail>| trail.as_ref()?.last().cloned();
    let failing = last(&trails.failing).map(|hop| failing(&hop));
    let slowest = last(&trails.slowest).filter(is_slower);
    let slowest = slowest.map(|hop| slow(&hop));
    let locked = evidence.locks.first().map(lock);
    let by_symptom = match symptom {
        CauseKind::Latency | CauseKind::SlowStatement => [slowest, failing],
        _ => [failing, slowest],
    };
    let found = by_symptom.into_iter().flatten();
    // Waiting for a lock looks like slow statements and like an exhausted pool.
    let behind = |cause: Cause| match &locked {
        Some(lock) if cause.service == lock.service && waits(cause.kind) => lock.clone(),
        _ => cause,
    };
    found.map(behind).chain(locked.clone()).collect()
}

fn waits(kind: CauseKind) -> bool {
    use CauseKind::{Latency, Lock, Pool, SlowStatement};
    matches!(kind, Lock | SlowStatement | Pool | Latency)
}

fn is_slower(hop: &Edge) -> bool {
    let Some(now) = hop.p95_s else { return false };
    let before = hop.p95_before_s.unwrap_or_default();
    now > STILL_FAST && now > before * SLOWER
}

fn failing(hop: &Edge) -> Cause {
    let why = match hop.error_type.as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    let why = format!(
        "{} of the calls of {} to {} fail{why}, {} before",
        percent(hop.error_share),
        hop.caller,
        hop.callee,
        percent(hop.error_share_before)
    );
    at(hop, failure(hop), why)
}

fn slow(hop: &Edge) -> Cause {
    let kind = match hop.kind {
        Kind::Http => CauseKind::Latency,
        Kind::Database => CauseKind::SlowStatement,
        Kind::Pool => CauseKind::Pool,
    };
    let time = |p95: Option<f64>| p95.map_or_else(|| "unknown".to_owned(), seconds);
    let why = format!(
        "the p95 of {} of {} is {}, {} before",
        hop.callee,
        hop.caller,
        time(hop.p95_s),
        time(hop.p95_before_s)
    );
    at(hop, kind, why)
}

/// The cause at the end of a call.
fn at(hop: &Edge, kind: CauseKind, why: String) -> Cause {
    let of_caller = |dependency: Option<&str>| Cause {
        service: hop.caller.clone(),
        dependency: dependency.map(str::to_owned),
        kind,
        why: why.clone(),
    };
    match hop.kind {
        Kind::Http => Cause {
            service: hop.callee.clone(),
            ..of_caller(None)
        },
        Kind::Pool if kind == CauseKind::Pool => of_caller(None),
        Kind::Pool => of_caller(Some("postgresql")),
        Kind::Database => of_caller(hop.callee.split(' ').next()),
    }
}

/// The kind of a failed call. SQLSTATEs have five characters.
fn failure(hop: &Edge) -> CauseKind {
    match (hop.kind, hop.error_type.as_str()) {
        (Kind::Http, "connect") => CauseKind::Down,
        (Kind::Http, "connection") => CauseKind::Connection,
        (Kind::Http, "timeout") => CauseKind::Latency,
        (Kind::Http, "body" | "decode") => CauseKind::BadAnswer,
        (Kind::Http, _) => CauseKind::Errors,
        (_, "connect" | "57P01" | "57P02" | "57P03") => CauseKind::Down,
        (_, "53300") => CauseKind::Connections,
        (_, "55P03" | "40P01") => CauseKind::Lock,
        (Kind::Pool, "timeout") => CauseKind::Unresponsive,
        (Kind::Pool, _) => CauseKind::Pool,
        (_, "timeout" | "57014") => CauseKind::SlowStatement,
        _ => CauseKind::Errors,
    }
}

fn lock(lock: &Lock) -> Cause {
    let statement = match lock.statement.as_str() {
        "" => "statements in the background",
        statement => statement,
    };
    Cause {
        service: lock.service.clone(),
        dependency: Some("postgresql".to_owned()),
        kind: CauseKind::Lock,
        why: format!(
            "{} × {statement} of {} waited for a lock of {}",
            lock.waiting, lock.service, lock.holder
        ),
    }
}
