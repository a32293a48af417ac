//! The evaluator through its public interface.

mod bounds;
mod conformance;
mod interface;
mod mutated;
mod own;
mod script;
