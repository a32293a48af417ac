//! Prints output. Much of it comes from backends, so control characters in it must not reach the terminal.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use clap::error::{ContextValue, Error};
use clap::{CommandFactory, FromArgMatches};
use redact::{plain, redact};
use serde_json::Value;
use service::error::chain;

/// Reads the command line. A URL may contain a password, so the help shows no variable's value, and an error no secret.
pub fn parse<C: CommandFactory + FromArgMatches>() -> C {
    let mut command = without_values(C::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    matches
        .and_then(|matches| C::from_arg_matches(&matches))
        .unwrap_or_else(|error| without_secrets(error.format(&mut command)).exit())
}

/// The same command without variables' values in its help.
pub fn without_values(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| arg.hide_env_values(true))
        .mut_subcommands(without_values)
}

fn without_secrets(mut error: Error) -> Error {
    let quotes: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, quoted(text))),
            _ => None,
        })
        .collect();
    for (kind, text) in quotes {
        error.insert(kind, ContextValue::String(text));
    }
    error
}

/// A foreign text on one line, without secrets such as a password in a URL.
pub fn quoted(text: &str) -> String {
    plain::one_line(&redact(text)).into_owned()
}

/// Prints a line. Unlike `println!` it does not panic when the reader ends (`| head`).
pub fn say(line: &str) {
    try_say(line);
}

/// The same; false if the reader has ended.
pub fn try_say(line: &str) -> bool {
    print(&plain::one_line(line))
}

/// Prints text of several lines that are ours.
pub fn say_lines(lines: &str) {
    print(&plain::lines(lines));
}

/// Prints JSON.
pub fn say_json(value: &Value) {
    print(&plain::json(&value.to_string()));
}

/// Prints the error that ends a command. It may quote the last lines of a child; responses of a backend are quoted where
/// they are read. It is not redacted as a whole, because `HERALD_SECRET: …` names the faulty setting.
pub fn complain(error: &anyhow::Error) {
    eprintln!(
        "{}",
        plain::lines(&without_logins(&format!(
            "error: {}",
            chain(error.as_ref())
        )))
    );
}

/// The login in the example of an error about a URL.
const EXAMPLE_LOGIN: &str = "user:password@";

/// The same text without logins in its addresses.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = |c: char| c.is_whitespace() || "/?#\"'<>".contains(c);
        let authority = part.find(ends).unwrap_or(part.len());
        let login = part[..authority].rfind('@').map_or(0, |at| at + 1);
        let kept = if part.starts_with(EXAMPLE_LOGIN) {
            0
        } else {
            login
        };
        out.push_str("://");
        out.push_str(&part[kept..]);
    }
    out
}

fn print(text: &str) -> bool {
    write_raw(format!("{text}\n").as_bytes())
}

/// Why a text was not written. That its reader had gone is no reason.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Writes bytes that are ours as they are. False when they could not be written.
pub fn write_raw(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        Ok(()) => true,
        Err(why) => {
            if why.kind() != ErrorKind::BrokenPipe {
                LOST.set(why).ok();
            }
            false
        }
    }
}

/// An error if output was lost: a full disk must not look like a short result.
pub fn all_written() -> anyhow::Result<()> {
    match LOST.get() {
        Some(why) => Err(anyhow::anyhow!("cannot write to stdout: {why}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("disk full")
            .context("cannot write x: disk full")
            .context("--out");
        assert_eq!(chain(error.as_ref()), "--out: cannot write x: disk full");
    }

    #[test]
    fn an_error_keeps_its_words_and_loses_logins() {
        for (error, shown) in [
            ("HERALD_SECRET: allowed: 16", "HERALD_SECRET: allowed: 16"),
            (
                "GET http://ada:p@ss@h:1/x?a=b@c: 500",
                "GET http://h:1/x?a=b@c: 500",
            ),
            ("http://a@b, https://c:d@[::1]", "http://b, https://[::1]"),
            ("ada@example.com at http://h", "ada@example.com at http://h"),
        ] {
            assert_eq!(without_logins(error), shown);
        }
    }
}
