//! The programs of the standard stack, as `deploy/tools/build.sh` keeps them.

use std::path::{Path, PathBuf};
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
    spawn(name, &[], arguments, environment)
}

/// The same for a tool that reads the file `hosts` where others read `/etc/hosts`. It needs root, or user namespaces.
pub fn spawn_tool_with_hosts(
    name: &str,
    hosts: &Path,
    arguments: &[String],
    environment: &[(String, String)],
) -> Child {
    let hosts = hosts.to_str().expect("a path of text");
    let mut before = vec!["unshare", "--mount"];
    if !nix::unistd::geteuid().is_root() {
        before.push("--map-root-user");
    }
    let mount = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
    before.extend(["sh", "-c", mount, hosts]);
    spawn(name, &before, arguments, environment)
}

/// `before` is a program that becomes the tool, with its arguments.
fn spawn(
    name: &str,
    before: &[&str],
    arguments: &[String],
    environment: &[(String, String)],
) -> Child {
    let mut command = Command::new("sh");
    command
        .args(["-c", LEASH, name])
        .args(before)
        .arg(tool(name))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Child::spawn(name, command)
}
