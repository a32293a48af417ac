//! All faults of a service, as the admin listener shows and switches them.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::fault::{Fault, Setting, Switch};
use super::spec::{Parameter, Parameters, Spec};
use crate::error::ApiError;
use crate::problem::FieldError;

/// The faults of a service.
#[derive(Default)]
pub struct Switchboard {
    entries: Vec<Entry>,
}

struct Entry {
    spec: Spec,
    switch: Arc<dyn Switch>,
    setting: Mutex<Option<Setting>>,
}

/// A fault and its state, for `/faults`.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    #[serde(flatten)]
    spec: Spec,
    active: Option<Active>,
}

#[derive(Debug, Serialize)]
struct Active {
    parameters: Value,
    seconds_left: f64,
}

impl Switchboard {
    /// Adds a fault.
    pub fn with<T: Parameters>(mut self, fault: &Arc<Fault<T>>) -> Self {
        let switch: Arc<dyn Switch> = fault.clone();
        self.entries.push(Entry {
            spec: T::SPEC,
            switch,
            setting: Mutex::new(None),
        });
        self
    }

    /// Switches a fault on from within, with parameters as `PUT /faults/{name}` takes them.
    ///
    /// # Errors
    /// When there is no such fault, or it does not take these parameters.
    pub fn switch_on(&self, name: &str, parameters: &Value) -> Result<(), ApiError> {
        let none = Map::new();
        self.set(name, parameters.as_object().unwrap_or(&none))
            .map(drop)
    }

    /// For a service's tests: every fault can be set with the least, the most and the default of its parameters.
    /// A struct that differs from its declaration would otherwise be found by a 500 in an emergency.
    ///
    /// # Panics
    /// When one cannot.
    #[doc(hidden)]
    pub fn check_declarations(&self) {
        for entry in &self.entries {
            for pick in [
                |p: &Parameter| p.min,
                |p: &Parameter| p.max,
                |p: &Parameter| p.default,
            ] {
                let value = |parameter: &Parameter| {
                    (parameter.name.to_owned(), Value::from(pick(parameter)))
                };
                let request = entry.spec.parameters.iter().map(value).collect();
                let result = self.set(entry.spec.name, &request);
                assert!(result.is_ok(), "{}: {result:?}", entry.spec.name);
            }
        }
        self.clear_all();
    }

    /// Every fault and its state.
    pub(crate) fn list(&self) -> Vec<Status> {
        self.entries.iter().map(Entry::status).collect()
    }

    /// Switches a fault on.
    pub(crate) fn set(&self, name: &str, request: &Map<String, Value>) -> Result<Status, ApiError> {
        let entry = self.entry(name)?;
        // Held while switching, so that two callers cannot leave one's state with the other's numbers.
        let mut setting = entry.setting.lock().unwrap_or_else(PoisonError::into_inner);
        *setting = Some(entry.switch.clone().set(request)?);
        drop(setting);
        // At debug level: the log must not tell an investigator which fault is injected.
        tracing::debug!(fault = entry.spec.name, "fault set");
        Ok(entry.status())
    }

    /// Switches a fault off.
    pub(crate) fn clear(&self, name: &str) -> Result<Status, ApiError> {
        let entry = self.entry(name)?;
        entry.switch.clear();
        Ok(entry.status())
    }

    /// Switches all faults off.
    pub(crate) fn clear_all(&self) -> Vec<Status> {
        self.entries.iter().for_each(|entry| entry.switch.clear());
        self.list()
    }

    fn entry(&self, name: &str) -> Result<&Entry, ApiError> {
        self.entries
            .iter()
            .find(|entry| entry.spec.name == name)
            .ok_or_else(|| {
                let known: Vec<_> = self.entries.iter().map(|entry| entry.spec.name).collect();
                ApiError::invalid(vec![FieldError::new(
                    "fault",
                    format!("unknown; allowed: {}", known.join(", ")),
                )])
            })
    }
}

impl Entry {
    fn status(&self) -> Status {
        let setting = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let active = setting
            .as_ref()
            .filter(|_| self.switch.is_on())
            .map(|setting| Active {
                parameters: setting.parameters.clone(),
                seconds_left: round(setting.expires.saturating_duration_since(Instant::now())),
            });
        Status {
            spec: self.spec,
            active,
        }
    }
}

/// Seconds to the millisecond.
fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The parameters in the body of a request to set a fault; an empty body takes the defaults.
pub(crate) fn parse(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    crate::extract::parse(body)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::problem;

    #[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
    struct Delay {
        ms: u64,
    }

    impl Parameters for Delay {
        const SPEC: Spec = Spec {
            name: "delay",
            description: "",
            signal_service: "downstream",
            signal: "",
            parameters: &[Parameter::integer("ms", "ms", 1, 1000, 200)],
        };
    }

    fn board() -> (Arc<Fault<Delay>>, Switchboard) {
        let fault = Arc::new(Fault::default());
        let board = Switchboard::default().with(&fault);
        (fault, board)
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_exactly_at_its_expiry() {
        let (fault, board) = board();
        let request = json!({"ms": 7, "expires_in_s": 2});
        board.set("delay", request.as_object().unwrap()).unwrap();
        assert_eq!(fault.active(), Some(Delay { ms: 7 }));
        tokio::time::sleep(Duration::from_millis(1999)).await;
        assert!(fault.active().is_some());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(fault.active(), None);
        fault.over().await;
    }

    #[tokio::test(start_paused = true)]
    async fn setting_again_extends_it() {
        let (fault, board) = board();
        for seconds in [1, 10] {
            board
                .set(
                    "delay",
                    json!({"expires_in_s": seconds}).as_object().unwrap(),
                )
                .unwrap();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(fault.active(), Some(Delay { ms: 200 }));
        let status = serde_json::to_value(board.list()).unwrap();
        assert_eq!(status[0]["active"]["seconds_left"], json!(5.0));
        board.clear("delay").unwrap();
        assert_eq!(fault.active(), None);
    }

    #[tokio::test]
    async fn an_effect_is_dropped_when_the_fault_is_cleared() {
        let (fault, board) = board();
        let held = Arc::new(());
        let effect = {
            let (fault, held) = (fault.clone(), held.clone());
            tokio::spawn(fault.drive(async move |_| {
                let _held = held.clone();
                std::future::pending::<()>().await;
            }))
        };
        let count = async |wanted: usize| {
            while Arc::strong_count(&held) != wanted {
                tokio::task::yield_now().await;
            }
        };
        board.set("delay", &Map::new()).unwrap();
        count(3).await;
        board.clear_all();
        count(2).await;
        effect.abort();
    }

    #[test]
    fn an_unknown_fault_lists_those_that_exist() {
        let error = board().1.clear("latncy").unwrap_err();
        assert_eq!(error.kind(), problem::INVALID_REQUEST);
        assert!(error.to_string().contains("allowed: delay"), "{error}");
    }
}
