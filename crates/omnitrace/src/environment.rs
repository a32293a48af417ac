//! The variables this command itself looks at, read once through [`service::settings`].

use std::path::PathBuf;

use anyhow::Result;
use service::settings::Env;

/// One variable; `None` when unset or empty.
pub fn text(name: &str) -> Result<Option<String>> {
    Ok(Env::process().text(name)?)
}

/// One variable as a path.
pub fn path(name: &str) -> Result<Option<PathBuf>> {
    Ok(text(name)?.map(PathBuf::from))
}

/// Names of the variables that begin like this and are not empty.
pub fn given(prefix: &str) -> Result<Vec<String>> {
    let mut given = Vec::new();
    for name in Env::process_names() {
        if name.starts_with(prefix) && text(&name)?.is_some() {
            given.push(name);
        }
    }
    given.sort();
    Ok(given)
}

/// Whether stdin is a pipe that the parent holds for as long as it lives (`OMNITRACE_PARENT_PIPE=1`).
pub fn parent_pipe() -> Result<bool> {
    Ok(text("OMNITRACE_PARENT_PIPE")?.is_some_and(|value| value == "1"))
}
