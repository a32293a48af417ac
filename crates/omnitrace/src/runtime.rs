//! Commands that wait for answers, and then end.

use anyhow::Result;

/// Runs work on this thread to its end. A name that is still being looked up, or an archive that is being unpacked, is not waited for.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
