//! `GET /api/events`: server-sent events tell pages that data has changed, so that they request it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_server::GracefulShutdownSignal;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, Responder};
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::answer::problem;
use crate::counters::{AcceptedItems, Counters};
use crate::rules::Reports;

/// The maximum number of readers, because each keeps a connection open.
const MAX_READERS: usize = 32;

/// The shortest time between two events for a reader.
const PERIOD: Duration = Duration::from_secs(1);

/// The server sends a heartbeat after this long without an event. Only a write reveals that a reader has gone, and only an
/// event tells a page that the stream still works.
const HEARTBEAT: Duration = Duration::from_secs(10);

const HEARTBEAT_EVENT: &str = "event: heartbeat\ndata: {}\n\n";

/// The server closes a stream after this time, and browsers reconnect. So no reader stays that does not read: the few bytes
/// of a stream would never fill a buffer.
const LIFE: Duration = Duration::from_secs(300);

/// How long a browser waits before it reconnects, in milliseconds.
const RETRY_MS: u32 = 1_000;

/// The source of the events. A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    counters: Counters,
    reports: Reports,
    /// How often herald was told something through the console.
    herald_changed: Arc<AtomicU64>,
    readers: Arc<Semaphore>,
    stopping: GracefulShutdownSignal,
}

impl Events {
    /// There is no reader yet. When the server is asked to stop, all streams end.
    pub fn new(counters: Counters, reports: Reports, stopping: GracefulShutdownSignal) -> Self {
        Self {
            counters,
            reports,
            herald_changed: Arc::default(),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            stopping,
        }
    }

    /// A user has changed an alert in herald through the console, so other pages must update.
    pub fn herald_changed(&self) {
        self.herald_changed.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> ChangeCounts {
        let (taken, told) = self.counters.changes();
        let alerts = self.reports.changes() + told + self.herald_changed.load(Ordering::Relaxed);
        ChangeCounts { taken, alerts }
    }
}

/// The number of accepted items so far, and of changes of alerts, in the console or in herald. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ChangeCounts {
    taken: AcceptedItems,
    alerts: u64,
}

/// Adds the route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/api/events", web::get().to(events));
}

async fn events(events: web::Data<Events>) -> impl Responder {
    let Ok(place) = events.readers.clone().try_acquire_owned() else {
        let why = format!("{MAX_READERS} readers hear of what is new, as many as may: try again");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &why);
    };
    let reader = Reader::new(events.get_ref().clone(), place);
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(stream::unfold(reader, Reader::part))
}

/// A reader of events.
struct Reader {
    events: Events,
    ticks: Interval,
    known: Option<ChangeCounts>,
    written: Instant,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    fn new(events: Events, place: OwnedSemaphorePermit) -> Self {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            events,
            ticks,
            known: None,
            written: now,
            ends: now + LIFE,
            _place: place,
        }
    }

    /// The next part of the answer; `None` at its end.
    async fn part(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let (stopping, ends) = (self.events.stopping.clone(), self.ends);
        let part = tokio::select! {
            part = self.next() => part,
            () = stopping.notified() => return None,
            () = sleep_until(ends) => return None,
        };
        self.written = Instant::now();
        Some((Ok(part.into()), self))
    }

    async fn next(&mut self) -> String {
        loop {
            self.ticks.tick().await;
            let now = self.events.now();
            match self.known.replace(now) {
                None => return format!("retry: {RETRY_MS}\n{}", event(now)),
                Some(known) if known != now => return event(now),
                _ if self.written.elapsed() >= HEARTBEAT => return HEARTBEAT_EVENT.to_owned(),
                _ => {}
            }
        }
    }
}

fn event(ChangeCounts { taken, alerts }: ChangeCounts) -> String {
    let AcceptedItems {
        traces,
        logs,
        metrics,
    } = taken;
    let data = json!({"traces": traces, "logs": logs, "alerts": alerts, "metrics": metrics});
    format!("event: changed\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use actix_server::Server;

    use super::*;
    use crate::rules::Rules;

    fn reader() -> (Reader, Events) {
        let reports = Rules::load(None).expect("rules").reports();
        let stopping = Server::build().graceful_shutdown_signal();
        let events = Events::new(Counters::default(), reports, stopping);
        let place = events.readers.clone().try_acquire_owned();
        let reader = Reader::new(events.clone(), place.expect("a place"));
        (reader, events)
    }

    async fn part(reader: Reader) -> (String, Reader) {
        let (part, reader) = reader.part().await.expect("no end");
        let part = part.expect("a part").to_vec();
        (String::from_utf8(part).expect("UTF-8"), reader)
    }

    #[tokio::test(start_paused = true)]
    async fn who_hears_nothing_new_gets_a_heartbeat_and_is_let_go_in_the_end() {
        let (reader, events) = reader();
        let (first, mut reader) = part(reader).await;
        assert_eq!(
            first,
            "retry: 1000\nevent: changed\ndata: {\"traces\":0,\"logs\":0,\"alerts\":0,\"metrics\":0}\n\n"
        );
        let start = Instant::now();
        loop {
            let Some((heartbeat, next)) = reader.part().await else {
                break;
            };
            assert_eq!(heartbeat.expect("a part"), "event: heartbeat\ndata: {}\n\n");
            reader = next;
        }
        assert_eq!(start.elapsed(), LIFE);
        assert_eq!(events.readers.available_permits(), MAX_READERS);
    }

    #[tokio::test(start_paused = true)]
    async fn much_that_is_new_within_a_second_is_one_event() {
        let (reader, events) = reader();
        let (_, mut reader) = part(reader).await;
        let start = Instant::now();
        for round in 1..=3 {
            (0..100).for_each(|_| {
                events.counters.accepted(AcceptedItems {
                    traces: 1,
                    ..AcceptedItems::default()
                })
            });
            let (event, next) = part(reader).await;
            assert!(
                event.contains(&format!("\"traces\":{}", round * 100)),
                "{event}"
            );
            reader = next;
        }
        assert_eq!(start.elapsed(), 3 * PERIOD);
    }
}
