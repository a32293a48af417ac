//! Measures when a response body has been sent.

use std::fmt::{Debug, Display};

use super::Guard;

/// Ends the measurement with the last byte, or when the body is dropped earlier.
#[derive(Default)]
pub(super) struct Progress {
    left: Option<u64>,
    // None once the last byte is out: the request is counted before the client can see its end.
    guard: Option<Guard>,
}

impl Progress {
    /// Of a body with so many bytes, if that is known.
    pub(super) fn new(left: Option<u64>, mut guard: Guard) -> Self {
        guard.body_ended |= left == Some(0);
        let guard = (!guard.body_ended).then_some(guard);
        Self { left, guard }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
        if self.left == Some(0) {
            self.ended();
        }
    }

    pub(super) fn failed(&mut self, error: &(impl Display + Debug + ?Sized)) {
        if let Some(mut guard) = self.guard.take() {
            guard.body_failed(error);
        }
    }

    /// Marks the answer as a failure, whatever its status.
    pub(super) fn fails_as(&mut self, error_type: &'static str) {
        if let Some(guard) = &mut self.guard {
            guard.failure = Some(error_type);
        }
    }

    /// The body has ended. It is a failure if fewer bytes came than the header declares.
    pub(super) fn ended(&mut self) {
        match self.left {
            Some(left @ 1..) => self.failed(&format_args!("it ended {left} bytes early")),
            _ => {
                if let Some(mut guard) = self.guard.take() {
                    guard.body_ended = true;
                }
            }
        }
    }

    /// The request's, until it is counted.
    pub(super) fn span(&self) -> Option<tracing::Span> {
        self.guard.as_ref().map(|guard| guard.span.clone())
    }
}
