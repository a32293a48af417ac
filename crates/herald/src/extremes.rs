//! Dates and numbers at their limits, through everything that makes a notification.

use chrono::{DateTime, Utc};
use serde_json::json;
use url::Url;

use crate::evidence::{Evidence, Window, extreme_dates};
use crate::links::Links;
use crate::notification::Notification;
use crate::payload::is_date;
use crate::payload::tests::{example, read};
use crate::queue::Stored;
use crate::settings::LinkBases;
use crate::slack;

fn notification(started: DateTime<Utc>, accepted: DateTime<Utc>, status: &str) -> String {
    let mut payload = example();
    payload["status"] = json!(status);
    payload["alerts"][0]["status"] = json!(status);
    payload["alerts"][0]["startsAt"] = json!(started);
    let stored = Stored {
        key: "key".to_owned(),
        accepted,
        held_until: None,
        payload: read(&payload).expect("it can be read"),
    };
    let mut evidence = Evidence::default();
    if status == "firing" {
        evidence.window = Some(Window::of(started, accepted));
    }
    let links = Links::new(LinkBases {
        grafana: Url::parse("http://grafana.example").ok(),
        ..LinkBases::default()
    });
    let notification = Notification::new(&stored, &evidence, &links);
    assert!(notification.links.logs.is_some());
    let json = serde_json::to_string(&notification).expect("JSON");
    json + &slack::message(&notification).to_string()
}

#[test]
fn any_date_makes_a_notification() {
    let now = Utc::now();
    // The rest is refused (`what_alertmanager_would_not_send_is_refused`).
    let taken = extreme_dates().into_iter().filter(is_date);
    for started in taken.chain([now]) {
        for accepted in extreme_dates().into_iter().chain([now]) {
            for status in ["firing", "resolved"] {
                assert!(notification(started, accepted, status).contains("AvailabilityBurnRate"));
            }
        }
    }
}
