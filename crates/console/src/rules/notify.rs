//! Tells a receiver such as herald about alerts, by Alertmanager's webhook.

mod groups;
mod payload;

use std::time::Duration;

use chrono::Utc;
use reqwest::Client;
use serde_json::{Value, json};
use slo::routing::DEADMAN;

use super::Reports;
use crate::log;
use crate::settings::Notify;
use groups::{Groups, Notification};

/// Between two looks at what the rules have found.
const POLL: Duration = Duration::from_millis(500);

/// A receiver takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Tells, for ever. To be dropped (aborted) at the end.
pub(crate) async fn run(reports: Reports, notify: Notify, external_url: String) {
    if notify.url.is_none() && notify.watchdog_url.is_none() {
        return;
    }
    let client = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build();
    let client = match client {
        Ok(client) => client,
        Err(why) => {
            log::warn("nobody can be notified", json!({"error": why.to_string()}));
            return;
        }
    };
    let mut groups = Groups::default();
    let mut lost = 0;
    loop {
        let all = reports.all();
        let alerts = all.iter().flat_map(|group| &group.rules);
        groups.update(alerts.flat_map(|rule| &rule.alerts), now_ms());
        for notification in groups.due(now_ms()) {
            let told = tell(&client, &notify, &notification, &external_url).await;
            groups.told(&notification, told, now_ms());
        }
        if groups.lost > lost {
            lost = groups.lost;
            log::warn(
                "there are too many groups of alerts: some are not told",
                json!({"alerts": lost}),
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

/// Whether the receiver has taken it. Without a receiver there is nobody to be told.
async fn tell(
    client: &Client,
    notify: &Notify,
    notification: &Notification,
    external_url: &str,
) -> bool {
    let route = notification.key.0;
    let url = match route == &DEADMAN {
        true => &notify.watchdog_url,
        false => &notify.url,
    };
    let Some(url) = url else {
        return true;
    };
    let body = payload::body(notification, external_url);
    let taken = post(client, url, notify.secret.as_deref(), &body).await;
    if let Err(why) = &taken {
        let fields = json!({"receiver": route.receiver, "error": why});
        log::warn("a notification was not taken; it is sent again", fields);
    }
    taken.is_ok()
}

async fn post(
    client: &Client,
    url: &str,
    secret: Option<&str>,
    body: &Value,
) -> Result<(), String> {
    let mut request = client.post(url).json(body);
    if let Some(secret) = secret {
        request = request.bearer_auth(secret);
    }
    // Without the URL: it may hold a secret.
    let answer = request
        .send()
        .await
        .map_err(|why| why.without_url().to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("status {status}")),
    }
}
