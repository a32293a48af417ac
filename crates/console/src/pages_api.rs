//! The pages' own APIs besides the vendors': events, herald's alerts, faults, runbooks, a trace as a file, differences
//! between traces, calls between services.

mod calls;
mod differs;
mod events;
mod faults;
mod herald;
mod others;
mod runbooks;
mod trace_file;

use actix_web::web::ServiceConfig;

pub(crate) use events::Events;
pub(crate) use others::RemoteServices;

/// Adds the routes.
pub(crate) fn configure(config: &mut ServiceConfig) {
    events::configure(config);
    herald::configure(config);
    faults::configure(config);
    runbooks::configure(config);
    trace_file::configure(config);
    differs::configure(config);
    calls::configure(config);
}

/// The methods of a path that changes data; `None` for all other paths.
pub(crate) fn allowed_methods(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.strip_prefix("/api/")?.split('/').collect();
    match parts[..] {
        ["herald", "alerts", _, "acknowledge" | "verdict"] => Some("POST"),
        ["herald", "silences"] => Some("GET, HEAD, POST"),
        ["herald", "silences", _] | ["faults", _] => Some("DELETE"),
        ["faults", _, _] => Some("PUT, DELETE"),
        _ => None,
    }
}
