//! Other people's test data, from a copy that is not part of this repository (docs/CONFORMANCE.md): `just test-conformance DIRECTORY`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::harness::{Reply, Running};
use crate::scraping::{Behaviour, Target, file, group, write_targets};

fn suite(name: &str) -> PathBuf {
    let directory =
        std::env::var("OMNITRACE_CONFORMANCE").expect("OMNITRACE_CONFORMANCE names the directory");
    Path::new(&directory).join(name)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Value {
    let text = std::fs::read(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    serde_json::from_slice(&text).expect("JSON")
}

/// Every trace id in OTLP JSON.
fn trace_ids(otlp: &Value) -> BTreeSet<String> {
    let groups = otlp["resourceSpans"].as_array().expect("resourceSpans");
    let scopes = groups
        .iter()
        .flat_map(|group| group["scopeSpans"].as_array().expect("scopeSpans"));
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().expect("spans"));
    spans
        .map(|span| span["traceId"].as_str().expect("an id").to_owned())
        .collect()
}

/// A search of Jaeger's fixtures as the parameters of `/api/traces`.
fn parameters(query: &Value) -> Vec<(&'static str, String)> {
    let microseconds = |name: &str| {
        let time: DateTime<Utc> = query[name]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        time.timestamp_micros().to_string()
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut parameters = vec![
        ("service", text(&query["ServiceName"])),
        ("start", microseconds("StartTimeMin")),
        ("end", microseconds("StartTimeMax")),
        ("limit", query["NumTraces"].to_string()),
    ];
    if query["OperationName"] != "" {
        parameters.push(("operation", text(&query["OperationName"])));
    }
    if let Some(tags) = query["Tags"].as_object().filter(|tags| !tags.is_empty()) {
        let tags: Map<String, Value> = tags
            .iter()
            .map(|(key, value)| (key.clone(), text(value).into()))
            .collect();
        parameters.push(("tags", Value::Object(tags).to_string()));
    }
    for (name, field) in [
        ("minDuration", "DurationMin"),
        ("maxDuration", "DurationMax"),
    ] {
        if query[field] != 0 {
            parameters.push((name, format!("{}ns", query[field])));
        }
    }
    parameters
}

#[tokio::test]
#[ignore = "needs a copy of Jaeger's fixtures: just test-conformance DIRECTORY"]
async fn the_searches_of_jaeger_find_its_fixtures() {
    let console = Running::start();
    let directory = suite("jaeger");
    for file in files(&directory.join("traces")) {
        console.take("/v1/traces", &read(&file)).await;
    }
    let searches = read(&directory.join("queries.json"));
    let searches = searches.as_array().expect("searches");
    assert!(!searches.is_empty());
    for search in searches {
        let url = format!("{}/api/traces", console.url);
        let url = reqwest::Url::parse_with_params(&url, parameters(&search["Query"]));
        let found = Reply::to(console.client.get(url.expect("a URL")))
            .await
            .json();
        let found = found["data"].as_array().expect("data").iter();
        let found: BTreeSet<String> = found
            .map(|trace| trace["traceID"].as_str().expect("an id").to_owned())
            .collect();
        let fixtures = search["ExpectedFixtures"]
            .as_array()
            .expect("fixtures")
            .iter();
        let wanted = fixtures.flat_map(|name| {
            let name = name.as_str().expect("a name");
            trace_ids(&read(&directory.join(format!("traces/{name}.json"))))
        });
        assert_eq!(found, wanted.collect(), "{}", search["Caption"]);
    }
    println!(
        "{} of {} searches are right",
        searches.len(),
        searches.len()
    );
}

#[tokio::test]
#[ignore = "needs a copy of the examples of OTLP: just test-conformance DIRECTORY"]
async fn the_examples_of_otlp_are_taken() {
    let console = Running::start();
    let examples = files(&suite("otlp"));
    assert!(!examples.is_empty());
    for file in examples {
        let request = read(&file);
        let path = match request
            .as_object()
            .expect("an object")
            .keys()
            .next()
            .map(String::as_str)
        {
            Some("resourceSpans") => "/v1/traces",
            Some("resourceLogs") => "/v1/logs",
            Some("resourceMetrics") => "/v1/metrics",
            other => panic!("{}: {other:?}", file.display()),
        };
        let reply = console.send_json(path, &request).await;
        // Delta temporality and exponential histograms are refused, point by point.
        let told = match path {
            "/v1/metrics" => "2 delta_temporality, 1 exponential_histogram",
            _ => "{}",
        };
        assert_eq!(reply.status, 200, "{}", file.display());
        assert!(
            reply.text().contains(told),
            "{}: {}",
            file.display(),
            reply.text()
        );
        println!("{}: {}", file.display(), reply.text());
    }
}

/// What is refused less than Prometheus does is meant: docs/CONFORMANCE.md.
#[tokio::test]
#[ignore = "needs a copy of the pages of OpenMetrics: just test-conformance DIRECTORY"]
async fn good_pages_of_open_metrics_are_taken_and_bad_ones_refused() {
    let (mut targets, mut groups, mut good) = (Vec::new(), Vec::new(), BTreeSet::new());
    for page in files(&suite("openmetrics")) {
        let name = page
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let test = read(&page.join("test.json"));
        let text = std::fs::read(page.join(test["file"].as_str().expect("a file")));
        let text = String::from_utf8_lossy(&text.expect("a page")).into_owned();
        let target = Target::start(Behaviour::Answers(text)).await;
        groups.push(group(&[&target.address], &name));
        targets.push(target);
        if test["shouldParse"] == true {
            good.insert(name);
        }
    }
    let (_directory, file) = file();
    write_targets(&file, &json!(groups));
    let console = Running::scraping(file);
    let is_scraped = |target: &Value| !target["last_scrape_us"].is_null();
    let list = |answer: &Value| answer["targets"].as_array().expect("targets").clone();
    let all_scraped = |answer: &Value| {
        list(answer)
            .iter()
            .filter(|target| is_scraped(target))
            .count()
            == targets.len()
    };
    let scraped = console.until("/api/targets", all_scraped).await;
    let scraped = list(&scraped);
    let taken = scraped.iter().filter(|target| target["up"] == true);
    let taken: BTreeSet<String> = taken
        .map(|target| target["service_name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(good.difference(&taken).count(), 0);
    let (bad, forgiven) = (targets.len() - good.len(), taken.difference(&good));
    let refused = bad - forgiven.clone().count();
    println!(
        "{} good pages are taken, {refused} of {bad} bad ones are refused, not {:?}",
        good.len(),
        forgiven.collect::<Vec<_>>()
    );
    assert!(
        !good.is_empty() && refused >= 76,
        "fewer are refused than before"
    );
}
