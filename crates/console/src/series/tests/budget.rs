//! Which samples are dropped when memory is short.

use super::*;

#[test]
fn series_beyond_the_budget_are_counted_and_those_within_go_on() {
    let store = SeriesStore::new(64 << 10);
    let (kept, lost) = store.replace("a:1", &own(), flood("m", 200), 10);
    assert!(
        kept > 10 && kept + lost.no_room == 200,
        "{kept} kept, {lost:?}"
    );
    assert!(store.bytes() <= 64 << 10);
    for second in 1..300 {
        let again = store.replace("a:1", &own(), moving("m", 200, second), second * SECOND);
        assert_eq!(again, (kept, lost), "in second {second}");
        assert!(store.bytes() <= 64 << 10);
    }
    assert!(store.lost().evicted > 0, "their history found no room");
    assert_eq!(now(&store, &[])[0].at_ms, 299_000);
}

#[test]
fn the_oldest_samples_make_room_first() {
    let store = SeriesStore::new(48 << 10);
    let both = |value| vec![sample("a", &[], value), sample("b", &[], value)];
    for second in 1..20_000 {
        store.replace("a:1", &own(), both(second as f64), second * SECOND);
    }
    assert!(store.bytes() <= 48 << 10);
    let (a, b) = (
        history(&store, &["__name__=a"]),
        history(&store, &["__name__=b"]),
    );
    let first = a[0].0.abs_diff(b[0].0);
    assert!(first <= 120_000, "both alike: {first} ms");
    assert!(a.len() > 4_000 && a.len() < 19_000, "{} samples", a.len());
    let evicted = store.lost().evicted as usize;
    assert_eq!(a.len() + b.len() + evicted, 2 * 19_999);
    // A new series takes room from the old samples, not from the series.
    let before = store.bytes();
    let (series, lost) = store.replace("c:1", &own(), flood("c", 20), 20_000 * SECOND);
    assert_eq!((series, lost), (20, Lost::default()));
    assert!(history(&store, &["__name__=a"])[0].0 > a[0].0, "{before}");
    assert_eq!(now(&store, &[]).len(), 22);
}

#[test]
fn series_that_ended_go_with_their_last_samples_and_give_all_back() {
    let store = SeriesStore::new(256 << 10);
    for second in 1..2_000 {
        // Each series exists for a moment only.
        let name = format!("m{second}");
        let mut samples = flood(&name, 3);
        samples[0].exemplar = Some(Exemplar {
            trace_id: TraceId(1),
            span_id: None,
            value: 1.0,
            timestamp_us: None,
        });
        let (series, lost) = store.replace("a:1", &own(), samples, second * SECOND);
        assert_eq!((series, lost), (3, Lost::default()), "in second {second}");
        assert!(store.bytes() <= 256 << 10);
    }
    assert!(now(&store, &["__name__=m1999"]).len() == 3);
    assert!(
        store
            .known(&matchers(&["__name__=m1"]), 0..=i64::MAX, Detail::All)
            .flatten()
            .next()
            .is_none()
    );
    store.went_down("a:1", 2_000 * SECOND);
    let mut state = store.lock();
    while state.drop_oldest(shares::TARGETS) > 0 {}
    assert_eq!((state.shares.bytes(), state.series.len()), (0, 0));
}

#[test]
fn senders_leave_room_for_targets_and_each_other() {
    let limit = 256 << 10;
    let store = SeriesStore::new(limit);
    let send = |name: &str, samples| store.merge(name, name, &own_of(name), samples, 10).no_room;
    assert!(send("loud", flood("m", 1_000)) > 0);
    assert!(store.bytes() <= limit / 2);
    assert_eq!(send("quiet", vec![sample("m", &[], 1.0)]), 0);
    for sender in 0..100 {
        send(&sender.to_string(), flood("m", 1_000));
    }
    assert!(store.bytes() <= limit / 4 * 3);
    let kept = store.replace("a:1", &own(), vec![sample("m", &[], 1.0)], 10);
    assert_eq!(kept, (1, Lost::default()));
}

#[test]
fn a_sender_pushes_out_its_own_history_and_leaves_targets_theirs() {
    let limit = 128 << 10;
    let store = SeriesStore::new(limit);
    for second in 1..20_000 {
        store.replace("a:1", &own(), vec![sample("m", &[], 1.0)], second * SECOND);
    }
    let before = store.bytes();
    assert!(before < limit / 2, "{before}");
    for round in 0..2_000 {
        let samples = moving("s", 30, round);
        let lost = store.merge("s", "s", &own_of("s"), samples, (50_000 + round) * SECOND);
        assert_eq!(lost, Lost::default());
    }
    assert!(store.bytes() - before <= limit / 2);
    assert!(store.lost().evicted > 0);
    assert_eq!(history(&store, &["__name__=m"]).len(), 19_999);
    // A label that would never fit takes nothing from anybody.
    let evicted = store.lost().evicted;
    let huge = "x".repeat(1 << 20);
    let lost = store.merge(
        "t",
        "t",
        &own_of("t"),
        vec![sample("t", &[("x", &huge)], 1.0)],
        1,
    );
    assert_eq!((lost.no_room, store.lost().evicted), (1, evicted));
}

#[test]
fn what_rules_look_back_at_for_long_outlives_the_rest_within_its_share() {
    let limit = 256 << 10;
    let store = SeriesStore::new(limit);
    store.keep(["r".to_owned()].into(), 2 * RETENTION);
    let say = |name: &str, count, seconds: std::ops::Range<u64>| {
        for second in seconds {
            let samples = moving(name, count, second);
            let lost = store.replace(name, &own(), samples, second * SECOND).1;
            assert_eq!(lost, Lost::default());
        }
    };
    say("r", 1, 0..2_000);
    say("m", 1, 0..2_000);
    // Like the passing of this time.
    store.expire(Instant::now());
    let (lasting, other) = (
        history(&store, &["__name__=r"]),
        history(&store, &["__name__=m"]),
    );
    assert_eq!(lasting.len(), 2_000);
    assert!(other.len() < 1_000, "{}", other.len());
    // Others make no room of it, however many there are,
    say("m", 80, 2_000..3_000);
    assert!(store.lost().evicted > 0);
    assert_eq!(history(&store, &["__name__=r"]).len(), 2_000);
    // but it has no more than its share.
    let others = || history(&store, &["__name__=m", "x=0"]).len();
    let before = others();
    say("r", 5, 3_000..9_000);
    let first = history(&store, &["__name__=r", "x=0"])[0].0;
    assert!(first > 3_000_000, "{first}");
    assert!(others() > before / 2, "{before} -> {}", others());
    assert!(store.lock().shares.bytes() <= limit as usize);
    // A sender that says so takes its own share.
    let sent = store.merge("s", "s", &own_of("s"), flood("r", 9), 10);
    assert_eq!(sent, Lost::default());
    store.expire(Instant::now() + RETENTION);
    assert_eq!(now(&store, &["__name__=r"]).len(), 14);
}
