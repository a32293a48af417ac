//! `omnitrace logs`: the last lines of each part of a stack, including parts that have ended; `--follow` continues with new
//! lines.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::fcntl::OFlag;
use owned::Owner;

use crate::files;
use crate::terminal::{quoted, try_say};
use crate::up::capture;

const POLL: Duration = Duration::from_millis(200);

/// The maximum read at once; a file of `up` has at most 8 MiB and one line.
const AT_ONCE: u64 = 9 << 20;

/// Left out of the readable form, since they are long and seldom asked for.
const NOISE: [&str; 2] = ["target", "span_id"];

/// Examples of `omnitrace help logs`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace logs                                        the last 100 lines of each part
  omnitrace logs gateway data --follow
  omnitrace logs data --json | jq -R 'fromjson? | select(.level == \"ERROR\")'";

/// `omnitrace logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// postgres, console, herald, downstream, data, gateway, probe, instances such as data-2 [default: all]
    parts: Vec<String>,
    /// Show new lines as they are written, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Number of last lines to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    lines: usize,
    /// Print lines as they are in the files; services and herald write JSON
    #[arg(long)]
    json: bool,
    /// Directory of the stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
}

/// Prints lines until there are no more, or, with `--follow`, until the reader has gone.
pub fn run(args: &LogsArgs) -> Result<ExitCode> {
    check(args)?;
    let mut logs = Vec::new();
    let with_name = args.parts.len() != 1;
    let mut most = args.lines;
    loop {
        add_new(&mut logs, args)?;
        for log in &mut logs {
            let lines = log.lines()?;
            for line in &lines[lines.len().saturating_sub(most)..] {
                let line = shown(line, args.json, with_name.then_some(&log.name));
                if !try_say(&line) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        most = usize::MAX;
        std::thread::sleep(POLL);
    }
}

fn shown(line: &str, as_written: bool, name: Option<&String>) -> String {
    if as_written {
        return line.to_owned();
    }
    let text = quoted(&capture::readable(line, &NOISE));
    match name {
        Some(name) => format!("{name:<10} | {text}"),
        None => text,
    }
}

/// Adds the requested files that are new: parts may start while the stack is followed.
fn add_new(logs: &mut Vec<Log>, args: &LogsArgs) -> Result<()> {
    for name in names(args)? {
        let is_asked = args.parts.is_empty() || args.parts.contains(&name);
        if is_asked && !logs.iter().any(|log| log.name == name) {
            logs.push(Log::new(args, name));
        }
    }
    Ok(())
}

/// Whether there is all that is asked for.
fn check(args: &LogsArgs) -> Result<()> {
    let known = names(args)?;
    if let Some(part) = args.parts.iter().find(|part| !known.contains(part)) {
        bail!(
            "no part {part:?} has run here; there are: {}",
            known.join(", ")
        );
    }
    Ok(())
}

/// The parts that have written something, in alphabetical order.
fn names(args: &LogsArgs) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(directory(args)).with_context(|| {
        let shown = args.data_dir.display();
        format!("no stack has run in {shown}: start one with `omnitrace up`, or name its directory with --data-dir")
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".log"));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn directory(args: &LogsArgs) -> PathBuf {
    args.data_dir.join("logs")
}

/// A log file, which begins anew when it is full.
struct Log {
    name: String,
    path: PathBuf,
    file: Option<File>,
    /// The start of a line whose end has not been written yet.
    begun: Vec<u8>,
}

impl Log {
    fn new(args: &LogsArgs, name: String) -> Self {
        Self {
            path: directory(args).join(format!("{name}.log")),
            name,
            file: None,
            begun: Vec::new(),
        }
    }

    /// The lines since the last call.
    fn lines(&mut self) -> Result<Vec<String>> {
        let mut bytes = std::mem::take(&mut self.begun);
        // No process writes to a file that has been replaced, so it is read to its end first.
        let is_replaced = self.is_replaced();
        self.read(&mut bytes)?;
        if is_replaced {
            let file = owned::open(&self.path, OFlag::O_RDONLY, Owner::of_this_process());
            self.file = Some(file.context(files::DATA_DIR)?);
            self.read(&mut bytes)?;
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        self.begun = bytes.split_off(end.map_or(0, |end| end + 1));
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn read(&mut self, bytes: &mut Vec<u8>) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.take(AT_ONCE).read_to_end(bytes)?;
        }
        Ok(())
    }

    fn is_replaced(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|now| now.ino()).ok();
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        now.is_some() && now != open.map(|open| open.ino())
    }
}
