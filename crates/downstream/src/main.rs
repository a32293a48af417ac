//! The downstream service as a process of its own.
fn main() -> anyhow::Result<()> {
    downstream::run(env!("CARGO_PKG_VERSION"))
}
