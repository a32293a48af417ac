//! The data service as a process of its own.
fn main() -> anyhow::Result<()> {
    data::run()
}
