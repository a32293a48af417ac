//! The data service as a process of its own.
fn main() -> anyhow::Result<()> {
    data::run(env!("CARGO_PKG_VERSION"))
}
