//! Answers that several APIs share, charged to the budget until they are sent.

mod pace;
#[cfg(test)]
mod tests;
pub(crate) mod wrapped;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use problem::{MEDIA_TYPE, Problem};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::budget::{Account, Budget, Purpose};
use crate::connections::off_worker;
use crate::params::BadParameter;
use pace::Pace;

/// How many answers may begin at the same time. More of them wait a short time.
const BEGINNING: usize = 2;

/// How many long answers may run at the same time; each has a thread. The console rejects further ones and asks their
/// clients to retry.
const MAX_LONG: usize = 64;

/// How many PromQL evaluations may run at the same time, because each reserves memory for its results. More of them wait.
const EVALUATIONS: usize = 4;

/// A reader that has not taken its answer after this time does not get the rest.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The console writes an answer, charges it to the budget and passes it to the connection in pieces of this size. One large
/// block would fragment the heap while it grows, and the connection would copy all of it.
const PIECE: usize = 16 << 10;

/// How long a client waits before it comes again, in seconds.
pub(crate) const RETRY_SECONDS: i64 = 1;

/// An answer of this status, and when to come again if there was no room.
pub(crate) fn of_status(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((RETRY_AFTER, RETRY_SECONDS));
    }
    response
}

/// A problem document (RFC 9457).
pub(crate) fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = Problem::untyped(status.as_u16(), title, detail);
    of_status(status)
        .content_type(MEDIA_TYPE)
        .body(problem.to_json())
}

/// 400 that names the parameter.
pub(crate) fn bad_parameter(why: &BadParameter) -> HttpResponse {
    problem(StatusCode::BAD_REQUEST, &why.to_string())
}

/// Computes an answer off the worker thread, since it may look through the whole store.
pub(crate) async fn off_thread<T: Serialize>(
    answers: &Answers,
    job: impl FnOnce(&mut Page) -> Result<T, Refused> + Send + 'static,
) -> HttpResponse {
    let job = move |mut page: Page| {
        let answer = job(&mut page)?;
        page.json(&answer)
    };
    let answer = answers.compute(job).await;
    answer.unwrap_or_else(|Refused { status, detail }| problem(status, &detail))
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong.
    pub detail: String,
}

impl Refused {
    fn stopping() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: "the console is stopping".into(),
        }
    }
}

/// Bounds what all answers together cost.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    budget: Budget,
    /// The purpose to which the answers are charged.
    of: Purpose,
    beginning: Arc<Semaphore>,
    /// One long answer runs at a time, because the processors have other work.
    long: Arc<Semaphore>,
    places: Arc<Semaphore>,
    evaluations: Arc<Semaphore>,
}

impl Answers {
    /// No answer is in progress yet.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            of: Purpose::Answer,
            beginning: Arc::new(Semaphore::new(BEGINNING)),
            long: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(MAX_LONG)),
            evaluations: Arc::new(Semaphore::new(EVALUATIONS)),
        }
    }

    /// Waits at most `patience` for room for one more evaluation. The evaluation ends when the caller drops the returned
    /// permit.
    pub async fn evaluation(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let evaluation = self.evaluations.clone().acquire_owned();
        tokio::time::timeout(patience, evaluation).await.ok()?.ok()
    }

    /// Runs `job` off the worker thread and sends the page that it wrote, as JSON.
    pub async fn compute<E>(
        &self,
        job: impl FnOnce(Page) -> Result<Page, E> + Send + 'static,
    ) -> Result<HttpResponse, E>
    where
        E: From<Refused> + Send + 'static,
    {
        let answers = self.clone();
        let job = move || job(answers.begin()).map(Page::end);
        let page = off_worker(job).await.map_err(|_| Refused::stopping())??;
        Ok(HttpResponse::Ok()
            .content_type("application/json")
            .body(AnswerBody::new(page)))
    }

    /// For rules. They take turns with other answers, but do not wait for a place, and use the memory that is reserved for
    /// scrapes, so that no client can make alerts fail by its queries.
    pub fn for_rules(&self) -> Self {
        Self {
            of: Purpose::Page,
            places: Arc::new(Semaphore::new(1)),
            ..self.clone()
        }
    }

    /// A page, once it may be written. Not to be called on a worker thread.
    pub fn begin(&self) -> Page {
        Page {
            pieces: VecDeque::new(),
            last: Vec::new(),
            gathered: 0,
            held: 0,
            account: self.budget.account(self.of),
            most: self.budget.limit(self.of),
            pace: Pace::begin(self),
        }
    }
}

/// An answer as it is written.
#[derive(Debug)]
pub(crate) struct Page {
    pieces: VecDeque<Bytes>,
    last: Vec<u8>,
    /// Bytes that stay until the answer is written.
    gathered: usize,
    /// Bytes that are held for now.
    held: usize,
    account: Account,
    most: u64,
    pace: Pace,
}

impl Page {
    /// Writes a value.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, Refused> {
        self.put(value)?;
        Ok(self)
    }

    /// Writes a text as it is.
    pub fn text(&mut self, text: &str) -> Result<(), Refused> {
        let written = self.write_all(text.as_bytes());
        written
            .map_err(serde_json::Error::io)
            .or_else(|why| self.failed(why))
    }

    /// Writes a value, to be followed by others.
    pub fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        serde_json::to_writer(&mut *self, value).or_else(|why| self.failed(why))
    }

    fn failed(&self, why: serde_json::Error) -> Result<(), Refused> {
        match why {
            why if why.io_error_kind() == Some(io::ErrorKind::WouldBlock) => Err(too_many()),
            why if why.is_io() => Err(self.no_room()),
            why => Err(Refused {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                detail: why.to_string(),
            }),
        }
    }

    /// Reserves memory for `bytes` more that stay until the answer is written; `false` if there is no memory.
    pub fn gather(&mut self, bytes: usize) -> bool {
        self.gathered += bytes;
        self.covers()
    }

    /// Does the same and gives other answers a turn. The caller must hold no lock.
    pub fn gathers(&mut self, bytes: usize) -> Result<(), Refused> {
        match self.gather(bytes) {
            true => self.pass(),
            false => Err(self.no_room()),
        }
    }

    /// Reserves memory for `bytes` until the next call, and gives other answers a turn. The caller must hold no lock.
    pub fn holds(&mut self, bytes: usize) -> Result<(), Refused> {
        self.held = bytes;
        match self.covers() {
            true => self.pass(),
            false => Err(self.no_room()),
        }
    }

    /// Gives other answers a turn. The caller must hold no lock.
    pub fn pass(&mut self) -> Result<(), Refused> {
        match self.pace.pass() {
            true => Ok(()),
            false => Err(too_many()),
        }
    }

    /// The most bytes that all answers may take together.
    pub fn limit(&self) -> usize {
        usize::try_from(self.most).unwrap_or(usize::MAX)
    }

    /// How long others had their turn.
    pub fn waited(&self) -> Duration {
        self.pace.waited
    }

    /// The error that this answer has no memory left.
    pub fn no_room(&self) -> Refused {
        let most = self.most;
        Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: format!(
                "no room for the answer: all answers under way may take {most} bytes; ask for less, try again, or give the \
                 console more memory (--memory)"
            ),
        }
    }

    fn covers(&mut self) -> bool {
        self.account
            .cover(self.gathered + self.held + self.written())
    }

    fn written(&self) -> usize {
        (self.pieces.len() + usize::from(self.last.capacity() > 0)) * PIECE
    }

    /// The computation is over; only the written text remains charged.
    fn end(mut self) -> Self {
        self.pace.end();
        self.account.keep(self.written());
        self
    }
}

/// The items of a list as they are written, with commas in between.
pub(crate) struct Items<'a> {
    /// The page on which the items are written.
    pub page: &'a mut Page,
    /// How many were.
    pub count: usize,
}

impl<'a> Items<'a> {
    /// No item is written yet.
    pub fn on(page: &'a mut Page) -> Self {
        Self { page, count: 0 }
    }

    /// Writes the next one.
    pub fn put<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Refused> {
        if self.count > 0 {
            self.page.text(",")?;
        }
        self.count += 1;
        self.page.put(item)
    }
}

fn too_many() -> Refused {
    Refused {
        status: StatusCode::SERVICE_UNAVAILABLE,
        detail: format!(
            "{MAX_LONG} answers that take long are under way; ask for less, or try again"
        ),
    }
}

impl Write for Page {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.last.len() == self.last.capacity() {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE));
            if !full.is_empty() {
                self.pieces.push_back(full.into());
            }
            if !self.covers() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            if !self.pace.pass() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let room = self.last.capacity() - self.last.len();
        let fits = &text[..text.len().min(room)];
        self.last.extend_from_slice(fits);
        Ok(fits.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The rest of an answer and its account.
type RemainingBody = Arc<Mutex<Option<(VecDeque<Bytes>, Account)>>>;

/// An answer on its way.
struct AnswerBody {
    left: RemainingBody,
    size: u64,
    /// Ends it when its time is over.
    end: JoinHandle<()>,
}

impl AnswerBody {
    fn new(mut page: Page) -> Self {
        page.pieces.push_back(page.last.into());
        let size = page.pieces.iter().map(|piece| piece.len() as u64).sum();
        let left = Arc::new(Mutex::new(Some((page.pieces, page.account))));
        // The connection does not ask for more while nobody reads, so the answer cannot look at the time itself.
        let late = Arc::downgrade(&left);
        let end = actix_web::rt::spawn(async move {
            tokio::time::sleep(READ_TIMEOUT).await;
            if let Some(left) = late.upgrade() {
                drop(locked(&left).take());
            }
        });
        Self { left, size, end }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.end.abort();
    }
}

fn locked(left: &RemainingBody) -> MutexGuard<'_, Option<(VecDeque<Bytes>, Account)>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MessageBody for AnswerBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        let mut left = locked(&self.left);
        let Some((pieces, _)) = left.as_mut() else {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        Poll::Ready(pieces.pop_front().map(Ok))
    }
}
