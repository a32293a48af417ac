//! The state of one fault.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::spec::Parameters;
use crate::error::ApiError;
use crate::metrics::{self, FAULT_ACTIVE};

/// Set if no telemetry is to show which faults are on.
static HIDDEN: OnceLock<()> = OnceLock::new();

/// From now on no telemetry of this process shows which faults are on.
pub(crate) fn hide() {
    HIDDEN.set(()).ok();
}

fn show(fault: &'static str, active: bool) {
    if HIDDEN.get().is_none() {
        let active = if active { 1.0 } else { 0.0 };
        FAULT_ACTIVE.with(metrics::Fault(fault)).set(active);
    }
}

/// A fault that is on.
#[derive(Clone, Copy)]
struct Armed<T> {
    parameters: T,
    expires: Instant,
}

/// A fault that can be switched on with parameters of type `T`.
pub struct Fault<T> {
    /// Spares the requests of a healthy service the lock below.
    on: AtomicBool,
    state: watch::Sender<Option<Armed<T>>>,
}

impl<T: Parameters> Default for Fault<T> {
    fn default() -> Self {
        show(T::SPEC.name, false);
        Self {
            on: AtomicBool::new(false),
            state: watch::Sender::new(None),
        }
    }
}

impl<T: Parameters> Fault<T> {
    /// The parameters while the fault is on. Costs one atomic load while it is off.
    pub fn active(&self) -> Option<T> {
        if !self.on.load(Ordering::Acquire) {
            return None;
        }
        let armed = *self.state.borrow();
        armed
            .filter(|armed| Instant::now() < armed.expires)
            .map(|armed| armed.parameters)
    }

    /// The remaining time; `None` if the fault is off.
    pub fn time_left(&self) -> Option<Duration> {
        let armed = *self.state.borrow();
        let left = armed?.expires.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    /// Waits until the fault is off.
    pub async fn over(&self) {
        // An error would mean that the sender is gone, and we hold it.
        let _ = self.state.subscribe().wait_for(Option::is_none).await;
    }

    /// Runs `effect` whenever the fault is on and drops it when the fault is cleared, changed or over, so that
    /// an effect undoes itself on drop. Never returns.
    pub async fn drive(self: Arc<Self>, effect: impl AsyncFn(T)) {
        let mut states = self.state.subscribe();
        loop {
            let armed = *states.borrow_and_update();
            let running = async {
                if let Some(armed) = armed {
                    effect(armed.parameters).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = running => {}
                changed = states.changed() => if changed.is_err() { return },
            }
        }
    }

    fn put(&self, armed: Option<Armed<T>>) {
        self.on.store(armed.is_some(), Ordering::Release);
        show(T::SPEC.name, armed.is_some());
        self.state.send_replace(armed);
    }

    /// Switches the fault on until `expires`, and off then, unless it was changed meanwhile.
    fn arm(self: &Arc<Self>, parameters: T, expires: Instant) {
        self.put(Some(Armed {
            parameters,
            expires,
        }));
        let fault = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(expires).await;
            let Some(fault) = fault.upgrade() else { return };
            let same = fault
                .state
                .borrow()
                .is_some_and(|armed| armed.expires == expires);
            if same {
                fault.put(None);
            }
        });
    }
}

/// A fault of any type, for the switchboard.
pub(super) trait Switch: Send + Sync {
    /// Checks the request and switches the fault on.
    fn set(self: Arc<Self>, request: &Map<String, Value>) -> Result<Setting, ApiError>;
    /// Switches the fault off.
    fn clear(&self);
    /// True while it is on.
    fn is_on(&self) -> bool;
}

/// The requested setting.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Every parameter, defaults filled in.
    pub(super) parameters: Value,
    /// End.
    pub(super) expires: Instant,
}

impl<T: Parameters> Switch for Fault<T> {
    fn set(self: Arc<Self>, request: &Map<String, Value>) -> Result<Setting, ApiError> {
        let (values, expiry): (_, Duration) = T::SPEC.read(request).map_err(ApiError::invalid)?;
        let parameters = Value::Object(values);
        // The values are in range, so only a struct that differs from its declaration can fail here.
        let typed = serde_json::from_value(parameters.clone()).map_err(ApiError::internal)?;
        let expires = Instant::now() + expiry;
        self.arm(typed, expires);
        Ok(Setting {
            parameters,
            expires,
        })
    }

    fn clear(&self) {
        self.put(None);
    }

    fn is_on(&self) -> bool {
        self.active().is_some()
    }
}
