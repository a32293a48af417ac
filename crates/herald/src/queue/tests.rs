use std::path::Path;

use serde_json::Value;

use super::*;
use crate::payload::tests::example;

const TARGETS: [&str; 2] = ["slack", "webhook"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn open(root: &Path, limit: usize) -> Arc<Queue> {
    let spool = Spool::open(root, &TARGETS).unwrap();
    Arc::new(Queue::open(spool, TARGETS.into(), limit).unwrap())
}

fn body(group: &str, status: &str) -> Bytes {
    let mut payload = example();
    payload["groupKey"] = group.into();
    payload["status"] = status.into();
    payload.to_string().into()
}

async fn accepted(queue: &Arc<Queue>, group: &str, status: &str) -> Uuid {
    match queue.accept(body(group, status)).await.unwrap() {
        Accepted::New(stored) => stored.key.parse().unwrap(),
        Accepted::Pending(key) => panic!("pending as {key}"),
    }
}

async fn pending(queue: &Arc<Queue>, group: &str, status: &str) -> Uuid {
    match queue.accept(body(group, status)).await.unwrap() {
        Accepted::Pending(key) => key.parse().unwrap(),
        Accepted::New(stored) => panic!("new as {}", stored.key),
    }
}

/// The waiting notifications of a target, in the order of delivery.
async fn all(queue: &Arc<Queue>, target: &'static str) -> Vec<(Uuid, Value)> {
    let mut all = Vec::new();
    while queue.len(target) > 0 {
        let work = queue.next(target).await;
        let key = work.key;
        let stored = queue.load(target, work, DAY).await.unwrap();
        queue.delivered(target, key).await;
        all.push((key, serde_json::to_value(stored.payload.status).unwrap()));
    }
    all
}

fn file(root: &Path, target: &str, key: Uuid) -> std::path::PathBuf {
    root.join(format!("queue/{target}/{key}.json"))
}

impl Queue {
    fn len(&self, target: &str) -> usize {
        self.index().len(target)
    }
}

#[tokio::test]
async fn a_restart_finds_everything_that_was_accepted_under_its_key() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let key = accepted(&queue, "a", "firing").await;
    assert_eq!(pending(&queue, "a", "firing").await, key);
    queue.delivered("slack", key).await;
    drop(queue);

    let queue = open(root.path(), 10);
    assert_eq!((queue.len("slack"), queue.len("webhook")), (0, 1));
    assert_eq!(queue.next("webhook").await.key, key);
    queue.failed("webhook", key).await;
    drop(queue);
    assert_eq!(open(root.path(), 10).len("webhook"), 0);
}

#[tokio::test]
async fn killed_between_the_files_of_two_targets_the_repeated_request_reaches_the_second() {
    for lost in TARGETS {
        let root = tempfile::tempdir().unwrap();
        let queue = open(root.path(), 10);
        let key = accepted(&queue, "a", "firing").await;
        let other = accepted(&queue, "b", "firing").await;
        drop(queue);
        std::fs::remove_file(file(root.path(), lost, key)).unwrap();

        let queue = open(root.path(), 10);
        assert_eq!(
            accepted(&queue, "a", "firing").await,
            key,
            "the same notification"
        );
        assert_eq!(pending(&queue, "a", "firing").await, key);
        for target in TARGETS {
            let mut keys: Vec<Uuid> = all(&queue, target)
                .await
                .into_iter()
                .map(|(key, _)| key)
                .collect();
            keys.sort();
            assert_eq!(keys, [key, other], "{target}");
        }
    }
}

#[tokio::test]
async fn a_group_that_fires_again_while_a_target_is_away_reaches_it_three_times() {
    let root = tempfile::tempdir().unwrap();
    let mut queue = open(root.path(), 10);
    let mut keys = Vec::new();
    for status in ["firing", "resolved", "firing"] {
        let key = accepted(&queue, "a", status).await;
        assert_eq!(pending(&queue, "a", status).await, key);
        queue.delivered("slack", key).await;
        keys.push(key);
        drop(queue);
        queue = open(root.path(), 10);
    }
    let statuses = ["firing", "resolved", "firing"].map(Value::from);
    let expected: Vec<(Uuid, Value)> = keys.into_iter().zip(statuses).collect();
    assert_eq!(all(&queue, "webhook").await, expected);
}

#[tokio::test]
async fn a_key_that_is_before_what_waits_is_not_used_again() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let firing = accepted(&queue, "a", "firing").await;
    let resolved = accepted(&queue, "a", "resolved").await;
    drop(queue);
    // The process was killed before "resolved" was on disk for the webhook; then the group fires again.
    std::fs::remove_file(file(root.path(), "webhook", resolved)).unwrap();
    let queue = open(root.path(), 10);
    let again = accepted(&queue, "a", "firing").await;
    assert!(again > resolved);
    drop(queue);
    let queue = open(root.path(), 10);
    let keys = |all: Vec<(Uuid, Value)>| all.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(all(&queue, "slack").await), [firing, resolved, again]);
    assert_eq!(keys(all(&queue, "webhook").await), [firing]);
}

#[tokio::test]
async fn what_only_looks_the_same_is_no_duplicate() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let key = accepted(&queue, "a", "firing").await;
    // Simulates different content with the same digest.
    for target in TARGETS {
        let path = file(root.path(), target, key);
        let other = std::fs::read_to_string(&path)
            .unwrap()
            .replace("too many errors", "another");
        std::fs::write(path, other).unwrap();
    }
    assert_ne!(accepted(&queue, "a", "firing").await, key);
}

#[tokio::test]
async fn a_clock_that_went_back_does_not_change_the_order() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let key = accepted(&queue, "a", "firing").await;
    drop(queue);
    // In the year 9737, the last key of its millisecond.
    let future: Uuid = "dec0de00-0000-7fff-bfff-ffffffffffff".parse().unwrap();
    for target in TARGETS {
        std::fs::rename(
            file(root.path(), target, key),
            file(root.path(), target, future),
        )
        .unwrap();
    }
    let queue = open(root.path(), 10);
    let after = accepted(&queue, "a", "resolved").await;
    assert!(after > future);
    drop(queue);
    let queue = open(root.path(), 10);
    let keys = all(&queue, "slack").await.into_iter().map(|(key, _)| key);
    assert_eq!(keys.collect::<Vec<_>>(), [future, after]);
}

#[tokio::test]
async fn what_would_be_no_key_at_the_next_start_is_not_accepted() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let key = accepted(&queue, "a", "firing").await;
    drop(queue);
    let path = |last| file(root.path(), "slack", last);
    // The last millisecond of the year 9999, and the one behind it.
    let [last, behind] = ["dbff", "dc00"].map(|end| {
        let key = format!("e677d21f-{end}-7fff-bfff-ffffffffffff");
        key.parse().unwrap()
    });
    for other in [last, behind] {
        std::fs::copy(path(key), path(other)).unwrap();
    }
    let queue = open(root.path(), 10);
    assert_eq!(queue.len("slack"), 2, "the other is left alone");
    let refused = queue.accept(body("b", "firing")).await;
    let named = format!("queue/slack/{last}.json in the directory HERALD_STATE_DIR");
    assert!(
        matches!(&refused, Err(Refusal::NoKey(why)) if why.contains(&named)),
        "{refused:?}"
    );
    drop(queue);
    std::fs::remove_file(path(last)).unwrap();
    accepted(&open(root.path(), 10), "b", "firing").await;
}

#[tokio::test]
async fn what_one_target_cannot_keep_no_target_gets() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let away = root.path().join("away");
    std::fs::rename(root.path().join("queue/webhook"), &away).unwrap();
    let refused = queue.accept(body("a", "firing")).await;
    assert!(matches!(refused, Err(Refusal::Disk(_))), "{refused:?}");
    assert_eq!(
        std::fs::read_dir(root.path().join("queue/slack"))
            .unwrap()
            .count(),
        0
    );
    let [reason] = queue.reasons().try_into().unwrap();
    assert!(
        reason.starts_with("the disk does not take notifications: "),
        "{reason}"
    );

    std::fs::rename(&away, root.path().join("queue/webhook")).unwrap();
    queue.probe(1);
    assert_eq!(queue.reasons(), [] as [String; 0]);
    accepted(&queue, "a", "firing").await;
    assert_eq!((queue.len("slack"), queue.len("webhook")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_its_order_and_holds_no_other_up() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let firing = accepted(&queue, "a", "firing").await;
    let resolved = accepted(&queue, "a", "resolved").await;
    let other = accepted(&queue, "b", "firing").await;

    let next = async || queue.next("slack").await.key;
    assert_eq!(next().await, firing);
    queue.postpone("slack", firing, Duration::from_secs(30));
    assert_eq!(next().await, other, "not the end before the beginning");
    let start = Instant::now();
    let work = queue.next("slack").await;
    assert_eq!((work.key, work.attempts), (firing, 1));
    assert_eq!(start.elapsed().as_secs(), 30);
    queue.delivered("slack", firing).await;
    assert_eq!(next().await, resolved);
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 1);
    let key = accepted(&queue, "a", "firing").await;
    let refused = queue.accept(body("b", "firing")).await;
    assert!(matches!(refused, Err(Refusal::Full(why)) if why.contains("wait for slack, ")));
    queue.delivered("slack", key).await;
    assert_eq!(
        queue.reasons(),
        [
            "1 notifications wait for webhook, as many as HERALD_QUEUE_LIMIT allows: herald's log says why webhook does \
             not take them; mend that, or raise the limit"
        ]
    );
    queue.delivered("webhook", key).await;
    assert_eq!(queue.reasons(), [] as [String; 0]);
    accepted(&queue, "b", "firing").await;
}

#[tokio::test]
async fn a_file_that_was_changed_or_removed_meanwhile_holds_nothing_up() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let [gone, wrong] = [
        accepted(&queue, "a", "firing").await,
        accepted(&queue, "a", "resolved").await,
    ];
    let last = accepted(&queue, "a", "firing").await;
    std::fs::remove_file(file(root.path(), "slack", gone)).unwrap();
    std::fs::write(file(root.path(), "slack", wrong), "{").unwrap();
    for key in [gone, wrong] {
        let work = queue.next("slack").await;
        assert_eq!(work.key, key);
        assert!(queue.load("slack", work, DAY).await.is_none());
    }
    assert_eq!(queue.next("slack").await.key, last);
    assert!(
        root.path()
            .join(format!("failed/slack/{wrong}.json"))
            .exists()
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_given_up_as_late_as_what_does_not_arrive() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 1);
    let key = accepted(&queue, "a", "firing").await;
    let path = file(root.path(), "slack", key);
    std::fs::rename(&path, root.path().join("away")).unwrap();
    // Herald does not follow a link; the file may be there another time.
    std::os::unix::fs::symlink("away", &path).unwrap();
    for (patience, waits) in [(DAY, 1), (Duration::ZERO, 0)] {
        let work = queue.next("slack").await;
        assert!(queue.load("slack", work, patience).await.is_none());
        assert_eq!(queue.len("slack"), waits, "{patience:?}");
    }
    assert!(std::fs::symlink_metadata(&path).is_err(), "it is set aside");
}

#[test]
fn what_cannot_be_read_at_the_start_is_not_given_up_at_once_however_old_it_is() {
    let old: Uuid = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let mut index = Index::new(&TARGETS);
    index.push("slack", Entry::unread(old, key::given(old).unwrap()));
    let work = index.take("slack", Instant::now()).unwrap();
    assert!(work.age() < DAY, "{:?}", work.since);
}

#[test]
fn on_a_full_disk_the_history_gives_way_to_the_queue() {
    let root = tempfile::tempdir().unwrap();
    let queue = open(root.path(), 10);
    let take = |group, status| queue.take_in(Payload::read(&body(group, status)).unwrap());
    for status in ["firing", "resolved"] {
        take("old", status).unwrap();
    }
    let groups = || {
        let (groups, _) = queue
            .history
            .list(None, 10, |r| r.payload.group_key.clone());
        groups
    };
    assert_eq!(groups(), ["old"]);
    crate::spool::tests::refuse();
    let taken = take("new", "firing");
    assert!(matches!(taken, Ok(Accepted::New(_))), "{taken:?}");
    assert_eq!(queue.len("slack"), 3);
    assert_eq!(groups(), ["new"], "the old one made room");
}
