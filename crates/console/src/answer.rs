//! Answers that several APIs share, charged to the budget until they are sent.

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
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::budget::{Account, Budget, Use};
use crate::params::BadParameter;

/// Answers being computed at once; more wait. What they look through while they do is the store's.
const COMPUTING: usize = 8;

/// A reader that has not taken its answer after this time does not get the rest.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer is written, charged and handed to its connection in pieces of this size: one block would leave gaps behind while
/// it grows, and the connection would copy it whole.
const PIECE: usize = 16 << 10;

/// An answer of this status, and when to come again if there was no room.
pub(crate) fn of_status(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((RETRY_AFTER, "1"));
    }
    response
}

/// A problem document (RFC 9457).
pub(crate) fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    of_status(status)
        .content_type("application/problem+json")
        .body(body.to_string())
}

/// 400 that names the parameter.
pub(crate) fn bad_parameter(why: &BadParameter) -> HttpResponse {
    problem(StatusCode::BAD_REQUEST, &why.to_string())
}

/// Computes an answer off the worker thread, since it may look through the whole store.
pub(crate) async fn off_thread<T: Serialize>(
    answers: &Answers,
    job: impl FnOnce() -> T + Send + 'static,
) -> HttpResponse {
    let answer = answers.compute(move |page| page.json(&job())).await;
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
    computing: Arc<Semaphore>,
}

impl Answers {
    /// None is under way yet.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            computing: Arc::new(Semaphore::new(COMPUTING)),
        }
    }

    /// An account for what is gathered before an answer is written.
    pub fn account(&self) -> Account {
        self.budget.account(Use::Answer)
    }

    /// Runs `job` off the worker thread and sends the page that it wrote, as JSON.
    pub async fn compute<E>(
        &self,
        job: impl FnOnce(Page) -> Result<Page, E> + Send + 'static,
    ) -> Result<HttpResponse, E>
    where
        E: From<Refused> + Send + 'static,
    {
        let turn = self.computing.clone().acquire_owned().await;
        let page = Page {
            pieces: VecDeque::new(),
            last: Vec::new(),
            gathered: 0,
            account: self.budget.account(Use::Answer),
            most: self.budget.most(Use::Answer),
        };
        let job = move || {
            let _turn = turn;
            job(page)
        };
        let page = web::block(job).await.map_err(|_| Refused::stopping())??;
        Ok(HttpResponse::Ok()
            .content_type("application/json")
            .body(Sending::new(page)))
    }
}

/// An answer as it is written.
#[derive(Debug)]
pub(crate) struct Page {
    pieces: VecDeque<Bytes>,
    last: Vec<u8>,
    gathered: usize,
    account: Account,
    most: u64,
}

impl Page {
    /// Writes a value.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, Refused> {
        match serde_json::to_writer(&mut self, value) {
            Ok(()) => Ok(self),
            Err(why) if why.is_io() => Err(self.no_room()),
            Err(why) => Err(Refused {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                detail: why.to_string(),
            }),
        }
    }

    /// Takes room for so many more bytes that are gathered before anything is written; `false` if there is none.
    pub fn gather(&mut self, bytes: usize) -> bool {
        self.gathered += bytes;
        self.account.cover(self.gathered)
    }

    /// There is none for this answer.
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
}

impl Write for Page {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.last.len() == self.last.capacity() {
            let pieces = self.pieces.len() + 2;
            if !self.account.cover(self.gathered + pieces * PIECE) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE));
            if !full.is_empty() {
                self.pieces.push_back(full.into());
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

/// What is left of an answer, and its account.
type Left = Arc<Mutex<Option<(VecDeque<Bytes>, Account)>>>;

/// An answer on its way.
struct Sending {
    left: Left,
    size: u64,
}

impl Sending {
    fn new(mut page: Page) -> Self {
        page.pieces.push_back(page.last.into());
        let sizes = page.pieces.iter().map(|piece| piece.len() as u64);
        let (size, count) = (sizes.sum(), page.pieces.len());
        let left = Arc::new(Mutex::new(Some((page.pieces, page.account))));
        // A smaller one waits in the buffers of the connection, which ends by itself when nobody reads.
        if count > 4 {
            let late = Arc::downgrade(&left);
            actix_web::rt::spawn(async move {
                tokio::time::sleep(READ_TIMEOUT).await;
                if let Some(left) = late.upgrade() {
                    drop(locked(&left).take());
                }
            });
        }
        Self { left, size }
    }
}

fn locked(left: &Left) -> MutexGuard<'_, Option<(VecDeque<Bytes>, Account)>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MessageBody for Sending {
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
