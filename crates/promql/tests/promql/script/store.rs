//! Series in memory, as the tests load them.

use std::collections::BTreeMap;

use promql::{Error, Labels, NAME, Sample, Select, Selected, Source};

use super::notation::{Item, labels_end, series};

#[derive(Clone, Copy, Debug)]
enum Point {
    Value(f64),
    /// What it would need to be evaluated.
    NotCovered(&'static str),
}

#[derive(Default)]
pub struct Store {
    series: BTreeMap<Labels, BTreeMap<i64, Point>>,
}

impl Store {
    pub fn load(
        &mut self,
        step_ms: i64,
        with_native: bool,
        lines: &[String],
    ) -> Result<(), String> {
        let mut start_times = Vec::new();
        for line in lines {
            let end = labels_end(line)?;
            if line[end..].starts_with("@st") || line[..end].ends_with("@st") {
                start_times.push(series(line[..end].trim_end_matches("@st"))?.0);
                continue;
            }
            let (labels, items) = series(line)?;
            let starts = start_times.contains(&labels);
            for (index, item) in items.iter().enumerate() {
                let point = match item {
                    Item::Missing => continue,
                    Item::Value(_) if starts => Point::NotCovered("start timestamps"),
                    Item::Value(value) => Point::Value(*value),
                    Item::NativeHistogram => Point::NotCovered("native histograms"),
                };
                self.add(&labels, index as i64 * step_ms, point, with_native);
            }
        }
        Ok(())
    }

    fn add(&mut self, labels: &Labels, at_ms: i64, point: Point, with_native: bool) {
        self.series
            .entry(labels.clone())
            .or_default()
            .insert(at_ms, point);
        let name = labels.get(NAME);
        let base = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        if let (true, Some(base)) = (with_native, base) {
            let native = labels.only(|name| name != "le").with(NAME, base);
            self.series
                .entry(native)
                .or_default()
                .insert(at_ms, Point::NotCovered("native histograms"));
        }
    }
}

impl Source for Store {
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, Error> {
        let mut found = Vec::new();
        for (labels, points) in &self.series {
            if !wanted
                .matchers
                .iter()
                .all(|matcher| matcher.matches_labels(labels))
            {
                continue;
            }
            let mut samples = Vec::new();
            for (&at_ms, point) in points {
                match point {
                    _ if at_ms <= wanted.after_ms || at_ms > wanted.until_ms => {}
                    Point::Value(value) => samples.push(Sample {
                        at_ms,
                        value: *value,
                    }),
                    Point::NotCovered(what) => return Err(Error::NotCovered((*what).to_owned())),
                }
            }
            if !samples.is_empty() {
                found.push(Selected::of(labels.clone(), samples, wanted.detail));
            }
        }
        Ok(found)
    }
}
