//! The parts of a service that [`crate::run()`] needs.
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;

use crate::background::{Background, Task};
use crate::dependencies::Dependency;
use crate::faults::Switchboard;
use crate::handover::Handover;
use crate::routes::Routes;
use crate::shutdown::Shutdown;

/// Puts shared state into each worker's application.
pub(crate) type Configure = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// A built service, ready to be served.
pub struct Blueprint {
    pub(crate) routes: fn() -> Routes,
    pub(crate) request_timeout: Duration,
    pub(crate) configure: Vec<Configure>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) faults: Switchboard,
    pub(crate) background: Vec<Task>,
    pub(crate) keep_sockets: bool,
    pub(crate) handover: Option<Handover>,
}

impl Blueprint {
    /// A service with a route table, and the time-out of its requests.
    pub fn new(routes: fn() -> Routes, request_timeout: Duration) -> Self {
        Self {
            routes,
            request_timeout,
            configure: Vec::new(),
            dependencies: Vec::new(),
            faults: Switchboard::default(),
            background: Vec::new(),
            keep_sockets: false,
            handover: None,
        }
    }

    /// State that handlers take as `web::Data<T>`, one instance for all workers.
    pub fn state<T: Send + Sync + 'static>(mut self, state: Arc<T>) -> Self {
        let data = web::Data::from(state);
        self.configure.push(Arc::new(move |config| {
            config.app_data(data.clone());
        }));
        self
    }

    /// Something that the service needs. `/ready` reports separately from readiness whether it answers.
    pub fn dependency(mut self, dependency: Dependency) -> Self {
        self.dependencies.push(dependency);
        self
    }

    /// The service's own faults; the generic ones always exist.
    pub fn faults(mut self, faults: Switchboard) -> Self {
        self.faults = faults;
        self
    }

    /// A task that runs beside the requests until told to shut down. If it ends before, the service ends too.
    pub fn background<F, Fut>(mut self, name: &'static str, task: F) -> Self
    where
        F: FnOnce(Shutdown) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.background.push(Background::task(name, task));
        self
    }

    /// Lets the service hand its sockets to another process.
    pub fn hands_over(mut self, handover: Handover) -> Self {
        self.handover = Some(handover);
        self
    }

    /// Gives handlers access to the socket of their connection ([`crate::connection::Socket`]).
    pub fn keep_sockets(mut self) -> Self {
        self.keep_sockets = true;
        self
    }
}
