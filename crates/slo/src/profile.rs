//! Windows and gates of a profile: the same mathematics, compressed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use toml::Spanned;

use crate::definition::{File, RawProfile, Severity, Window};
use crate::error::{Error, Source};
use crate::{Objective, Time, objective};

/// A short window holds at least so many scrapes, else its rate is a guess.
const MIN_SCRAPES: u64 = 4;

/// Windows that make tickets are evaluated once in so many scrapes: they are long, and dear.
const SLOW: u64 = 8;

/// One pair of windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// How many times too fast the budget burns.
    pub burn_rate: f64,
    /// Over this window …
    pub long: Time,
    /// … and still over this one.
    pub short: Time,
    /// Who is told at most.
    pub severity: Severity,
    /// How long a route must have been there: the first pair guesses from its short window on, so that an outage of a fresh
    /// stack is told; the others wait until their long window is whole, since a share of less overstates the burn.
    pub history: Time,
    /// Fewer bad requests in the long window are no alert.
    pub min_bad_events: u32,
}

/// Everything that differs between production and a demonstration.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// By how much windows and period are shorter than written.
    pub compression: u64,
    /// Time between two scrapes.
    pub scrape_interval: Time,
    /// What an error budget is for.
    pub period: Time,
    /// Pairs of windows, the fastest first.
    pub pairs: Vec<Pair>,
    /// How long a service or a probe is down before somebody is told.
    pub outage_for: Time,
    /// How long a probe may fail at first.
    pub startup: Time,
    /// What cause alerts look back over.
    pub cause_window: Time,
    /// How long a cause lasts before somebody is told.
    pub cause_for: Time,
    /// A disk with more left than so many gigabytes is not almost full, whatever their share of it.
    pub low_disk_gb: NonZeroU32,
}

impl Profile {
    /// How often windows of this severity are evaluated.
    pub fn interval(&self, severity: Severity) -> Time {
        match severity {
            Severity::Page => self.scrape_interval,
            Severity::Ticket => Time::from_seconds(self.scrape_interval.seconds() * SLOW),
        }
    }

    /// Pairs of this severity.
    pub fn pairs(&self, severity: Severity) -> impl Iterator<Item = &Pair> {
        self.pairs
            .iter()
            .filter(move |pair| pair.severity == severity)
    }

    /// The longest window of the fastest pair: what a dashboard shows when a page arrives.
    pub fn first_window(&self) -> Time {
        self.pairs
            .first()
            .map_or(Time::from_seconds(3_600), |pair| pair.long)
    }

    /// For how long what is gone is remembered: as long as the slowest page looks back.
    pub fn memory(&self) -> Time {
        let longest = self.pairs(Severity::Page).map(|pair| pair.long).max();
        longest.unwrap_or_else(|| self.first_window())
    }

    /// An instance that is there for so long was not added by a deployment alone.
    pub fn steady(&self) -> Time {
        Time::from_seconds(self.memory().seconds() / 12)
    }
}

/// Every profile of the file.
pub(crate) fn all(source: Source<'_>, file: &File) -> Result<BTreeMap<String, Profile>, Error> {
    let objectives = objective::all(source, file)?;
    for window in &file.windows {
        can_burn(source, window, &objectives)?;
    }
    file.profiles
        .iter()
        .map(|(name, raw)| {
            let name = name.get_ref();
            Ok((name.clone(), one(source, file, name, raw)?))
        })
        .collect()
}

fn one(source: Source<'_>, file: &File, name: &str, raw: &RawProfile) -> Result<Profile, Error> {
    let compression = *raw.compression.get_ref();
    if !(1..=1_000).contains(&compression) {
        let why = format!("`compression` is {compression}: allowed is 1 to 1000");
        return Err(source.error(raw.compression.span(), why));
    }
    let gates = file
        .windows
        .iter()
        .flat_map(|window| &window.min_bad_events);
    for gate in gates.chain([&raw.min_bad_events]) {
        enough(source, gate)?;
    }
    let scrape = *raw.scrape_interval.get_ref();
    let compressed = |time: Time| Time::from_seconds(time.seconds() / compression);
    let pairs: Vec<Pair> = file
        .windows
        .iter()
        .enumerate()
        .map(|(index, window)| Pair {
            burn_rate: *window.burn_rate.get_ref(),
            long: compressed(*window.long.get_ref()),
            short: compressed(*window.short.get_ref()),
            severity: window.severity,
            history: compressed(*match index {
                0 => window.short.get_ref(),
                _ => window.long.get_ref(),
            }),
            min_bad_events: *window
                .min_bad_events
                .as_ref()
                .unwrap_or(&raw.min_bad_events)
                .get_ref(),
        })
        .collect();
    for pair in &pairs {
        if pair.short.seconds() < MIN_SCRAPES * scrape.seconds() {
            let why = format!(
                "`profile.{name}.scrape_interval` is {scrape}: the short window {} then holds fewer than {MIN_SCRAPES} scrapes; allowed is {} s or less, or a smaller `compression`",
                pair.short,
                pair.short.seconds() / MIN_SCRAPES
            );
            return Err(source.error(raw.scrape_interval.span(), why));
        }
    }
    Ok(Profile {
        name: name.to_owned(),
        compression,
        scrape_interval: scrape,
        period: compressed(file.period),
        pairs,
        outage_for: raw.outage_for,
        startup: raw.startup,
        cause_window: raw.cause_window,
        cause_for: raw.cause_for,
        low_disk_gb: raw.low_disk_gb,
    })
}

fn enough(source: Source<'_>, min_bad_events: &Spanned<u32>) -> Result<(), Error> {
    let count = min_bad_events.get_ref();
    if *count >= 3 {
        return Ok(());
    }
    let why = format!(
        "`min_bad_events` is {count}: allowed is 3 or more, since `increase` may see one bad request as two"
    );
    Err(source.error(min_bad_events.span(), why))
}

/// A threshold of 100 % or more is never crossed: such an alert would be silent for ever.
fn can_burn(source: Source<'_>, window: &Window, objectives: &[Objective]) -> Result<(), Error> {
    let rate = *window.burn_rate.get_ref();
    let widest = objectives.iter().map(Objective::budget).fold(0.0, f64::max);
    let limit = 1.0 / widest;
    if rate.is_nan() || rate <= 0.0 || rate >= limit {
        let why = format!(
            "`burn_rate` is {rate}: allowed is above 0 and below {limit:.1}, since with the widest budget here, {} %, all requests may be bad before it is reached",
            widest * 100.0
        );
        return Err(source.error(window.burn_rate.span(), why));
    }
    if window.short.get_ref() >= window.long.get_ref() {
        let why = format!(
            "`short` is {}: allowed is less than `long`",
            window.short.get_ref()
        );
        return Err(source.error(window.short.span(), why));
    }
    Ok(())
}
