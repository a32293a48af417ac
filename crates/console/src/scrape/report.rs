//! The result of a scrape.

use std::time::Duration;

use crate::samples::Sample;

/// The counts of a scraped page.
#[derive(Debug, Default)]
pub(super) struct ScrapeResult {
    /// How many samples it has.
    pub samples: u64,
    /// How many series the target has now.
    pub series: u64,
    /// Series that found no room.
    pub no_room: u64,
    /// Samples that are not newer than the known ones.
    pub out_of_order: u64,
}

impl ScrapeResult {
    /// What is wrong with the page.
    pub fn complaint(&self) -> Option<String> {
        match (self.no_room, self.out_of_order) {
            (0, 0) => None,
            (0, old) => Some(format!("{old} samples are not newer than what was known")),
            (lost, _) => Some(format!("{lost} series found no room")),
        }
    }
}

/// Prometheus's series about a scrape: whether it worked, how long it took, and how many samples the page had.
pub(super) fn report(up: bool, took: Duration, samples: u64) -> Vec<Sample> {
    let sample = |(name, value): (&str, f64)| Sample {
        name: name.to_owned(),
        labels: Vec::new(),
        value,
        timestamp_us: None,
        exemplar: None,
        begins: true,
    };
    let all = [
        ("up", f64::from(u8::from(up))),
        ("scrape_duration_seconds", took.as_secs_f64()),
        ("scrape_samples_scraped", samples as f64),
    ];
    all.map(sample).into()
}
