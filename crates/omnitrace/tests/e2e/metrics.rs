//! What a scraper gets.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use telemetry::metric::Kind;
use telemetry::names::GLOBAL_LABELS;

use crate::declared;
use crate::harness::{
    Family, Sample, Scrape, Stack, exemplar_of, histograms, openmetrics, traceparent,
};

const SERVICES: [&str; 3] = ["gateway", "data", "downstream"];

/// Every end of a request that each route declares, as method, route and statuses.
pub const GATEWAY: [(&str, &str, &[u16]); 6] = [
    ("GET", "/health", &[200, 500, 503, 504]),
    ("GET", "/openapi.json", &[200, 500, 503, 504]),
    ("GET", "/api/data", &[200, 404, 422, 500, 503, 504]),
    (
        "POST",
        "/api/orders",
        &[201, 400, 402, 404, 408, 409, 413, 422, 500, 503, 504],
    ),
    ("GET", "/api/orders", &[200, 422, 500, 503, 504]),
    ("GET", "/api/orders/{id}", &[200, 404, 500, 503, 504]),
];
const DATA: [(&str, &str, &[u16]); 4] = [
    ("GET", "/items/quote", &[200, 404, 422, 500, 503, 504]),
    (
        "POST",
        "/orders",
        &[201, 400, 402, 404, 408, 409, 413, 422, 500, 503, 504],
    ),
    ("GET", "/orders", &[200, 422, 500, 503, 504]),
    ("GET", "/orders/{id}", &[200, 404, 500, 503, 504]),
];
const DOWNSTREAM: [(&str, &str, &[u16]); 3] = [
    ("GET", "/quotes/{sku}", &[200, 422, 500, 503, 504]),
    (
        "POST",
        "/payments",
        &[200, 400, 408, 413, 422, 500, 503, 504],
    ),
    (
        "POST",
        "/events/orders",
        &[200, 400, 408, 413, 422, 500, 503, 504],
    ),
];

/// Changes by itself while nobody asks for anything.
fn moves(sample: &Sample) -> bool {
    ["process_", "tokio_runtime_", "system_time_"]
        .iter()
        .any(|prefix| sample.name.starts_with(prefix))
}

/// Name and labels, and the value of what stands still. Sorted: the order of series is nobody's business.
fn comparable(samples: &[Sample]) -> Vec<(String, BTreeMap<String, String>, Option<String>)> {
    let one = |sample: &Sample| {
        let value = (!moves(sample)).then(|| sample.value.to_string());
        (sample.name.clone(), sample.labels.clone(), value)
    };
    let mut all: Vec<_> = samples.iter().map(one).collect();
    all.sort();
    all
}

#[tokio::test]
async fn every_route_and_status_is_at_zero_before_the_first_request() {
    let stack = Stack::start().await;
    for (service, routes) in [
        ("gateway", &GATEWAY[..]),
        ("data", &DATA),
        ("downstream", &DOWNSTREAM),
    ] {
        let mut want = BTreeSet::new();
        for (method, route, statuses) in routes {
            let mut end = |status: &str, error_type: &str, outcome: &str| {
                want.insert([method, route, status, error_type, outcome].map(str::to_owned));
            };
            for status in *statuses {
                let status = status.to_string();
                match status.starts_with('5') {
                    true => end(&status, &status, "error"),
                    false => end(&status, "", "ok"),
                }
            }
            end("500", "panic", "error");
            end("504", "timeout", "error");
            end("", "cancelled", "cancelled");
        }
        let scrape = stack.scrape(service).await;
        let series = scrape.matching("http_server_request_duration_seconds_count", &[]);
        let found: BTreeSet<[String; 5]> = series
            .iter()
            .map(|sample| {
                assert_eq!(sample.value, 0.0, "{sample:?}");
                [
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                    "error_type",
                    "outcome",
                ]
                .map(|name| sample.labels[name].clone())
            })
            .collect();
        assert_eq!(found, want, "{service}");
        assert_eq!(
            scrape.matching("http_server_active_requests", &[]).len(),
            routes.len(),
            "{service}"
        );
    }
    stack.stop().await;
}

#[tokio::test]
async fn text_and_openmetrics_say_the_same_and_what_is_declared() {
    let stack = Stack::start().await;
    let sku = stack.sku().await;
    let order = stack.order(&sku, 1).await.expect(201);
    stack
        .get_order(order.json()["id"].as_str().expect("an id"))
        .await
        .expect(200);
    crate::traces::delivery_of(&stack.receiver, &order.trace_id()).await;

    for service in SERVICES {
        let (text, open) = equal_pair(&stack, service).await;
        assert_eq!(
            text.content_type,
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert_eq!(
            open.content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        let families = openmetrics(&open.text);
        is_what_is_declared(service, &families);
        let plain: BTreeSet<(String, String)> = text
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect();
        let open: BTreeSet<(String, String)> = families
            .iter()
            .map(|family| {
                let suffix = if family.kind == "counter" {
                    "_total"
                } else {
                    ""
                };
                (format!("{}{suffix}", family.name), family.kind.clone())
            })
            .collect();
        assert_eq!(plain, open, "{service}");
        assert!(
            text.samples.iter().all(|sample| sample.exemplar.is_none()),
            "exemplars are not part of the text format"
        );
        for sample in families.iter().flat_map(|family| &family.samples) {
            assert_eq!(sample.labels["service_name"], service, "{sample:?}");
            assert_eq!(
                sample.labels["service_version"],
                env!("OMNITRACE_BUILD"),
                "{sample:?}"
            );
            assert_eq!(sample.labels["service_instance_id"].len(), 36, "{sample:?}");
        }
    }
    stack.stop().await;
}

/// Both renderings, equal sample by sample. Even an idle service takes a connection now and then to look for work:
/// a pair that such a moment fell between is taken again, a lasting difference is shown.
async fn equal_pair(stack: &Stack, service: &str) -> (Scrape, Scrape) {
    for _ in 0..20 {
        let (text, open) = pair(stack, service).await;
        if comparable(&text.samples) == comparable(&open.samples) {
            return (text, open);
        }
    }
    let (text, open) = pair(stack, service).await;
    assert_eq!(
        comparable(&text.samples),
        comparable(&open.samples),
        "{service}"
    );
    (text, open)
}

async fn pair(stack: &Stack, service: &str) -> (Scrape, Scrape) {
    (
        stack.scrape(service).await,
        stack.scrape_openmetrics(service).await,
    )
}

fn is_what_is_declared(service: &str, families: &[Family]) {
    let full_name = |family: &Family| match family.kind.as_str() {
        "counter" => format!("{}_total", family.name),
        _ => family.name.clone(),
    };
    let found: BTreeSet<String> = families.iter().map(full_name).collect();
    let declared = declared::of(service);
    let want: BTreeSet<String> = declared
        .iter()
        .map(|metric| metric.name.to_owned())
        .collect();
    assert_eq!(found, want, "{service}");
    for family in families {
        let name = full_name(family);
        let metric = declared.iter().find(|metric| metric.name == name);
        let metric = metric.expect("declared");
        assert_eq!(
            (family.kind.as_str(), family.help.as_str()),
            (metric.kind.as_str(), metric.help),
            "{}",
            family.name
        );
        let want: BTreeSet<&str> = metric.labels.iter().chain(GLOBAL_LABELS).copied().collect();
        for sample in &family.samples {
            let labels: BTreeSet<&str> = sample
                .labels
                .keys()
                .map(String::as_str)
                .filter(|name| *name != "le")
                .collect();
            assert_eq!(labels, want, "{service}: {sample:?}");
        }
        if metric.kind == Kind::Histogram {
            for samples in histograms(family).values() {
                let bounds: Vec<f64> = samples
                    .iter()
                    .filter_map(|sample| sample.labels.get("le")?.parse().ok())
                    .filter(|bound: &f64| bound.is_finite())
                    .collect();
                assert_eq!(bounds, metric.buckets, "{}", family.name);
            }
        }
    }
}

#[tokio::test]
async fn exemplars_lead_to_exported_spans_and_never_to_unsampled_ones() {
    // The first of a bucket stays, however long this takes.
    let stack = Stack::builder()
        .env_all("OMNITRACE_EXEMPLAR_INTERVAL_MS", "3600000")
        .start()
        .await;
    let sku = stack.sku_unsampled().await;
    for service in SERVICES {
        let scrape = stack.scrape_openmetrics(service).await;
        let any = scrape
            .samples
            .iter()
            .find(|sample| sample.exemplar.is_some());
        assert!(any.is_none(), "an unsampled request left one: {any:?}");
    }

    let order = stack.order(&sku, 1).await.expect(201).trace_id();
    stack.get_data().await.expect(200);
    crate::traces::delivery_of(&stack.receiver, &order).await;
    let mut exemplars = Vec::new();
    for service in SERVICES {
        let scrape = stack.scrape_openmetrics(service).await;
        let with = scrape
            .samples
            .into_iter()
            .filter_map(|sample| Some((service, exemplar_of(sample.exemplar.as_ref()?), sample)));
        exemplars.extend(with);
    }
    let receiver = stack.stop().await;
    let spans = receiver.spans();
    let mut marked = BTreeSet::new();
    for (service, exemplar, sample) in &exemplars {
        let leads = |span: &&crate::harness::Span| {
            span.trace_id == exemplar.trace_id && span.span_id == exemplar.span_id
        };
        let span = spans
            .iter()
            .find(leads)
            .unwrap_or_else(|| panic!("leads nowhere: {sample:?}"));
        assert_eq!(span.service, *service);
        assert_eq!(
            span.attributes.get("omnitrace.exemplar"),
            Some(&true.into()),
            "{span:#?}"
        );
        for (label, attribute) in [
            ("http_route", "http.route"),
            ("url_template", "url.template"),
            ("db_operation_name", "db.operation.name"),
        ] {
            if let Some(value) = sample.labels.get(label) {
                assert_eq!(
                    span.text(attribute),
                    *value,
                    "the span is one of that series"
                );
            }
        }
        marked.insert(span.span_id.clone());
    }
    let metrics: BTreeSet<&str> = exemplars
        .iter()
        .map(|(_, _, sample)| sample.name.as_str())
        .collect();
    assert_eq!(
        metrics,
        BTreeSet::from([
            "db_client_connection_wait_time_seconds_bucket",
            "db_client_operation_duration_seconds_bucket",
            "http_client_request_duration_seconds_bucket",
            "http_server_request_duration_seconds_bucket",
        ])
    );
    // And the other way: what is marked for tail sampling is what a bucket names.
    let claimed: BTreeSet<String> = spans
        .iter()
        .filter(|span| span.attributes.contains_key("omnitrace.exemplar"))
        .map(|span| span.span_id.clone())
        .collect();
    assert_eq!(claimed, marked);
}

impl Stack {
    /// A sku, found out without leaving a trace.
    async fn sku_unsampled(&self) -> String {
        let request = self
            .request(Method::GET, "/api/data")
            .header("traceparent", traceparent(false).0);
        let reply = self.send(request).await.expect(200);
        reply.json()["sku"].as_str().expect("a sku").to_owned()
    }
}
