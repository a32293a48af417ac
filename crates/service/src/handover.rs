//! Hands the listening sockets of a service over to another process. They stay open, so clients that connect meanwhile wait in the
//! queue and are not refused.
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

type Last = Box<dyn FnOnce() + Send>;

/// Asks a service to end and to leave its sockets to somebody else.
#[derive(Clone, Default)]
pub struct Handover {
    last: Arc<Mutex<Option<Last>>>,
    asked: Arc<Notify>,
}

impl Handover {
    /// Requests in progress finish; then `last` is called, after no client can reach the service any more; then telemetry is
    /// flushed, and [`crate::run()`] returns the sockets.
    pub fn request(&self, last: impl FnOnce() + Send + 'static) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last));
        self.asked.notify_one();
    }

    pub(crate) async fn requested(&self) {
        self.asked.notified().await;
    }

    pub(crate) fn finish(&self) {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(last) = last {
            last();
        }
    }
}
