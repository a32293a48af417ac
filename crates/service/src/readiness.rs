//! Whether the service can take requests, and why not.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use telemetry::names;

/// How long one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// How often the gauge is refreshed when nobody asks.
const REFRESH: Duration = Duration::from_secs(1);

type Probe =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Something that must work before the service is ready.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    probe: Probe,
}

impl Check {
    /// A named check; its error says what is wrong.
    pub fn new<F, Fut>(name: &'static str, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self {
            name,
            probe: Arc::new(move || Box::pin(probe())),
        }
    }

    async fn reason(&self) -> Option<String> {
        let result = tokio::time::timeout(CHECK_LIMIT, (self.probe)()).await;
        let problem = result
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", CHECK_LIMIT.as_millis())));
        problem
            .err()
            .map(|problem| format!("{}: {problem}", self.name))
    }
}

/// The state behind `/ready`.
pub(crate) struct Readiness {
    checks: std::sync::OnceLock<Vec<Check>>,
    draining: AtomicBool,
    /// Set by the fault `readiness_flap`.
    suspended: AtomicBool,
    was_ready: AtomicBool,
}

impl Readiness {
    /// A service that is still starting.
    pub(crate) fn starting() -> Arc<Self> {
        metrics::gauge!(names::SERVICE_READY).set(0.0);
        metrics::counter!(names::READINESS_CHANGES).absolute(0);
        Arc::new(Self {
            checks: std::sync::OnceLock::new(),
            draining: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
        })
    }

    /// The service is built: from now on its checks decide.
    pub(crate) async fn started(&self, checks: Vec<Check>) {
        let _ = self.checks.set(checks);
        self.reasons().await;
    }

    /// No new work: the service is going away.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.record(false);
    }

    /// Makes the service unready, or lets it be ready again.
    pub(crate) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Release);
        if suspended {
            self.record(false);
        }
    }

    /// Why the service is not ready; empty when it is.
    pub(crate) async fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Acquire) {
            reasons.push("draining".to_owned());
        }
        if self.suspended.load(Ordering::Acquire) {
            reasons.push("suspended".to_owned());
        }
        match self.checks.get() {
            None => reasons.push("starting".to_owned()),
            Some(checks) => {
                for check in checks {
                    reasons.extend(check.reason().await);
                }
            }
        }
        // A check may have taken a while: draining may have begun meanwhile.
        self.record(reasons.is_empty() && !self.draining.load(Ordering::Acquire));
        reasons
    }

    /// Keeps the gauge fresh.
    pub(crate) async fn refresh(self: Arc<Self>) {
        loop {
            self.reasons().await;
            tokio::time::sleep(REFRESH).await;
        }
    }

    fn record(&self, ready: bool) {
        if self.was_ready.swap(ready, Ordering::AcqRel) != ready {
            metrics::counter!(names::READINESS_CHANGES).increment(1);
        }
        metrics::gauge!(names::SERVICE_READY).set(if ready { 1.0 } else { 0.0 });
    }
}
