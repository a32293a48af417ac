//! Grafana's addresses, so that the links of alerts lead to data where no Grafana runs: each redirects to the page that shows
//! the same. These pages take no time range. An address that cannot be read leads to the plain page.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;
use serde::Deserialize;

use crate::params::{Params, trace_id};
use crate::store::severity_rank;

/// The conditions of LogQL that the page Logs has fields for. They are read without the parser, which would compile the
/// expressions of anybody whose link is followed.
static CONDITION: LazyLock<Regex> = LazyLock::new(|| {
    let condition =
        r#"(\bservice_name|\btrace_id|\bseverity_text|\bdetected_level|\|)\s*=\s*"([^"\\]*)""#;
    Regex::new(condition).expect("a valid expression")
});

/// One side of Grafana's Explore.
#[derive(Deserialize)]
struct Pane {
    queries: Vec<Asked>,
}

/// A query for Loki, or the id of a trace for Jaeger.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Lines { expr: String },
    Trace { query: String },
}

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    // Grafana appends the dashboard's title.
    for address in ["/d/{uid}", "/d/{uid}/{title}"] {
        config.route(address, web::get().to(dashboard));
    }
    config.route("/explore", web::get().to(explore));
}

async fn dashboard(request: HttpRequest) -> HttpResponse {
    redirect(
        service_page(request.query_string())
            .as_deref()
            .unwrap_or("/"),
    )
}

async fn explore(request: HttpRequest) -> HttpResponse {
    redirect(
        explored(request.query_string())
            .as_deref()
            .unwrap_or("/logs"),
    )
}

fn redirect(page: &str) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((LOCATION, page))
        .finish()
}

/// The page of the service that a dashboard shows, unless it shows all of them.
fn service_page(query: &str) -> Option<String> {
    let params = Params::parse(query).ok()?;
    let service = params.text("var-service")?;
    // A browser takes dots for a directory.
    let is_one = !["$__all", ".", ".."].contains(&service);
    is_one.then(|| format!("/services/{}", escaped(service)))
}

/// The page that shows the first query of the first pane.
fn explored(query: &str) -> Option<String> {
    let params = Params::parse(query).ok()?;
    let panes: BTreeMap<String, Pane> = serde_json::from_str(params.text("panes")?).ok()?;
    match panes.values().next()?.queries.first()? {
        Asked::Lines { expr } => logs_page(expr),
        Asked::Trace { query } => Some(format!("/trace/{}", trace_id("query", query).ok()?)),
    }
}

fn logs_page(expression: &str) -> Option<String> {
    let conditions = CONDITION.captures_iter(expression);
    let fields: BTreeMap<_, _> = conditions
        .filter_map(|found| field(&found[1], &found[2]))
        .collect();
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)));
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty()).then(|| format!("/logs?{}", pairs.join("&")))
}

/// The field of the page Logs for a condition.
fn field(label: &str, value: &str) -> Option<(&'static str, String)> {
    Some(match label {
        "service_name" => ("service", value.to_owned()),
        "|" => ("text", value.to_owned()),
        "trace_id" => ("trace_id", trace_id(label, value).ok()?.to_string()),
        _ => ("level", level(value)?.to_owned()),
    })
}

/// The page's name of a severity and all worse ones.
fn level(severity: &str) -> Option<&'static str> {
    match severity_rank(severity) {
        3 => Some("info"),
        4 => Some("warn"),
        5.. => Some("error"),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
