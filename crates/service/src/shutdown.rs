//! Tells tasks to stop.
use std::sync::Arc;

use tokio::sync::watch;

/// Tells a task that the service is shutting down.
#[derive(Clone)]
pub struct Shutdown {
    receiver: watch::Receiver<bool>,
    // If the sender were dropped, receivers would report the end of the service.
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (sender, receiver) = watch::channel(false);
        Self {
            receiver,
            sender: Arc::new(sender),
        }
    }
}

impl Shutdown {
    /// True once shut-down has begun.
    pub fn begun(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until shut-down begins.
    pub async fn wait(&mut self) {
        // An error would mean that the sender is gone, and we hold it.
        let _ = self.receiver.wait_for(|begun| *begun).await;
    }

    /// Begins shut-down.
    pub(crate) fn begin(&self) {
        self.sender.send_replace(true);
    }
}
