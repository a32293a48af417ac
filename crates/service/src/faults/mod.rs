//! Faults: typed, off by default, switched at run time, each with an expiry.
//!
//! A service declares a fault as a struct of parameters with a [`Spec`]; a [`Fault`] holds its state, which
//! handlers ask on every request; the [`Switchboard`] is what the admin listener shows.

mod burn;
mod fault;
pub(crate) mod generic;
mod spec;
mod switchboard;

pub use fault::Fault;
pub(crate) use fault::hide;
pub use spec::{Kind, Parameter, Parameters, Spec};
pub use switchboard::Switchboard;
pub(crate) use switchboard::parse;
