//! Which host names and origins a listener answers to.
use std::sync::Arc;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use listen::{Hosts, Refusal};

use crate::error::ApiError;
use crate::problem;

/// The paths that scrapers and probes request on the private listener, under any host name. They change nothing.
pub(crate) const OPEN: &[&str] = &["/live", "/ready", "/metrics"];

/// The names that a listener answers to, and where they are configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostGuard {
    hosts: Arc<Hosts>,
    setting: &'static str,
    /// Paths that anybody may ask for, by any name.
    open: &'static [&'static str],
}

impl HostGuard {
    /// Accepts these names; `setting` is the variable that sets them.
    pub fn new(hosts: Hosts, setting: &'static str, open: &'static [&'static str]) -> Self {
        let hosts = Arc::new(hosts);
        Self {
            hosts,
            setting,
            open,
        }
    }

    /// `None` if no name is configured: a public listener then accepts any name.
    pub(crate) fn if_named(self) -> Option<Self> {
        (!self.hosts.is_empty()).then_some(self)
    }

    fn check(&self, request: &ServiceRequest) -> Result<(), ApiError> {
        if self.open.contains(&request.path()) {
            return Ok(());
        }
        self.hosts.check(request.head()).map_err(|refusal| {
            let kind = match refusal {
                Refusal::Unreadable => problem::BAD_REQUEST,
                Refusal::Host | Refusal::Origin => problem::FORBIDDEN,
            };
            ApiError::new(
                kind,
                format!("{refusal}; names are set by {}", self.setting),
            )
        })
    }
}

/// Middleware of a whole application: lets in whom `host_guard` knows, and everybody where there are none.
///
/// # Errors
/// 400 or 403, or those of the handler.
pub async fn enter<B: MessageBody>(
    host_guard: Option<HostGuard>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(host_guard) = host_guard {
        host_guard.check(&request)?;
    }
    next.call(request).await
}
