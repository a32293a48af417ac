//! What `up` opens is its own: no link, FIFO or file of another user in its directory is followed, waited for or changed.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, mkfifo};
use serde_json::json;

use crate::cli::run;
use crate::harness::{Child, Directory, Up, binary, omnitrace};

const PRECIOUS: &str = "only its owner may change this\n";
const STRANGER: Option<u32> = Some(54_321);
const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../alerts");

/// `up` where `prepare` was before it: it has to refuse, name the path and the way out, and leave the other file as it is.
async fn refused(what: &str, prepare: impl FnOnce(&Path, &Path)) -> String {
    let directory = Directory::new();
    let precious = directory.path().join("precious");
    std::fs::write(&precious, PRECIOUS).expect("a file");
    std::fs::set_permissions(&precious, PermissionsExt::from_mode(0o644)).expect("its mode");
    std::fs::create_dir_all(directory.data().join("logs")).expect("a directory");
    for path in [directory.data(), directory.data().join("logs")] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).expect("its mode");
    }
    prepare(&directory.data(), &precious);
    let mut command = Up::command(&directory);
    command.arg("--no-console").env("OTEL_SDK_DISABLED", "true");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    // With one there would be no child `postgres`, the first that has a log.
    command.env_remove("DATABASE_URL");
    let (code, stdout, stderr) = run(command, Some(&directory)).await;
    let said = format!("{stdout}\n{stderr}");
    assert_eq!(code, 1, "{what}: {said}");
    names_its_own("--data-dir", &said);
    let kept = std::fs::read_to_string(&precious).expect("it is still there");
    assert_eq!(kept, PRECIOUS, "{what}");
    let mode = precious.metadata().expect("metadata").mode();
    assert_eq!(mode & 0o777, 0o644, "{what}: its mode is what it was");
    said
}

/// How one program is told to use another directory is no help to the user of another.
fn names_its_own(option: &str, said: &str) {
    let mut named = vec!["--data-dir", "--output", "--report-dir", "--state-dir"];
    named.push("OMNITRACE_CACHE_DIR");
    named.retain(|name| said.contains(name));
    assert_eq!(named, [option], "{said}");
}

#[tokio::test]
async fn a_cache_that_is_no_directory_is_refused_by_its_own_name() {
    let directory = Directory::new();
    let cache = directory.path().join("cache");
    std::fs::write(&cache, "").expect("a file");
    let mut command = omnitrace(["postgres", "--port", "0"]);
    command
        .env("OMNITRACE_POSTGRES", "download")
        .env("OMNITRACE_CACHE_DIR", &cache)
        .env_remove("DATABASE_URL");
    let (code, stdout, stderr) = run(command, Some(&directory)).await;
    let said = format!("{stdout}\n{stderr}");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cache is a file"), "{said}");
    names_its_own("OMNITRACE_CACHE_DIR", &said);
}

#[tokio::test]
async fn links_and_fifos_in_the_data_directory_are_refused() {
    for name in ["logs/postgres.log", "up.lock"] {
        let said = refused(name, |data, precious| {
            symlink(precious, data.join(name)).expect("a link");
        })
        .await;
        assert!(
            said.contains(&format!("{name} is a symbolic link, and its owner is ")),
            "{said}"
        );
        let said = refused(name, |data, _| {
            mkfifo(&data.join(name), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        })
        .await;
        assert!(said.contains(&format!("{name} is a FIFO")), "{said}");
        let said = refused(name, |data, precious| {
            std::fs::hard_link(precious, data.join(name)).expect("a link");
        })
        .await;
        assert!(said.contains(&format!("{name} has 2 names")), "{said}");
    }
}

#[tokio::test]
async fn directories_that_lead_elsewhere_or_are_open_to_others_are_refused() {
    let said = refused("logs is a link", |data, precious| {
        std::fs::remove_dir(data.join("logs")).expect("it was empty");
        symlink(precious.parent().expect("a parent"), data.join("logs")).expect("a link");
    })
    .await;
    assert!(said.contains("logs is a symbolic link"), "{said}");
    let said = refused("the directory is a link", |data, precious| {
        let elsewhere = precious.with_file_name("elsewhere");
        std::fs::rename(data, &elsewhere).expect("renamed");
        symlink(&elsewhere, data).expect("a link");
    })
    .await;
    assert!(said.contains(".omnitrace is a symbolic link"), "{said}");
    let said = refused("open to all", |data, _| {
        std::fs::set_permissions(data, PermissionsExt::from_mode(0o777)).expect("its mode");
    })
    .await;
    assert!(
        said.contains("can be written by others (mode 777)"),
        "{said}"
    );
}

fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("not tested: files of another user, which only root can make");
    }
    root
}

#[tokio::test]
async fn root_uses_nothing_of_another_user() {
    if !is_root() {
        return;
    }
    for name in ["", "logs", "up.lock", "logs/postgres.log"] {
        let said = refused(name, |data, _| {
            let path = data.join(name);
            if !path.exists() {
                std::fs::write(&path, "").expect("a file");
            }
            chown(&path, STRANGER, STRANGER).expect("root may");
        })
        .await;
        assert!(
            said.contains("belongs to nobody here (uid 54321)"),
            "{said}"
        );
        assert!(said.contains("`chown -R 0 "), "{said}");
    }
    // What a container and NFS show for an owner that they do not know is nobody's to give away.
    let said = refused("unknown", |data, _| {
        chown(data, Some(65_534), None).expect("root may");
    })
    .await;
    assert!(
        said.contains("(uid 65534)") && said.contains("NFS"),
        "{said}"
    );
    assert!(!said.contains("chown"), "{said}");
    // The commands that look at a running stack believe no state of another user either.
    let directory = Directory::new();
    std::fs::create_dir(directory.data()).expect("a directory");
    chown(directory.data(), STRANGER, STRANGER).expect("root may");
    for arguments in [["health"].as_slice(), &["fault", "list"]] {
        let (code, _, said) = run(omnitrace(arguments), Some(&directory)).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("(uid 54321)"), "{said}");
    }
}

#[tokio::test]
async fn rendered_rules_replace_no_file_behind_a_link() {
    let directory = Directory::new();
    let precious = directory.path().join("precious");
    let output = directory.path().join("rules");
    std::fs::create_dir(&output).expect("a directory");
    let links: [fn(&Path, &Path) -> std::io::Result<()>; 2] = [
        |from, to| symlink(from, to),
        |from, to| std::fs::hard_link(from, to),
    ];
    for link in links {
        std::fs::write(&precious, PRECIOUS).expect("a file");
        link(&precious, &output.join("demo.yml")).expect("a link");
        let mut command: Command = omnitrace(["rules", "--profile", "demo", "--input", ALERTS]);
        command.arg("--output").arg(&output);
        let (code, _, said) = run(command, None).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("--output"), "{said}");
        let kept = std::fs::read_to_string(&precious).expect("it is still there");
        assert_eq!(kept, PRECIOUS);
        std::fs::remove_file(output.join("demo.yml")).expect("the link");
    }
}

#[tokio::test]
async fn root_is_not_led_elsewhere_by_a_link_of_another_user() {
    if !is_root() {
        return;
    }
    let (directory, private) = (Directory::new(), Directory::new());
    let link = directory.path().join("link");
    symlink(private.path(), &link).expect("a link");
    lchown(&link, STRANGER, STRANGER).expect("root may");
    let (data, file, new) = (link.join("data"), link.join("file"), link.join("new"));
    let mut up = Up::command(&directory);
    up.arg("--data-dir").arg(&data);
    let mut rules = omnitrace(["rules", "--profile", "demo", "--input", ALERTS, "--output"]);
    rules.arg(&new);
    let mut receivers = omnitrace(["alertmanager-config", "--secrets"]);
    receivers.arg(directory.path()).arg("--output").arg(&file);
    let mut herald = omnitrace(["herald", "--listen", "127.0.0.1:0", "--state-dir"]);
    herald.arg(&data).env("OTEL_SDK_DISABLED", "true");
    for (command, option) in [
        (up, "--data-dir"),
        (rules, "--output"),
        (receivers, "--output"),
        (herald, "--state-dir"),
    ] {
        let shown = format!("{command:?}");
        let (code, stdout, stderr) = run(command, None).await;
        let said = format!("{stdout}\n{stderr}");
        assert_eq!(code, 1, "{shown}: {said}");
        names_its_own(option, &said);
        let link = format!("{} is a symbolic link", link.display());
        for part in [&link, "nobody here (uid 54321)", "chown -h 0"] {
            assert!(said.contains(part), "{shown}: {said}");
        }
        let made = std::fs::read_dir(private.path())
            .expect("it is there")
            .count();
        assert_eq!(made, 0, "{shown}");
    }
}

#[tokio::test]
async fn herald_as_root_keeps_nothing_in_a_directory_of_another_user() {
    if !is_root() {
        return;
    }
    for (owner, mode, problem) in [
        (STRANGER, 0o700, "belongs to nobody here (uid 54321)"),
        (None, 0o777, "can be written by others (mode 777)"),
    ] {
        let directory = Directory::new();
        chown(directory.path(), owner, owner).expect("root may");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).expect("mode");
        let said = herald_refuses(directory.path()).await;
        assert!(said.contains(problem), "{said}");
        let made = std::fs::read_dir(directory.path()).expect("it is there");
        assert_eq!(made.count(), 0, "what is in it belongs to its owner");
    }
    for inner in ["queue", "queue/log", "failed", "failed/log"] {
        let directory = Directory::new();
        let state = directory.path().join("state");
        std::fs::create_dir_all(state.join(inner)).expect("directories");
        for made in [state.as_path(), &state.join("queue"), &state.join("failed")] {
            let private = PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(made, private).ok();
        }
        chown(state.join(inner), STRANGER, STRANGER).expect("root may");
        let said = herald_refuses(&state).await;
        let problem = format!("state/{inner} belongs to nobody here (uid 54321)");
        assert!(said.contains(&problem), "{said}");
    }
}

/// What it says.
async fn herald_refuses(state: &Path) -> String {
    let mut herald = omnitrace(["herald", "--listen", "127.0.0.1:0", "--state-dir"]);
    herald.arg(state).env("OTEL_SDK_DISABLED", "true");
    let (code, stdout, stderr) = run(herald, None).await;
    let said = format!("{stdout}\n{stderr}");
    assert_eq!(code, 1, "{said}");
    names_its_own("--state-dir", &said);
    said
}

/// The role `postgres` on a server whose `initdb` is this shell script.
async fn with_initdb(directory: &Directory, initdb: &str) -> String {
    let version = "echo 'postgres (PostgreSQL) 17.0'";
    for (name, script) in [("postgres", version), ("initdb", initdb)] {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("its mode");
    }
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut command = omnitrace(["postgres", "--port", "0"]);
    command
        .env("PATH", path)
        .env("OMNITRACE_POSTGRES", "system");
    command.env_remove("DATABASE_URL");
    let (code, stdout, stderr) = run(command, Some(directory)).await;
    let said = format!("{stdout}\n{stderr}");
    assert_eq!(code, 1, "{said}");
    said
}

/// Postgres' user owns the directory that `initdb` works in: root moves the password file there, and nowhere else.
#[tokio::test]
async fn the_user_of_the_server_cannot_have_roots_files_moved_elsewhere() {
    if !is_root() {
        return;
    }
    let private = Directory::new();
    let link = format!("exec ln -s {} \"$2\"", private.path().display());
    let said = with_initdb(&Directory::new(), &link).await;
    assert!(said.contains("data.new is a symbolic link"), "{said}");
    let moved: Vec<_> = std::fs::read_dir(private.path())
        .expect("it is there")
        .collect();
    assert!(moved.is_empty(), "{moved:?}");
}

/// As root has it: Postgres runs as another user.
fn belongs_to_server(data: &Path) {
    if Uid::effective().is_root() {
        let known = |name| nix::unistd::User::from_name(name).expect("users");
        let user = known("postgres").or_else(|| known("nobody")).expect("one");
        chown(data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
    }
}

/// The user whose link it is could otherwise have root end anything, by what it works in.
#[tokio::test]
async fn nothing_is_stopped_where_a_link_in_place_of_the_servers_data_leads() {
    let (directory, elsewhere) = (Directory::new(), Directory::new());
    let parent = directory.data().join("postgres/17");
    std::fs::create_dir_all(&parent).expect("directories");
    std::fs::set_permissions(directory.data(), PermissionsExt::from_mode(0o711)).expect("its mode");
    symlink(elsewhere.path(), parent.join("data")).expect("a link");
    let mut stranger = Command::new("sleep");
    stranger.arg("600").current_dir(elsewhere.path());
    let mut stranger = Child::spawn("sleep", stranger);
    let said = with_initdb(&directory, "echo no room; exit 3").await;
    assert!(said.contains("17/data is a symbolic link"), "{said}");
    assert!(stranger.try_wait().is_none(), "it was stopped");
}

#[tokio::test]
async fn a_fifo_in_place_of_the_servers_pid_makes_no_start_wait() {
    let directory = Directory::new();
    let data = directory.data().join("postgres/17/data");
    std::fs::create_dir_all(&data).expect("directories");
    std::fs::set_permissions(directory.data(), PermissionsExt::from_mode(0o711)).expect("its mode");
    belongs_to_server(&data);
    mkfifo(&data.join("postmaster.pid"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let mut left_behind = Command::new("sleep");
    left_behind.arg("600").current_dir(&data);
    let mut left_behind = Child::spawn("sleep", left_behind);
    let said = with_initdb(&directory, "echo no room; exit 3").await;
    assert!(said.contains("no room"), "{said}");
    left_behind.wait().await;
}

#[tokio::test]
async fn a_state_file_that_a_backup_has_linked_is_still_read() {
    let directory = Directory::new();
    std::fs::create_dir(directory.data()).expect("a directory");
    std::fs::set_permissions(directory.data(), PermissionsExt::from_mode(0o700)).expect("its mode");
    let state = directory.data().join("state.json");
    let nobody = "http://127.0.0.1:9";
    let part =
        json!({"name": "gateway", "pid": 1, "started": null, "url": nobody, "admin_url": nobody});
    let text = json!({"pid": 1, "ready": true, "parts": [part], "database_url": null}).to_string();
    std::fs::write(&state, text).expect("a file");
    std::fs::hard_link(&state, directory.path().join("backup")).expect("a link");
    let lock = std::fs::File::create(directory.data().join("up.lock")).expect("a file");
    lock.lock().expect("as `up` holds it");
    (&lock).write_all(b"1").expect("its pid");
    let (code, said, why) = run(omnitrace(["health"]), Some(&directory)).await;
    assert!(
        code == 1 && said.contains("gateway     NOT READY"),
        "{said}{why}"
    );
}

#[tokio::test]
async fn an_output_that_cannot_be_written_to_its_end_leaves_what_was_there() {
    let directory = Directory::new();
    let output = directory.path().join("demo.yml");
    std::fs::write(&output, PRECIOUS).expect("a file");
    // As on a full disk: the rules are larger than a file may be, by the error and by the signal that kills.
    for (signal, code, names) in [("trap '' XFSZ;", 1, 1), ("", -1, 2)] {
        let mut command = Command::new("sh");
        let limited = format!("{signal} ulimit -f 8; exec \"$0\" \"$@\"");
        command.arg("-c").arg(limited).arg(binary());
        command.args(["rules", "--profile", "demo", "--input", ALERTS, "--output"]);
        command.arg(directory.path());
        let (ended, _, said) = run(command, None).await;
        assert_eq!(ended, code, "{said}");
        assert!(code == -1 || said.contains("demo.yml"), "{said}");
        assert_eq!(
            std::fs::read_to_string(&output).expect("it is there"),
            PRECIOUS
        );
        let left = std::fs::read_dir(directory.path())
            .expect("it is there")
            .count();
        assert_eq!(
            left, names,
            "what was begun is removed unless the process is killed"
        );
    }
}
