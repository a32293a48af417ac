//! What metrics are, as Grafana's query builder asks.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    number_data_point,
};
use prost::Message;
use serde_json::json;

use crate::harness::Running;
use crate::prometheus::{data, refusal};
use crate::scraping::{Behaviour, Target, file, group, write_targets};

const PAGE: &str = "# TYPE shop_orders counter\n# UNIT shop_orders orders\n# HELP shop_orders Orders \\\"taken\\\".\nshop_orders_total 1\n\
    # HELP load Of the machine.\n# TYPE load gauge\nload 1\n# EOF\n";

fn point(value: f64) -> NumberDataPoint {
    NumberDataPoint {
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn sent() -> Vec<u8> {
    let sum = Data::Sum(Sum {
        data_points: vec![point(1.0)],
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    });
    let gauge = Data::Gauge(Gauge {
        data_points: vec![point(1.0), point(2.0)],
    });
    let metric = |name: &str, unit: &str, description: &str, data| Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let metrics = vec![
        metric("http.calls", "{call}", "Calls of ada@example.com.", sum),
        metric("load", "", &"x".repeat(100 << 10), gauge),
    ];
    let scope_metrics = vec![ScopeMetrics {
        metrics,
        ..ScopeMetrics::default()
    }];
    let resource_metrics = vec![ResourceMetrics {
        scope_metrics,
        ..ResourceMetrics::default()
    }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

#[tokio::test]
async fn types_units_and_help_texts_are_kept_by_the_names_of_series() {
    let target = Target::start(Behaviour::Answers(PAGE.to_owned())).await;
    let (_directory, file) = file();
    write_targets(&file, &json!([group(&[&target.address], "shop")]));
    let console = Running::scraping(file);
    let scraped = "/api/v1/metadata";
    console
        .until(scraped, |answer| answer["data"]["load"].is_array())
        .await;
    let reply = console.send_protobuf("/v1/metrics", sent()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let mut all = data(&console, "metadata", &[]).await;
    let long = all["load"][1]["help"].take();
    let long = long.as_str().expect("a text");
    assert!(long.starts_with("xxx") && long.len() < 1_100, "{long}");
    let gauge = |help: serde_json::Value| json!({"type": "gauge", "unit": "", "help": help});
    let of_orders = json!({"type": "counter", "unit": "orders", "help": "Orders \"taken\"."});
    let calls = all["http_calls_total"][0].clone();
    assert_eq!(
        (&calls["type"], &calls["unit"]),
        (&json!("counter"), &json!("{call}"))
    );
    assert!(!calls.to_string().contains("ada@"), "{calls}");
    assert_eq!(
        all,
        json!({
            "http_calls_total": [calls],
            "load": [gauge(json!("Of the machine.")), gauge(json!(null))],
            "shop_orders_total": [of_orders],
        })
    );

    let of = async |parameters: &[(&str, &str)]| data(&console, "metadata", parameters).await;
    let orders = of(&[("metric", "shop_orders_total")]).await;
    assert_eq!(orders, json!({"shop_orders_total": [of_orders]}));
    assert_eq!(of(&[("metric", "nothing")]).await, json!({}));
    let two = of(&[("limit", "2"), ("limit_per_metric", "1")]).await;
    let counts: Vec<_> = two.as_object().expect("an object").iter().collect();
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, of)| (name.as_str(), of.as_array().map(Vec::len)))
        .collect();
    assert_eq!(counts, [("http_calls_total", Some(1)), ("load", Some(1))]);
    let (status, kind, why) = refusal(&console, "metadata", &[("limit", "x")]).await;
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(why.contains("'limit'"), "{why}");
}
