//! The load test against a real stack: `just test-load`.

#[path = "../../../crates/omnitrace/tests/e2e/harness/mod.rs"]
mod harness;

mod agreement;
mod cli;
mod cost;
mod support;
