//! `just down` and `just reset` against an engine whose network stays: a script in docker's place answers as Docker Engine 20.10 did
//! when that happened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::repository;

/// Compose's own words. `LEFT` says what the engine still lists.
const DOCKER: &str = r#"#!/bin/sh
case "$*" in
    version | "compose version") exit 0 ;;
    compose*\ config) printf 'name: omnitrace\nservices:\n  x:\n    name: y\n' ;;
    compose*\ down*)
        echo "$*" >>"$CALLS"
        case "$LEFT" in nothing) exit 0 ;; esac
        echo "failed to remove network omnitrace_default: Error response from daemon: network omnitrace_default has active endpoints" >&2
        exit 1
        ;;
    *label=com.docker.compose.project=omnitrace)
        case "$LEFT" in *"$1"*) echo "$1-that-stays" ;; esac
        ;;
    *) echo "not expected: $*" >&2; exit 64 ;;
esac
"#;

/// Whether the command succeeds, what it says, and how often Compose was told to delete.
fn stack(command: &str, left: &str) -> (bool, String, usize) {
    let directory = tempfile::tempdir().expect("directory");
    let (docker, calls) = (
        directory.path().join("docker"),
        directory.path().join("calls"),
    );
    fs::write(&docker, DOCKER).expect("docker");
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("executable");
    fs::write(directory.path().join(".env"), "").expect("settings");
    let output = Command::new(repository("deploy/stack.sh"))
        .arg(command)
        .env("PATH", path_with(directory.path()))
        .env("OMNITRACE_ENV_FILE", directory.path().join(".env"))
        .env("LEFT", left)
        .env("CALLS", &calls)
        .output()
        .expect("stack.sh");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let calls = fs::read_to_string(calls)
        .unwrap_or_default()
        .lines()
        .count();
    (output.status.success(), said, calls)
}

fn path_with(first: &Path) -> String {
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", first.display())
}

#[test]
fn a_network_that_the_engine_keeps_is_said_and_is_no_failure() {
    for command in ["down", "reset"] {
        let (succeeded, said, calls) = stack(command, "network");
        assert!(succeeded, "{command}: {said}");
        assert!(
            said.contains("but the network network-that-stays"),
            "{said}"
        );
        assert!(said.contains("restart of the engine"), "{said}");
        assert_eq!(calls, 2, "{command} is tried once more: {said}");
    }
}

#[test]
fn whatever_else_stays_is_a_failure() {
    for (command, left) in [
        ("down", "network container"),
        ("reset", "network container"),
        ("reset", "network volume"),
        ("down", "what nobody knows"),
    ] {
        let (succeeded, said, _) = stack(command, left);
        assert!(!succeeded, "{command} with {left}: {said}");
        assert!(said.contains("not everything was deleted"), "{said}");
    }
    // `down` keeps the data.
    let (succeeded, said, _) = stack("down", "network volume");
    assert!(succeeded, "{said}");
}

#[test]
fn when_all_is_deleted_nothing_more_is_asked() {
    for command in ["down", "reset"] {
        let (succeeded, said, calls) = stack(command, "nothing");
        assert!(succeeded && calls == 1, "{command}: {calls} {said}");
    }
}
