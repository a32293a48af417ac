//! `/api/v1/rules`, `/api/v1/alerts` and `/api/v1/alertmanagers` as Prometheus writes them, and `/api/alerts` for the console's page.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::Reports;
use super::alert::{Alert, State};
use super::file::{Alerting, Kind, Rule};
use super::group::{GroupReport, RuleReport};
use super::objectives;
use super::template::{Template, numbers};
use crate::answer::wrapped::{Seconds, time};
use crate::answer::{Answers, Page, off_thread};
use crate::params::{BadParameter, Params};
use crate::prometheus;
use crate::series::SeriesStore;
use crate::settings::Notify;

/// The parameters that narrow the list of rules.
const KNOWN: [&str; 5] = [
    "type",
    "rule_name[]",
    "rule_group[]",
    "file[]",
    "exclude_alerts",
];

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/api/v1/rules", web::get().to(rules))
        .route("/api/v1/alerts", web::get().to(alerts))
        .route("/api/v1/alertmanagers", web::get().to(receivers))
        .route("/api/alerts", web::get().to(shown));
}

async fn rules(
    request: HttpRequest,
    reports: web::Data<Reports>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let reports = reports.get_ref().clone();
    let told =
        move |params: &Params, _: &mut Page| Ok(json!({"groups": groups(&reports, params)?}));
    prometheus::told(&request, &answers, &KNOWN, told).await
}

async fn alerts(
    request: HttpRequest,
    reports: web::Data<Reports>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let reports = reports.get_ref().clone();
    let told = move |_: &Params, _: &mut Page| {
        let reports = reports.all();
        let rules = reports.iter().flat_map(|group| &group.rules);
        let alerts: Vec<Value> = rules.flat_map(active).collect();
        Ok(json!({"alerts": alerts}))
    };
    prometheus::told(&request, &answers, &[], told).await
}

/// The receivers of alerts. Path, query and user of a URL may be secrets, so the list has only the rest.
async fn receivers(
    request: HttpRequest,
    notify: web::Data<Notify>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let urls = [&notify.url, &notify.watchdog_url].into_iter().flatten();
    let origins = urls.filter_map(|url| Some(Url::parse(url).ok()?.origin().ascii_serialization()));
    let active: Vec<Value> = origins.map(|url| json!({"url": url})).collect();
    let told = move |_: &Params, _: &mut Page| {
        Ok(json!({"activeAlertmanagers": active, "droppedAlertmanagers": []}))
    };
    prometheus::told(&request, &answers, &[], told).await
}

/// Alerts that fire and those that have ended lately, with the objectives beside them. The one that always fires is none to be shown.
async fn shown(
    reports: web::Data<Reports>,
    series: web::Data<SeriesStore>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let (reports, series) = (reports.get_ref().clone(), series.get_ref().clone());
    off_thread(&answers, move |page| {
        let reports = reports.all();
        let rules = reports.iter().flat_map(|group| &group.rules);
        let all = rules.flat_map(|rule| &rule.alerts);
        let all = all.filter(|alert| alert.labels.get("severity") != "none");
        let firing: Vec<&Alert> = all
            .clone()
            .filter(|alert| alert.state == State::Firing)
            .collect();
        let objectives = objectives::all(&series, &firing, page)?;
        let alerts: Vec<Value> = firing.into_iter().map(alert).collect();
        let ended: Vec<Value> = all.filter_map(end).collect();
        let data = json!({"alerts": alerts, "ended": ended, "objectives": objectives, "profile": objectives::PROFILE});
        Ok(json!({"status": "success", "data": data}))
    })
    .await
}

fn groups(reports: &Reports, params: &Params) -> Result<Vec<Value>, BadParameter> {
    let kind = match params.text("type") {
        None => None,
        Some("alert") => Some("alerting"),
        Some("record") => Some("recording"),
        Some(_) => return Err(BadParameter::new("type", "expected alert or record")),
    };
    let is_wanted = |name: &str, value: &str| {
        let mut wanted = params.all(name).peekable();
        wanted.peek().is_none() || wanted.any(|wanted| wanted == value)
    };
    let with_alerts = params.text("exclude_alerts") != Some("true");
    let file = &reports.0.file;
    let mut groups = Vec::new();
    for report in reports.all() {
        let group = &report.group;
        if !is_wanted("rule_group[]", &group.name) || !is_wanted("file[]", file) {
            continue;
        }
        let all = group.rules.iter().zip(&report.rules);
        let rules: Vec<Value> = all
            .filter(|(rule, _)| is_wanted("rule_name[]", &rule.name))
            .map(|(rule, report)| shown_rule(rule, report, with_alerts))
            .filter(|rule| kind.is_none_or(|kind| rule["type"] == kind))
            .collect();
        let is_narrow = kind.is_some() || params.text("rule_name[]").is_some();
        if !(rules.is_empty() && is_narrow) {
            groups.push(shown_group(&report, file, rules));
        }
    }
    Ok(groups)
}

fn shown_group(report: &GroupReport, file: &str, rules: Vec<Value>) -> Value {
    json!({
        "name": report.group.name,
        "file": file,
        "interval": Seconds(report.group.interval_ms),
        "limit": 0,
        "rules": rules,
        "evaluationTime": report.took.as_secs_f64(),
        "lastEvaluation": time(report.at_ms),
    })
}

fn shown_rule(rule: &Rule, report: &RuleReport, with_alerts: bool) -> Value {
    let health = match (report.at_ms, &report.error) {
        (None, _) => "unknown",
        (_, None) => "ok",
        (_, Some(_)) => "err",
    };
    let mut shown = json!({
        "name": rule.name,
        "query": rule.query,
        "health": health,
        "evaluationTime": report.took.as_secs_f64(),
        "lastEvaluation": time(report.at_ms),
    });
    if let Some(error) = &report.error {
        shown["lastError"] = error.as_str().into();
    }
    match &rule.kind {
        Kind::Record(labels) => {
            shown["type"] = "recording".into();
            shown["labels"] = json!(labels);
        }
        Kind::Alert(alerting) => add_alerting(&mut shown, alerting, report, with_alerts),
    }
    shown
}

fn add_alerting(shown: &mut Value, alerting: &Alerting, report: &RuleReport, with_alerts: bool) {
    let states = report.alerts.iter().map(|alert| alert.state);
    // The most pressing one.
    let state = states.min_by_key(|state| match state {
        State::Firing => 0,
        State::Pending => 1,
        State::Resolved => 2,
    });
    shown["type"] = "alerting".into();
    shown["state"] = state.unwrap_or(State::Resolved).as_str().into();
    shown["duration"] = json!(Seconds(alerting.for_ms));
    shown["keepFiringFor"] = json!(Seconds(alerting.keep_firing_for_ms));
    shown["labels"] = texts(&alerting.labels);
    shown["annotations"] = texts(&alerting.annotations);
    shown["alerts"] = match with_alerts {
        true => active(report).collect(),
        false => json!([]),
    };
}

fn texts(templates: &[(String, Template)]) -> Value {
    let texts = templates.iter();
    let texts: Map<String, Value> = texts
        .map(|(name, template)| (name.clone(), template.text().into()))
        .collect();
    texts.into()
}

fn active(report: &RuleReport) -> impl Iterator<Item = Value> {
    let active = report.alerts.iter().filter(|alert| alert.is_active());
    active.map(alert)
}

/// The end of an alert. The receiver of notifications hears of it minutes later.
fn end(alert: &Alert) -> Option<Value> {
    let labels: BTreeMap<_, _> = alert.labels.iter().collect();
    Some(json!({"labels": labels, "endedAt": time(alert.resolved_ms?)}))
}

/// One alert.
fn alert(alert: &Alert) -> Value {
    let annotations = alert.annotations.iter();
    let annotations = annotations.map(|(name, text)| (name, text));
    let mut shown = json!({
        "labels": alert.labels.iter().collect::<BTreeMap<_, _>>(),
        "annotations": annotations.collect::<BTreeMap<_, _>>(),
        "state": alert.state.as_str(),
        "activeAt": time(alert.active_ms),
        "value": numbers::exponential(alert.value),
    });
    if let Some(since_ms) = alert.keep_firing_since_ms {
        shown["keepFiringSince"] = time(since_ms).into();
    }
    shown
}
