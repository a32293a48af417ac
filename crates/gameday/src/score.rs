//! What a run is worth, from its record and its scenario.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::notification::{Diagnosed, Notification};
use crate::record::Record;
use crate::scenario::{Mode, Scenario};
use crate::truth::Truth;

/// The score of a run. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The scenario,
    pub scenario: String,
    /// its title,
    pub title: String,
    /// the mode
    pub mode: Mode,
    /// and the repeat.
    pub repeat: u32,
    /// True if nothing was wrong.
    pub control: bool,
    /// Why the run says nothing.
    pub broken: Option<String>,
    /// Each group that fired, in the order of arrival.
    pub episodes: Vec<Episode>,
    /// From the first action to the first notification that tells of the fault.
    pub first_s: Option<f64>,
    /// The same to the first one whose first cause is at the true place.
    pub first_right_s: Option<f64>,
    /// From the end of the fault to the last "resolved"; `None` if something still fired.
    pub resolved_s: Option<f64>,
    /// Of the first notification that tells of the fault.
    pub diagnosis: Option<Diagnosis>,
    /// Links that were followed to their end,
    pub links_whole: usize,
    /// of so many.
    pub links: usize,
}

/// A group of alerts from firing to resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Episode {
    /// Of its first notification.
    pub title: String,
    /// True if it wakes somebody.
    pub page: bool,
    /// It tells of the fault or its consequences.
    pub right: bool,
    /// When it was first notified.
    pub at: DateTime<Utc>,
    /// When it was notified as over.
    pub over: Option<DateTime<Utc>>,
}

/// How good a notification's diagnosis is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// What it names, the most likely first.
    pub causes: Vec<Diagnosed>,
    /// What it advises.
    pub advice: String,
    /// The first cause has the true service and dependency.
    pub place: bool,
    /// The first cause has a true kind.
    pub kind: bool,
    /// Both.
    pub top1: bool,
    /// One of the first three has both.
    pub top3: bool,
    /// The first action is a right one.
    pub action: bool,
    /// A roll-back is advised if, and only if, it is right.
    pub release: bool,
    /// The alert's own service is the true one: what people had without a diagnosis.
    pub baseline: bool,
}

/// Scores a run.
pub fn score(scenario: &Scenario, record: &Record) -> Score {
    let truth = scenario.truth.as_ref();
    let injected = record.times.injected;
    let since = |at: DateTime<Utc>| Some(seconds(injected?, at));
    let told: Vec<&Notification> = match truth {
        Some(truth) => record
            .notifications
            .iter()
            .filter(|told| tells(truth, told, injected))
            .collect(),
        None => Vec::new(),
    };
    let names_the_place = |told: &&&Notification| {
        let first = told.causes().into_iter().next();
        truth
            .zip(first)
            .is_some_and(|(truth, first)| truth.is_place(&first))
    };
    let episodes = episodes(truth, record);
    Score {
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        mode: record.mode,
        repeat: record.repeat,
        control: scenario.is_control(),
        broken: record.broken.clone(),
        first_s: told.first().and_then(|told| since(told.at)),
        first_right_s: told
            .iter()
            .find(names_the_place)
            .and_then(|told| since(told.at)),
        resolved_s: resolved(&episodes, record.times.cleared),
        diagnosis: truth
            .zip(told.first())
            .map(|(truth, told)| diagnosis(truth, told)),
        links_whole: record.hops.iter().filter(|hop| hop.whole).count(),
        links: record.hops.len(),
        episodes,
    }
}

fn tells(truth: &Truth, told: &Notification, injected: Option<DateTime<Utc>>) -> bool {
    told.is_firing()
        && injected.is_some_and(|injected| told.at >= injected)
        && truth.is_told_by(told)
}

fn episodes(truth: Option<&Truth>, record: &Record) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for told in &record.notifications {
        let right = truth.is_some_and(|truth| tells(truth, told, record.times.injected));
        match (open.get(told.group()).copied(), told.is_firing()) {
            (None, true) => {
                open.insert(told.group(), episodes.len());
                let title = told.title().to_owned();
                episodes.push(Episode {
                    title,
                    page: told.is_page(),
                    right,
                    at: told.at,
                    over: None,
                });
            }
            // An alert that joins the group may be the expected one.
            (Some(index), true) => episodes[index].right |= right,
            (Some(index), false) => {
                episodes[index].over = Some(told.at);
                open.remove(told.group());
            }
            (None, false) => {}
        }
    }
    episodes
}

fn resolved(episodes: &[Episode], cleared: Option<DateTime<Utc>>) -> Option<f64> {
    let over: Option<Vec<DateTime<Utc>>> = episodes.iter().map(|episode| episode.over).collect();
    Some(seconds(cleared?, over?.into_iter().max()?).max(0.0))
}

fn diagnosis(truth: &Truth, told: &Notification) -> Diagnosis {
    let causes = told.causes();
    let first = causes.first();
    let place = first.is_some_and(|cause| truth.is_place(cause));
    let kind = first.is_some_and(|cause| truth.kind.contains(&cause.kind));
    Diagnosis {
        place,
        kind,
        top1: place && kind,
        top3: causes.iter().take(3).any(|cause| truth.is_cause(cause)),
        action: told
            .first_action()
            .is_some_and(|(what, target)| truth.is_action(what, target)),
        release: told.roll_backs().any(|service| service == truth.service) == truth.roll_back,
        baseline: told.own_service() == truth.service,
        advice: told.advice().to_owned(),
        causes,
    }
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_milliseconds() as f64 / 1000.0
}
