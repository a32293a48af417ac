//! The evaluator through its public interface.

mod bounds;
mod conformance;
mod interface;
mod mutated;
mod outline;
mod own;
mod script;
