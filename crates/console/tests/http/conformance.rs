//! Other people's test data, from a copy that is not part of this repository (docs/CONFORMANCE.md): `just test-conformance DIRECTORY`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::harness::{Reply, Running};

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

fn json(file: &Path) -> Value {
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
        console.take("/v1/traces", &json(&file)).await;
    }
    let searches = json(&directory.join("queries.json"));
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
            trace_ids(&json(&directory.join(format!("traces/{name}.json"))))
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
        let request = json(&file);
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
