//! What `up` opens is its own: no link, FIFO or file of another user in its directory is followed, waited for or changed.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, mkfifo};

use crate::cli::run;
use crate::harness::{Directory, Up, omnitrace};

const PRECIOUS: &str = "only its owner may change this\n";

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
    assert!(said.contains("--data-dir"), "{what}: {said}");
    let kept = std::fs::read_to_string(&precious).expect("it is still there");
    assert_eq!(kept, PRECIOUS, "{what}");
    let mode = precious.metadata().expect("metadata").mode();
    assert_eq!(mode & 0o777, 0o644, "{what}: its mode is what it was");
    said
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

#[tokio::test]
async fn root_uses_nothing_of_another_user() {
    if !Uid::effective().is_root() {
        eprintln!("not tested: files of another user, which only root can make");
        return;
    }
    const STRANGER: Option<u32> = Some(54_321);
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
    }
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
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../alerts");
    let output = directory.path().join("rules");
    std::fs::create_dir(&output).expect("a directory");
    let links: [fn(&Path, &Path) -> std::io::Result<()>; 2] = [
        |from, to| symlink(from, to),
        |from, to| std::fs::hard_link(from, to),
    ];
    for link in links {
        std::fs::write(&precious, PRECIOUS).expect("a file");
        link(&precious, &output.join("demo.yml")).expect("a link");
        let mut command: Command = omnitrace(["rules", "--profile", "demo", "--input", alerts]);
        command.arg("--output").arg(&output);
        let (code, _, said) = run(command, None).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("--output"), "{said}");
        let kept = std::fs::read_to_string(&precious).expect("it is still there");
        assert_eq!(kept, PRECIOUS);
        std::fs::remove_file(output.join("demo.yml")).expect("the link");
    }
}
