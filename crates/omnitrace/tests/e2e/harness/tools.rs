//! The programs of the standard stack, as `deploy/tools/build.sh` keeps them.

use std::path::PathBuf;
use std::process::Command;

use standard::Tools;

use super::Child;

/// Path of a program, by its name in [`Tools::program`]; panics with the way out when it is missing.
pub fn tool(name: &str) -> PathBuf {
    let tools = Tools::find(|name| Ok(std::env::var_os(name).map(PathBuf::from)));
    let path = tools.and_then(|tools| tools.program(name));
    path.unwrap_or_else(|missing| panic!("{missing}"))
}

/// Runs a tool to its end: whether it succeeded, and what it said.
pub fn run_tool(name: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(tool(name))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Ends the program when the pipe on stdin closes, that is: when the test process ends, in whatever way. A program of
/// ours does so by itself.
const LEASH: &str = r#"exec 3<&0 </dev/null; (cat <&3 >/dev/null 2>&1; kill -9 $$ 2>/dev/null) >/dev/null 2>&1 & exec 3<&-; exec "$@""#;

/// Starts a tool that runs until it is stopped.
pub fn spawn_tool(name: &str, arguments: &[String], environment: &[(String, String)]) -> Child {
    let mut command = Command::new("sh");
    command
        .args(["-c", LEASH, name])
        .arg(tool(name))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Child::spawn(name, command)
}
