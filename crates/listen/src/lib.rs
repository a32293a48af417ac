//! The common part of all listeners, in services, herald and console: the length of the queue, the read-ahead limit, the
//! accepted hosts, `HEAD`, and the end of the process.

mod flow;
mod gate;
mod head;
mod hosts;
mod http2;
mod method;
mod serve;
mod socket;
mod stop;
mod turns;

pub use flow::Flow;
pub use gate::Gate;
pub use hosts::{Host, Hosts, Refusal};
pub use http2::add_http2;
pub use method::head_as_get;
pub use serve::{Http, add_http1, reached_at};
pub use socket::{bind, reserve};
pub use stop::StopSignals;
pub use turns::in_turn;
