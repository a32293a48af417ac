//! Sends the gateway the requests that users send, at an interval, so that outages are detected without users.
//!
//! Its requests are marked (`telemetry::synthetic`), and its orders are for an item of its own, so that no number of users or of the
//! business holds them.

use std::sync::Arc;

use api::GatewayClient;
use service::{Blueprint, Env, Route, Routes};

mod checks;
mod handlers;
mod metrics;
mod rounds;
mod settings;

pub use metrics::METRICS;
pub use settings::Settings;

/// The route table.
fn routes() -> Routes {
    vec![Route::get("/probes", handlers::findings).answers(&[200])]
}

/// Runs the service, of this build, until it is told to stop.
///
/// # Errors
/// When it cannot start, or when a part that must not end does.
pub fn run(build: &'static str) -> anyhow::Result<()> {
    let settings = Settings::from_env(&Env::process(), build)?;
    let (gateway, interval) = (settings.gateway_url, settings.interval);
    service::run(settings.service, METRICS, async move || {
        let findings = Arc::new(rounds::Findings::default());
        let gateway = GatewayClient::new(&gateway)?;
        let probing = findings.clone();
        Ok(Blueprint::new(routes, api::timeouts::GATEWAY_REQUEST)
            .state(findings)
            .background("probes", move |shutdown| {
                rounds::run(gateway, interval, probing, shutdown)
            }))
    })?;
    Ok(())
}
