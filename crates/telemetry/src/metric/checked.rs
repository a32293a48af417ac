//! What a declaration must be like. For the macro's all of it is decided while it is compiled.

use super::{Kind, Metric};
use crate::names::GLOBAL_LABELS;

impl Metric {
    /// Refuses at compile time what [`Metric::fault`] finds.
    pub(super) const fn checked(self) -> Self {
        if let Some(fault) = self.fault() {
            panic!("{}", fault);
        }
        self
    }

    /// What Prometheus's naming rules, or this crate's, have against it.
    pub(super) const fn fault(&self) -> Option<&'static str> {
        let total = ends_with(self.name, "_total");
        if self.help.is_empty() {
            Some("the doc comment is the help text")
        } else if !is_name(self.name) {
            Some("a name is made of a-z, 0-9 and _, and begins with a letter")
        } else if total != matches!(self.kind, Kind::Counter) {
            Some("the names of counters, and only theirs, end in _total")
        } else if !has_suffix_of_unit(*self, "s", "_seconds")
            || !has_suffix_of_unit(*self, "By", "_bytes")
        {
            Some("a name ends in _seconds if the unit is s, in _bytes if it is By, and only then")
        } else if self.buckets.is_empty() == matches!(self.kind, Kind::Histogram) {
            Some("histograms, and only they, have buckets")
        } else if !rises(self.buckets) {
            Some("each bucket is a finite number above the one before")
        } else if !are_labels(self.labels) {
            Some(
                "a label is named like a metric, once, and not le, quantile or as those that every series has",
            )
        } else {
            None
        }
    }
}

const fn has_suffix_of_unit(metric: Metric, unit: &str, suffix: &str) -> bool {
    let name = metric.name.as_bytes();
    let counter = matches!(metric.kind, Kind::Counter);
    let end = name.len() - if counter { "_total".len() } else { 0 };
    let has = is_end(name.split_at(end).0, suffix.as_bytes());
    has == (metric.unit.len() == unit.len() && ends_with(metric.unit, unit))
}

const fn ends_with(text: &str, end: &str) -> bool {
    is_end(text.as_bytes(), end.as_bytes())
}

const fn is_end(text: &[u8], end: &[u8]) -> bool {
    if text.len() < end.len() {
        return false;
    }
    let mut at = 0;
    while at < end.len() {
        if text[text.len() - end.len() + at] != end[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    let mut at = 0;
    while at < name.len() {
        match name[at] {
            b'a'..=b'z' => at += 1,
            // Two at the beginning are Prometheus's own.
            b'0'..=b'9' | b'_' if at > 0 => at += 1,
            _ => return false,
        }
    }
    !name.is_empty()
}

const fn are_labels(labels: &[&str]) -> bool {
    let mut at = 0;
    while at < labels.len() {
        let (before, name) = (labels.split_at(at).0, labels[at]);
        // The exposition formats' own, and what the registry adds.
        let taken = has(&["le", "quantile"], name) || has(GLOBAL_LABELS, name);
        if taken || has(before, name) || !is_name(name) {
            return false;
        }
        at += 1;
    }
    true
}

const fn has(names: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < names.len() {
        if names[at].len() == name.len() && ends_with(names[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn rises(buckets: &[f64]) -> bool {
    let mut at = 0;
    while at < buckets.len() {
        let above = at == 0 || buckets[at - 1] < buckets[at];
        if !above || !buckets[at].is_finite() {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Stability;

    const GOOD: Metric = Metric {
        name: "jobs_total",
        kind: Kind::Counter,
        unit: "{job}",
        help: "Jobs.",
        labels: &[],
        buckets: &[],
        stability: Stability::Own,
    };

    fn named(name: &'static str, kind: Kind, unit: &'static str) -> Metric {
        Metric {
            name,
            kind,
            unit,
            ..GOOD
        }
    }

    #[test]
    fn names_tell_kind_and_unit() {
        for (name, kind, unit) in [
            ("jobs_total", Kind::Counter, "{job}"),
            ("cpu_seconds_total", Kind::Counter, "s"),
            ("queue_bytes", Kind::Gauge, "By"),
            ("v2_ready", Kind::Gauge, "1"),
        ] {
            assert_eq!(named(name, kind, unit).fault(), None, "{name}");
        }
        for (name, kind, unit, about) in [
            ("jobs", Kind::Counter, "{job}", "end in _total"),
            ("jobs_total", Kind::Gauge, "{job}", "end in _total"),
            ("wait", Kind::Gauge, "s", "ends in _seconds"),
            ("wait_seconds", Kind::Gauge, "ms", "ends in _seconds"),
            ("wait_total", Kind::Counter, "s", "ends in _seconds"),
            ("queue", Kind::Gauge, "By", "in _bytes"),
            ("queue_bytes", Kind::Gauge, "{item}", "in _bytes"),
            ("Jobs_total", Kind::Counter, "{job}", "a-z"),
            ("jobs.done_total", Kind::Counter, "{job}", "a-z"),
            ("2_jobs_total", Kind::Counter, "{job}", "a-z"),
            ("_jobs_total", Kind::Counter, "{job}", "with a letter"),
        ] {
            let why = named(name, kind, unit).fault().expect(name);
            assert!(why.contains(about), "{name}: {why}");
        }
    }

    #[test]
    fn histograms_have_buckets_that_rise_and_everything_has_a_help_text() {
        let histogram = |buckets| Metric {
            buckets,
            ..named("wait_seconds", Kind::Histogram, "s")
        };
        assert_eq!(histogram(&[0.1, 1.0]).fault(), None);
        for (bad, about) in [
            (histogram(&[]), "have buckets"),
            (histogram(&[1.0, 1.0]), "above the one before"),
            (histogram(&[1.0, 0.1]), "above the one before"),
            (histogram(&[0.1, f64::NAN]), "above the one before"),
            (histogram(&[f64::NAN]), "finite"),
            (histogram(&[0.1, f64::INFINITY]), "finite"),
            (histogram(&[f64::NEG_INFINITY, 0.1]), "finite"),
            (
                Metric {
                    buckets: &[1.0],
                    ..GOOD
                },
                "have buckets",
            ),
            (Metric { help: "", ..GOOD }, "help text"),
        ] {
            let why = bad.fault().expect(about);
            assert!(why.contains(about), "{why}");
        }
    }

    #[test]
    fn labels_are_names_of_their_own() {
        let labelled = |labels| Metric { labels, ..GOOD }.fault();
        assert_eq!(labelled(&["outcome", "le_mans", "service"]), None);
        let bad: [&'static [&'static str]; 8] = [
            &["le"],
            &["outcome", "quantile"],
            &["service_name"],
            &["outcome", "outcome"],
            &["r#type"],
            &["__name__"],
            &["http.route"],
            &[""],
        ];
        for bad in bad {
            let why = labelled(bad).expect(bad[0]);
            assert!(why.starts_with("a label"), "{bad:?}: {why}");
        }
    }
}
