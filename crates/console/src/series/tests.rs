mod budget;
mod ended;
mod windows;

use super::*;
use crate::model::TraceId;

const SECOND: u64 = 1_000_000;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn sample(name: &str, pairs: &[(&str, &str)], value: f64) -> Sample {
    Sample {
        name: name.into(),
        labels: labels(pairs),
        value,
        timestamp_us: None,
        exemplar: None,
        begins: true,
    }
}

fn timed(name: &str, at_us: u64, value: f64) -> Sample {
    Sample {
        timestamp_us: Some(at_us),
        ..sample(name, &[], value)
    }
}

/// The conditions of a selector such as `a=x`, `a!=x`, `a~x`, `a!~x`.
fn matchers(conditions: &[&str]) -> Vec<Matcher> {
    let matcher = |condition: &&str| {
        let (name, negated, regex, value) = ["!=", "!~", "=", "~"]
            .iter()
            .find_map(|sign| {
                let (name, value) = condition.split_once(sign)?;
                Some((name, sign.starts_with('!'), sign.ends_with('~'), value))
            })
            .expect("a condition");
        let test = match regex {
            true => promql::Test::Regex(regex::Regex::new(&format!("^(?:{value})$")).expect("one")),
            false => promql::Test::Text(value.to_owned()),
        };
        Matcher {
            name: name.to_owned(),
            test,
            negated,
        }
    };
    conditions.iter().map(matcher).collect()
}

/// The latest samples, with memory for all of them.
fn now(store: &SeriesStore, conditions: &[&str]) -> Vec<LatestSample> {
    let found = store.latest(&matchers(conditions), &mut |_| true);
    found.expect("room")
}

/// Times and values of the one series that passes.
fn history(store: &SeriesStore, conditions: &[&str]) -> Vec<(i64, f64)> {
    let conditions = matchers(conditions);
    let all = store.known(&conditions, i64::MIN..=i64::MAX, Detail::All);
    let all: Vec<Known> = all.flatten().collect();
    assert_eq!(all.len(), 1, "{conditions:?}: {all:?}");
    all[0].samples().map(pair).collect()
}

fn pair(sample: promql::Sample) -> (i64, f64) {
    (sample.at_ms, sample.value)
}

fn own() -> Labels {
    labels(&[("instance", "a:1"), ("service_name", "gateway")])
}

fn own_of(instance: &str) -> Labels {
    labels(&[("instance", instance)])
}

/// A number of series with one name.
fn flood(name: &str, count: usize) -> Vec<Sample> {
    let one = |i: usize| sample(name, &[("x", &i.to_string())], 1.0);
    (0..count).map(one).collect()
}

/// The same with values that cannot be compressed.
fn moving(name: &str, count: usize, second: u64) -> Vec<Sample> {
    let mut samples = flood(name, count);
    for sample in &mut samples {
        sample.value = (second as f64).sin();
    }
    samples
}

#[test]
fn series_that_vanish_end_with_a_marker() {
    let store = SeriesStore::new(1 << 20);
    let first = vec![
        sample("m", &[("x", "1")], 1.0),
        sample("m", &[("x", "2")], 2.0),
    ];
    let replace = |samples, second| store.replace("a:1", &own(), samples, second * SECOND).0;
    assert_eq!(replace(first.clone(), 10), 2);
    assert_eq!(replace(vec![sample("m", &[("x", "1")], 3.0)], 20), 1);
    let found = now(&store, &["__name__=m"]);
    assert_eq!(
        (found.len(), found[0].value, found[0].at_ms),
        (1, 3.0, 20_000)
    );
    assert_eq!(history(&store, &["x=1"]), [(10_000, 1.0), (20_000, 3.0)]);
    let ended = history(&store, &["x=2"]);
    assert_eq!(ended[0], (10_000, 2.0));
    assert_eq!(ended[1].0, 20_000);
    assert!(promql::is_stale(ended[1].1));
    // It comes back, and goes again.
    assert_eq!(replace(first, 30), 2);
    assert_eq!(replace(vec![], 40), 0);
    assert_eq!(history(&store, &["x=2"]).len(), 4);
    assert!(now(&store, &[]).is_empty());
}

#[test]
fn a_page_that_says_the_times_of_its_samples_sets_no_marker() {
    let store = SeriesStore::new(1 << 20);
    store.replace(
        "a:1",
        &own(),
        vec![timed("m", 5 * SECOND, 1.0)],
        10 * SECOND,
    );
    store.replace("a:1", &own(), vec![], 20 * SECOND);
    assert_eq!(history(&store, &["__name__=m"]), [(5_000, 1.0)]);
    assert!(now(&store, &[]).is_empty());
}

#[test]
fn a_source_that_is_down_is_not_shown_but_keeps_its_history() {
    let store = SeriesStore::new(1 << 20);
    for at in 1..=300 {
        let samples = vec![sample("m", &[], at as f64)];
        store.replace("a:1", &own(), samples, at * SECOND);
    }
    store.went_down("a:1", 301 * SECOND);
    assert!(now(&store, &[]).is_empty());
    store.replace("a:1", &own(), vec![sample("m", &[], 302.0)], 302 * SECOND);
    let history = history(&store, &["__name__=m"]);
    assert_eq!(history.len(), 302);
    assert_eq!((history[0], history[301]), ((1_000, 1.0), (302_000, 302.0)));
    assert!(promql::is_stale(history[300].1));
    store.tidy(|_| false, |_| true, 303 * SECOND);
    assert!(now(&store, &[]).is_empty(), "it is no target any more");
}

#[test]
fn samples_are_in_order_or_counted() {
    let store = SeriesStore::new(1 << 20);
    let now_us = 1_000 * SECOND;
    let add = |at: u64, value: f64| {
        let samples = vec![timed("m", at * SECOND, value)];
        store.merge("s", "s", &own(), samples, now_us).out_of_order
    };
    assert_eq!(add(100, 1.0), 0);
    assert_eq!(add(100, 1.0), 0, "the same again");
    assert_eq!(add(100, 2.0), 1, "another value at this time");
    assert_eq!(add(99, 1.0), 1, "older");
    assert_eq!(add(1_600, 3.0), 0, "ten minutes in the future");
    assert_eq!(add(1_601, 3.0), 1, "more than that");
    assert_eq!(add(u64::MAX / SECOND, 3.0), 1, "centuries");
    let kept = [(100_000, 1.0), (1_600_000, 3.0)];
    assert_eq!(history(&store, &["__name__=m"]), kept);
    assert_eq!(store.lost().out_of_order, 4);
}

#[test]
fn a_source_does_not_write_into_the_series_of_another() {
    let store = SeriesStore::new(1 << 20);
    store.replace("a:1", &own(), vec![sample("m", &[], 1.0)], 10 * SECOND);
    let forged = || vec![timed("m", 15 * SECOND, 666.0)];
    let forge = || store.merge("s", "s", &own(), forged(), 20 * SECOND);
    assert_eq!(forge().out_of_order, 1);
    store.went_down("a:1", 20 * SECOND);
    assert_eq!(forge().out_of_order, 1, "nor while the target is down");
    store.replace("a:1", &own(), vec![sample("m", &[], 2.0)], 30 * SECOND);
    let history = history(&store, &["__name__=m"]);
    assert_eq!((history.len(), history[2]), (3, (30_000, 2.0)));
    // But a target that moved goes on.
    store.went_down("a:1", 40 * SECOND);
    let lost = store.replace("a:2", &own(), vec![sample("m", &[], 3.0)], 50 * SECOND);
    assert_eq!(lost, (1, Lost::default()));
}

#[test]
fn conditions_select_series() {
    let store = SeriesStore::new(1 << 20);
    let samples = vec![
        sample("m", &[("code", "200"), ("path", "/a")], 1.0),
        sample("m", &[("code", "500"), ("path", "/a")], 2.0),
        sample("m", &[("code", "503")], 3.0),
        sample("n", &[("code", "200")], 4.0),
        sample("co", &[("d", "e")], 5.0),
    ];
    store.replace("a:1", &own(), samples, 10 * SECOND);
    for (conditions, wanted) in [
        (&["__name__=m"][..], &[1.0, 2.0, 3.0][..]),
        (&["__name__=m", "code=200"], &[1.0]),
        (&["code=200"], &[1.0, 4.0]),
        (&["code~5.."], &[2.0, 3.0]),
        (&["code~5..", "path!="], &[2.0]),
        (&["code~5..", "path="], &[3.0]),
        (&["__name__=m", "code!=200"], &[2.0, 3.0]),
        (&["__name__=m", "code!~5.*"], &[1.0]),
        (&["__name__~m|n", "path!~.+"], &[3.0, 4.0]),
        (&["code=", "instance=a:1"], &[5.0]),
        (&["code~.*"], &[5.0, 1.0, 2.0, 3.0, 4.0]),
        (&["code~5"], &[]),
        (&["code=200", "service_name=other"], &[]),
        (&["nothing~.+"], &[]),
    ] {
        let found = now(&store, conditions);
        let values: Vec<f64> = found.iter().map(|found| found.value).collect();
        assert_eq!(values, wanted, "{conditions:?}");
    }
}

/// More values than are looked at under one lock.
#[test]
fn a_regular_expression_goes_through_all_values() {
    let store = SeriesStore::new(4 << 20);
    store.replace("a:1", &own(), flood("m", 300), 10 * SECOND);
    store.replace("b:1", &own_of("b"), flood("xx", 3), 10 * SECOND);
    for (condition, count) in [("x~1..", 100), ("x~.+", 303), ("x!~.", 290), ("x!=7", 302)] {
        assert_eq!(now(&store, &[condition]).len(), count, "{condition}");
    }
}

#[test]
fn a_span_of_time_is_cut_out_of_chunks() {
    let store = SeriesStore::new(1 << 20);
    for at in 1..=4_000 {
        let samples = vec![sample("m", &[], at as f64)];
        store.replace("a:1", &own(), samples, at * SECOND);
    }
    let of = |time| {
        let known = store
            .known(&matchers(&["__name__=m"]), time, Detail::All)
            .flatten()
            .next()?;
        let all: Vec<f64> = known.samples().map(|sample| sample.value).collect();
        assert_eq!(known.max_samples(), all.len());
        Some((all.len(), all[0]))
    };
    assert_eq!(of(i64::MIN..=i64::MAX), Some((4_000, 1.0)));
    assert_eq!(of(200_001..=300_000), Some((100, 201.0)));
    assert_eq!(of(3_999_500..=i64::MAX), Some((1, 4_000.0)));
    assert_eq!(of(4_000_001..=i64::MAX), None);
    assert_eq!(of(i64::MIN..=999), None);
}

#[test]
fn exemplars_are_the_last_ten_different_ones() {
    let store = SeriesStore::new(1 << 20);
    let exemplar = |number: u64| Exemplar {
        trace_id: TraceId(u128::from(number)),
        span_id: None,
        value: 0.5,
        timestamp_us: None,
    };
    for at in 1..=30 {
        let exemplar = Some(exemplar(at / 2));
        let samples = vec![Sample {
            exemplar,
            ..sample("m", &[], 1.0)
        }];
        store.replace("a:1", &own(), samples, at * SECOND);
    }
    let all: Vec<_> = store
        .exemplars(&matchers(&["__name__=m"]))
        .flatten()
        .collect();
    // The time is that of the first sample with it.
    let exemplar = |number: u64| Exemplar {
        timestamp_us: Some(number * 2 * SECOND),
        ..exemplar(number)
    };
    let wanted: Vec<Exemplar> = (6..=15).map(exemplar).collect();
    assert_eq!((all.len(), &all[0].1), (1, &wanted));
    assert_eq!(now(&store, &[])[0].exemplar, Some(exemplar(15)));
    store.replace("a:1", &own(), vec![], 40 * SECOND);
    assert_eq!(store.exemplars(&[]).flatten().count(), 1, "still known");
}

#[test]
fn labels_of_the_target_win() {
    let store = SeriesStore::new(1 << 20);
    let sent = [
        ("service_name", "other"),
        ("instance", "a:1"),
        ("empty", ""),
        (NAME, "forged"),
    ];
    store.replace("a:1", &own(), vec![sample("m", &sent, 1.0)], 10);
    let found = now(&store, &["service_name=gateway"]);
    let all: Vec<_> = found[0].labels.iter().collect();
    assert_eq!(
        all,
        [
            (NAME, "m"),
            ("exported___name__", "forged"),
            ("exported_service_name", "other"),
            ("instance", "a:1"),
            ("service_name", "gateway")
        ]
    );
    assert!(now(&store, &["service_name=other"]).is_empty());
}

#[test]
fn labels_that_clash_are_all_kept() {
    let own = labels(&[("a", "own"), ("b", "same"), ("c", "")]);
    let sent = labels(&[("a", "1"), ("exported_a", "2"), ("b", "same"), ("c", "3")]);
    let all = [
        ("a", "own"),
        ("b", "same"),
        ("c", "3"),
        ("exported_a", "2"),
        ("exported_exported_a", "1"),
    ];
    assert_eq!(all_labels(&own, sent), labels(&all));
}

#[test]
fn an_answer_that_finds_no_room_is_none() {
    let store = SeriesStore::new(1 << 20);
    let two = vec![sample("m", &[], 1.0), sample("n", &[], 1.0)];
    store.replace("a:1", &own(), two, 10);
    assert_eq!(
        store.latest(&[], &mut |bytes| bytes < 2 * size_of::<LatestSample>()),
        None
    );
    assert!(store.latest(&[], &mut |bytes| bytes < 4 << 10).is_some());
}

/// Recorded series are looked back at for longer, but those are few.
#[test]
fn samples_are_kept_for_as_long_as_the_rules_look_back() {
    let rules = include_str!("../../../../alerts/rules/demo.yml");
    let minutes = |text: &str| {
        let digits = text.split_once('m')?.0;
        digits.parse::<u64>().ok()
    };
    let ranges = rules.split('[').chain(rules.split(" offset ")).skip(1);
    let longest = ranges.filter_map(minutes).max().expect("a range");
    let look_back = PATIENCE.as_secs() / 60;
    assert!((100..=300).contains(&(longest + look_back)), "{longest}");
    assert!(longest + look_back <= RETENTION.as_secs() / 60);
}
