//! What may be named: the declared metrics, the listed metrics of other programs, the recording rules.

use std::collections::{BTreeMap, BTreeSet};

use telemetry::metric::Kind;
use telemetry::names::GLOBAL_LABELS;

use super::{promql, rules};
use crate::declared;
use crate::harness::repository;

/// Label names.
pub type Labels = BTreeSet<String>;

/// Every series name with its labels, and the labels of log entries.
pub struct Known {
    series: BTreeMap<String, Labels>,
    third_party: BTreeSet<String>,
    /// Labels of a stream and structured metadata.
    pub log_labels: Labels,
}

impl Known {
    /// Reads what is declared, `dashboards/third-party.toml` and `alerts/rules`.
    pub fn read() -> Self {
        let file = third_party_file();
        let target = labels(&file["target_labels"]);
        let mut known = Self {
            series: services(&target),
            third_party: BTreeSet::new(),
            log_labels: labels(&file["log_labels"]),
        };
        for (program, metrics) in file.iter().filter(|(_, value)| value.is_table()) {
            for (name, own) in metrics.as_table().expect("a table") {
                let mut all = labels(own);
                // Prometheus makes these itself: nothing is scraped.
                if !name.starts_with("ALERTS") {
                    all.extend(target.clone());
                }
                let before = known.series.insert(name.clone(), all);
                assert!(
                    before.is_none(),
                    "third-party.toml: [{program}] {name} is known already"
                );
                known.third_party.insert(name.clone());
            }
        }
        known.record();
        known
    }

    /// Adds the recording rules. One may read another that stands below it, so until nothing changes; one that reads itself, to
    /// remember, has at first whatever label there is.
    fn record(&mut self) {
        let recorded = rules::recorded();
        let own = recorded.iter().flat_map(|rule| &rule.labels);
        let any: Labels = self.series.values().flatten().chain(own).cloned().collect();
        let itself = |rule: &&rules::Recorded| rule.expression.contains(&rule.name);
        for rule in recorded.iter().filter(itself) {
            self.series.insert(rule.name.clone(), any.clone());
        }
        loop {
            let before = self.series.clone();
            for rule in &recorded {
                let found = promql::labels_of(self, &rule.expression);
                let own = rule.labels.iter().cloned();
                match found {
                    Ok(found) if itself(&rule) => {
                        let labels = found.into_iter().chain(own).collect();
                        self.series.insert(rule.name.clone(), labels);
                    }
                    Err(_) if itself(&rule) => {}
                    found => {
                        let known = self.series.entry(rule.name.clone()).or_default();
                        known.extend(found.unwrap_or_default().into_iter().chain(own));
                    }
                }
            }
            if self.series == before {
                return;
            }
        }
    }

    /// Every series name with its labels.
    pub fn series(&self) -> impl Iterator<Item = (&String, &Labels)> {
        self.series.iter()
    }

    /// Names from `third-party.toml`.
    pub fn third_party(&self) -> impl Iterator<Item = &String> {
        self.third_party.iter()
    }
}

fn third_party_file() -> toml::Table {
    let path = repository("dashboards/third-party.toml");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn labels(value: &toml::Value) -> Labels {
    let names = value
        .as_array()
        .expect("third-party.toml: an array of labels");
    names
        .iter()
        .map(|name| name.as_str().expect("third-party.toml: a label").to_owned())
        .collect()
}

/// What is declared, as Prometheus stores it.
fn services(target: &Labels) -> BTreeMap<String, Labels> {
    let mut series = BTreeMap::new();
    // The console's own carry no labels of a service, and no dashboard asks for them.
    let of_services = declared::all().filter(|metric| !metric.name.starts_with("console_"));
    for metric in of_services {
        let mut labels = target.clone();
        let own = GLOBAL_LABELS.iter().chain(metric.labels);
        labels.extend(own.map(|label| (*label).to_owned()));
        if metric.kind != Kind::Histogram {
            series.insert(metric.name.to_owned(), labels);
            continue;
        }
        series.insert(format!("{}_sum", metric.name), labels.clone());
        series.insert(format!("{}_count", metric.name), labels.clone());
        labels.insert("le".to_owned());
        series.insert(format!("{}_bucket", metric.name), labels);
    }
    series
}
