//! HTTP requests to a backend: few at the same time, in a bounded time, with bounded answers, and with errors that may be
//! shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use incoming::Unread;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::silence::Silence;
use crate::stats::{self, Question};
use crate::text::quoted;

/// Larger answers are not read.
const ANSWER_LIMIT: usize = 2 << 20;

/// Answers of a backend that are larger than this are read one after the other, so that all fit into the memory.
const SMALL: usize = 32 << 10;

/// How many answers are parsed at the same time; each needs a processor, and several times its size in memory.
static WORK: Semaphore = Semaphore::const_new(1);

/// How many small answers are parsed at the same time; they do not wait for large ones.
static SMALL_WORK: Semaphore = Semaphore::const_new(4);

/// How many requests one backend gets at the same time. A backend that hangs does not delay requests to others.
const AT_ONCE: usize = 24;

/// Connections to one backend that are kept without a question.
const IDLE: usize = 2;

/// How long a backend may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A backend may be blamed when it had this part of the patience.
const ENOUGH: u32 = 4;

/// No backend is at fault: herald itself has more requests than allowed.
pub(super) const CROWDED: &str = "not asked in time: too many other questions came first";

/// Left for putting the answers together, at least.
const RESERVE: Duration = Duration::from_millis(300);

/// No backend is at fault: it has answered.
pub(super) const UNREAD: &str = "its answer could not be read in time: too many others came first";

/// How long a caller waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) until: Instant,
    /// Its usual length, for the reader.
    pub(super) limit: Duration,
    /// The time that an answer needs from one task to the other.
    pub(super) grace: Duration,
}

/// One backend, and how long its caller waits.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    shared: Arc<Shared>,
    patience: Patience,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    client: Client,
    base: Option<Url>,
    /// The variable to set if it is missing.
    variable: &'static str,
    turns: Semaphore,
    /// Memory for one large answer.
    room: Arc<Semaphore>,
    answered: AtomicU64,
    silence: Silence,
}

/// The address of a backend.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) name: &'static str,
    pub(super) variable: &'static str,
    pub(super) base: &'a Option<Url>,
}

/// An answer, and its room in memory.
struct Body {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

/// The client of all backends, but for its certificates.
pub(crate) fn client() -> ClientBuilder {
    incoming::client()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        // Each idle connection keeps a buffer that has grown with its answers.
        .pool_max_idle_per_host(IDLE)
        .user_agent(concat!("omnitrace-herald/", env!("CARGO_PKG_VERSION")))
}

impl Patience {
    /// From the remaining time; it reserves a part for combining the answers.
    pub(super) fn of(left: Duration, usual: Duration) -> Self {
        let reserve = RESERVE.max(usual / 10);
        Self {
            until: Instant::now() + left.saturating_sub(reserve),
            limit: usual.saturating_sub(reserve),
            grace: reserve / 2,
        }
    }

    /// Why there is nothing.
    pub(super) fn silent(self) -> String {
        format!("no answer within {} ms", self.limit.as_millis())
    }
}

impl Backend {
    /// A backend. Without an address, every request fails with the name of the variable to set.
    pub(super) fn new(client: Client, place: &Place<'_>, patience: Patience) -> Self {
        let shared = Shared {
            name: place.name,
            client,
            base: place.base.clone(),
            variable: place.variable,
            turns: Semaphore::new(AT_ONCE),
            room: Arc::new(Semaphore::new(1)),
            answered: AtomicU64::new(0),
            silence: Silence::default(),
        };
        Self {
            shared: Arc::new(shared),
            patience,
        }
    }

    /// The same backend for a caller with another deadline.
    pub(super) fn with(&self, patience: Patience) -> Self {
        Self {
            shared: self.shared.clone(),
            patience,
        }
    }

    /// Sends a `GET`; `read` reduces the answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        path: &str,
        query: &[(&str, String)],
        read: impl FnOnce(&[u8]) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let url = self.url(path, query)?;
        if self.shared.silence.lasts() {
            self.count(Question::NotAsked);
            return Err(format!(
                "{} when it was asked shortly before",
                self.patience.silent()
            ));
        }
        let _turn = self.turn(&self.shared.turns).await?;
        let asked = (Instant::now(), self.answered());
        let body = match timeout_at(self.patience.until, self.fetch(url)).await {
            Ok(body) => self.heard(body)?,
            Err(_) => return Err(self.unanswered(asked)),
        };
        self.work(body.bytes.len(), move || {
            let result = read(&body.bytes);
            drop(body.room);
            result
        })
        .await?
    }

    /// Waits for one of the places of `turns`.
    pub(super) async fn turn<'a>(
        &self,
        turns: &'a Semaphore,
    ) -> Result<SemaphorePermit<'a>, String> {
        let before = self.answered();
        if let Ok(Ok(turn)) = timeout_at(self.patience.until, turns.acquire()).await {
            return Ok(turn);
        }
        self.count(Question::NotAsked);
        // The earlier requests have waited for an answer all the time, or there were too many of them.
        Err(self.came_late(self.answered() == before))
    }

    fn came_late(&self, behind_silence: bool) -> String {
        if behind_silence {
            format!("{} to the questions before", self.patience.silent())
        } else {
            CROWDED.to_owned()
        }
    }

    /// The backend that is at fault. A backend that had little time may not be silent, and one that has answered other
    /// requests is not.
    fn unanswered(&self, (asked, before): (Instant, u64)) -> String {
        self.count(Question::Unanswered);
        if asked.elapsed() < self.patience.limit / ENOUGH {
            return self.came_late(self.shared.silence.was_noticed());
        }
        if self.answered() == before {
            self.shared.silence.noticed(self.patience.until);
        }
        self.patience.silent()
    }

    /// Runs CPU-intensive work outside of the async runtime. `bytes` is about the size of its input, which bounds it.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let until = self.patience.until;
        let turns = if bytes > SMALL { &WORK } else { &SMALL_WORK };
        let done = async {
            let turn = turns.acquire().await.ok()?;
            let work = move || {
                let _turn = turn;
                (Instant::now() < until).then(work)
            };
            tokio::task::spawn_blocking(work).await.ok()?
        };
        let done = timeout_at(until, done).await.ok().flatten();
        done.ok_or_else(|| UNREAD.to_owned())
    }

    fn url(&self, path: &str, query: &[(&str, String)]) -> Result<Url, String> {
        let Some(base) = &self.shared.base else {
            return Err(format!("{} is not set", self.shared.variable));
        };
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        Ok(url)
    }

    async fn fetch(&self, url: Url) -> Result<Body, String> {
        let response = self.shared.client.get(url).send().await.map_err(problem)?;
        let status = response.status();
        let body = self.read(response).await?;
        if !status.is_success() {
            let start = &body.bytes[..body.bytes.len().min(1000)];
            let text = String::from_utf8_lossy(start);
            return Err(format!("it answered {status}: {}", quoted(&text, 150)));
        }
        Ok(body)
    }

    async fn read(&self, response: Response) -> Result<Body, String> {
        let mut incoming = incoming::Body::of(response, ANSWER_LIMIT);
        let mut body = Body {
            bytes: Vec::new(),
            room: None,
        };
        loop {
            // Known beforehand, it does not fill the connection's buffer while it waits.
            if incoming.size() > SMALL && incoming.size() <= ANSWER_LIMIT && body.room.is_none() {
                body.room = Some(self.room().await?);
            }
            let Some(part) = incoming.part().await.map_err(unread)? else {
                return Ok(body);
            };
            body.bytes.extend_from_slice(&part);
        }
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, String> {
        let room = self.shared.room.clone().acquire_owned();
        let room = timeout_at(self.patience.until, room).await;
        room.ok().and_then(Result::ok).ok_or(UNREAD.to_owned())
    }

    fn heard(&self, body: Result<Body, String>) -> Result<Body, String> {
        self.shared.silence.ended();
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        let answered = body.is_ok();
        self.count(if answered {
            Question::Answered
        } else {
            Question::Failed
        });
        body
    }

    fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    fn count(&self, question: Question) {
        stats::question(self.shared.name, question);
    }
}

fn unread(why: Unread) -> String {
    match why {
        Unread::Broken(error) => problem(error),
        large @ Unread::TooLarge(_) => large.to_string(),
    }
}

fn problem(error: reqwest::Error) -> String {
    quoted(&service::error::chain(&error.without_url()), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);

    fn backend() -> Backend {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = Place {
            name: super::super::LOKI,
            variable: "LOKI_URL",
            base: &None,
        };
        let patience = Patience {
            until: Instant::now() + LIMIT,
            limit: LIMIT,
            grace: RESERVE,
        };
        Backend::new(client().build().expect("a client"), &place, patience)
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_had_time_and_answered_nobody_is_silent() {
        let backend = backend();
        let asked = (Instant::now(), backend.answered());
        tokio::time::advance(LIMIT / 10).await;
        assert_eq!(backend.unanswered(asked), CROWDED, "asked too late");
        tokio::time::advance(LIMIT).await;
        backend.heard(Err(String::new())).err();
        assert_eq!(backend.unanswered(asked), "no answer within 4000 ms");
        assert!(!backend.shared.silence.was_noticed(), "it answered others");
        let asked = (asked.0, backend.answered());
        for _ in 0..2 {
            assert_eq!(backend.unanswered(asked), "no answer within 4000 ms");
        }
        assert!(
            !backend.shared.silence.lasts(),
            "both were of one gathering"
        );
        let late = (Instant::now(), backend.answered());
        let reason = "no answer within 4000 ms to the questions before";
        assert_eq!(backend.unanswered(late), reason);
        let another = backend.with(Patience::of(LIMIT, LIMIT));
        another.unanswered(asked);
        assert!(backend.shared.silence.lasts());
    }

    #[tokio::test]
    async fn small_answers_wait_for_no_large_one() {
        let _large = WORK.acquire().await.expect("a turn");
        let mut backend = backend();
        assert_eq!(backend.work(SMALL, || 1).await, Ok(1));
        backend.patience.until = Instant::now();
        let large = backend.work(SMALL + 1, || 1).await;
        assert_eq!(large, Err(UNREAD.to_owned()));
    }
}
