//! What to do first about the likely causes.

use slo::{Action, CauseKind};

use super::declared::Declared;
use super::{Cause, FirstAction, calls, causes};
use crate::evidence::Evidence;
use crate::evidence::locks::Lock;
use crate::evidence::releases::Release;
use crate::evidence::rollback::RollBack;
use crate::notification::LinkList;
use crate::text::shortened;

/// A longer address is not repeated in the text.
const ADDRESS: usize = 300;

/// The longest text.
const TEXT: usize = 800;

/// The first action about the first cause.
pub(super) fn first(
    causes: &[Cause],
    alerts: &[Declared],
    evidence: &Evidence,
    links: &LinkList,
) -> Option<FirstAction> {
    let cause = causes.first()?;
    let holder = holder(cause, evidence);
    let is_own = holder.is_some_and(causes::is_own);
    if may_be_released(cause, is_own)
        && let Some(release) = worse_release(evidence, |release| release.service == cause.service)
    {
        return Some(roll_back(release));
    }
    let says = |alert: &&Declared| alert.service == cause.service && alert.kind == cause.kind;
    let declared = alerts.iter().find(says).and_then(|alert| alert.action);
    Some(match declared.or_else(|| usual(cause.kind)) {
        Some(Action::EndSession) if !is_own => end_session(cause, holder),
        Some(Action::LookAt | Action::RollBack | Action::EndSession) | None => {
            look_at(cause, links)
        }
        Some(action) => on_part(action, cause),
    })
}

/// A new version that is worse and fits.
pub(super) fn worse_release(
    evidence: &Evidence,
    fits: impl Fn(&Release) -> bool,
) -> Option<&Release> {
    let changes = &evidence.releases.as_ref()?.changes;
    let is_worse = |release: &&Release| release.roll_back == RollBack::Advised && fits(release);
    changes.iter().find(is_worse)
}

/// Whether a new version of the service can have caused it.
fn may_be_released(cause: &Cause, is_own_lock: bool) -> bool {
    use CauseKind::{Certificate, Clock, Connections, Disk, Down, Lock, Traffic, Unresponsive};
    match cause.kind {
        Lock => is_own_lock,
        Down | Unresponsive => cause.dependency.is_none(),
        kind => !matches!(kind, Certificate | Clock | Connections | Disk | Traffic),
    }
}

fn roll_back(release: &Release) -> FirstAction {
    let (service, before) = (&release.service, &release.before.version);
    let order = format!("Roll back {service} to {before}");
    FirstAction {
        to: Some(before.clone()),
        ..build(Action::RollBack, service, &release.reason, &order)
    }
}

/// The action that a kind needs, whatever the alert.
fn usual(kind: CauseKind) -> Option<Action> {
    match kind {
        CauseKind::Down | CauseKind::Unresponsive => Some(Action::Restart),
        CauseKind::Lock | CauseKind::Connections => Some(Action::EndSession),
        CauseKind::Disk => Some(Action::FreeSpace),
        CauseKind::Traffic => Some(Action::LimitLoad),
        _ => None,
    }
}

/// On the service, or on the dependency that has the fault.
fn on_part(action: Action, cause: &Cause) -> FirstAction {
    let part = cause.dependency.as_ref().unwrap_or(&cause.service);
    let command = command(&format!("omnitrace restart {}", started_as(part)), part);
    let order = match action {
        Action::Restart => format!("Restart {part}{command}, if its supervisor has not done so"),
        Action::FreeSpace => format!("Free space on the disk of {part}"),
        Action::Renew => format!("Renew the certificate of {part}"),
        Action::SetClock => format!("Set the clock of {part}"),
        _ => format!("Limit the load on {part}"),
    };
    build(action, part, &cause.why, &order)
}

/// The name by which a part is started, of one that metrics call otherwise.
fn started_as(part: &str) -> &str {
    match part {
        calls::DATABASE => "postgres",
        "postgres" => "postgres-exporter",
        "otel-collector" => "collector",
        part => part,
    }
}

/// Who holds the lock.
fn holder<'a>(cause: &Cause, evidence: &'a Evidence) -> Option<&'a Lock> {
    let of_service = |lock: &&Lock| lock.service == cause.service;
    let mut locks = evidence.locks.iter().filter(of_service);
    // An outsider first, since the service's own requests may wait for it while they hold others.
    let outsider = locks.clone().find(|lock| !causes::is_own(lock));
    let is_lock = cause.kind == CauseKind::Lock;
    outsider.or_else(|| locks.next()).filter(|_| is_lock)
}

fn end_session(cause: &Cause, holder: Option<&Lock>) -> FirstAction {
    let part = cause.dependency.as_ref().unwrap_or(&cause.service);
    let Some(Lock { holder, .. }) = holder else {
        let what = match cause.kind {
            CauseKind::Connections => "take the connections",
            _ => "hold the locks",
        };
        let order = format!("End the database sessions of others that {what} of {part}");
        return build(Action::EndSession, part, &cause.why, &order);
    };
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name =";
    let command = command(&format!("{end} '{holder}'"), holder);
    let order = format!("End the database session of {holder}{command}");
    build(Action::EndSession, holder, &cause.why, &order)
}

fn look_at(cause: &Cause, links: &LinkList) -> FirstAction {
    let service = &cause.service;
    let pages = [
        links.traces.first(),
        links.dashboard.as_ref(),
        links.runbook.as_ref(),
    ];
    let mut pages = pages.into_iter().flatten();
    let page = pages.find(|page| page.len() <= ADDRESS);
    let named = page.map_or_else(String::new, |page| format!(" ({page})"));
    let order = format!("Look at {service}{named}");
    FirstAction {
        page: page.cloned(),
        ..build(Action::LookAt, service, &cause.why, &order)
    }
}

/// A command to paste, if the name in it, which others have chosen, is only a name.
fn command(command: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
    match name.chars().all(is_plain) {
        true => format!(" (`{command}`)"),
        false => String::new(),
    }
}

fn build(action: Action, target: &str, why: &str, order: &str) -> FirstAction {
    FirstAction {
        action,
        target: target.to_owned(),
        to: None,
        why: why.to_owned(),
        text: shortened(&format!("{order}: {why}."), TEXT),
        page: None,
    }
}
