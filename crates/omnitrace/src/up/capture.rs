//! A child's output: a bounded log file, the last lines in memory, and the announcements for `up`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use owned::{Owner, Place};
use redact::plain;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::files;

/// The size of one log file; the previous one is kept as `<role>.log.1`.
const FILE_BYTES: u64 = 8 << 20;
/// Longer lines are cut.
const LINE_BYTES: u64 = 64 << 10;
const LAST_LINES: usize = 15;
/// Fields that are left out when the last lines of a child are shown.
const NOISE: [&str; 4] = ["timestamp", "target", "trace_id", "span_id"];

/// What a child announces on its stdout.
#[derive(Debug)]
pub enum Message {
    /// Its `listening` line.
    Listening(Value),
    /// Something that takes a while.
    Progress(String),
}

/// The meaning of a line.
enum LineMeaning {
    Message(Message),
    Stopped,
}

/// The last lines of a child.
#[derive(Clone, Default)]
pub struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    /// The lines, JSON ones made readable.
    pub fn text(&self) -> String {
        let Ok(lines) = self.0.lock() else {
            return String::new();
        };
        lines
            .iter()
            .map(|line| format!("    {}", plain::one_line(&readable(line, &NOISE))))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn push(&self, line: String) {
        let Ok(mut lines) = self.0.lock() else { return };
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The output of a child.
pub struct Output {
    /// Its last lines.
    pub last_lines: LastLines,
    /// The child's announcements.
    pub said: mpsc::UnboundedReceiver<Message>,
    /// Changes when the child has answered its last request; it only has to send its telemetry then.
    pub stopped: watch::Receiver<()>,
}

/// Reads `output` to its end in a thread of its own, so that a child never waits for the reader of this process's output.
pub fn start(output: PipeReader, log: &Path, append: bool) -> Result<Output> {
    let mut log = if append {
        Rotating::append(log)?
    } else {
        Rotating::open(log)?
    };
    let last_lines = LastLines::default();
    let (send, said) = mpsc::unbounded_channel();
    let (has_stopped, stopped) = watch::channel(());
    let lines = last_lines.clone();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        while let Some(line) = next_line(&mut reader) {
            let (line, announced) = understand(line);
            // A full disk must not stop the stack; the last lines are still in memory.
            log.write(&plain::one_line(&line)).ok();
            lines.push(line);
            match announced {
                Some(LineMeaning::Stopped) => has_stopped.send_replace(()),
                Some(LineMeaning::Message(said)) => drop(send.send(said)),
                None => {}
            }
        }
    });
    Ok(Output {
        last_lines,
        said,
        stopped,
    })
}

fn next_line(reader: &mut BufReader<PipeReader>) -> Option<String> {
    let mut line = Vec::new();
    let read = reader
        .by_ref()
        .take(LINE_BYTES)
        .read_until(b'\n', &mut line)
        .ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Announcements are JSON. The log file does not get the password of the private database.
fn understand(line: String) -> (String, Option<LineMeaning>) {
    let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(&line) else {
        return (line, None);
    };
    let message = value["message"].as_str().unwrap_or_default().to_owned();
    if message == "listening" {
        let mut logged = value.clone();
        if let Some(url) = logged.get_mut("database_url") {
            *url = "(see state.json)".into();
        }
        return (
            logged.to_string(),
            Some(LineMeaning::Message(Message::Listening(value))),
        );
    }
    if message == "stopped" {
        return (line, Some(LineMeaning::Stopped));
    }
    let progress = value["progress"] == true;
    (
        line,
        progress.then_some(LineMeaning::Message(Message::Progress(message))),
    )
}

/// `ERROR the service failed  error=…` instead of the JSON line, without the fields `noise`; the time first, unless it is
/// one of them.
pub fn readable(line: &str, noise: &[&str]) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let mut take = |name: &str| {
        fields
            .remove(name)
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    for noise in noise {
        take(noise);
    }
    let first = ["timestamp", "level", "message"].map(&mut take);
    let rest: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            format!(
                "{name}={}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            )
        })
        .collect();
    format!("{}  {}", first.join(" "), rest.join(" "))
        .trim()
        .to_owned()
}

fn own_file(path: &Path, flags: OFlag) -> Result<File> {
    owned::open(path, flags, Owner::of_this_process()).context(files::DATA_DIR)
}

/// A log file that is begun anew with each run of `up` and each time it is full.
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Rotating {
    fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
        let old = own_file(path, flags)?;
        if old.metadata()?.len() > 0 {
            Place::of(path, Owner::of_this_process())?.set_aside(".1")?;
        }
        let file = own_file(path, flags)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes: 0,
        })
    }

    /// Continues the log of the previous child, whose last lines say why it ended.
    fn append(path: &Path) -> Result<Self> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
        let file = own_file(path, flags)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: file.metadata()?.len(),
            file,
        })
    }

    fn write(&mut self, line: &str) -> Result<()> {
        if self.bytes > FILE_BYTES {
            *self = Self::open(&self.path)?;
        }
        self.bytes += line.len() as u64 + 1;
        Ok(self.file.write_all(format!("{line}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_child_write_nothing_but_themselves() {
        let lines = LastLines::default();
        lines.push(
            r#"{"level":"ERROR","message":"a\u001b[2K\r\nready","error":"b\u009b\u2028c"}"#
                .to_owned(),
        );
        lines.push("plain \u{1b}[1A\u{202e}".to_owned());
        assert_eq!(
            lines.text(),
            "    ERROR a [2K  ready  error=b  c\n    plain  [1A"
        );
    }

    #[test]
    fn a_log_file_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("data.log");
        let mut log = Rotating::open(&path).unwrap();
        let line = "x".repeat(1 << 20);
        for _ in 0..30 {
            log.write(&line).unwrap();
        }
        let sizes: Vec<u64> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2, "{sizes:?}");
        assert!(
            sizes.iter().all(|size| *size <= FILE_BYTES + (2 << 20)),
            "{sizes:?}"
        );
    }

    #[test]
    fn a_restarted_child_goes_on_with_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("data.log");
        Rotating::open(&path).unwrap().write("why").unwrap();
        Rotating::append(&path).unwrap().write("again").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "why\nagain\n");
    }

    #[test]
    fn a_listening_line_is_passed_on_whole_and_logged_without_the_password() {
        let line = r#"{"message":"listening","database_url":"postgres://me:secret@h/d"}"#;
        let (logged, said) = understand(line.to_owned());
        assert!(!logged.contains("secret"));
        assert!(
            matches!(said, Some(LineMeaning::Message(Message::Listening(value))) if value["database_url"] == "postgres://me:secret@h/d")
        );
    }

    #[test]
    fn last_lines_are_readable() {
        let lines = LastLines::default();
        lines.push(r#"{"timestamp":"t","level":"ERROR","target":"a::b","message":"it failed","error":"no route"}"#.to_owned());
        lines.push("thread panicked".to_owned());
        assert_eq!(
            lines.text(),
            "    ERROR it failed  error=no route\n    thread panicked"
        );
    }
}
