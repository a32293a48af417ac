//! All scores of a mode in a few numbers, beside their goals.

use serde::Serialize;

use crate::scenario::Mode;
use crate::score::{Diagnosis, Score};
use crate::statistics::{Share, Times};

/// The numbers of one mode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The mode.
    pub mode: Mode,
    /// Runs with a fault.
    pub faults: usize,
    /// Runs without one.
    pub controls: usize,
    /// Runs that say nothing: they count as missed, a control as failed.
    pub broken: usize,
    /// Faults that were notified.
    pub recall: Share,
    /// Notified groups, controls included, that tell of a fault.
    pub precision: Share,
    /// Controls without a page.
    pub quiet_controls: Share,
    /// Seconds from the fault to the first notification that tells of it.
    pub first: Times,
    /// The same to the first one that names the true place.
    pub first_right: Times,
    /// Seconds from the end of a fault to the last "resolved".
    pub resolved: Times,
    /// Service, dependency and kind of the first cause are true.
    pub top1: Share,
    /// One of the first three causes is true.
    pub top3: Share,
    /// Service and dependency of the first cause are true.
    pub place: Share,
    /// The alert's own service is the true one.
    pub baseline: Share,
    /// The advised first action is a right one.
    pub action: Share,
    /// A roll-back is advised if, and only if, it is right.
    pub release: Share,
    /// Links that lead to something.
    pub links: Share,
    /// Each goal.
    pub goals: Vec<Goal>,
}

/// A goal of the demo profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// What.
    pub name: &'static str,
    /// In words, with the number.
    pub goal: &'static str,
    /// What was reached, as text; "no run" if there is nothing to judge.
    pub reached: String,
    /// Whether it is met; none if there is nothing to judge.
    pub met: Option<bool>,
}

impl Goal {
    /// In one word.
    pub(crate) const fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "open",
        }
    }
}

/// Sums up the scores of one mode.
pub fn summary(mode: Mode, scores: &[Score]) -> Summary {
    let scores: Vec<&Score> = scores.iter().filter(|score| score.mode == mode).collect();
    let faults: Vec<&&Score> = scores.iter().filter(|score| !score.control).collect();
    let controls: Vec<&&Score> = scores.iter().filter(|score| score.control).collect();
    let judged = |judge: fn(&Diagnosis) -> bool| {
        Share::of(
            faults
                .iter()
                .map(|score| score.diagnosis.as_ref().is_some_and(judge)),
        )
    };
    let times =
        |time: fn(&Score) -> Option<f64>| Times::of(faults.iter().filter_map(|score| time(score)));
    let quiet = |score: &&&Score| {
        score.broken.is_none() && !score.episodes.iter().any(|episode| episode.page)
    };
    let links: usize = scores.iter().map(|score| score.links).sum();
    let whole: usize = scores.iter().map(|score| score.links_whole).sum();
    let mut summary = Summary {
        mode,
        faults: faults.len(),
        controls: controls.len(),
        broken: scores.iter().filter(|score| score.broken.is_some()).count(),
        recall: Share::of(
            faults
                .iter()
                .map(|score| score.broken.is_none() && score.first_s.is_some()),
        ),
        precision: Share::of(
            scores
                .iter()
                .flat_map(|score| &score.episodes)
                .map(|episode| episode.right),
        ),
        quiet_controls: Share::of(controls.iter().map(quiet)),
        first: times(|score| score.first_s),
        first_right: times(|score| score.first_right_s),
        resolved: times(|score| score.resolved_s),
        top1: judged(|diagnosis| diagnosis.top1),
        top3: judged(|diagnosis| diagnosis.top3),
        place: judged(|diagnosis| diagnosis.place),
        baseline: judged(|diagnosis| diagnosis.baseline),
        action: judged(|diagnosis| diagnosis.action),
        release: judged(|diagnosis| diagnosis.release),
        links: Share::new(whole, links),
        goals: Vec::new(),
    };
    summary.goals = goals(&summary);
    summary
}

impl Summary {
    /// What is reported beside the goals: name and value.
    pub(crate) fn beside_goals(&self) -> [(&'static str, String); 7] {
        [
            ("first notification", self.first.text()),
            (
                "first notification that names the true place",
                self.first_right.text(),
            ),
            (
                "from the end of the fault to the last \"resolved\"",
                self.resolved.text(),
            ),
            ("true cause among the first three", self.top3.text()),
            ("true service and dependency first", self.place.text()),
            (
                "the alert's own service is the true one (without a diagnosis)",
                self.baseline.text(),
            ),
            ("release verdict right", self.release.text()),
        ]
    }
}

fn goals(summary: &Summary) -> Vec<Goal> {
    let share = |name, goal, least: f64, share: &Share| Goal {
        name,
        goal,
        reached: share.text(),
        met: share.share.map(|share| share >= least),
    };
    let time = |name, goal, most: f64, reached: Option<f64>| Goal {
        name,
        goal,
        reached: reached.map_or("no run".to_owned(), |seconds| format!("{seconds:.1} s")),
        met: reached.map(|seconds| seconds <= most),
    };
    vec![
        share("recall", "every fault is notified", 1.0, &summary.recall),
        share(
            "quiet controls",
            "no page without a fault",
            1.0,
            &summary.quiet_controls,
        ),
        share(
            "precision",
            "98 % of notified groups tell of a fault",
            0.98,
            &summary.precision,
        ),
        time(
            "median detection",
            "30 s at most",
            30.0,
            summary.first.median.map(|median| median.seconds),
        ),
        time("worst detection", "90 s at most", 90.0, summary.first.worst),
        share(
            "diagnosis",
            "90 % have the true cause first",
            0.9,
            &summary.top1,
        ),
        share(
            "first action",
            "80 % advise a right one",
            0.8,
            &summary.action,
        ),
        share(
            "click path",
            "every link leads to something",
            1.0,
            &summary.links,
        ),
    ]
}
