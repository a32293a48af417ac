//! Whether the service's dependencies answer. This is not part of readiness: see docs/adr/0012.
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::metrics::{self, DEPENDENCY_UP};

/// How long one may take to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// How often they are asked.
const PERIOD: Duration = Duration::from_secs(1);

type Probe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>>>>>;

/// Something that the service needs.
pub struct Dependency {
    name: &'static str,
    probe: Probe,
}

impl Dependency {
    /// `probe` requests a sign of life; its error names the problem.
    pub fn new<F, Fut>(name: &'static str, probe: F) -> Self
    where
        F: Fn() -> Fut + 'static,
        Fut: Future<Output = Result<(), String>> + 'static,
    {
        Self {
            name,
            probe: Box::new(move || Box::pin(probe())),
        }
    }

    async fn health(&self) -> Health {
        let late = || Err(format!("no answer within {} ms", LIMIT.as_millis()));
        let answer = tokio::time::timeout(LIMIT, (self.probe)()).await;
        let problem = answer.unwrap_or_else(|_| late()).err();
        let up = problem.is_none();
        DEPENDENCY_UP
            .with(metrics::Dependency(self.name))
            .set(u8::from(up));
        Health {
            name: self.name,
            up,
            problem,
        }
    }
}

/// The last result for one dependency.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Health {
    name: &'static str,
    up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The last results. Reading them does not wait.
#[derive(Clone, Default)]
pub(crate) struct Dependencies(Arc<Mutex<Vec<Health>>>);

impl Dependencies {
    /// The last results.
    pub(crate) fn health(&self) -> Vec<Health> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks them all once.
    pub(crate) async fn ask(&self, all: &[Dependency]) {
        let health = futures_util::future::join_all(all.iter().map(Dependency::health)).await;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    /// Keeps asking.
    pub(crate) async fn watch(self, all: Vec<Dependency>) {
        loop {
            self.ask(&all).await;
            tokio::time::sleep(PERIOD).await;
        }
    }
}
