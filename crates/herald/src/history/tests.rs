use serde_json::json;

use super::*;
use crate::payload::Payload;
use crate::payload::tests::example;

fn key(number: u128) -> Uuid {
    Uuid::from_u128((7 << 76) + (1 << 63) + number)
}

fn stored(number: u128, status: &str) -> Stored {
    let mut payload = example();
    payload["status"] = status.into();
    payload["alerts"][0]["status"] = status.into();
    payload["alerts"][0]["startsAt"] = json!(chrono::Utc::now());
    Stored {
        key: key(number).to_string(),
        accepted: chrono::Utc::now(),
        held_until: None,
        payload: Payload::read(payload.to_string().as_bytes()).unwrap(),
    }
}

struct Case {
    root: tempfile::TempDir,
    history: History,
}

impl Case {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(root.path(), &["slack"]).unwrap());
        let history = History::open(spool);
        Self { root, history }
    }

    /// Opens the directory as the next process would.
    fn again(self) -> Self {
        let Self { root, history } = self;
        drop(history);
        let spool = Arc::new(Spool::open(root.path(), &["slack"]).unwrap());
        let history = History::open(spool);
        Self { root, history }
    }

    fn ids(&self) -> Vec<Uuid> {
        self.history.list(None, 100, |record| record.id).0
    }

    fn files(&self) -> usize {
        self.history.alerts.list().unwrap().keys.len()
    }
}

#[test]
fn what_a_target_got_late_is_told_of_the_episode_it_belongs_to() {
    let mut case = Case::new();
    let all = ["firing", "resolved", "firing", "resolved"];
    let all: Vec<Stored> = (1..)
        .zip(all)
        .map(|(n, status)| stored(n, status))
        .collect();
    all.iter()
        .for_each(|stored| case.history.record_accepted(stored));
    assert_eq!(case.ids(), [key(3), key(1)]);
    // The target was away.
    for told in [false, true] {
        for (first, last) in [(0, 1), (2, 3)] {
            let is_delivered =
                |n: usize| case.history.target_state("slack", &all[n]).is_delivered();
            assert_eq!((is_delivered(first), is_delivered(last)), (told, told));
            case.history.delivered("slack", &all[first], None);
        }
        case = case.again();
    }
    let (counts, _) = case
        .history
        .list(Some(true), 100, |record| record.notifications);
    assert_eq!(counts, [2, 2], "none is counted twice");
}

#[test]
fn what_is_delivered_is_in_the_history_though_its_acceptance_was_not_written() {
    let case = Case::new();
    let (evidence, diagnosis) = (json!({"traces": []}), json!({"causes": []}));
    let found = Found {
        evidence: evidence.clone(),
        diagnosis: diagnosis.clone(),
    };
    case.history
        .delivered("slack", &stored(1, "firing"), Some(found));
    let case = case.again();
    let kept = |record: &Record| (record.evidence.clone(), record.diagnosis.clone());
    let kept = case.history.get(key(1), kept);
    assert_eq!(kept, Some((Some(evidence), Some(diagnosis))));
    assert!(
        case.history
            .target_state("slack", &stored(2, "resolved"))
            .is_delivered()
    );
    assert!(
        !case
            .history
            .target_state("webhook", &stored(2, "resolved"))
            .is_delivered()
    );
}

#[test]
fn a_file_that_was_damaged_meanwhile_is_set_aside_and_the_alert_begins_anew() {
    let case = Case::new();
    case.history.record_accepted(&stored(1, "firing"));
    std::fs::write(case.history.alerts.path(key(1)), "{").unwrap();
    case.history.record_accepted(&stored(2, "firing"));
    assert_eq!(case.ids(), [key(2)]);
    assert_eq!(case.history.unreadable.list().unwrap().keys, [key(1)]);
}

#[test]
fn what_is_over_makes_room_for_the_queue_and_what_fires_stays() {
    let case = Case::new();
    for (number, status) in [(1, "firing"), (2, "resolved"), (3, "firing")] {
        case.history.record_accepted(&stored(number, status));
    }
    assert!(case.history.make_room(1));
    assert_eq!((case.ids(), case.files()), (vec![key(3)], 1));
    assert!(!case.history.make_room(1), "nothing more");
}

#[test]
fn a_large_notification_is_kept_small_and_still_told_apart() {
    let case = Case::new();
    let mut large = stored(1, "firing");
    let mut payload = example();
    for index in 0..60 {
        for place in ["labels", "annotations"] {
            payload["alerts"][0][place][format!("a{index}")] = "\u{1}".repeat(2000).into();
        }
        payload["commonLabels"][format!("a{index}")] = "\u{1}".repeat(2000).into();
    }
    large.payload = Payload::read(payload.to_string().as_bytes()).unwrap();
    case.history.record_accepted(&large);
    let size = case.history.alerts.read(key(1)).unwrap().len();
    assert!(size < 128 << 10, "{size}");
    let acknowledged = case.history.edit(key(1), |record| {
        record.acknowledge("ada".to_owned(), String::new());
        Ok(())
    });
    assert!(acknowledged.is_ok());
    case.history.delivered("slack", &large, None);
    let told = case.history.target_state("slack", &large);
    assert!(told.is_acknowledged(&large.payload));
    large.payload.truncated_alerts += 1;
    assert!(!told.is_acknowledged(&large.payload), "it has grown");
}

#[test]
fn a_panic_while_it_is_written_is_nobody_elses() {
    let case = Case::new();
    case.history
        .change(&stored(1, "firing"), |_| panic!("it happens"));
    case.history.record_accepted(&stored(1, "firing"));
    assert_eq!(case.ids(), [key(1)]);
    drop(case.root);
}

/// Whether a target hears nothing of the end of what these notifications began.
fn drops_the_end(case: &Case) -> bool {
    let told = case.history.target_state("slack", &stored(9, "resolved"));
    case.history.is_only_silenced(&told)
}

fn silence() -> Silenced {
    Silenced {
        id: key(7),
        by: "ada".to_owned(),
        comment: "we know".to_owned(),
        until: Utc::now(),
    }
}

#[test]
fn what_is_still_held_back_is_not_written_again() {
    use std::os::unix::fs::MetadataExt;
    let (case, silence) = (Case::new(), silence());
    let path = case.history.alerts.path(key(1));
    // Whatever is written is another file.
    let looks = |number, silence: &Silenced| {
        case.history.silenced(&stored(number, "firing"), silence);
        std::fs::metadata(&path).unwrap().ino()
    };
    let first = looks(1, &silence);
    assert_eq!(looks(1, &silence), first);
    let second = looks(2, &silence);
    assert_ne!(second, first, "another notification");
    assert_eq!(looks(1, &silence), second);
    let another = Silenced {
        id: key(8),
        ..silence
    };
    assert_ne!(looks(2, &another), second, "another silence");
    let held_by = |record: &Record| (record.notifications, record.silenced.clone());
    assert_eq!(case.history.get(key(1), held_by), Some((2, Some(another))));
}

#[test]
fn the_end_of_what_was_silenced_from_its_beginning_is_not_told() {
    let case = Case::new();
    case.history.record_accepted(&stored(1, "firing"));
    assert!(!drops_the_end(&case), "nothing held it back");
    case.history.silenced(&stored(2, "firing"), &silence());
    assert!(drops_the_end(&case));
    assert!(
        !drops_the_end(&case.again()),
        "an earlier process may have told it"
    );
    let case = Case::new();
    let mut cut = stored(1, "firing");
    cut.payload.truncated_alerts = 1;
    case.history.silenced(&cut, &silence());
    assert!(!drops_the_end(&case), "one that is not named may be older");
}

#[test]
fn the_end_of_what_began_before_there_was_a_history_is_told() {
    let repeat = stored(1, "firing");
    let case = Case::new();
    case.history.silenced(&repeat, &silence());
    assert!(!drops_the_end(&case));
}

#[test]
fn the_end_of_what_was_delivered_is_told_though_the_history_lost_it() {
    let losses: [(_, fn(&History)); 4] = [
        ("it is not written", |history| {
            history.change(&stored(1, "firing"), |_| panic!("as a full disk"));
        }),
        ("it is damaged", |history| {
            history.delivered("slack", &stored(1, "firing"), None);
            std::fs::write(history.alerts.path(key(1)), "{").unwrap();
        }),
        ("it is removed", |history| {
            history.delivered("slack", &stored(1, "firing"), None);
            std::fs::remove_file(history.alerts.path(key(1))).unwrap();
        }),
        ("it is too much", |history| {
            history.delivered("slack", &stored(1, "firing"), None);
            history.forget(&mut history.lock(), 0);
        }),
    ];
    for (loss, lose) in losses {
        let (case, repeat) = (Case::new(), stored(2, "firing"));
        lose(&case.history);
        case.history.silenced(&repeat, &silence());
        assert_eq!(case.ids(), [key(2)], "{loss}");
        assert!(!drops_the_end(&case), "{loss}");
    }
}
