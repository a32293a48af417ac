//! Tells a receiver such as herald about alerts, by Alertmanager's webhook.

mod groups;
mod payload;

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use reqwest::Client;
use serde_json::{Value, json};
use slo::routing::{DEADMAN, PAGE, Route, TICKET};
use tokio::sync::watch;

use super::alert::Alert;
use super::state::StateFile;
use super::{Reports, now_ms};
use crate::counters::Counters;
use crate::log;
use crate::settings::Notify;
use groups::{Groups, Notification};

/// Between two looks at what the rules have found.
const POLL: Duration = Duration::from_millis(500);

/// A receiver takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Receivers that are told at once.
const AT_ONCE: usize = 8;

/// At the end, receivers have this long to accept the notifications in flight. Otherwise they would get them again after the
/// next start.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The shortest time between two saves of the notified alerts while many are sent.
const KEEP: Duration = Duration::from_secs(1);

/// Tells about what the rules find.
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(super) reports: Reports,
    /// Keeps the notified alerts over a restart.
    pub(super) state: Option<StateFile>,
    pub notify: Notify,
    pub counters: Counters,
    /// The console's URL.
    pub external_url: String,
    /// Closes when the end is asked for.
    pub ending: watch::Receiver<()>,
}

impl Notifier {
    /// Sends notifications until the end is requested, then saves the notified alerts.
    pub async fn run(self) {
        let receivers = [&PAGE, &TICKET, &DEADMAN].map(|route| (route, self.url(route)));
        let heard = receivers.iter().filter(|(_, url)| url.is_some());
        let heard: Vec<&str> = heard.map(|(route, _)| route.receiver).collect();
        if heard.is_empty() {
            return;
        }
        self.counters.receivers(&heard);
        let client = incoming::client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build();
        match client {
            Ok(client) => self.tell_until_the_end(&client).await,
            Err(why) => log::warn("nobody can be notified", json!({"error": why.to_string()})),
        }
    }

    async fn tell_until_the_end(&self, client: &Client) {
        let is_heard = |alert: &&Alert| self.url(groups::route(alert)).is_some();
        let told = self.state.as_ref().map(|state| state.notified(now_ms()));
        let told = told.into_iter().flatten();
        let mut groups = Groups::remembering(told.filter(|(_, alert)| is_heard(&alert)), now_ms());
        let end = self.end();
        tokio::pin!(end);
        loop {
            let all = self.reports.all();
            let now = now_ms();
            let alerts = all
                .iter()
                .flat_map(|group| group.alerts_to_notify(now))
                .filter(is_heard);
            let lost = groups.lost;
            groups.update(alerts, now_ms());
            if groups.lost > lost {
                self.dropped(groups.lost - lost, lost == 0);
            }
            self.tell_due(client, &mut groups).await;
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = &mut end => return,
            }
        }
    }

    async fn end(&self) {
        // No value is ever sent: the channel only closes.
        self.ending.clone().changed().await.ok();
    }

    /// The receiver's URL, if one is set.
    fn url(&self, route: &Route) -> Option<&String> {
        match route == &DEADMAN {
            true => self.notify.watchdog_url.as_ref(),
            false => self.notify.url.as_ref(),
        }
    }

    fn dropped(&self, alerts: u64, is_first: bool) {
        self.counters.dropped_alerts(alerts);
        if is_first {
            let why = "there are too many groups of alerts: some are not told";
            log::warn(why, json!({"alerts": alerts}));
        }
    }

    async fn tell_due(&self, client: &Client, groups: &mut Groups) {
        let mut due = groups.due(now_ms());
        // A receiver that does not answer keeps nobody from hearing that alerting is alive.
        due.sort_by_key(|notification| notification.key.0 != &DEADMAN);
        let tell = async |notification: Notification| {
            let is_told = self.tell(client, &notification).await;
            (notification, is_told)
        };
        let mut told = stream::iter(due).map(tell).buffer_unordered(AT_ONCE);
        let (mut is_new, mut kept) = (false, None::<Instant>);
        let late = async {
            self.end().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::pin!(late);
        while let Some((notification, is_told)) = tokio::select! {
            next = told.next() => next,
            () = &mut late => None,
        } {
            groups.record_attempt(&notification, is_told, now_ms());
            is_new |= is_told;
            if is_new && kept.is_none_or(|at| at.elapsed() >= KEEP) {
                self.keep(groups).await;
                (is_new, kept) = (false, Some(Instant::now()));
            }
        }
        if is_new {
            self.keep(groups).await;
        }
    }

    /// Whether the receiver has taken it.
    async fn tell(&self, client: &Client, notification: &Notification) -> bool {
        let route = notification.key.0;
        let Some(url) = self.url(route) else {
            return false;
        };
        // Its end is silence.
        if route == &DEADMAN && !notification.fires() {
            return true;
        }
        let body = payload::body(notification, &self.external_url);
        let taken = post(client, url, self.notify.secret.as_deref(), &body).await;
        let has_changed = self.counters.notified(route.receiver, taken.is_ok());
        match &taken {
            _ if !has_changed => {}
            Ok(()) => log::info(
                "notifications are taken again",
                json!({"receiver": route.receiver}),
            ),
            Err(why) => log::warn(
                "a notification was not taken; it is sent again until it is",
                json!({"receiver": route.receiver, "error": why}),
            ),
        }
        taken.is_ok()
    }

    /// Saves the notified alerts on a thread that blocks no one else.
    async fn keep(&self, groups: &Groups) {
        if let Some(state) = self.state.clone() {
            let told = groups.remembered();
            let kept = tokio::task::spawn_blocking(move || state.save_notified(told));
            // A failed write has been logged, and so has a panic.
            kept.await.ok();
        }
    }
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
    // Logs no URL, because it may contain a secret.
    let answer = request
        .send()
        .await
        .map_err(|why| why.without_url().to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("status {status}")),
    }
}
