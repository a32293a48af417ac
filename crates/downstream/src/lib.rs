//! The service that others depend on: quotes, payments, order events. Its speed is a model, its faults are many.

use std::sync::Arc;

use api::routes::downstream as at;
use service::{Blueprint, Env, Route, Routes};

mod faults;
mod handlers;
mod ledger;
mod model;
mod settings;

pub use settings::Settings;

/// The route table.
fn routes() -> Routes {
    vec![
        Route::get(at::QUOTE, handlers::quote).answers(&[200, 422]),
        Route::post(at::PAYMENTS, handlers::pay).answers(&[200]),
        Route::post(at::ORDER_EVENTS, handlers::apply).answers(&[200]),
    ]
}

/// Runs the service until a stop signal; `build` is its release.
pub fn run(build: &'static str) -> anyhow::Result<()> {
    let settings = Settings::from_env(&Env::process(), build)?;
    let model = settings.model;
    service::run(settings.service, &[], async move || {
        let state = Arc::new(handlers::State::new(model));
        let faults = state.faults.switchboard();
        Ok(Blueprint::new(routes, api::timeouts::DOWNSTREAM_REQUEST)
            .state(state)
            .faults(faults)
            .keep_sockets())
    })?;
    Ok(())
}
