//! The public API. It checks what callers send and asks the data service for the rest.

use std::sync::Arc;

use api::DataClient;
use api::routes::gateway as at;
use service::{Blueprint, Env, Route, Routes};

mod handlers;
mod settings;

pub use settings::Settings;

/// The route table.
fn routes() -> Routes {
    vec![
        Route::get(at::HEALTH, handlers::health).answers(&[200]),
        Route::get(at::OPENAPI, handlers::openapi).answers(&[200]),
        Route::get(at::DATA, handlers::quoted_item).answers(&[200, 404, 422]),
        Route::post(at::ORDERS, handlers::place_order).answers(&[201, 402, 404, 409]),
        Route::get(at::ORDERS, handlers::orders).answers(&[200, 422]),
        Route::get(at::ORDER, handlers::order).answers(&[200, 404]),
    ]
}

/// Runs the service until a stop signal; `build` is its release.
pub fn run(build: &'static str) -> anyhow::Result<()> {
    let settings = Settings::from_env(&Env::process(), build)?;
    let data_url = settings.data_url;
    service::run(settings.service, &[], async move || {
        let data = Arc::new(DataClient::new(&data_url)?);
        Ok(Blueprint::new(routes, api::timeouts::GATEWAY_REQUEST).state(data))
    })?;
    Ok(())
}
