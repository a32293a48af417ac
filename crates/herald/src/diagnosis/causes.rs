//! From what was seen to what is likely to be the cause.

use slo::CauseKind;

use super::declared::Declared;
use super::states::States;
use super::{Cause, SHOWN, action, calls};
use crate::evidence::Evidence;
use crate::evidence::dependencies::{Edge, Kind};
use crate::evidence::locks::Lock;
use crate::evidence::releases::Release;
use crate::evidence::traces::Trace;
use crate::evidence::trail::Trail;

/// The likely causes, the most likely first; at least one.
pub(super) fn likely(alerts: &[Declared], evidence: &Evidence) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut add = |cause: Cause| {
        if causes.len() < SHOWN && !causes.iter().any(|known| known.is_same(&cause)) {
            causes.push(cause);
        }
    };
    let certain = alerts.iter().filter(|alert| !alert.kind.is_symptom());
    certain.for_each(|alert| add(certain_cause(alert, evidence)));
    if let Some(symptom) = alerts.iter().find(|alert| alert.kind.is_symptom()) {
        seen(symptom, evidence).into_iter().for_each(&mut add);
        add(itself(symptom, evidence));
    }
    causes
}

/// What the alert says; the evidence adds who holds a lock, and whether a process is there that does not answer.
fn certain_cause(alert: &Declared, evidence: &Evidence) -> Cause {
    let said = itself(alert, evidence);
    let of_call = || {
        let end = evidence
            .dependencies
            .failing
            .as_ref()?
            .last()
            .map(calls::failing);
        end.filter(|end| (&end.service, &end.dependency) == (&said.service, &said.dependency))
    };
    match alert.kind {
        CauseKind::Lock => lock_of(&said.service, evidence).map_or(said, lock),
        CauseKind::Down if said.dependency.is_some() => match of_call() {
            Some(end) if end.kind != CauseKind::Errors => end,
            _ => said,
        },
        CauseKind::Down => States::of(evidence)
            .not_answering(&said.service)
            .unwrap_or(said),
        _ => said,
    }
}

/// What the alert says, with the evidence that is missing.
fn itself(alert: &Declared, evidence: &Evidence) -> Cause {
    let mut why = alert.summary.clone();
    if alert.kind.is_symptom() && !evidence.missing.is_empty() {
        let missing: Vec<&str> = evidence.missing.iter().map(|gap| gap.backend).collect();
        why += &format!("; evidence from {} is missing", missing.join(", "));
    }
    // A dependency that is a service itself has the fault itself.
    let is_service = |name: &String| evidence.services.iter().any(|state| state.service == *name);
    let (service, dependency) = match &alert.dependency {
        Some(name) if alert.calls_service || is_service(name) => (name, None),
        None if alert.kind == CauseKind::SlowStatement => {
            (&alert.service, Some(calls::DATABASE.to_owned()))
        }
        dependency => (&alert.service, dependency.clone()),
    };
    Cause {
        service: service.clone(),
        dependency,
        kind: alert.kind,
        why,
    }
}

/// What the evidence shows behind a symptom.
fn seen(alert: &Declared, evidence: &Evidence) -> Vec<Cause> {
    let states = States::of(evidence);
    let mut found: Vec<Cause> = states.not_answering(&alert.service).into_iter().collect();
    // Traffic is no reason for these.
    if !matches!(alert.kind, CauseKind::Queue | CauseKind::Readiness) {
        found.extend(states.more_traffic(&alert.service));
    }
    if alert.kind == CauseKind::Errors {
        found.extend(failed_sooner(evidence));
    }
    let ends = ends(alert.kind, evidence);
    found.extend(
        ends.into_iter()
            .flat_map(|(hop, cause)| behind(hop, cause, evidence)),
    );
    found.extend(states.dependency_down(&alert.service));
    if alert.kind == CauseKind::Latency {
        found.extend(states.uneven(&alert.service));
        found.extend(states.busy());
    }
    let outsiders = evidence.locks.iter().find(|lock| !is_own(lock));
    found.extend(outsiders.map(lock));
    // The probe's requests are in no metric of calls, and traces are few; so they count only if nothing else is known.
    if found.is_empty() && alert.kind == CauseKind::Errors {
        found.extend(failed_trace(evidence));
    }
    if found.is_empty() {
        found.extend(action::worse_release(evidence, |_| true).map(release));
    }
    found
}

/// The failed trace, if it took less time than the slow calls take: it did not fail because they are slow. A call that fails for the
/// first time is in no rate of failed calls yet, since its series begins with it. Who waited for a connection in vain waited for slow statements,
/// however long.
fn failed_sooner(evidence: &Evidence) -> Option<Cause> {
    let trails = &evidence.dependencies;
    let slow = trails.slowest.as_ref().and_then(Trail::last)?.p95_s?;
    let sooner = trails.failing.is_none() && worst_failed(evidence)?.duration_s < slow;
    failed_trace(evidence).filter(|cause| sooner && cause.kind != CauseKind::Pool)
}

fn worst_failed(evidence: &Evidence) -> Option<&Trace> {
    let mut traces = evidence.traces.iter();
    traces.find(|trace| trace.failed.is_some())
}

/// Where the worst failed trace ends.
fn failed_trace(evidence: &Evidence) -> Option<Cause> {
    let trace = worst_failed(evidence)?;
    let why = format!("the worst trace failed at {}", trace.failed_at);
    Some(calls::failed(trace.failed.as_ref()?, why))
}

/// The ends of the trails, the one that explains the symptom first.
fn ends(symptom: CauseKind, evidence: &Evidence) -> Vec<(&Edge, Cause)> {
    use CauseKind::{Latency, Pool, Queue, Readiness, SlowStatement};
    let trails = &evidence.dependencies;
    let failing = trails.failing.as_ref().and_then(Trail::last);
    let slowest = trails.slowest.as_ref().and_then(Trail::last);
    let failing = failing.map(|hop| (hop, calls::failing(hop)));
    let slowest = slowest.filter(|hop| calls::is_slower(hop));
    let slowest = slowest.map(|hop| (hop, calls::slow(hop)));
    let both = match symptom {
        Latency | SlowStatement | Pool => [slowest, failing],
        // Time that is lost elsewhere is no reason for these.
        Queue | Readiness => [failing, None],
        _ => [failing, slowest],
    };
    both.into_iter().flatten().collect()
}

/// What is behind the end of a trail, and the end itself after it.
fn behind(hop: &Edge, cause: Cause, evidence: &Evidence) -> Vec<Cause> {
    use CauseKind::{Connection, Errors, Latency, Lock, Pool, SlowStatement, Unresponsive};
    let states = States::of(evidence);
    let mut found: Vec<Cause> = Vec::new();
    if hop.kind == Kind::Http {
        found.extend(states.not_answering(&cause.service));
        if matches!(cause.kind, Connection | Unresponsive) {
            found.extend(states.ended(&cause.service));
        }
        if matches!(cause.kind, Errors | Unresponsive) {
            found.extend(states.dependency_down(&cause.service));
        }
    }
    if matches!(cause.kind, Latency | SlowStatement | Pool | Lock) {
        found.extend(lock_behind(hop, &cause, evidence).map(lock));
    }
    if matches!(
        cause.kind,
        Errors | Latency | SlowStatement | Pool | Unresponsive
    ) {
        found.extend(states.uneven(&cause.service));
    }
    if matches!(cause.kind, Latency | SlowStatement | Pool | Unresponsive) {
        found.extend(states.busy());
    }
    if cause.kind == Pool {
        let statement = evidence.dependencies.statement.as_ref();
        found.extend(
            statement
                .filter(|one| calls::keeps_connections(one, hop))
                .map(calls::slow),
        );
    }
    found.push(cause);
    found
}

/// The lock for which the statements at the end of a trail wait. A lock of the service's own requests only if it is waited for by the very
/// statement that is slow: short waits are usual.
fn lock_behind<'a>(hop: &Edge, cause: &Cause, evidence: &'a Evidence) -> Option<&'a Lock> {
    let statement = match hop.kind {
        Kind::Pool => evidence.dependencies.statement.as_ref()?,
        _ => hop,
    };
    let waits = |lock: &&Lock| {
        let own = calls::is_slower(statement) && statement.callee.ends_with(&lock.statement);
        lock.service == cause.service && (own || !is_own(lock))
    };
    evidence.locks.iter().find(waits)
}

fn release(release: &Release) -> Cause {
    Cause {
        service: release.service.clone(),
        dependency: None,
        kind: CauseKind::Release,
        why: format!(
            "{} {}: {}",
            release.service, release.now.version, release.reason
        ),
    }
}

fn lock_of<'a>(service: &str, evidence: &'a Evidence) -> Option<&'a Lock> {
    evidence.locks.iter().find(|lock| lock.service == service)
}

/// Whether the service itself holds it: applications are named after their service.
pub(super) fn is_own(lock: &Lock) -> bool {
    lock.holder.contains(&lock.service)
}

fn lock(lock: &Lock) -> Cause {
    let statement = match lock.statement.as_str() {
        "" => "statements in the background",
        statement => statement,
    };
    Cause {
        service: lock.service.clone(),
        dependency: Some(calls::DATABASE.to_owned()),
        kind: CauseKind::Lock,
        why: format!(
            "{} × {statement} of {} waited for a lock of {}",
            lock.waiting, lock.service, lock.holder
        ),
    }
}
