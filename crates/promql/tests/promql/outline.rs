//! What a source leaves out changes no value.

use promql::{
    Detail, Error, Labels, Limits, Outline, STALE_NAN, Sample, Select, Selected, Source, Value,
};

const SERIES: u64 = 60;
const SECONDS: i64 = 600;

/// Series of many kinds. It gives what is wanted of them, or all that they have.
struct Noisy {
    gives_all: bool,
}

/// Numbers that look random and are the same in each run.
fn dice(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Counters that start again now and then, gauges, and series with gaps, NaN and stale markers.
fn samples(number: u64) -> Vec<Sample> {
    let mut seed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (restarts, gauges, oddities) = (number % 3 * 8, number % 4, number % 5);
    let mut value = 0.0;
    let one = |at: i64| {
        let grows = (dice(&mut seed) % 4) as f64 / 4.0;
        let roll = dice(&mut seed) % 1_000;
        value = match roll {
            _ if roll < restarts => 0.0,
            _ if gauges == 3 => (roll % 50) as f64 - 25.0,
            _ => value + grows,
        };
        let value = match dice(&mut seed) % 400 {
            odd if odd >= oddities => value,
            0 => f64::NAN,
            1 => STALE_NAN,
            2 => f64::INFINITY,
            _ => return None,
        };
        let at_ms = at * 1_000 + (roll % 90) as i64;
        Some(Sample { at_ms, value })
    };
    (0..SECONDS).filter_map(one).collect()
}

impl Source for Noisy {
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, Error> {
        let detail = match self.gives_all {
            true => Detail::All,
            false => wanted.detail,
        };
        let selected = |number: u64| {
            let labels = Labels::new([("__name__", "x".to_owned()), ("n", number.to_string())]);
            let is_in =
                |sample: &Sample| (wanted.after_ms + 1..=wanted.until_ms).contains(&sample.at_ms);
            let all = samples(number).into_iter().filter(is_in);
            Selected::of(labels, all, detail)
        };
        let all = (0..SERIES).map(selected);
        Ok(all
            .filter(|selected| !selected.samples.is_empty())
            .collect())
    }
}

fn values(text: &str, gives_all: bool, at_ms: i64) -> Vec<(Labels, u64)> {
    let expression = promql::parse(text).unwrap();
    let source = Noisy { gives_all };
    let found = promql::instant(&expression, &source, at_ms, &Limits::default()).unwrap();
    let Value::Vector(found) = found else {
        panic!("{text}: {found:?}");
    };
    let bits = |(labels, sample): (Labels, Sample)| (labels, sample.value.to_bits());
    found.into_iter().map(bits).collect()
}

#[test]
fn every_function_gives_the_same_to_the_last_bit() {
    for of in [
        "rate(x[%])",
        "increase(x[%])",
        "delta(x[%])",
        "resets(x[%])",
        "changes(x[%])",
        "min_over_time(x[%])",
        "max_over_time(x[%])",
        "count_over_time(x[%])",
        "present_over_time(x[%])",
        "first_over_time(x[%])",
        "last_over_time(x[%])",
        "irate(x[%])",
        "idelta(x[%])",
        "deriv(x[%])",
        "avg_over_time(x[%])",
        "quantile_over_time(0.5, x[%])",
        "x",
        "timestamp(x)",
        "x offset %",
        "rate(x[1m] offset %)",
        "rate(x[%] @ 300)",
        "max_over_time(rate(x[20s])[%:7s])",
    ] {
        for (window, at_ms) in [
            ("9s", 100_000),
            ("1m", 61_500),
            ("5m", 599_999),
            ("1h", 600_000),
        ] {
            let text = of.replace('%', window);
            let (all, outlined) = (values(&text, true, at_ms), values(&text, false, at_ms));
            assert_eq!(all, outlined, "{text} at {at_ms}");
            assert!(
                at_ms < 300_000 || of.contains("offset") || all.len() > 50,
                "{text} at {at_ms}: {}",
                all.len()
            );
        }
    }
}

#[test]
fn an_outline_of_a_counter_is_its_ends_and_its_restarts() {
    let sample = |(at_ms, value): (i64, f64)| Sample { at_ms, value };
    let values = [1.0, 2.0, 2.0, 5.0, 0.0, 1.0, 3.0, STALE_NAN, 4.0, 4.0];
    let all: Vec<Sample> = (0..).zip(values).map(sample).collect();
    let outline = |ranges: &[std::ops::Range<usize>]| {
        let mut outline = Outline::default();
        let mut next = 0;
        for range in ranges {
            all[next..range.start]
                .iter()
                .for_each(|sample| outline.push(*sample));
            outline.push_run(all[range.start], all[range.end - 1], range.len());
            next = range.end;
        }
        all[next..].iter().for_each(|sample| outline.push(*sample));
        outline.into_parts()
    };
    let kept = [(0, 1.0), (3, 5.0), (4, 0.0), (9, 4.0)]
        .map(sample)
        .to_vec();
    for runs in [
        vec![],
        vec![0..1, 1..4],
        vec![0..4, 4..7],
        vec![4..5, 8..10],
    ] {
        assert_eq!(outline(&runs), (kept.clone(), 5), "{runs:?}");
    }
}
