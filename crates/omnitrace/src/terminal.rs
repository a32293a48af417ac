//! What commands print: much of it is the answer of a backend, and none of it may write to the terminal but what it says.

use std::io::Write;

use redact::{plain, redact};
use serde_json::Value;

/// A text from elsewhere on one line, without secrets: a password in an address, for example.
pub fn quoted(text: &str) -> String {
    plain::one_line(&redact(text)).into_owned()
}

/// Prints a line. Not `println!`: a reader that goes away (`| head`) is no reason to panic.
pub fn say(line: &str) {
    print(&plain::one_line(line));
}

/// Prints text of several lines that are ours.
pub fn say_lines(lines: &str) {
    print(&plain::lines(lines));
}

/// Prints JSON.
pub fn say_json(value: &Value) {
    print(&plain::json(&value.to_string()));
}

/// The error that ends a command. It may quote what a child has said last, line by line.
pub fn complain(error: &anyhow::Error) {
    eprintln!("{}", plain::lines(&redact(&format!("error: {error:#}"))));
}

fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .ok();
}
