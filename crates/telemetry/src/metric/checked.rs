//! What a declaration must be like. All of it is decided while it is compiled.

use super::{Kind, Metric};

impl Metric {
    /// Refuses at compile time what Prometheus's naming rules refuse.
    pub(super) const fn checked(self) -> Self {
        let total = ends_with(self.name, "_total");
        assert!(!self.help.is_empty(), "the doc comment is the help text");
        assert!(is_name(self.name), "a name is made of a-z, 0-9 and _");
        assert!(
            total == matches!(self.kind, Kind::Counter),
            "the names of counters, and only theirs, end in _total"
        );
        assert!(
            has_suffix_of_unit(self, "s", "_seconds") && has_suffix_of_unit(self, "By", "_bytes"),
            "a name ends in _seconds if the unit is s, in _bytes if it is By, and only then"
        );
        assert!(
            self.buckets.is_empty() != matches!(self.kind, Kind::Histogram),
            "histograms, and only they, have buckets"
        );
        assert!(rises(self.buckets), "each bucket is above the one before");
        self
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
            b'a'..=b'z' | b'_' => at += 1,
            b'0'..=b'9' if at > 0 => at += 1,
            _ => return false,
        }
    }
    !name.is_empty()
}

const fn rises(buckets: &[f64]) -> bool {
    let mut at = 1;
    while at < buckets.len() {
        // False also for what is no number.
        let above = buckets[at - 1] < buckets[at];
        if !above {
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

    /// What a declaration is told at compile time; `None` when it is good.
    fn complaint(metric: Metric) -> Option<&'static str> {
        let panic = std::panic::catch_unwind(|| metric.checked()).err()?;
        Some(panic.downcast_ref::<&str>().expect("a constant text"))
    }

    #[test]
    fn names_tell_kind_and_unit() {
        for (name, kind, unit) in [
            ("jobs_total", Kind::Counter, "{job}"),
            ("cpu_seconds_total", Kind::Counter, "s"),
            ("queue_bytes", Kind::Gauge, "By"),
            ("v2_ready", Kind::Gauge, "1"),
        ] {
            assert_eq!(complaint(named(name, kind, unit)), None, "{name}");
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
        ] {
            let why = complaint(named(name, kind, unit)).expect(name);
            assert!(why.contains(about), "{name}: {why}");
        }
    }

    #[test]
    fn histograms_have_buckets_that_rise_and_everything_has_a_help_text() {
        let histogram = |buckets| Metric {
            buckets,
            ..named("wait_seconds", Kind::Histogram, "s")
        };
        assert_eq!(complaint(histogram(&[0.1, 1.0])), None);
        for (bad, about) in [
            (histogram(&[]), "have buckets"),
            (histogram(&[1.0, 1.0]), "above the one before"),
            (histogram(&[1.0, 0.1]), "above the one before"),
            (histogram(&[0.1, f64::NAN]), "above the one before"),
            (
                Metric {
                    buckets: &[1.0],
                    ..GOOD
                },
                "have buckets",
            ),
            (Metric { help: "", ..GOOD }, "help text"),
        ] {
            let why = complaint(bad).expect(about);
            assert!(why.contains(about), "{why}");
        }
    }
}
