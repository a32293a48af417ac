//! A response body that tells [`crate::http_server::Red`] when and how it ends.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;

use crate::http_server::Guard;

pin_project_lite::pin_project! {
    /// A response body that ends the measurement with its last byte, or when it is dropped before.
    pub struct Measured<B> {
        #[pin]
        body: B,
        left: Option<u64>,
        // None once the last byte is out: the request is counted before the client can see its end.
        guard: Option<Guard>,
    }
}

impl<B: MessageBody> Measured<B> {
    pub(crate) fn new(body: B, mut guard: Guard) -> Self {
        let left = match body.size() {
            BodySize::None | BodySize::Sized(0) => Some(0),
            BodySize::Sized(size) => Some(size),
            BodySize::Stream => None,
        };
        guard.body_ended |= left == Some(0);
        let guard = (!guard.body_ended).then_some(guard);
        Self { body, left, guard }
    }
}

impl<B: MessageBody> MessageBody for Measured<B> {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        let polled = this.body.poll_next(task).map_err(Into::into);
        let ended = match &polled {
            Poll::Ready(Some(Err(error))) => {
                if let Some(guard) = this.guard.as_mut() {
                    guard.body_failed(error.as_ref());
                }
                true
            }
            Poll::Ready(Some(Ok(bytes))) => {
                *this.left = this
                    .left
                    .map(|left| left.saturating_sub(bytes.len() as u64));
                *this.left == Some(0)
            }
            Poll::Ready(None) => true,
            _ => false,
        };
        if ended && let Some(mut guard) = this.guard.take() {
            guard.body_ended = true;
        }
        polled
    }
}
