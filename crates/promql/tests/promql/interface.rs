//! What the crate offers besides evaluation.

use promql::{Error, Labels, Reads, Steps, format_value};

#[test]
fn labels_are_sorted_and_have_no_empty_value() {
    let labels = Labels::new([
        ("job", "old"),
        ("__name__", "up"),
        ("empty", ""),
        ("b", "\"quoted\""),
        ("job", "new"),
    ]);
    assert_eq!(labels.to_string(), r#"up{b="\"quoted\"", job="new"}"#);
    assert_eq!((labels.get("job"), labels.get("empty")), ("new", ""));
    assert_eq!(labels.with("job", "").with("b", "").to_string(), "up");
    assert_eq!(Labels::default().to_string(), "{}");
    let other = Labels::new([("b", "\"quoted\""), ("job", "new"), ("__name__", "up")]);
    assert_eq!(labels, other);
}

#[test]
fn values_are_written_as_prometheus_writes_them() {
    for (value, written) in [
        (0.0, "0"),
        (-0.5, "-0.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (1e-6, "0.000001"),
        (1.25e-7, "1.25e-07"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(format_value(value), written);
    }
}

#[test]
fn a_selector_is_matchers_and_nothing_else() {
    let matchers = promql::selector(r#"up{job=~"a|b", instance!="x"}"#).unwrap();
    let matches = |pairs: &[(&'static str, &'static str)]| {
        let labels = Labels::new(pairs.iter().copied());
        matchers
            .iter()
            .all(|matcher| matcher.matches_labels(&labels))
    };
    assert!(matches(&[("__name__", "up"), ("job", "b")]));
    assert!(!matches(&[("__name__", "up"), ("job", "ab")]));
    assert!(!matches(&[
        ("__name__", "up"),
        ("job", "b"),
        ("instance", "x")
    ]));
    for text in ["up[5m]", "up offset 1m", "up @ 1", "sum(up)", "1", "{}", ""] {
        let outcome = promql::selector(text);
        assert!(
            matches!(outcome, Err(Error::Syntax(_))),
            "{text}: {outcome:?}"
        );
    }
}

#[test]
fn an_expression_knows_what_time_it_reads() {
    let text = "max_over_time(rate(a[5m] offset 1m)[30m:1m]) + topk(2, b offset -1m) - sum_over_time(c[1h]) \
                + sum_over_time(d[5m] @ end()) + avg_over_time(sum(e @ 600)[1h:1m]) + max_over_time(sum(f)[9m:1m] @ start())";
    let expression = promql::parse(text).unwrap();
    let steps = Steps {
        start_ms: 100 * 60_000,
        end_ms: 200 * 60_000,
        step_ms: 60_000,
    };
    let reads = expression.reads(steps, 7 * 60_000);
    let minutes = |read: &Reads<'_>| (read.after_ms / 60_000, read.until_ms / 60_000);
    let minutes: Vec<(i64, i64)> = reads.iter().map(minutes).collect();
    let of_at = [(195, 200), (3, 10), (84, 100)];
    assert_eq!(minutes[..3], [(64, 199), (94, 201), (40, 200)]);
    assert_eq!(minutes[3..], of_at);
}

/// Nothing is guessed: each is refused by its name, before any series is read.
#[test]
fn what_is_not_covered_is_named() {
    for (text, named) in [
        ("histogram_count(x)", "the function `histogram_count`"),
        (
            "double_exponential_smoothing(x[5m], 0.1, 0.1)",
            "the function `double_exponential_smoothing`",
        ),
        ("info(x)", "the function `info`"),
        ("limit_ratio(0.5, x)", "the aggregation `limit_ratio`"),
        ("x + fill (0) y", "the modifier `fill`"),
        ("x[5m] smoothed", "the modifier `smoothed`"),
        ("rate(x[5m] anchored)", "the modifier `anchored`"),
        ("rate(x[5m * 2])", "a calculated duration"),
        ("x offset step()", "a calculated duration"),
        ("x </ 2", "the operators `</` and `>/` of native histograms"),
        ("{a=\"b\" or c=\"d\"}", "`or` between label matchers"),
    ] {
        let outcome = promql::parse(text).map(drop);
        assert_eq!(outcome, Err(Error::NotCovered(named.to_owned())), "{text}");
    }
    // The words by themselves are names.
    assert!(promql::parse("sum by (offset) (info)").is_ok());
}
