//! What `just up` keeps to go back to: a script in docker's place says what it was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::repository;

const DOCKER: &str = r#"#!/bin/sh
case "$*" in
    compose*\ build | compose*\ up\ *) echo "$OMNITRACE_VERSION $*" >>"$CALLS" ;;
    image\ rm\ *) echo "$*" >>"$CALLS" ;;
    compose*\ ps\ *) echo "$OMNITRACE_VERSION $*" >>"$CALLS" ;;
esac
exit 0
"#;

/// Runs `stack.sh` as this release, or as it calls itself.
fn stack(directory: &Path, command: &str, release: Option<&str>) -> String {
    let docker = directory.join("docker");
    fs::write(&docker, DOCKER).expect("docker");
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("executable");
    let calls = directory.join("calls");
    fs::write(&calls, "").expect("a file");
    let rest = std::env::var("PATH").unwrap_or_default();
    let mut stack = Command::new(repository("deploy/stack.sh"));
    stack
        .arg(command)
        .env("PATH", format!("{}:{rest}", directory.display()))
        .env("OMNITRACE_ENV_FILE", directory.join(".env"))
        .env("OMNITRACE_SECRETS_DIR", directory.join("secrets"))
        .env("CALLS", &calls)
        .env_remove("OMNITRACE_VERSION");
    if let Some(release) = release {
        stack.env("OMNITRACE_VERSION", release);
    }
    let output = stack.output().expect("stack.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::read_to_string(calls).expect("calls")
}

/// The releases that are remembered, the oldest first.
fn kept(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join(".env.releases")).expect("releases");
    let names = text.lines().map(|line| {
        let (time, name) = line.split_once(' ').expect("time and name");
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        name.to_owned()
    });
    names.collect()
}

#[test]
fn the_newest_five_releases_are_kept_and_the_others_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    for release in ["1.0-a", "1.0-b", "1.0-c", "1.0-d", "1.0-e"] {
        let calls = stack(here, "up", Some(release));
        assert!(calls.contains(&format!("{release} compose")), "{calls}");
        assert!(!calls.contains("image rm"), "{calls}");
    }
    // Started again, it is the newest, and nothing goes.
    assert!(!stack(here, "up", Some("1.0-a")).contains("image rm"));
    assert_eq!(kept(here), ["1.0-b", "1.0-c", "1.0-d", "1.0-e", "1.0-a"]);
    let calls = stack(here, "up", Some("1.0-f"));
    assert!(calls.contains("image rm omnitrace:1.0-b "), "{calls}");
    assert_eq!(kept(here), ["1.0-c", "1.0-d", "1.0-e", "1.0-a", "1.0-f"]);
}

#[test]
fn a_release_is_named_after_what_is_checked_out_and_others_ask_for_what_was_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    stack(here, "up", None);
    let names = kept(here);
    let version = concat!(env!("CARGO_PKG_VERSION"), "-");
    assert!(
        names.len() == 1 && format!("{}-", names[0]).starts_with(version),
        "{names:?}"
    );
    stack(here, "up", Some("1.0-other"));
    let calls = stack(here, "ps", None);
    assert!(calls.starts_with("1.0-other compose"), "{calls}");
}

#[test]
fn an_installation_of_before_gets_the_probes_token_and_nothing_else_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    stack(here, "up", None);
    let env = here.join(".env");
    let whole = fs::read_to_string(&env).expect("settings");
    let is_token = |line: &&str| line.starts_with("OMNITRACE_PROBE_TOKEN=");
    let before: Vec<&str> = whole.lines().filter(|line| !is_token(line)).collect();
    fs::write(&env, before.join("\n") + "\n").expect("settings");
    stack(here, "up", None);
    let after = fs::read_to_string(&env).expect("settings");
    let token = after.lines().find(is_token).expect("a token");
    assert!(token.len() > "OMNITRACE_PROBE_TOKEN=".len() + 16);
    let rest: Vec<&str> = after.lines().filter(|line| !is_token(line)).collect();
    assert_eq!(rest, before);
}
