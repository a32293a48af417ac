//! The services' interfaces: routes, types, time-outs, and one client function per endpoint.

#[cfg(feature = "server")]
mod answer;
mod call;
pub mod client;
pub mod error;
pub mod problems;
pub mod routes;
pub mod timeouts;
pub mod types;
#[cfg(feature = "server")]
pub mod validation;

pub use client::{DataClient, DownstreamClient, GatewayClient, Placed};
pub use error::CallError;
