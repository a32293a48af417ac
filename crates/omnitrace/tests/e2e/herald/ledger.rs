//! The ledger: the definition of every number, through kills and changed verdicts.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::command::{alerts, fine};
use super::history::files;
use super::setup::Case;
use super::silenced::hour;
use super::{Herald, alert, arrived};
use crate::harness::{eventually, list};

const VERDICTS: [&str; 3] = ["true_alarm", "false_alarm", "unjudged"];

impl Herald {
    /// The ledger without its beginning, which moves on with the clock.
    async fn ledger(&self) -> Value {
        let mut ledger = self.get("/api/ledger").await;
        let since = ledger["since"].take();
        let since: DateTime<Utc> = serde_json::from_value(since).expect("a time");
        let age = Utc::now() - since - TimeDelta::days(7);
        assert!(age >= TimeDelta::zero() && age < hour(), "{since}");
        ledger
    }

    /// Waits until the metric of each verdict is this.
    async fn until_counted(&self, severity: &str, counts: [f64; 3]) {
        for (verdict, count) in VERDICTS.into_iter().zip(counts) {
            let labels = [("severity", severity), ("verdict", verdict)];
            self.until("herald_ledger_alerts", &labels, count).await;
        }
    }

    /// Returns the times to acknowledge of all pages.
    async fn acknowledge(&self, id: &str, by: &str) -> Value {
        let path = format!("/api/alerts/{id}/acknowledge");
        let said = self
            .api(Method::POST, &path, Some(&json!({"by": by})))
            .await;
        said.expect(200);
        let ledger = self.ledger().await;
        let times = row(&ledger, "severities", "page")["time_to_acknowledge"].clone();
        assert_eq!(times["count"], 1, "{ledger:#}");
        times
    }

    async fn judge(&self, id: &str, true_alarm: bool) {
        let verdict = json!({"true_alarm": true_alarm, "by": "ada"});
        let path = format!("/api/alerts/{id}/verdict");
        self.api(Method::POST, &path, Some(&verdict))
            .await
            .expect(200);
    }
}

/// A group of its own of one alert, which began so many seconds ago, and after as many others is over.
fn since(name: &str, severity: &str, seconds: i64, lasted: Option<i64>) -> Value {
    let status = lasted.map_or("firing", |_| "resolved");
    let mut payload = alert(name, status);
    let started = Utc::now() - TimeDelta::seconds(seconds);
    payload["commonLabels"]["severity"] = severity.into();
    payload["alerts"][0]["labels"]["severity"] = severity.into();
    payload["alerts"][0]["startsAt"] = json!(started);
    if let Some(lasted) = lasted {
        payload["alerts"][0]["endsAt"] = json!(started + TimeDelta::seconds(lasted));
    }
    payload
}

/// The row of an alert, or of all of a severity.
fn row<'a>(ledger: &'a Value, rows: &str, name: &str) -> &'a Value {
    let key = if rows == "alerts" {
        "alert"
    } else {
        "severity"
    };
    let rows = ledger[rows].as_array().expect("rows");
    let found = rows.iter().find(|row| row[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {ledger:#}"))
}

/// Delivered, undelivered, true, false, unjudged.
fn counts(row: &Value) -> [u64; 5] {
    [
        "delivered",
        "undelivered",
        "true_alarms",
        "false_alarms",
        "unjudged",
    ]
    .map(|name| row[name].as_u64().expect("a number"))
}

/// An episode that was delivered counts once, under the name and start of its first notification.
#[tokio::test]
async fn the_ledger_counts_what_was_delivered_once_and_a_new_verdict_and_a_kill_change_it_as_they_should()
 {
    let case = Case::new();
    let herald = case.herald().await;
    let empty = herald.ledger().await;
    assert_eq!((&empty["alerts"], &empty["more"]), (&json!([]), &json!(0)));
    herald.until_counted("page", [0.0; 3]).await;

    let page = since("ServiceDown", "page", 100, None);
    let key = herald.accepted(&page).await;
    arrived(&case.webhook, 1).await;
    let acknowledged = herald.acknowledge(&key, "ada").await;
    // The group grows, is delivered again, and somebody else acknowledges it: still one page, under its first name, and with its
    // first acknowledgement.
    let mut grown = page.clone();
    let later = since("ProbeFailing", "page", 50, None);
    let common = grown["commonLabels"].as_object_mut().unwrap();
    common.remove("alertname");
    grown["alerts"] = json!([later["alerts"][0], page["alerts"][0]]);
    herald.accepted(&grown).await;
    arrived(&case.webhook, 1).await;
    assert_eq!(herald.acknowledge(&key, "bob").await, acknowledged);
    // The alert that began first has left the group before the other one ends.
    let mut over = later.clone();
    over["groupKey"] = page["groupKey"].clone();
    over["status"] = "resolved".into();
    over["alerts"][0]["status"] = "resolved".into();
    let started = page["alerts"][0]["startsAt"].as_str().expect("a time");
    let started: DateTime<Utc> = started.parse().expect("a time");
    over["alerts"][0]["endsAt"] = json!(started + TimeDelta::seconds(95));
    herald.accepted(&over).await;
    arrived(&case.webhook, 1).await;

    // Other alerts: a ticket, one of another severity, and one that a silence held back for a while.
    herald
        .accepted(&since("LockWaits", "ticket", 10, None))
        .await;
    herald
        .accepted(&since("Foreign", "critical", 10, None))
        .await;
    arrived(&case.webhook, 2).await;
    let silence = herald.silence("HeldBack", hour()).await;
    herald
        .accepted(&since("HeldBack", "page", 9000, None))
        .await;
    herald.until_held(1.0).await;
    herald.expire(&silence).await;
    arrived(&case.webhook, 1).await;
    // What reaches nobody: silenced, or refused by the target.
    herald.silence("Quiet", hour()).await;
    herald.accepted(&since("Quiet", "page", 10, None)).await;
    herald.until_held(1.0).await;
    case.webhook.answer_with(403);
    herald.accepted(&since("Refused", "page", 10, None)).await;
    let failed = [("target", "webhook"), ("outcome", "failed")];
    herald
        .until("herald_notifications_total", &failed, 1.0)
        .await;
    case.webhook.take();
    case.webhook.answer_with(200);
    // An episode of which only the end was delivered is no page.
    let end = since("Refused", "page", 10, Some(5));
    herald.accepted(&end).await;
    arrived(&case.webhook, 1).await;
    // What is no episode of this week: an end without a beginning, an old start, the alert that always fires.
    herald
        .accepted(&since("OnlyTheEnd", "page", 100, Some(50)))
        .await;
    let old = since("LastWeek", "page", 8 * 24 * 3600, None);
    herald.accepted(&old).await;
    let beat = since("Watchdog", "none", 10, None);
    let beat = herald.api(Method::POST, "/watchdog", Some(&beat)).await;
    beat.expect(200);

    herald.until_counted("page", [0.0, 0.0, 2.0]).await;
    herald.until_counted("ticket", [0.0, 0.0, 1.0]).await;
    herald.until_counted("other", [0.0, 0.0, 1.0]).await;
    let labels = [("severity", "page")];
    herald
        .until("herald_ledger_undelivered_alerts", &labels, 2.0)
        .await;
    for (true_alarm, expected) in [(false, [0.0, 1.0, 1.0]), (true, [1.0, 0.0, 1.0])] {
        herald.judge(&key, true_alarm).await;
        herald.until_counted("page", expected).await;
        let share = if true_alarm { 0.0 } else { 1.0 };
        let ledger = herald.ledger().await;
        assert_eq!(
            row(&ledger, "severities", "page")["false_alarm_share"],
            share
        );
    }

    let ledger = herald.ledger().await;
    let rows = list(&ledger["alerts"]);
    let names: Vec<&Value> = rows.iter().map(|row| &row["alert"]).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    let delivered_first = names.iter().position(|name| **name == "Quiet");
    assert!(delivered_first >= Some(4), "{names:?}");
    assert_eq!(counts(row(&ledger, "severities", "page")), [2, 2, 1, 0, 1]);
    assert_eq!(
        counts(row(&ledger, "severities", "ticket")),
        [1, 0, 0, 0, 1]
    );
    assert_eq!(counts(row(&ledger, "alerts", "Foreign")), [1, 0, 0, 0, 1]);
    assert_eq!(row(&ledger, "alerts", "Foreign")["severity"], "other");
    assert_eq!(counts(row(&ledger, "alerts", "Refused")), [0, 1, 0, 0, 0]);
    let page = row(&ledger, "alerts", "ServiceDown");
    assert_eq!(counts(page), [1, 0, 1, 0, 0]);
    assert_eq!(
        page["time_to_resolve"],
        json!({"count": 1, "mean_s": 95.0, "median_s": 95.0, "p90_s": 95.0})
    );
    let detected = page["time_to_detect"]["median_s"].as_f64().unwrap();
    assert!((100.0..200.0).contains(&detected), "{detected}");
    assert_eq!(page["time_to_acknowledge"], acknowledged);
    let held_back = row(&ledger, "alerts", "HeldBack");
    assert_eq!(counts(held_back), [1, 0, 0, 0, 1]);
    assert_eq!(held_back["time_to_detect"], Value::Null);

    let mut herald = case.killed(herald).await;
    herald.until_counted("page", [1.0, 0.0, 1.0]).await;
    assert_eq!(herald.ledger().await, ledger);
    assert!(herald.child.terminate().await.success());
}

/// What an earlier herald has left of a page, in seconds after its start.
#[derive(Default)]
struct Past {
    name: &'static str,
    days_ago: i64,
    delivered: Option<i64>,
    held_back: bool,
    acknowledged: Option<i64>,
    ended: Option<i64>,
    true_alarm: Option<bool>,
}

impl Past {
    fn write(&self, first: &Path, text: &str) {
        let mut record: Value = serde_json::from_str(text).unwrap();
        let started = Utc::now() - TimeDelta::days(self.days_ago) - hour();
        let at = |seconds: i64| json!(started + TimeDelta::seconds(seconds));
        let id = Uuid::now_v7();
        record["last"] = json!(id);
        record["payload"]["groupKey"] = json!(id);
        record["milestones"] = json!({
            "alert": self.name, "severity": "page", "started": at(0), "delivered": self.delivered.map(at),
            "held_back": self.held_back, "acknowledged": self.acknowledged.map(at)
        });
        if let Some(ended) = self.ended {
            record["resolved"] = at(ended);
            record["payload"]["alerts"][0]["endsAt"] = at(ended);
        }
        if let Some(true_alarm) = self.true_alarm {
            record["verdict"] = json!({"true_alarm": true_alarm, "by": "ada", "at": at(0)});
        }
        let path = first.with_file_name(format!("{id}.json"));
        std::fs::write(path, record.to_string()).unwrap();
    }
}

/// The definitions of docs/HERALD.md.
#[tokio::test]
async fn each_time_and_share_of_the_ledger_is_that_of_its_definition() {
    let case = Case::new();
    let mut herald = case.herald().await;
    herald.accepted(&since("Template", "page", 0, None)).await;
    arrived(&case.webhook, 1).await;
    herald
        .until("herald_queue_size", &[("target", "webhook")], 0.0)
        .await;
    assert!(herald.child.terminate().await.success());
    let [first] = files(case.path(), "alerts").try_into().unwrap();
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let burn = |delivered, acknowledged, ended, true_alarm| Past {
        name: "AvailabilityBurnRate",
        delivered: Some(delivered),
        acknowledged,
        ended,
        true_alarm,
        ..Past::default()
    };
    for past in [
        burn(10, Some(30), Some(100), Some(true)),
        burn(20, Some(60), Some(200), Some(true)),
        // Acknowledged on its page before it was delivered: nobody had to wait.
        burn(30, Some(25), Some(4000), Some(false)),
        // Delivered when herald's clock was behind; over before it began.
        burn(-5, None, Some(-1), None),
        Past {
            held_back: true,
            ..burn(3000, None, None, Some(true))
        },
        // A verdict about what nobody got is none about a page.
        Past {
            name: "AvailabilityBurnRate",
            acknowledged: Some(5),
            ended: Some(10),
            true_alarm: Some(false),
            ..Past::default()
        },
        Past {
            name: "LastMonth",
            days_ago: 20,
            delivered: Some(7),
            ..Past::default()
        },
    ] {
        past.write(&first, &text);
    }

    let mut herald = case.herald().await;
    let ledger = herald.ledger().await;
    let mut expected = json!({
        "severity": "page", "delivered": 5, "undelivered": 1,
        "true_alarms": 3, "false_alarms": 1, "unjudged": 1, "false_alarm_share": 0.25,
        "time_to_detect": {"count": 4, "mean_s": 15.0, "median_s": 10.0, "p90_s": 30.0},
        "time_to_acknowledge": {"count": 3, "mean_s": 20.0, "median_s": 20.0, "p90_s": 40.0},
        "time_to_resolve": {"count": 3, "mean_s": 4300.0 / 3.0, "median_s": 200.0, "p90_s": 4000.0},
    });
    assert_eq!(*row(&ledger, "severities", "page"), expected);
    expected["alert"] = json!("AvailabilityBurnRate");
    assert_eq!(ledger["alerts"], json!([expected]));

    for (name, mean, median, p90) in [
        ("detect", 15.0, 10.0, 30.0),
        ("acknowledge", 20.0, 20.0, 40.0),
        ("resolve", 4300.0 / 3.0, 200.0, 4000.0),
    ] {
        let metric = format!("herald_ledger_time_to_{name}_seconds");
        for (statistic, seconds) in [("mean", mean), ("median", median), ("p90", p90)] {
            let labels = [("severity", "page"), ("statistic", statistic)];
            herald.until(&metric, &labels, seconds).await;
        }
        let nothing = [("severity", "ticket"), ("statistic", "median")];
        assert!(herald.metric(&metric, &nothing).await.is_nan(), "{name}");
    }

    let table = fine(alerts(&herald.url, &["ledger"]).await);
    let words =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let lines: Vec<Vec<String>> = table.lines().map(words).collect();
    let numbers = ["5", "1", "3", "1", "1", "10s/30s", "20s/40s", "3m20s/1h06m"];
    assert_eq!(lines.len(), 4, "{table}");
    assert_eq!(lines[2], [&["(all)", "page"][..], &numbers].concat());
    assert_eq!(
        lines[3],
        [&["AvailabilityBurnRate", "page"][..], &numbers].concat()
    );
    let longer = fine(alerts(&herald.url, &["ledger", "--since", "30d", "--json"]).await);
    let longer: Value = serde_json::from_str(&longer).unwrap();
    assert_eq!(counts(row(&longer, "severities", "page")), [6, 1, 3, 1, 2]);
    assert_eq!(list(&longer["alerts"]).len(), 2, "{longer:#}");
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn the_ledger_names_a_hundred_alerts_and_what_cannot_be_asked() {
    let case = Case::new();
    let mut herald = case.herald().await;
    for number in 0..103 {
        let payload = since(&format!("Alert{number}"), "page", 10, None);
        herald.accepted(&payload).await;
    }
    let ledger = eventually("all are delivered", async || {
        let ledger = herald.ledger().await;
        (row(&ledger, "severities", "page")["undelivered"] == 0).then_some(ledger)
    })
    .await;
    assert_eq!(
        (list(&ledger["alerts"]).len(), &ledger["more"]),
        (100, &json!(3))
    );
    let table = fine(alerts(&herald.url, &["ledger"]).await);
    assert!(table.ends_with("\n… and 3 more names"), "{table}");
    for query in ["since=7d", "since=", "until=2026-11-20T00:00:00Z"] {
        let path = format!("/api/ledger?{query}");
        let refused = herald.api(Method::GET, &path, None).await.expect(422);
        assert_eq!(refused.header("content-type"), "application/problem+json");
    }
    let (code, _, said) = alerts(&herald.url, &["ledger", "--since", "soon"]).await;
    assert_eq!(code, 2);
    assert!(said.contains("allowed: a time such as"), "{said}");
    let none = fine(alerts(&herald.url, &["ledger", "--since", "1s"]).await);
    assert!(
        none.starts_with("herald knows of no alert since 2"),
        "{none}"
    );
    assert!(herald.child.terminate().await.success());
}
