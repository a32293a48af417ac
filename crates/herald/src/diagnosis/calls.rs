//! What the call at the end of a trail says of the cause.

use slo::CauseKind;

use super::Cause;
use crate::evidence::dependencies::{Edge, Kind};
use crate::evidence::traces::FailedSpan;
use crate::text::{percent, seconds};

/// The database behind every pool that is measured.
pub(super) const DATABASE: &str = "postgresql";

/// A statement that takes a smaller part of the wait for a connection does not explain it, nor does one that is shorter than this, in seconds.
const EXPLAINS: f64 = 0.1;
const LONG: f64 = 0.2;

/// A call that takes so many times as long as before is slower …
const SLOWER: f64 = 1.5;

/// … unless it is still shorter than this, in seconds.
const STILL_FAST: f64 = 0.05;

/// Whether its calls have become slow.
pub(super) fn is_slower(hop: &Edge) -> bool {
    let Some(now) = hop.p95_s else { return false };
    let before = hop.p95_before_s.unwrap_or_default();
    now > STILL_FAST && now > before * SLOWER
}

/// Whether a statement keeps the connections for which others wait.
pub(super) fn keeps_connections(statement: &Edge, pool: &Edge) -> bool {
    let (statement_s, wait_s) = (statement.p95_s.unwrap_or_default(), pool.p95_s);
    is_slower(statement) && statement_s > LONG.max(wait_s.unwrap_or_default() * EXPLAINS)
}

/// The name of a dependency, as calls have it.
pub(super) fn dependency(name: &str) -> &str {
    match name {
        "database" => DATABASE,
        name => name,
    }
}

/// The cause at the end of calls that fail.
pub(super) fn failing(hop: &Edge) -> Cause {
    let error = match hop.error_type.as_str() {
        "" => String::new(),
        error => format!(" ({error})"),
    };
    let why = format!(
        "{} of the {} fail{error}, {} before",
        percent(hop.error_share),
        what(hop),
        percent(hop.error_share_before)
    );
    at(
        (hop.kind, &hop.caller, &hop.callee),
        failure(hop.kind, &hop.error_type),
        why,
    )
}

/// The cause at a failed span: of a call what was called, else its own service.
pub(super) fn failed(span: &FailedSpan, why: String) -> Cause {
    match &span.called {
        Some((kind, callee)) => at(
            (*kind, &span.service, callee),
            failure(*kind, &span.error_type),
            why,
        ),
        None => Cause {
            service: span.service.clone(),
            dependency: None,
            kind: CauseKind::Errors,
            why,
        },
    }
}

/// The calls of an edge.
fn what(hop: &Edge) -> String {
    let Edge { caller, callee, .. } = hop;
    match hop.kind {
        Kind::Http => format!("calls of {caller} to {callee}"),
        Kind::Database => format!("statements {callee} of {caller}"),
        Kind::Pool => format!("waits of {caller} for {callee}"),
    }
}

/// The cause at the end of calls that take long.
pub(super) fn slow(hop: &Edge) -> Cause {
    let kind = match hop.kind {
        Kind::Http => CauseKind::Latency,
        Kind::Database => CauseKind::SlowStatement,
        Kind::Pool => CauseKind::Pool,
    };
    let time = |p95: Option<f64>| p95.map_or_else(|| "unknown".to_owned(), seconds);
    let (now, before) = (time(hop.p95_s), time(hop.p95_before_s));
    let why = format!("the p95 of the {} is {now}, {before} before", what(hop));
    at((hop.kind, &hop.caller, &hop.callee), kind, why)
}

fn at((call, caller, callee): (Kind, &str, &str), kind: CauseKind, why: String) -> Cause {
    let (service, dependency) = match call {
        Kind::Http => (callee, None),
        Kind::Pool if kind == CauseKind::Pool => (caller, None),
        Kind::Pool => (caller, Some(DATABASE)),
        Kind::Database => (caller, callee.split(' ').next()),
    };
    Cause {
        service: service.to_owned(),
        dependency: dependency.map(str::to_owned),
        kind,
        why,
    }
}

/// The kind of a failed call, by its `error_type`: of the database a SQLSTATE, for example.
fn failure(call: Kind, error_type: &str) -> CauseKind {
    match (call, error_type) {
        (Kind::Http, "connect") => CauseKind::Down,
        (Kind::Http, "connection") => CauseKind::Connection,
        (Kind::Http, "timeout" | "504") => CauseKind::Unresponsive,
        (Kind::Http, "body" | "decode") => CauseKind::BadAnswer,
        (Kind::Http, _) => CauseKind::Errors,
        (_, "connect" | "57P01" | "57P02" | "57P03") => CauseKind::Down,
        (_, "53100") => CauseKind::Disk,
        (_, "53300") => CauseKind::Connections,
        (_, "55P03" | "40P01") => CauseKind::Lock,
        (Kind::Pool, "timeout") => CauseKind::Unresponsive,
        (Kind::Pool, _) => CauseKind::Pool,
        (_, "timeout" | "57014") => CauseKind::SlowStatement,
        _ => CauseKind::Errors,
    }
}
