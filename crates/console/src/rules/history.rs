//! Measures the cost of the shipped rules, and the memory for their samples, with a full history.

use super::*;
use crate::answer::Answers;
use crate::budget::Budget;
use crate::samples::Sample;
use crate::series::SeriesStore;

/// The default memory of the console in `omnitrace up`.
const MEMORY: u64 = 256 << 20;

/// Time between two scrapes, as `up` has it.
const SCRAPE_MS: i64 = 1_000;

/// The metrics page of a service: three such services have about as many series as `up`.
fn page(service: &str) -> Vec<Sample> {
    let mut page = Vec::new();
    for route in 0..15 {
        for outcome in ["ok", "error", "rejected"] {
            let labels = [
                ("service_name", service.to_owned()),
                ("service_version", "1.0.0".to_owned()),
                ("service_instance_id", format!("{service}-1")),
                ("http_route", format!("/route/{route}")),
                ("http_request_method", "GET".to_owned()),
                ("outcome", outcome.to_owned()),
            ];
            page.extend(requests(&labels));
        }
    }
    page.extend((0..300).map(|number| sample(&format!("other_{number}"), vec![])));
    page
}

/// A count and its buckets.
fn requests(labels: &[(&str, String)]) -> impl Iterator<Item = Sample> {
    const NAME: &str = "http_server_request_duration_seconds";
    let labels = |le: Option<f64>| -> Vec<(String, String)> {
        let le = le.map(|le| ("le", le.to_string()));
        let all = labels.iter().cloned().chain(le);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let count = sample(&format!("{NAME}_count"), labels(None));
    let les = [
        0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    let les = les.into_iter().chain([f64::INFINITY]);
    let buckets = les.map(|le| sample(&format!("{NAME}_bucket"), labels(Some(le))));
    let buckets: Vec<Sample> = buckets.collect();
    [count].into_iter().chain(buckets)
}

fn sample(name: &str, labels: Vec<(String, String)>) -> Sample {
    Sample {
        name: name.to_owned(),
        labels,
        value: 0.0,
        timestamp_us: None,
        exemplar: None,
        begins: true,
    }
}

/// Evaluates all groups after five hours of one request per second to each of `asked` routes per service.
async fn after_hours(asked: usize) {
    let budget = Budget::new(MEMORY);
    let series = SeriesStore::new(budget.series());
    let mut all = Vec::new();
    for service in ["gateway", "data", "downstream"] {
        let own = vec![("instance".to_owned(), service.to_owned())];
        let page = page(service);
        all.extend(page.iter().map(|sample| moves(sample, asked)));
        series.replace(service, &own, page, 1_000_000);
    }
    let hours = RETENTION.as_millis() as i64;
    for at_ms in (2_000..=hours).step_by(SCRAPE_MS as usize) {
        let value = |number: usize| match all[number] {
            true => (at_ms / SCRAPE_MS) as f64,
            false => 0.0,
        };
        series.next(at_ms, value);
    }
    let (count, moving) = (all.len(), all.iter().filter(|moves| **moves).count());
    let (kib, lost) = (series.bytes() >> 10, series.lost());
    println!("{count} series of which {moving} move: {kib} KiB, {lost:?}");
    let answers = Answers::new(budget).for_rules();
    let data = Data { answers, series };
    let job = move || evaluated(&data, hours);
    tokio::task::spawn_blocking(job).await.expect("no panic");
}

/// Whether it is about one of the routes that are asked, and the bucket one into which requests fall.
fn moves(sample: &Sample, asked: usize) -> bool {
    let get = |name: &str| {
        let label = sample.labels.iter().find(|(known, _)| known == name);
        label.map_or("", |(_, value)| value)
    };
    let route = get("http_route").strip_prefix("/route/");
    let is_asked =
        route.is_some_and(|route| route.parse::<usize>().is_ok_and(|route| route < asked));
    let is_above = get("le").is_empty() || get("le").parse::<f64>().is_ok_and(|le| le > 0.004);
    is_asked && is_above && get("outcome") == "ok"
}

fn evaluated(data: &Data, at_ms: i64) {
    let mut rules = Rules::load(None).expect("the rules that ship");
    for group in &mut rules.groups {
        let report = group.evaluate(data, at_ms, 0);
        println!("  {}: {:?}", report.group.name, report.took);
        for (rule, found) in report.group.rules.iter().zip(&report.rules) {
            assert_eq!(found.error, None, "{}", rule.name);
        }
    }
}

#[tokio::test]
#[ignore = "takes long without optimisation: docs/CONSOLE.md tells how to run it"]
async fn the_rules_that_ship_after_hours() {
    for asked in [0, 1, 4, 8] {
        after_hours(asked).await;
    }
}
