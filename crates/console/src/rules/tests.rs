//! Rules over time and over a restart.

use super::*;
use crate::answer::Answers;
use crate::budget::Budget;
use crate::samples::Sample;
use crate::series::{Lost, SeriesStore};

const HOUR_MS: i64 = 3_600_000;

fn data() -> Data {
    let answers = Answers::new(Budget::new(64 << 20));
    let series = SeriesStore::new(1 << 20);
    Data { answers, series }
}

/// The load is high, and the rules are evaluated. Returns the lost samples.
fn look(rules: &mut Rules, data: &Data, at_ms: i64) -> Lost {
    let load = Sample {
        name: "load".to_owned(),
        labels: Vec::new(),
        value: 9.0,
        timestamp_us: None,
        exemplar: None,
        begins: true,
    };
    let at_us = at_ms.unsigned_abs() * 1_000;
    let (_, lost) = data.series.replace("a:1", &Vec::new(), vec![load], at_us);
    rules.evaluate_due(data, || at_ms);
    lost
}

/// An evaluation takes turns with answers, so it must not run on a thread of the runtime.
async fn apart<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(job).await;
    done.expect("no panic")
}

#[test]
fn what_the_error_budget_is_summed_up_from_is_kept_for_as_long_as_it_lasts() {
    let rules = Rules::load(None).expect("the rules that ship");
    let names = ["slo:bad_events:rate", "slo:events:rate"].map(str::to_owned);
    let days = Duration::from_secs(2 * 86_400);
    assert_eq!(rules.lasting(), (names.into(), days));
    let text = "groups: [{name: a, rules: [{record: b, expr: 'c[1y]'}, {record: d, expr: 'rate(b[1h] offset 9h)'}]}]";
    let rules = Rules::parse("text", text).expect("rules");
    let names = BTreeSet::from(["b".to_owned()]);
    assert_eq!(rules.lasting(), (names, Duration::from_secs(36_000)));
}

#[tokio::test]
async fn a_clock_that_is_set_back_mutes_no_rule() {
    let rule = "{alert: High, expr: load > 5, for: 10s}";
    let text = format!("groups: [{{name: g, interval: 5s, rules: [{rule}]}}]");
    let mut rules = Rules::parse("text", &text).expect("rules");
    let job = move || {
        let (data, reports) = (data(), rules.reports());
        let begin_ms = (now_ms() / 5_000 + 1) * 5_000;
        for at_ms in [begin_ms, begin_ms + 5_000] {
            assert_eq!(look(&mut rules, &data, at_ms), Lost::default());
        }
        let back_ms = begin_ms + 10_000 - HOUR_MS;
        look(&mut rules, &data, back_ms);
        let lost = look(&mut rules, &data, back_ms + 5_000);
        assert_eq!(lost, Lost::default(), "new samples are taken");
        let report = reports.all().remove(0);
        assert_eq!(report.at_ms, Some(back_ms + 5_000));
        let alert = &report.rules[0].alerts[0];
        assert_eq!(alert.state, alert::State::Firing, "{alert:?}");
        assert_eq!(alert.active_ms, begin_ms + 5_000 - HOUR_MS);
    };
    apart(job).await;
}

#[tokio::test]
async fn of_two_rules_that_ask_alike_each_gets_its_own_alerts_back() {
    let rule =
        |severity| format!("{{alert: High, expr: load > 5, labels: {{severity: {severity}}}}}");
    let (page, ticket) = (rule("page"), rule("ticket"));
    let text = format!("groups: [{{name: g, interval: 5s, rules: [{page}, {ticket}]}}]");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("alerts.json");
    let load = move || {
        let rules = Rules::parse("text", &text).expect("rules");
        rules.keeping(Some(&path))
    };
    let mut rules = load();
    apart(move || look(&mut rules, &data(), (now_ms() / 5_000 + 1) * 5_000)).await;
    let rules = load();
    let by_rule = rules.groups[0].by_rule().map(|(_, alerts)| {
        let severities = alerts.0.keys().map(|labels| labels.get("severity"));
        severities.collect::<Vec<_>>()
    });
    assert_eq!(by_rule.collect::<Vec<_>>(), [["page"], ["ticket"]]);
}
