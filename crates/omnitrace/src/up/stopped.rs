//! Parts that `omnitrace stop PART` has ended: they stay away until `omnitrace start PART`.
//!
//! A file per part says so. It holds the process id of `up`: one that a killed `up` has left is of no effect.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use owned::Owner;

use super::stack::Stack;
use crate::files;

const POLL: Duration = Duration::from_millis(100);

fn path(data_dir: &Path, part: &str) -> PathBuf {
    data_dir.join(format!("{part}.stopped"))
}

/// Whether `part` is to stay away from the stack of the process `up`.
pub fn is_stopped(data_dir: &Path, part: &str, up: u32) -> bool {
    files::read(&path(data_dir, part)).is_ok_and(|text| text.trim() == up.to_string())
}

/// `part` is to stay away.
pub fn stop(data_dir: &Path, part: &str, up: u32) -> Result<()> {
    files::write_private(&path(data_dir, part), up.to_string().as_bytes())
}

/// `part` may come back.
pub fn start(data_dir: &Path, part: &str) -> Result<()> {
    files::remove_file(&path(data_dir, part), Owner::of_this_process())
}

/// Waits while a part that has ended is to stay away; true if it was.
pub(super) async fn until_wanted(stack: &Stack<'_>, part: &str) -> bool {
    let stays_away = || is_stopped(stack.data_dir(), part, std::process::id());
    if !stays_away() {
        return false;
    }
    stack.report.progress(
        part,
        &format!("stopped; `omnitrace start {part}` starts it again"),
    );
    while stays_away() {
        tokio::time::sleep(POLL).await;
    }
    true
}
