use super::*;

fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Sample {
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Sample {
        name: name.into(),
        labels,
        value,
        timestamp_us: None,
        exemplar: None,
        begins: true,
    }
}

/// What is found when there is room for all of it.
fn all(store: &SeriesStore, name: Option<&str>, wanted: &[(String, String)]) -> Vec<Found> {
    let found = store.find(name, wanted, true, &mut |_| true);
    found.expect("room")
}

fn own() -> Labels {
    vec![
        ("instance".into(), "a:1".into()),
        ("service_name".into(), "gateway".into()),
    ]
}

#[test]
fn series_that_vanish_go_and_the_others_have_a_history() {
    let store = SeriesStore::new(1 << 20);
    let first = vec![
        sample("m", &[("x", "1")], 1.0),
        sample("m", &[("x", "2")], 2.0),
    ];
    assert_eq!(store.replace("a:1", &own(), first, 10), (2, 0));
    let full = store.bytes();
    assert_eq!(
        store.replace("a:1", &own(), vec![sample("m", &[("x", "1")], 3.0)], 20),
        (1, 0)
    );
    let found = all(&store, Some("m"), &[]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].history, [(10, 1.0), (20, 3.0)]);
    assert!(store.bytes() < full);
    assert_eq!(store.replace("a:1", &own(), vec![], 30), (0, 0));
    assert_eq!(store.bytes(), 0);
}

#[test]
fn labels_of_the_target_win() {
    let store = SeriesStore::new(1 << 20);
    let labels = [
        ("service_name", "other"),
        ("instance", "a:1"),
        ("empty", ""),
    ];
    store.replace("a:1", &own(), vec![sample("m", &labels, 1.0)], 10);
    let found = all(&store, None, &[("service_name".into(), "gateway".into())]);
    let labels: Vec<_> = found[0]
        .labels
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        labels,
        [
            ("exported_service_name", "other"),
            ("instance", "a:1"),
            ("service_name", "gateway")
        ]
    );
    assert!(all(&store, None, &[("service_name".into(), "other".into())]).is_empty());
    assert!(all(&store, Some("n"), &[]).is_empty());
}

#[test]
fn an_empty_label_is_no_label() {
    let store = SeriesStore::new(1 << 20);
    let labels = [("instance", ""), ("x", ""), ("y", "1")];
    store.replace("a:1", &own(), vec![sample("m", &labels, 1.0)], 10);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let found = all(&store, None, &[pair("x", ""), pair("y", "1")]);
    let names: Vec<_> = found[0]
        .labels
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["instance", "service_name", "y"]);
    assert!(all(&store, None, &[pair("y", "")]).is_empty());
}

#[test]
fn labels_that_clash_are_all_kept() {
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    };
    let own = labels(&[("a", "own"), ("b", "same"), ("c", "")]);
    let sent = labels(&[("a", "1"), ("exported_a", "2"), ("b", "same"), ("c", "3")]);
    let all = [
        ("a", "own"),
        ("b", "same"),
        ("c", "3"),
        ("exported_a", "2"),
        ("exported_exported_a", "1"),
    ];
    assert_eq!(all_labels(&own, sent), labels(&all));
}

#[test]
fn the_budget_is_kept() {
    let store = SeriesStore::new(64 << 10);
    let many: Vec<Sample> = (0..1_000)
        .map(|i| sample("m", &[("x", &i.to_string())], 1.0))
        .collect();
    let (kept, dropped) = store.replace("a:1", &own(), many.clone(), 10);
    assert!(
        kept > 10 && kept + dropped == 1_000,
        "{kept} kept, {dropped} dropped"
    );
    assert!(store.bytes() <= 64 << 10);
    assert_eq!(store.replace("a:1", &own(), many, 20), (kept, dropped));
}

#[test]
fn a_source_that_is_down_is_not_shown_but_keeps_its_history() {
    let store = SeriesStore::new(1 << 20);
    for at in 1..=100 {
        store.replace("a:1", &own(), vec![sample("m", &[], at as f64)], at);
    }
    store.went_down("a:1");
    assert!(all(&store, None, &[]).is_empty());
    store.replace("a:1", &own(), vec![sample("m", &[], 101.0)], 101);
    let history = &all(&store, None, &[])[0].history;
    assert_eq!(
        (history.len(), history[0], history[59]),
        (60, (42, 42.0), (101, 101.0))
    );
    store.tidy(|_| false, |_| true);
    assert_eq!(store.bytes(), 0);
}

#[test]
fn senders_leave_room_for_targets_and_each_other() {
    let limit = 256 << 10;
    let store = SeriesStore::new(limit);
    let flood = |name: &str| {
        (0..1_000)
            .map(|i| sample(name, &[("x", &i.to_string())], 1.0))
            .collect::<Vec<_>>()
    };
    assert!(store.merge("loud", "loud", &own(), flood("m"), 10) > 0);
    assert!(store.bytes() <= limit / 2);
    assert_eq!(
        store.merge("quiet", "quiet", &own(), vec![sample("m", &[], 1.0)], 10),
        0
    );
    for sender in 0..100 {
        store.merge(
            &format!("{sender}"),
            &format!("{sender}"),
            &own(),
            flood("m"),
            10,
        );
    }
    assert!(store.bytes() <= limit / 4 * 3);
    let (kept, dropped) = store.replace("a:1", &own(), vec![sample("m", &[], 1.0)], 10);
    assert_eq!((kept, dropped), (1, 0));
    for name in ["loud", "quiet", "a:1"] {
        store.replace(name, &own(), vec![], 20);
    }
    store.tidy(|_| false, |_| true);
    assert_eq!(store.bytes(), 0);
}

#[test]
fn an_answer_that_finds_no_room_is_none() {
    let store = SeriesStore::new(1 << 20);
    let two = vec![sample("m", &[], 1.0), sample("n", &[], 1.0)];
    store.replace("a:1", &own(), two, 10);
    let mut asked = 0;
    let found = store.find(None, &[], false, &mut |_| {
        asked += 1;
        asked < 2
    });
    assert_eq!((found, asked), (None, 2));
}
