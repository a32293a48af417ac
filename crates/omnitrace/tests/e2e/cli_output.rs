//! What commands write, and who reads it: nobody, a full disk, `man`.

use std::process::{Command, Output, Stdio};

use crate::cli::run;
use crate::harness::{Directory, Up, database, omnitrace};

/// Runs a command whose stdout is given, to its end.
async fn output(mut command: Command, stdout: impl Into<Stdio>) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().expect("it starts"))
        .await
        .expect("it ends")
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_every_command_quietly() {
    let database = database().await;
    let mut up = Up::start_with(Directory::new(), &database, |command| command).await;
    up.ready().await;
    let pages = Directory::new();
    let pages = pages.path().join("man");
    let pages = pages.to_str().expect("UTF-8");
    let cases: [&[&str]; 19] = [
        &["help"],
        &["up", "--help"],
        &["--version"],
        &["status"],
        &["status", "--json"],
        &["health"],
        &["logs"],
        &["fault", "list"],
        &["log-level", "data"],
        &["outbox", "list"],
        &["query", "up"],
        &["sql", "SELECT 1"],
        &["alerts"],
        &["doctor"],
        &["completions", "bash"],
        &["alertmanager-config", "--secrets", "."],
        &["licenses"],
        &["licenses", "--json"],
        &["man", "--out", pages],
    ];
    for arguments in cases {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = omnitrace(arguments);
        command.current_dir(up.directory.path());
        command.env("DATABASE_URL", &database.url);
        for name in ["PROMETHEUS_URL", "LOKI_URL", "HERALD_URL"] {
            command.env_remove(name);
        }
        let output = output(command, writer).await;
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complained}");
        assert_eq!(complained, "", "{arguments:?}");
    }
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_an_error() {
    for arguments in [
        ["completions", "fish"].as_slice(),
        &["licenses"],
        &["licenses", "--json"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let output = output(omnitrace(arguments), full.expect("/dev/full")).await;
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            complained.starts_with("error: cannot write to stdout: No space left"),
            "{arguments:?}: {complained}"
        );
    }
}

#[tokio::test]
async fn an_error_blames_the_variable_and_tells_its_cause_once() {
    let mut command = omnitrace(["sql", "SELECT 1"]);
    command.env("DATABASE_URL", "postgres://ada:secret@127.0.0.1:1/shop");
    let (code, _, complained) = run(command, None).await;
    assert_eq!(code, 1);
    assert!(
        complained.starts_with("error: DATABASE_URL: cannot use the server at 127.0.0.1:1: "),
        "{complained}"
    );
    assert_eq!(complained.matches("refused").count(), 1, "{complained}");
    assert!(!complained.contains("secret"), "{complained}");
    let mut command = omnitrace(["sql", "SELECT 1"]);
    command.env("DATABASE_URL", "localhost");
    let (_, _, complained) = run(command, None).await;
    assert!(
        complained.ends_with("not a URL like postgres://user:password@host:5432/database"),
        "{complained}"
    );
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let directory = Directory::new();
    let mut command = omnitrace(["man", "--out", "man/man1"]);
    command.env("HERALD_WEBHOOK_URL", "http://hook.example/secret");
    let (code, _, complained) = run(command, Some(&directory)).await;
    assert_eq!(code, 0, "{complained}");
    let page = |name: &str| {
        let path = directory.path().join("man/man1").join(name);
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    for line in page("omnitrace.1").lines() {
        // roff's own form of `omnitrace-up(1)`.
        let Some(name) = line.strip_prefix("omnitrace\\-") else {
            continue;
        };
        assert!(
            page(&format!(
                "omnitrace-{}.1",
                name[..name.find('(').expect("a section")].replace('\\', "")
            ))
            .contains(".SH SYNOPSIS"),
            "{line}"
        );
    }
    assert!(page("omnitrace-fault-set.1").contains("NAME=VALUE"));
    assert!(!page("omnitrace-herald.1").contains("hook.example"));
}
