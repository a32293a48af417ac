//! The dashboards are whole: what Grafana would say too late, or never.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use super::dashboards::{Dashboard, explored, urls};
use super::{Known, check, sources};
use crate::harness::list;

/// Kept small, so that a change of one can be read.
const MAX_LINES: usize = 450;
const MAX_PANEL_LINES: usize = 30;

/// From an alert to what is to be done.
const RUNBOOK: &str = "${__data.fields.Runbook}";

fn has_queries(panel: &Value) -> bool {
    panel["type"] != "text" && panel["type"] != "row"
}

fn title(dashboard: &Dashboard, panel: &Value) -> String {
    format!("{}: {}", dashboard.file, panel["title"])
}

#[test]
fn uids_are_stable_and_unique() {
    let uids: Vec<String> = Dashboard::all()
        .iter()
        .map(|dashboard| dashboard.uid().to_owned())
        .collect();
    let unique: BTreeSet<&String> = uids.iter().collect();
    assert_eq!(unique.len(), uids.len(), "{uids:?}");
    // Alerts, runbooks and bookmarks name them.
    for uid in [
        "overview",
        "service",
        "postgres",
        "pipeline",
        "slo",
        "load-test",
        "cost",
        "ledger",
    ] {
        assert!(
            uids.contains(&format!("omnitrace-{uid}")),
            "omnitrace-{uid} is not in {uids:?}"
        );
    }
}

#[test]
fn they_are_in_the_schema_that_provisioning_takes() {
    for Dashboard { file, json, text } in Dashboard::all() {
        for v2 in ["apiVersion", "kind", "spec", "elements", "layout"] {
            assert!(json.get(v2).is_none(), "{file} has {v2:?}: the v2 schema");
        }
        let version = json["schemaVersion"].as_u64().unwrap_or(0);
        assert!(
            (36..=42).contains(&version),
            "{file}: schemaVersion {version}"
        );
        assert!(
            json["id"].is_null(),
            "{file}: an id is a database's, use the uid"
        );
        assert!(
            !json["title"].as_str().unwrap_or_default().is_empty(),
            "{file}"
        );
        assert!(
            !json["description"].as_str().unwrap_or_default().is_empty(),
            "{file}"
        );
        let lines = text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{file} has {lines} lines, at most {MAX_LINES}"
        );
        let longest = text
            .split("\n    {")
            .map(|panel| panel.lines().count())
            .max();
        assert!(
            longest <= Some(MAX_PANEL_LINES),
            "{file}: a panel of {longest:?} lines"
        );
    }
}

#[test]
fn service_is_the_one_variable() {
    for Dashboard { file, json, .. } in Dashboard::all() {
        let variables = list(&json["templating"]["list"]);
        assert_eq!(variables.len(), 1, "{file}");
        assert_eq!(variables[0]["name"], "service", "{file}");
        for query in ["/query/query", "/definition"] {
            let query = variables[0].pointer(query).expect("a query");
            assert_eq!(*query, "label_values(build_info, service_name)", "{file}");
        }
        // A regular expression that matches nothing is refused by Loki.
        let all = &variables[0]["allValue"];
        assert!(
            *all == ".+" || variables[0]["includeAll"] != true,
            "{file}: {all}"
        );
    }
}

#[test]
fn no_service_is_named() {
    let names =
        Regex::new(r#"service_name=~?\\"(gateway|data|downstream)\\"|var-service=[a-z]"#).unwrap();
    for Dashboard { file, text, .. } in Dashboard::all() {
        let found = names.find(&text).map(|found| found.as_str());
        assert_eq!(found, None, "{file}: a fourth service would need an edit");
    }
}

#[test]
fn each_says_how_to_read_it_and_marks_releases() {
    for dashboard in Dashboard::all() {
        let panels = dashboard.panels();
        assert_eq!(panels[0]["type"], "text", "{}", dashboard.file);
        assert_eq!(panels[0]["title"], "How to read it", "{}", dashboard.file);
        // Each links to all that have the tag, itself among them.
        let linked = &dashboard.json["links"][0]["tags"];
        assert_eq!(dashboard.json["tags"], *linked, "{}", dashboard.file);
        assert_eq!(*linked, json!(["omnitrace"]), "{}", dashboard.file);
        let annotations = list(&dashboard.json["annotations"]["list"]);
        for name in ["Releases", "Alerts", "Faults"] {
            let found = annotations
                .iter()
                .find(|annotation| annotation["name"] == name);
            let found = found.unwrap_or_else(|| panic!("{}: no annotation {name}", dashboard.file));
            assert_eq!(found["enable"], true, "{}: {name}", dashboard.file);
        }
    }
}

#[test]
fn panels_have_ids_places_and_descriptions() {
    for dashboard in Dashboard::all() {
        let mut ids = BTreeSet::new();
        let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
        for panel in dashboard.panels() {
            let title = title(&dashboard, &panel);
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{title}: its id is not its own"
            );
            let at = |key: &str| {
                panel["gridPos"][key]
                    .as_u64()
                    .unwrap_or_else(|| panic!("{title}: {key}"))
            };
            assert!(at("x") + at("w") <= 24, "{title}: wider than the page");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{title}: lies over another panel");
                }
            }
            if has_queries(&panel) {
                assert!(panel["description"].is_string(), "{title}: no description");
                assert!(!list(&panel["targets"]).is_empty(), "{title}: no target");
            }
        }
    }
}

#[test]
fn data_sources_are_provisioned() {
    fn named(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(uid) = map.get("datasource") {
                    let uid = uid["uid"].as_str().or(uid.as_str()).expect("a uid");
                    found.push(uid.to_owned());
                }
                map.values().for_each(|value| named(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| named(item, found)),
            _ => {}
        }
    }
    let uids = sources::uids();
    for dashboard in Dashboard::all() {
        let mut found = Vec::new();
        named(&dashboard.json, &mut found);
        for url in urls(&dashboard.json) {
            named(&json!(explored(&url)), &mut found);
        }
        assert!(!found.is_empty(), "{}", dashboard.file);
        for uid in found {
            assert!(
                uids.contains(&uid),
                "{}: no data source {uid:?}",
                dashboard.file
            );
        }
    }
}

#[test]
fn every_panel_leads_on() {
    let dashboards = Dashboard::all();
    for dashboard in &dashboards {
        for panel in dashboard.panels().iter().filter(|panel| has_queries(panel)) {
            let links = urls(panel);
            assert!(
                !links.is_empty(),
                "{}: leads nowhere",
                title(dashboard, panel)
            );
        }
        for url in urls(&dashboard.json) {
            let uid = url
                .strip_prefix("/d/")
                .map(|rest| rest.split('?').next().unwrap_or(rest));
            let exists = uid.is_some_and(|uid| dashboards.iter().any(|other| other.uid() == uid));
            assert!(
                exists || url == RUNBOOK || !explored(&url).is_empty(),
                "{}: dead link {url}",
                dashboard.file
            );
        }
    }
    // Service -> traces -> log lines, whatever is clicked before.
    let service = dashboards
        .iter()
        .find(|dashboard| dashboard.uid() == "omnitrace-service");
    let service = service.expect("omnitrace-service");
    let leads_to = |uid: &str| {
        urls(&service.json)
            .iter()
            .flat_map(|url| explored(url))
            .any(|query| query["datasource"]["uid"] == uid)
    };
    assert!(leads_to("jaeger") && leads_to("loki"));
}

/// What a link takes from the point that is clicked is there.
#[test]
fn links_use_labels_and_columns_that_exist() {
    let known = Known::read();
    let label = Regex::new(r"\$\{__field\.labels\.(\w+)\}").unwrap();
    let column = Regex::new(r"\$\{__data\.fields\.(\w+)\}").unwrap();
    let mut checked = 0;
    for dashboard in Dashboard::all() {
        for panel in dashboard.panels() {
            let title = title(&dashboard, &panel);
            let mut labels = BTreeSet::new();
            for target in dashboard.targets(&panel) {
                labels.extend(check(&known, &target).unwrap_or_default());
            }
            let renamed = list(&panel["transformations"]);
            let columns: Vec<&Value> = renamed
                .iter()
                .filter_map(|step| step["options"]["renameByName"].as_object())
                .flat_map(|map| map.values())
                .collect();
            // Titles of links as well as their targets.
            let text = panel.to_string();
            for found in label.captures_iter(&text) {
                assert!(
                    labels.contains(&found[1]),
                    "{title}: no label {} in {labels:?}",
                    &found[1]
                );
                checked += 1;
            }
            for found in column.captures_iter(&text) {
                let there = columns.iter().any(|column| **column == found[1]);
                assert!(there, "{title}: no column {} in {columns:?}", &found[1]);
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "no link takes anything from its point");
}

/// From a point on a duration to the trace of that very request.
#[test]
fn durations_show_exemplars() {
    let mut seen = 0;
    for dashboard in Dashboard::all() {
        for panel in dashboard
            .panels()
            .iter()
            .filter(|panel| panel["type"] == "timeseries")
        {
            for target in list(&panel["targets"]) {
                let expression = target["expr"].as_str().unwrap_or_default();
                if expression.contains("histogram_quantile") {
                    assert_eq!(target["exemplar"], true, "{}", title(&dashboard, panel));
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 0, "no duration at all");
}

#[test]
fn firing_alerts_lead_to_their_runbooks() {
    let dashboards = Dashboard::all();
    let panels = dashboards.iter().flat_map(Dashboard::panels);
    let firing: Vec<Value> = panels
        .filter(|panel| panel["title"] == "Firing alerts")
        .collect();
    assert_eq!(firing.len(), 2, "overview and objectives");
    for panel in firing {
        assert!(urls(&panel).contains(RUNBOOK), "{panel}");
    }
}

/// What is a part of something that ends, and what a budget or an outage is about, is drawn with the line from which it is too much.
#[test]
fn limits_are_drawn() {
    let limited = Regex::new(
        r"/ [^/]*(_capacity|_max\b|_max_fds|max_connections|_interval_seconds)|error_budget:remaining|known:info|pg_up|probe_success|oldest_age|failures_total|error_type!=",
    )
    .unwrap();
    let mut seen = 0;
    for dashboard in Dashboard::all() {
        for panel in dashboard.panels() {
            let mut targets = dashboard.targets(&panel).into_iter();
            if targets.any(|target| limited.is_match(&target.text)) {
                let drawn = panel["fieldConfig"].to_string().contains("thresholds");
                assert!(drawn, "{}: no threshold", title(&dashboard, &panel));
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} panels");
}

/// A service that is gone has no series any more: only what the rules remember can show it as gone.
#[test]
fn a_service_that_is_gone_stays() {
    let remembered = |uid: &str, title: &str| {
        let dashboards = Dashboard::all();
        let dashboard = dashboards.iter().find(|found| found.uid() == uid).unwrap();
        let panels = dashboard.panels();
        let panel = panels.iter().find(|panel| panel["title"] == title);
        let targets = dashboard.targets(panel.unwrap_or_else(|| panic!("{uid}: {title}")));
        targets.iter().any(|target| {
            target
                .text
                .contains("or 0 * group by (service_name) (service:known:info")
        })
    };
    assert!(remembered("omnitrace-overview", "Services"));
    assert!(remembered("omnitrace-service", "Instances"));
}
