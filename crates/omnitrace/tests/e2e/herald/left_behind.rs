//! What lies in herald's directories without being a notification stops no start, and is neither followed nor removed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Herald, alert, arrived, queued};
use crate::harness::{Capture, eventually};

fn key() -> String {
    Uuid::now_v7().to_string()
}

fn named(directory: &Path) -> PathBuf {
    directory.join(format!("{}.json", key()))
}

/// Everything but a regular file whose name is a key; the names.
fn foreign(directory: &Path, secret: &Path) -> Vec<PathBuf> {
    let new: Vec<PathBuf> = (0..5).map(|_| named(directory)).collect();
    symlink(secret, &new[0]).unwrap();
    symlink(directory.join("nowhere"), &new[1]).unwrap();
    nix::unistd::mkfifo(&new[2], Mode::S_IRWXU).unwrap();
    drop(UnixListener::bind(&new[3]).unwrap());
    fs::create_dir(&new[4]).unwrap();
    let half = new[4].with_extension("new");
    fs::create_dir(&half).unwrap();
    let names =
        ["..json", ".json", "notes.txt", "x.json", "UPPER.JSON"].map(|name| directory.join(name));
    let upper = directory.join(format!("{}.json", key().to_uppercase()));
    let bytes = directory.join(OsStr::from_bytes(b"\xff\xfe\x1b[31m.json"));
    // Keys that herald gives to nothing; of the last but one there is none to come after it.
    let others = [Uuid::nil(), Uuid::max(), Uuid::new_v4()].map(|key| key.to_string());
    let last = "ffffffff-ffff-7fff-bfff-ffffffffffff".to_owned();
    let others = others.into_iter().chain([last]);
    let others = others.map(|key| directory.join(format!("{key}.json")));
    let files = [vec![upper, bytes], others.collect(), names.into()].concat();
    for file in &files {
        fs::write(file, "{}").unwrap();
    }
    [new, vec![half], files].concat()
}

/// Files with a right name that hold no notification.
fn wrong(directory: &Path, good: &Value) -> Vec<PathBuf> {
    let with = |change: fn(&mut Value)| {
        let mut stored = good.clone();
        change(&mut stored);
        stored.to_string().into_bytes()
    };
    let whole = good.to_string();
    let contents = [
        Vec::new(),
        b"[]".to_vec(),
        whole.as_bytes()[..whole.len() / 2].to_vec(),
        "[".repeat(200_000).into_bytes(),
        vec![0xff; 100],
        with(|stored| stored["payload"]["alerts"] = json!([])),
        with(|stored| {
            stored["payload"]["alerts"][0]["startsAt"] = json!("+262142-12-31T23:59:59Z")
        }),
        with(|stored| {
            stored["payload"]["alerts"][0]["startsAt"] = json!("-262143-01-01T00:00:00Z")
        }),
        with(|stored| stored["accepted"] = json!("+262142-12-31T23:59:59Z")),
    ];
    let mut files: Vec<PathBuf> = Vec::new();
    for content in contents {
        files.push(named(directory));
        fs::write(files.last().unwrap(), content).unwrap();
    }
    let huge = named(directory);
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    files.push(huge);
    files
}

#[tokio::test]
async fn what_is_no_notification_is_named_and_left_or_set_aside_and_the_rest_is_delivered() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let url = webhook.url();
    let settings = [("HERALD_WEBHOOK_URL", url.as_str())];
    let mut herald = Herald::start(state.path(), &settings).await;
    let accepted = herald.accepted(&alert("ServiceDown", "firing")).await;
    herald.kill().await;
    webhook.take();
    webhook.answer_with(200);

    let [queue, failed] = ["queue", "failed"].map(|kind| state.path().join(kind).join("webhook"));
    let good = fs::read(queue.join(format!("{accepted}.json"))).unwrap();
    let good: Value = serde_json::from_slice(&good).unwrap();
    let secret = state.path().join("secret.json");
    fs::write(&secret, good.to_string()).unwrap();
    let left_alone = [foreign(&queue, &secret), foreign(&failed, &secret)].concat();
    let set_aside = wrong(&queue, &good);
    // A key that is a path out of the directory, to something that is there.
    let outside = state.path().join("outside.json");
    fs::write(&outside, "{}").unwrap();
    let (mut escaping, name) = (good.clone(), named(&queue));
    escaping["key"] = json!("../../outside");
    escaping["payload"]["groupKey"] = json!("another");
    fs::write(&name, escaping.to_string()).unwrap();

    let mut herald = Herald::start(state.path(), &settings).await;
    let target = ("target", "webhook");
    herald.until("herald_queue_size", &[target], 0.0).await;
    let mut keys: Vec<_> = webhook
        .take()
        .iter()
        .filter_map(|request| request.header("idempotency-key"))
        .collect();
    keys.sort();
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut expected = [accepted, stem(&name)];
    expected.sort();
    assert_eq!(keys, expected, "the file's name is the key");

    assert!(outside.exists() && secret.exists());
    let log = herald.child.output();
    for file in &left_alone {
        assert!(
            fs::symlink_metadata(file).is_ok(),
            "{} is gone",
            file.display()
        );
        let shown = file
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace([char::REPLACEMENT_CHARACTER, '\u{1b}'], "");
        assert!(
            log.contains(shown.trim_start_matches('.')),
            "{shown} is not named"
        );
    }
    assert!(!log.contains('\u{1b}') && log.contains("UUID of version 7"));
    for file in &set_aside {
        let name = file.file_name().unwrap();
        assert!(!file.exists() && failed.join(name).exists(), "{name:?}");
        assert!(log.contains(&stem(file)), "{name:?} is not named");
    }
    let count = left_alone.len() as f64;
    assert_eq!(
        herald.metric("herald_foreign_files", &[target]).await,
        count
    );
    let ended = [target, ("outcome", "failed")];
    assert_eq!(
        herald.metric("herald_notifications_total", &ended).await,
        set_aside.len() as f64
    );
    assert!(herald.child.terminate().await.success());
    assert_eq!(
        queued(state.path(), "queue", "webhook").len(),
        left_alone.len() / 2
    );
}

/// Not run by root, who may read every file.
async fn unprivileged(state: &Path, webhook: &Capture) -> Herald {
    let mut command = Herald::command(state);
    command.env("HERALD_WEBHOOK_URL", webhook.url());
    if nix::unistd::geteuid().is_root() {
        let nobody = 65534;
        std::os::unix::fs::chown(state, Some(nobody), Some(nobody)).unwrap();
        command.uid(nobody).gid(nobody);
    }
    Herald::of(command).await
}

#[tokio::test]
async fn what_cannot_be_read_at_the_start_is_tried_again_and_its_group_waits_behind_it() {
    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    webhook.answer_with(503);
    let mut herald = unprivileged(state.path(), &webhook).await;
    let firing = herald.accepted(&alert("ServiceDown", "firing")).await;
    herald.kill().await;
    webhook.take();
    webhook.answer_with(200);

    let [file] = queued(state.path(), "queue", "webhook").try_into().unwrap();
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0);
    let mut herald = unprivileged(state.path(), &webhook).await;
    let resolved = herald.accepted(&alert("ServiceDown", "resolved")).await;
    let read = [("operation", "read")];
    eventually("it is tried again", async || {
        let errors = herald.metric("herald_storage_errors_total", &read).await;
        (errors >= 3.0).then_some(())
    })
    .await;
    assert_eq!(webhook.take().len(), 0, "nothing comes before it");
    let log = herald.child.output();
    assert!(
        log.contains(&format!("queue/webhook/{firing}.json")),
        "{log}"
    );

    mode(0o600);
    let got = arrived(&webhook, 2).await;
    let keys = got
        .iter()
        .filter_map(|request| request.header("idempotency-key"));
    assert_eq!(keys.collect::<Vec<_>>(), [firing, resolved]);
    let target = [("target", "webhook")];
    assert_eq!(herald.metric("herald_foreign_files", &target).await, 0.0);
    assert!(herald.child.terminate().await.success());
    assert_eq!(queued(state.path(), "queue", "webhook"), [] as [PathBuf; 0]);
}
