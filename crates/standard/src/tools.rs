//! The programs, where `deploy/tools/build.sh` keeps them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The directory of the programs.
#[derive(Debug, Clone)]
pub struct Tools(PathBuf);

impl Tools {
    /// Finds the directory as `deploy/tools/build.sh` does; `OMNITRACE_TOOLS` names another one. `variable` reads the
    /// environment.
    ///
    /// # Errors
    /// No variable says where it is.
    pub fn find(variable: impl Fn(&str) -> Result<Option<PathBuf>>) -> Result<Self> {
        for (name, below) in [
            ("OMNITRACE_TOOLS", ""),
            ("OMNITRACE_CACHE_DIR", "tools/bin"),
            ("XDG_CACHE_HOME", "omnitrace/tools/bin"),
            ("HOME", ".cache/omnitrace/tools/bin"),
        ] {
            if let Some(directory) = variable(name)? {
                return Ok(Self(directory.join(below)));
            }
        }
        bail!("where are the programs of the standard stack? Set HOME or OMNITRACE_TOOLS")
    }

    /// Path of a program, by its name in `deploy/tools/build.sh`; the collector's is `otelcol`.
    ///
    /// # Errors
    /// It is missing; the error says what makes it.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        self.programs(&[name])?.pop().context("one program")
    }

    /// The same for several; the error names all that are missing.
    ///
    /// # Errors
    /// As [`Tools::program`].
    pub fn programs(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let paths: Vec<PathBuf> = names.iter().map(|name| self.0.join(name)).collect();
        let missing = paths.iter().filter(|path| !path.is_file());
        let missing: Vec<String> = missing.map(|path| file_name(path)).collect();
        if !missing.is_empty() {
            bail!(
                "no {} in {}: run deploy/tools/build.sh {} (just stack-tools), or name a directory that has them in OMNITRACE_TOOLS",
                missing.join(", "),
                self.0.display(),
                missing.join(" ")
            );
        }
        Ok(paths)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().display().to_string()
}
