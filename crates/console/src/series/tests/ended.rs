//! The handling of series that ended.

use super::*;

#[test]
fn a_series_that_ended_is_taken_over_with_its_history() {
    let store = SeriesStore::new(1 << 20);
    let send = |sender: &str, at: u64| {
        let samples = vec![timed("m", at * SECOND, at as f64)];
        store.merge(sender, sender, &own(), samples, at * SECOND)
    };
    let ends = |source: &str, at: u64| {
        let end = |series: &Series| Some(series.last.0 + 1_000);
        assert_eq!(store.retain(source, |_| false, end), 0, "{at}");
    };
    assert_eq!(send("s", 10), Lost::default());
    assert_eq!(send("t", 20).out_of_order, 1, "it is said");
    ends("s", 20);
    assert_eq!(
        send("t", 20),
        Lost::default(),
        "the service has another name"
    );
    assert_eq!(send("s", 30).out_of_order, 1);
    ends("t", 30);
    // From now on it is scraped.
    let scrape = |at: u64| {
        store.replace(
            "a:1",
            &own(),
            vec![sample("m", &[], at as f64)],
            at * SECOND,
        )
    };
    assert_eq!(
        scrape(15),
        (
            1,
            Lost {
                out_of_order: 1,
                ..Lost::default()
            }
        ),
        "in order"
    );
    for at in 40..1_000 {
        assert_eq!(scrape(at), (1, Lost::default()));
    }
    let history = history(&store, &["__name__=m"]);
    assert_eq!(
        (history[0], history[2], history.len()),
        ((10_000, 10.0), (20_000, 20.0), 964)
    );
    store.went_down("a:1", 1_000 * SECOND);
    assert_eq!(send("s", 1_100).out_of_order, 1, "the target is only down");
    store.expire(Instant::now());
    assert_eq!(store.bytes(), 0);
}

/// More series than end, or go, under one lock.
#[test]
fn series_that_ended_together_go_together_and_give_all_back() {
    let store = SeriesStore::new(4 << 20);
    store.replace("a:1", &own(), flood("m", 500), 10 * SECOND);
    let (stay, _) = store.replace("a:1", &own(), flood("m", 200), 20 * SECOND);
    assert_eq!((stay, now(&store, &["__name__=m"]).len()), (200, 200));
    let closed = Instant::now();
    let lists = |store: &SeriesStore| {
        let state = store.lock();
        (
            state.series.len(),
            state.index.named(&matchers(&["__name__=m"])).unwrap().len(),
        )
    };
    assert!(store.lock().expire(closed), "more than one lock's worth");
    assert_eq!(lists(&store).0, 500 - BATCH);
    store.expire(closed);
    let (series, listed) = lists(&store);
    assert!(
        series == 200 && listed <= 400,
        "{series} series, {listed} listed"
    );
    assert_eq!(now(&store, &["__name__=m"]).len(), 200);
    store.went_down("a:1", 30 * SECOND);
    assert!(now(&store, &[]).is_empty());
    store.expire(Instant::now());
    assert_eq!((store.bytes(), lists(&store)), (0, (0, 0)));
}
