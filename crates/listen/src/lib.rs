//! What every listener has in common, in services, herald and console: how long its queue is, whom it answers, `HEAD`,
//! and when its process stops.

mod hosts;
mod method;
mod socket;
mod stop;

pub use hosts::{Host, Hosts, Refusal};
pub use method::head_as_get;
pub use socket::bind;
pub use stop::StopSignals;
