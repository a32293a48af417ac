//! No expression, time or source makes the evaluator panic, run without end or take memory without bound.

use std::cell::Cell;
use std::time::{Duration, Instant};

use promql::{Error, Labels, Limits, Sample, Select, Selected, Source, Steps, Value};

use crate::own::{expressions, loaded, small};

fn evaluate(text: &str, at_ms: i64) -> Result<Value, Error> {
    promql::instant(&promql::parse(text)?, &loaded(), at_ms, &small())
}

fn is_too_large<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::TooLarge(_))), "{outcome:?}");
}

#[test]
fn deep_and_long_expressions_are_refused() {
    for (before, middle, after, times) in [
        ("(", "1", ")", 1_000),
        ("-", "1", "", 5_000),
        ("1+", "1", "", 5_000),
        ("2^", "2", "", 900),
        ("abs(", "x", ")", 10_000),
        ("sum by (a) (", "x", ")", 150),
        ("max_over_time(", "x", "[1m:1s])", 99),
        ("", "x", "[5m:1m]", 100),
        ("x or ", "x", "", 500),
        ("{", "", "}", 2_000),
        ("[", "", "]", 50_000),
    ] {
        let text = before.repeat(times) + middle + &after.repeat(times);
        let outcome = promql::parse(&text);
        assert!(
            matches!(outcome, Err(Error::TooLarge(_) | Error::Syntax(_))),
            "{before}: {outcome:?}"
        );
    }
}

#[test]
fn what_is_just_not_too_deep_needs_little_stack() {
    for (before, after, times) in [
        ("abs(", ")", 98),
        ("sum by (place) (", ")", 98),
        ("1 + ", "", 98),
        ("- ", "", 98),
        ("absent(", ")", 98),
        ("label_join(", ", \"a\", \"\", \"b\")", 98),
        ("max_over_time(", "[2m:1m])", 49),
        ("(", ")", 98),
    ] {
        let text = before.repeat(times) + "temperature" + &after.repeat(times);
        let evaluated = move || evaluate(&text, 60_000).map(drop);
        // Half of what a thread has by default.
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let outcome = thread.spawn(evaluated).unwrap().join().unwrap();
        assert_eq!(outcome, Ok(()), "{before}");
    }
}

#[test]
fn regular_expressions_share_a_bound() {
    for pattern in [
        r"(\\w{1000}){1000}",
        r"(a{999}){999}",
        "x{2000000000}",
        "(a|b|c|d|e){50000}",
    ] {
        for text in [
            format!("up{{a=~\"{pattern}\"}}"),
            format!("label_replace(up, \"a\", \"\", \"b\", \"{pattern}\")"),
        ] {
            let outcome = promql::parse(&text);
            assert!(
                matches!(outcome, Err(Error::Syntax(_))),
                "{text}: {outcome:?}"
            );
        }
    }
    let one = r#"a=~"\\w{30}""#;
    assert!(
        promql::parse(&format!("up{{{one}}}")).is_ok(),
        "one is allowed"
    );
    let many = vec![one; 50].join(",");
    assert!(
        promql::parse(&format!("up{{{many}}}")).is_err(),
        "fifty are not"
    );
    // Where a comment or a string ends is for the parser to say.
    for hidden in ["# \r", r"b=`\``,"] {
        let text = format!("up{{{hidden} {many}, c=`\\``}}");
        let outcome = promql::parse(&text);
        assert!(
            matches!(&outcome, Err(Error::Syntax(why)) if why.contains("cannot be used")),
            "{outcome:?}"
        );
    }
}

#[test]
fn labels_do_not_grow_without_end() {
    let mut text = r#"label_join(build_info, "a", "", "version")"#.to_owned();
    for (to, from) in [("b", "a"), ("a", "b")].iter().cycle().take(40) {
        text = format!(r#"label_join({text}, "{to}", "", "{from}", "{from}", "{from}", "{from}")"#);
    }
    is_too_large(evaluate(&text, 60_000));
    let replacement = "$1".repeat(5_000);
    is_too_large(evaluate(
        &format!(r#"label_replace(build_info, "a", "{replacement}", "version", "(.*)")"#),
        60_000,
    ));
}

#[test]
fn times_at_their_ends_do_not_overflow() {
    let parsed: Vec<_> = expressions()
        .iter()
        .filter_map(|text| promql::parse(text).ok())
        .collect();
    let store = loaded();
    for expression in &parsed {
        for at_ms in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            let _ = promql::instant(expression, &store, at_ms, &small());
            for (end_ms, step_ms) in [
                (i64::MAX, 1),
                (i64::MAX, i64::MAX),
                (at_ms, 1),
                (i64::MIN, 1),
                (0, 0),
                (0, -1),
            ] {
                let _ = promql::range(
                    expression,
                    &store,
                    Steps {
                        start_ms: at_ms,
                        end_ms,
                        step_ms,
                    },
                    &small(),
                );
            }
        }
    }
    let steps = Steps {
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        step_ms: 1,
    };
    is_too_large(promql::range(
        &promql::parse("1").unwrap(),
        &store,
        steps,
        &small(),
    ));
}

#[test]
fn numbers_and_durations_at_their_ends_are_no_panic() {
    for text in [
        "temperature[NaN]",
        "temperature[1e999]",
        "temperature[.5e300 # ]\n]",
        "temperature[5m:inf]",
        "temperature offset 1e+300",
        "temperature OFFSET -1e300",
        "temperature offset.5e300",
        "temperature offset # \r NaN",
        "temperature[5m # ]\r:1e300]",
        "temperature[5m] offset - NaN",
        "temperature[292y]",
        "temperature[300y]",
        "temperature offset 99999999999y",
        "temperature[1ms:1ms] offset -292y",
        "temperature @ 9223372036854775807",
        "temperature @ -9223372036854775807",
        "temperature @ 1e300",
        "temperature @ NaN",
        "topk(NaN, temperature)",
        "topk(1e300, temperature)",
        "topk(-1e300, temperature)",
        "bottomk(Inf, temperature)",
        "quantile(NaN, temperature)",
        "quantile_over_time(-Inf, temperature[5m])",
        "round(temperature, 0)",
        "round(temperature, NaN)",
        "clamp(temperature, NaN, 1)",
        "temperature % 0",
        "0 / 0",
        "predict_linear(temperature[5m], 1e308)",
        "year(vector(1e308))",
        "days_in_month(vector(-1e308))",
        "day_of_week(vector(NaN))",
        "minute(vector(Inf))",
        "histogram_quantile(NaN, duration_bucket)",
        "histogram_fraction(-Inf, Inf, duration_bucket)",
        "sum_over_time(temperature[292y:1ms])",
        "sum_over_time((sum_over_time(temperature[100y:1m]))[100y:1m])",
        "\u{0}",
        "\"\\xff\"",
        "{\"\u{feff}\"=\"\"}",
        "{__name__=\"\"}",
        "sum by (__name__) (x)",
        "x{a=\"\u{1F980}\"}",
        "1_000",
        "0x",
        "1e",
        ".",
        "'",
        "`",
    ] {
        let _ = evaluate(text, 600_000);
    }
}

/// Any number of series, with any samples.
struct Odd {
    labels: fn(usize) -> Labels,
    series: usize,
    samples: Vec<Sample>,
    asked: Cell<usize>,
}

impl Source for Odd {
    fn select(&self, wanted: &Select<'_>) -> Result<Vec<Selected>, Error> {
        self.asked.set(wanted.max_samples);
        let series = |index: usize| Selected {
            labels: (self.labels)(index),
            samples: self.samples.clone(),
            left_out: 0,
        };
        Ok((0..self.series).map(series).collect())
    }
}

fn odd(series: usize, times: impl Iterator<Item = i64>) -> Odd {
    let samples = times.map(|at_ms| Sample {
        at_ms,
        value: at_ms as f64,
    });
    let labels = |index: usize| {
        Labels::new([
            ("__name__", "x".to_owned()),
            ("n", (index % 100).to_string()),
        ])
    };
    Odd {
        labels,
        series,
        samples: samples.collect(),
        asked: Cell::new(0),
    }
}

#[test]
fn a_source_that_gives_too_much_or_the_wrong_things_is_no_panic() {
    let limits = small();
    let parsed = promql::parse("sum(x) + sum(rate(x[5m])) + count(x or x) + topk(3, x)").unwrap();
    is_too_large(promql::instant(&parsed, &odd(51, 0..1), 0, &limits));
    is_too_large(promql::instant(&parsed, &odd(10, 0..501), 0, &limits));
    // Twice the same labels, and times that go back or are the same.
    let twice = odd(101, 0..1);
    let limits = Limits {
        max_series: 200,
        ..limits
    };
    let outcome = promql::instant(&promql::parse("x").unwrap(), &twice, 0, &limits);
    assert!(matches!(outcome, Err(Error::Evaluation(_))), "{outcome:?}");
    for text in [
        "x",
        "rate(x[5m])",
        "deriv(x[5m])",
        "irate(x[5m])",
        "x[5m]",
        "x[5m:1s]",
        "resets(x[1y])",
    ] {
        let parsed = promql::parse(text).unwrap();
        for source in [
            odd(3, [5, 5, 5, 4, 9, -7, i64::MAX, i64::MIN].into_iter()),
            odd(1, (0..100).rev()),
        ] {
            let _ = promql::instant(&parsed, &source, 60_000, &limits);
        }
    }
}

#[test]
fn what_is_held_already_is_no_longer_offered_to_the_source() {
    let source = odd(1, 0..10);
    let parsed = promql::parse("x + x offset 1ms").unwrap();
    promql::instant(&parsed, &source, 10, &small()).unwrap();
    assert_eq!(source.asked.get(), small().max_samples - 10);
}

#[test]
fn an_evaluation_ends_when_it_is_told_to() {
    let began = Instant::now();
    let stop = || began.elapsed() > Duration::from_millis(50);
    let limits = Limits {
        max_samples: usize::MAX,
        max_points: usize::MAX,
        stop: &stop,
        ..Limits::default()
    };
    let parsed = promql::parse("sum_over_time(vector(time())[290y:1ms])").unwrap();
    assert_eq!(
        promql::instant(&parsed, &loaded(), 0, &limits),
        Err(Error::Stopped)
    );
}

/// So many series, each with a new label of 4 KiB per call.
fn long_labels(series: usize, calls: usize) -> (Odd, String) {
    let label =
        |index: usize| Labels::new([("n", index.to_string()), ("job", "j".repeat(1 << 10))]);
    let source = Odd {
        labels: label,
        ..odd(series, 0..1)
    };
    let mut text = r#"label_join(x, "l0", "", "job", "job", "job")"#.to_owned();
    for call in 1..calls {
        text = format!(r#"label_join({text}, "l{call}", "", "l0")"#);
    }
    (source, text)
}

#[test]
fn labels_that_are_made_are_bounded_over_all_series() {
    let (source, text) = long_labels(2_000, 95);
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        false
    };
    let limits = Limits {
        stop: &stop,
        ..Limits::default()
    };
    let outcome = promql::instant(&promql::parse(&text).unwrap(), &source, 0, &limits);
    let why = outcome.map(drop).unwrap_err().to_string();
    assert!(why.contains("the labels that it makes"), "{why}");
    assert!(asked.get() > 2_000, "asked {} times", asked.get());
    // What is made is counted until its step ends, not longer.
    let (source, text) = long_labels(500, 3);
    let steps = Steps {
        start_ms: 0,
        end_ms: 99,
        step_ms: 1,
    };
    let parsed = promql::parse(&text).unwrap();
    promql::range(&parsed, &source, steps, &limits).unwrap();
}

#[test]
fn labels_that_each_step_makes_anew_are_bounded_together() {
    let long = "long".repeat(300);
    let each =
        format!(r#"label_join(count_values("v", x + time()), "l", "{long}", "v", "v", "v")"#);
    let of_subquery = format!("count(last_over_time({each}[20s:1ms]))");
    let join = r#"x * on (n) group_left (v) label_replace(x, "v", "${1}${1}", "n", "(.*)")"#;
    let limits = Limits {
        max_samples: 300_000,
        max_series: 200,
        max_points: 11_000,
        ..Limits::default()
    };
    let source = odd(1, 0..1);
    let range = |text: &str| {
        let steps = Steps {
            start_ms: 0,
            end_ms: 5_000,
            step_ms: 1,
        };
        promql::range(&promql::parse(text).unwrap(), &source, steps, &limits)
    };
    is_too_large(range(&each));
    is_too_large(promql::instant(
        &promql::parse(&of_subquery).unwrap(),
        &source,
        20_000,
        &limits,
    ));
    assert!(range(join).is_ok());
}
