//! Standard output belongs to the report. Goose writes there too (`2 users launched.`, its logger's warnings), so while it runs the
//! process's standard output is its standard error.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!(
                "{}: {}",
                record.level().as_str().to_lowercase(),
                record.args()
            );
        }
    }

    fn flush(&self) {}
}

/// The real standard output.
pub struct Stdout(File);

impl Stdout {
    /// Takes it: from now on `println!` goes to standard error.
    pub fn take() -> io::Result<Self> {
        let real = io::stdout().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdout(io::stderr())?;
        Ok(Self(File::from(real)))
    }

    /// Writes a text and ends the line.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{text}")?;
        self.0.flush()
    }
}

/// Goose's warnings without its own logger's decoration. Call before goose: the first logger wins.
pub fn log_warnings() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}
