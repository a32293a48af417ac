//! What the state of the services says of the cause.

use slo::CauseKind;

use super::{Cause, calls};
use crate::evidence::Evidence;
use crate::evidence::services::{Answers, Instance, ServiceState};
use crate::text::{percent, seconds};

/// So many times as many requests as before are more than usual …
const MORE: f64 = 3.0;

/// … from so many requests per second.
const MANY: f64 = 5.0;

/// A process that uses so many processors, and twice as many as before, takes them from others.
const BUSY: f64 = 0.8;

/// An instance of which so many times as large a share of requests fails as of the others, or whose p95 is so many times as long, is worse …
const WORSE: f64 = 3.0;

/// … unless fewer than this fail, and its p95 is still shorter than this, in seconds.
const FEW_FAIL: f64 = 0.05;
const STILL_FAST: f64 = 0.05;

/// The states in the evidence.
pub(super) struct States<'a>(&'a [ServiceState]);

impl<'a> States<'a> {
    pub(super) fn of(evidence: &'a Evidence) -> Self {
        Self(&evidence.services)
    }

    fn state(&self, service: &str) -> Option<&'a ServiceState> {
        self.0.iter().find(|state| state.service == service)
    }

    /// A service that cannot be scraped.
    pub(super) fn not_answering(&self, service: &str) -> Option<Cause> {
        let (kind, why) = match self.state(service)?.answers {
            Answers::Yes => return None,
            Answers::Gone => (CauseKind::Down, "no process of it answers a scrape"),
            Answers::Silent => (
                CauseKind::Unresponsive,
                "its process takes connections and does not answer, not even a scrape",
            ),
        };
        Some(cause(service, kind, why.to_owned()))
    }

    /// A service of which a process has ended.
    pub(super) fn ended(&self, service: &str) -> Option<Cause> {
        let ended = self.state(service)?.ended;
        let why = "a process of it ended when the trouble began, and another one has started";
        ended.then(|| cause(service, CauseKind::Down, why.to_owned()))
    }

    /// The first dependency that does not answer it.
    pub(super) fn dependency_down(&self, service: &str) -> Option<Cause> {
        let name = calls::dependency(self.state(service)?.dependencies_down.first()?);
        if self.state(name).is_some() {
            return self.not_answering(name);
        }
        let why = format!("{service} gets no answer from {name}");
        Some(Cause {
            dependency: Some(name.to_owned()),
            ..cause(service, CauseKind::Down, why)
        })
    }

    /// A service that gets many more requests than before.
    pub(super) fn more_traffic(&self, service: &str) -> Option<Cause> {
        let state = self.state(service)?;
        let (now, before) = (state.requests, state.requests_before?);
        let why = format!("it gets {now:.1} requests per second, {before:.1} before");
        let is_more = before > 0.0 && now > MANY && now > before * MORE;
        is_more.then(|| cause(service, CauseKind::Traffic, why))
    }

    /// The process, of any service, that takes the processors from others.
    pub(super) fn busy(&self) -> Option<Cause> {
        let used = |state: &&ServiceState| {
            let (now, before) = (state.cpus?, state.cpus_before?);
            (now > BUSY && now > before * 2.0).then_some(now)
        };
        let busiest = self
            .0
            .iter()
            .filter_map(|state| Some((state, used(&state)?)));
        let (state, now) = busiest.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let before = state.cpus_before.unwrap_or_default();
        let why = format!("its process uses {now:.1} processors, {before:.1} before");
        Some(cause(&state.service, CauseKind::Cpu, why))
    }

    /// A service of which one instance is worse than the others. While one takes the place of another, they differ anyway.
    pub(super) fn uneven(&self, service: &str) -> Option<Cause> {
        let state = self.state(service).filter(|state| !state.ended)?;
        let used: Vec<(&String, &Instance)> = state
            .instances
            .iter()
            .filter(|(_, one)| one.requests > 0.0)
            .collect();
        used.iter().find_map(|(id, one)| {
            let others = used.iter().filter(|(other, _)| other != id);
            let others: Vec<&Instance> = others.map(|(_, other)| *other).collect();
            let how = worse(one, &others)?;
            let why = format!("its instance {id} {how}");
            Some(cause(service, CauseKind::Instance, why))
        })
    }
}

fn worse(one: &Instance, others: &[&Instance]) -> Option<String> {
    if others.is_empty() {
        return None;
    }
    let most = |value: fn(&Instance) -> f64| {
        let values = others.iter().map(|other| value(other));
        values.fold(0.0, f64::max)
    };
    let share = |one: &Instance| (one.errors / one.requests).min(1.0);
    let (fails, of_others) = (share(one), most(share));
    if fails > FEW_FAIL && fails > of_others * WORSE {
        let (fails, of_others) = (percent(fails), percent(of_others));
        return Some(format!(
            "fails {fails} of its requests, the others {of_others}"
        ));
    }
    let (p95, of_others) = (one.p95_s?, most(|one| one.p95_s.unwrap_or_default()));
    let is_slow = p95 > STILL_FAST && p95 > of_others * WORSE;
    let (p95, of_others) = (seconds(p95), seconds(of_others));
    is_slow.then(|| format!("has a p95 of {p95}, the others {of_others}"))
}

fn cause(service: &str, kind: CauseKind, why: String) -> Cause {
    Cause {
        service: service.to_owned(),
        dependency: None,
        kind,
        why: format!("{service}: {why}"),
    }
}
