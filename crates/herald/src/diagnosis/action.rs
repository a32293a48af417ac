//! What to do first about the likely causes.

use slo::{Action, CauseKind};

use super::declared::Declared;
use super::{Cause, FirstAction};
use crate::evidence::Evidence;
use crate::evidence::locks::Lock;
use crate::evidence::releases::Release;
use crate::evidence::rollback::RollBack;
use crate::notification::LinkList;
use crate::text::shortened;

/// A longer address is not repeated in the text.
const ADDRESS: usize = 300;

/// The first action about the first cause.
pub(super) fn first(
    causes: &[Cause],
    alerts: &[Declared],
    evidence: &Evidence,
    links: &LinkList,
) -> Option<FirstAction> {
    let cause = causes.first()?;
    if let Some(release) = worse_release(cause, evidence) {
        return Some(roll_back(release));
    }
    let declared = alerts.iter().find(|alert| {
        alert.service == cause.service && alert.kind == cause.kind && cause.dependency.is_none()
    });
    let action = declared.and_then(|alert| alert.action);
    Some(match action.or_else(|| usual(cause.kind)) {
        Some(Action::EndSession) => end_session(cause, evidence, links),
        Some(Action::LookAt | Action::RollBack) | None => look_at(cause, links),
        Some(action) => plain(action, cause),
    })
}

/// The new version that is worse, of the service at fault; of another one only if that one's fault is not known exactly.
fn worse_release<'a>(cause: &Cause, evidence: &'a Evidence) -> Option<&'a Release> {
    let changes = &evidence.releases.as_ref()?.changes;
    let mut advised = changes
        .iter()
        .filter(|release| release.roll_back == RollBack::Advised);
    advised.find(|release| release.service == cause.service)
}

fn roll_back(release: &Release) -> FirstAction {
    let (service, before) = (&release.service, &release.before.version);
    FirstAction {
        action: Action::RollBack,
        target: service.clone(),
        to: Some(before.clone()),
        why: release.reason.clone(),
        text: format!("Roll back {service} to {before}: {}.", release.reason),
    }
}

/// The action that a kind needs, whatever the alert.
fn usual(kind: CauseKind) -> Option<Action> {
    match kind {
        CauseKind::Down | CauseKind::Unresponsive => Some(Action::Restart),
        CauseKind::Lock | CauseKind::Connections => Some(Action::EndSession),
        CauseKind::Disk => Some(Action::FreeSpace),
        CauseKind::Certificate => Some(Action::Renew),
        CauseKind::Clock => Some(Action::SetClock),
        CauseKind::Traffic => Some(Action::LimitLoad),
        _ => None,
    }
}

fn plain(action: Action, cause: &Cause) -> FirstAction {
    let part = cause.part();
    let order = match action {
        Action::Restart => format!("Restart {part}, if its supervisor has not done so already"),
        Action::FreeSpace => format!("Free space on the disk of {part}"),
        Action::Renew => format!("Renew the certificate of {part}"),
        Action::SetClock => format!("Set the clock of {part}"),
        _ => format!("Limit the load on {part}"),
    };
    build(action, part, &cause.why, order)
}

/// A lock that somebody else holds; the sessions of the service itself end with its requests.
fn end_session(cause: &Cause, evidence: &Evidence, links: &LinkList) -> FirstAction {
    let of_service = |lock: &&Lock| lock.service == cause.service;
    let holder = evidence
        .locks
        .iter()
        .find(of_service)
        .map(|lock| &lock.holder);
    match holder {
        Some(holder) if holder.contains(&cause.service) => look_at(cause, links),
        Some(holder) => {
            let order = format!("End the database session of {holder}");
            build(Action::EndSession, holder, &cause.why, order)
        }
        None => {
            let part = cause.part();
            let order =
                format!("End the sessions that take the connections or hold the locks of {part}");
            build(Action::EndSession, part, &cause.why, order)
        }
    }
}

fn look_at(cause: &Cause, links: &LinkList) -> FirstAction {
    let part = cause.part();
    let pages = [
        links.traces.first(),
        links.dashboard.as_ref(),
        links.runbook.as_ref(),
    ];
    let page = pages
        .into_iter()
        .flatten()
        .find(|page| page.len() <= ADDRESS);
    let at = page.map_or_else(String::new, |page| format!(" ({page})"));
    build(
        Action::LookAt,
        part,
        &cause.why,
        format!("Look at {part}{at}"),
    )
}

fn build(action: Action, target: &str, why: &str, order: String) -> FirstAction {
    FirstAction {
        action,
        target: target.to_owned(),
        to: None,
        why: why.to_owned(),
        text: shortened(&format!("{order}: {why}."), 2 * ADDRESS),
    }
}
