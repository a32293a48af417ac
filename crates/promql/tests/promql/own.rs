//! This project's own cases, as data for other tests.

use promql::{Labels, Limits, Sample, Series, Steps, Value};

use crate::script::{self, Command, store::Store};

pub const OWN: &str = include_str!("data/own.test");

/// The data that the cases begin with.
pub fn loaded() -> Store {
    let mut store = Store::default();
    for command in script::parse(OWN).unwrap() {
        if let Command::Load {
            step_ms,
            with_native,
            lines,
        } = command
        {
            store.load(step_ms, with_native, &lines).unwrap();
        }
    }
    store
}

pub fn expressions() -> Vec<String> {
    let commands = script::parse(OWN).unwrap().into_iter();
    let texts = commands.filter_map(|command| match command {
        Command::Eval(eval) => Some(eval.expression),
        _ => None,
    });
    texts.collect()
}

pub fn small() -> Limits<'static> {
    Limits {
        max_samples: 5_000,
        max_series: 50,
        max_points: 100,
        ..Limits::default()
    }
}

#[test]
fn every_step_of_a_range_is_what_the_instant_is() {
    let store = loaded();
    let steps = Steps {
        start_ms: 60_000,
        end_ms: 400_000,
        step_ms: 45_000,
    };
    let mut compared = 0;
    for text in expressions() {
        let Ok(expression) = promql::parse(&text) else {
            continue;
        };
        let Ok(Value::Matrix(matrix)) =
            promql::range(&expression, &store, steps, &Limits::default())
        else {
            continue;
        };
        for at_ms in (steps.start_ms..=steps.end_ms)
            .step_by(45_000)
            .filter(|_| !text.contains("end()"))
        {
            let at = |series: &Series| {
                series
                    .samples
                    .iter()
                    .find(|sample| sample.at_ms == at_ms)
                    .map(|sample| (series.labels.clone(), *sample))
            };
            let of_range: Vec<_> = matrix.iter().filter_map(at).collect();
            let mut of_instant =
                match promql::instant(&expression, &store, at_ms, &Limits::default()).unwrap() {
                    Value::Vector(vector) => vector,
                    Value::Scalar(value) => vec![(Labels::default(), Sample { at_ms, value })],
                    other => panic!("{text}: {other:?}"),
                };
            of_instant.sort_by(|left, right| left.0.cmp(&right.0));
            // NaN is not equal to itself; as texts they are.
            assert_eq!(
                format!("{of_range:?}"),
                format!("{of_instant:?}"),
                "{text} at {at_ms}"
            );
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} compared");
}
