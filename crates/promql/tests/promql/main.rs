//! The evaluator through its public interface.

mod bounds;
mod conformance;
mod mutated;
mod own;
mod script;
