//! The gateway as a process of its own.
fn main() -> anyhow::Result<()> {
    gateway::run(env!("CARGO_PKG_VERSION"))
}
