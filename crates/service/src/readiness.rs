//! Whether this instance can accept requests, and the reasons if not. The state of its dependencies is separate: see
//! docs/adr/0012.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::{READINESS_CHANGES, SERVICE_READY};

/// The state behind `/ready`.
pub(crate) struct Readiness {
    starting: AtomicBool,
    draining: AtomicBool,
    /// Set by the fault `readiness_flap`.
    suspended: AtomicBool,
    was_ready: AtomicBool,
}

impl Readiness {
    /// A service that is still starting.
    pub(crate) fn starting() -> Arc<Self> {
        SERVICE_READY.set(0.0);
        READINESS_CHANGES.absolute(0);
        Arc::new(Self {
            starting: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
        })
    }

    /// The service is built: everything that it needs at the start was available.
    pub(crate) fn started(&self) {
        self.starting.store(false, Ordering::Release);
        self.record();
    }

    /// The service is about to end and accepts no new work.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.record();
    }

    /// Makes the service unready, or lets it be ready again.
    pub(crate) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Release);
        self.record();
    }

    /// The reasons why the service is not ready; empty if it is.
    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        [
            (&self.starting, "starting"),
            (&self.draining, "draining"),
            (&self.suspended, "suspended"),
        ]
        .into_iter()
        .filter(|(state, _)| state.load(Ordering::Acquire))
        .map(|(_, reason)| reason)
        .collect()
    }

    fn record(&self) {
        let ready = self.reasons().is_empty();
        if self.was_ready.swap(ready, Ordering::AcqRel) != ready {
            READINESS_CHANGES.increment(1);
        }
        SERVICE_READY.set(u8::from(ready));
    }
}
