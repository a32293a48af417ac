//! The service that owns items and orders, in Postgres.

use std::sync::Arc;

use api::DownstreamClient;
use api::routes::data as at;
use service::dependencies::Dependency;
use service::{Blueprint, Env, Route, Routes};

mod background;
mod cursor;
mod database;
mod dead_letters;
mod errors;
mod faults;
mod handlers;
mod listener;
mod locks;
mod metrics;
mod orders;
mod outbox;
mod release;
mod rows;
mod settings;
mod store;
mod successor;
mod sweeper;

pub use dead_letters::DeadLetters;
pub use metrics::METRICS;
pub use rows::DeadLetter;
pub use settings::Settings;

/// The route table.
fn routes() -> Routes {
    vec![
        Route::get(at::QUOTE, handlers::quoted_item).answers(&[200, 404, 422]),
        Route::post(at::ORDERS, handlers::place_order).answers(&[201, 402, 404, 409]),
        Route::get(at::ORDERS, handlers::orders).answers(&[200, 422]),
        Route::get(at::ORDER, handlers::order).answers(&[200, 404]),
    ]
}

/// Runs the service until a stop signal; `build` is its release.
pub fn run(build: &'static str) -> anyhow::Result<()> {
    let env = Env::process();
    let settings = Settings::from_env(&env, build)?;
    let (service, own) = (settings.service, settings.own);
    let release = release::Running::new(service.version(), own.bad_release.clone());
    match service::run(service, METRICS, async || crate::build(own, &release).await)? {
        Some((sockets, signals)) => release.hand_over(&sockets, signals),
        None => Ok(()),
    }
}

/// Brings the schema up to date and adds the items, as every instance does when it starts; returns the schema's name.
///
/// # Errors
/// When a setting is wrong, or the database does not take it.
pub async fn migrate() -> anyhow::Result<&'static str> {
    let settings = Settings::from_env(&Env::process(), "")?;
    database::migrated(&settings.own).await?;
    Ok(store::SCHEMA)
}

async fn build(
    settings: settings::DataSettings,
    release: &release::Running,
) -> anyhow::Result<Blueprint> {
    let faults = Arc::new(faults::Faults::new(release.is_bad()));
    let store = database::open(&settings, faults.clone()).await?;
    let switchboard = faults.switchboard();
    release.start(&faults.bad_release, &switchboard)?;
    faults.start(&store.requests);
    let downstream = DownstreamClient::new(&settings.downstream_url)?;
    let orders = Arc::new(orders::Orders::new(store.clone(), downstream.clone()));
    let sweeping = orders.clone();
    let probed = store.clone();
    let watched = store.clone();
    let relay = outbox::Relay::new(store, downstream);
    Ok(Blueprint::new(routes, api::timeouts::DATA_REQUEST)
        .state(orders)
        .faults(switchboard)
        .hands_over(release.handover())
        .dependency(Dependency::new("database", move || {
            let store = probed.clone();
            async move { store.ping().await.map_err(|error| error.to_string()) }
        }))
        .background("outbox relay", move |shutdown| relay.run(shutdown))
        .background("lock watch", move |shutdown| {
            locks::watch(watched, shutdown)
        })
        .background("sweeper", move |shutdown| {
            sweeper::run(sweeping, settings.sweep_after, shutdown)
        }))
}
