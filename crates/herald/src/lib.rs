//! Between Alertmanager and people: adds evidence to each alert and delivers it, whatever else is down.
//!
//! ```text
//! POST /alerts -> checked -> on disk (then 200) -> evidence, at most 5 s -> Slack or a webhook, until it has arrived
//! ```
//!
//! The evidence is what the telemetry says. The gauge that tells which fault is injected is never asked for: it is the
//! answer key of the game day, and no production system has one.

mod access;
mod api;
mod backend_tls;
mod backoff;
mod bounded;
mod connections;
mod deliver;
mod diagnosis;
mod evidence;
#[cfg(test)]
mod extremes;
mod folder;
mod front;
mod front_tls;
mod history;
mod index;
mod intake;
mod key;
mod ledger;
mod left_behind;
mod links;
mod matcher;
mod metrics;
mod notification;
mod payload;
mod person_text;
mod queue;
mod reach;
mod server;
mod setting_files;
mod settings;
mod silences;
mod slack;
mod spool;
mod stats;
mod stored;
mod target;
mod text;
mod view;
mod watchdog;
mod wire;

pub use backend_tls::BackendTls;
pub use front_tls::FrontTls;
pub use metrics::METRICS;
pub use server::run;
pub use settings::{RawSettings, Settings, secret_to_show};
