//! Prometheus's query API under questions that are wrong or would cost too much.

use std::time::Duration;

use console::Settings;
use serde_json::{Value, json};

use crate::harness::{Reply, Running, settings};
use crate::payload::metrics;
use crate::prometheus::{FROM, ask, data, gauge, point, refusal, refused, shop};
use crate::scraping::{Behaviour, Target, file, group, write_targets};

/// Path, parameters, status, kind and a word of the text.
type Refusal<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, &'a str, &'a str);

#[tokio::test]
async fn what_cannot_be_answered_is_named() {
    let console = shop().await;
    let minute = [("start", "0"), ("end", "60")];
    let range = |step| [("query", "up"), minute[0], minute[1], ("step", step)];
    let query = |text| [("query", text)];
    let million = [
        range("1")[0],
        range("1")[1],
        ("end", "1000000"),
        ("step", "1"),
    ];
    let bad_times =
        ["NaN", "inf", "1e300", "yesterday"].map(|time| [("query", "up"), ("time", time)]);
    let bomb = format!("{{a=~\"{}\"}}", r"(\\w{100}){100}".repeat(10));
    let nested = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let mut refusals: Vec<Refusal<'_>> = vec![
        ("query", vec![], 400, "bad_data", "'query'"),
        ("query", query("sum(").into(), 400, "bad_data", "not PromQL"),
        ("query", query("{}").into(), 400, "bad_data", "not PromQL"),
        (
            "query",
            query(&bomb).into(),
            400,
            "bad_data",
            "regular expression",
        ),
        ("query", query(&nested).into(), 400, "bad_data", "too large"),
        (
            "query",
            vec![
                ("query", "queue + on (service_name) queue"),
                ("time", "2026-01-01T00:01:00Z"),
            ],
            422,
            "execution",
            "service_name",
        ),
        (
            "query",
            vec![("query", "up"), ("timeout", "soon")],
            400,
            "bad_data",
            "'timeout'",
        ),
        (
            "query",
            vec![("query", "up"), ("limit", "-1")],
            400,
            "bad_data",
            "'limit'",
        ),
        (
            "query",
            vec![("query", "up"), ("tiem", "5")],
            400,
            "bad_data",
            "'tiem'",
        ),
        (
            "query",
            vec![("query", "up"), ("lookback_delta", "0")],
            400,
            "bad_data",
            "'lookback_delta'",
        ),
        (
            "query_range",
            query("up").into(),
            400,
            "bad_data",
            "'start'",
        ),
        ("query_range", range("0").into(), 400, "bad_data", "'step'"),
        ("query_range", range("-1").into(), 400, "bad_data", "'step'"),
        (
            "query_range",
            range("NaN").into(),
            400,
            "bad_data",
            "'step'",
        ),
        (
            "query_range",
            million.into(),
            400,
            "bad_data",
            "11000 points",
        ),
        (
            "query_range",
            vec![("query", "up[5m]"), minute[0], minute[1], ("step", "1")],
            400,
            "bad_data",
            "range",
        ),
        ("series", vec![], 400, "bad_data", "'match[]'"),
        (
            "series",
            vec![("match[]", "{}")],
            400,
            "bad_data",
            "not PromQL",
        ),
        (
            "series",
            vec![("match[]", "sum(up)")],
            400,
            "bad_data",
            "no selector",
        ),
        (
            "series",
            vec![("match[]", "up"); 17],
            400,
            "bad_data",
            "17 selectors",
        ),
        (
            "labels",
            vec![("start", "2"), ("end", "1")],
            400,
            "bad_data",
            "'end'",
        ),
        (
            "label/a/values",
            vec![("match[]", "up{")],
            400,
            "bad_data",
            "not PromQL",
        ),
        ("query_exemplars", vec![], 400, "bad_data", "'query'"),
        ("rules", vec![("x", "1")], 400, "bad_data", "'x'"),
    ];
    refusals.extend(
        bad_times
            .iter()
            .map(|time| ("query", time.to_vec(), 400, "bad_data", "'time'")),
    );
    for (path, parameters, status, kind, named) in refusals {
        let (was, said, why) = refusal(&console, path, &parameters).await;
        assert_eq!((was, &*said), (status, kind), "{path} {named}: {why}");
        assert!(why.contains(named), "{path} {named}: {why}");
        assert!(why.len() < 1_000, "{path} {named}: {} bytes", why.len());
    }
    let answer = console.get("/api/v1/tsdb").await;
    assert_eq!(answer.status, 404);
    let stats = console.json("/api/stats").await;
    assert_eq!(stats["under_way_bytes"], 0, "{stats}");
}

/// A number of series with a number of samples each.
async fn many(memory: u64, series: usize, seconds: u64) -> Running {
    let console = Running::with_memory(memory);
    for second in 0..seconds {
        let points = (0..series).map(|number| point(second, &format!("/{number}"), second as f64));
        let sent = metrics("shop", vec![gauge("queue", points.collect())]);
        console.take_metrics(&sent).await;
    }
    console
}

#[tokio::test]
async fn what_a_question_reads_and_computes_is_bounded_and_charged() {
    let console = many(8 << 20, 300, 10).await;
    let (first, last) = (FROM.to_string(), (FROM + 10_000).to_string());
    let range = async |query: &str, step: &str| {
        let range = [("start", first.as_str()), ("end", &last), ("step", step)];
        ask(
            &console,
            "query_range",
            &[&[("query", query)], &range[..]].concat(),
        )
        .await
    };
    // Three million points.
    for query in ["queue", "queue + queue", "queue or 2 * queue"] {
        let (status, kind, why) = refused(&range(query, "1").await);
        let is_known = [(422, "execution"), (503, "unavailable")].contains(&(status, &*kind));
        assert!(is_known, "{query}: {status} {kind}: {why}");
        assert!(
            why.contains("--memory") || why.contains("samples"),
            "{query}: {why}"
        );
    }
    let sub = range("max_over_time(queue[9000s:1s])", "1000").await;
    assert!([422, 503].contains(&refused(&sub).0), "{}", sub.text());
    let one = range("sum(queue)", "1000").await;
    assert_eq!(one.status, 200, "{}", one.text());
    let stats = console.json("/api/stats").await;
    assert_eq!(stats["under_way_bytes"], 0, "{stats}");
}

#[tokio::test]
async fn a_question_ends_in_time() {
    let console = many(64 << 20, 200, 20).await;
    let (end, start) = ((FROM + 10_000).to_string(), FROM.to_string());
    let parameters = [
        (
            "query",
            "sum(rate(queue[5m])) / sum(rate(queue[4m])) + sum(rate(queue[3m]))",
        ),
        ("start", &*start),
        ("end", &*end),
        ("step", "1"),
        ("timeout", "1ms"),
    ];
    let (status, kind, why) = refusal(&console, "query_range", &parameters).await;
    assert_eq!((status, &*kind), (503, "timeout"), "{why}");
    assert!(why.contains("1ms"), "{why}");
}

/// More questions than are evaluated at once wait for their turn, even where all together would find no room.
#[tokio::test]
async fn many_questions_at_once_are_all_answered() {
    let console = many(8 << 20, 50, 20).await;
    let (start, end) = (FROM.to_string(), (FROM + 300).to_string());
    let parameters = [
        ("query", "sum(rate(queue[20s]))"),
        ("start", &*start),
        ("end", &*end),
        ("step", "1"),
    ];
    let asked = (0..60).map(|_| data(&console, "query_range", &parameters));
    for found in futures_util::future::join_all(asked).await {
        let first = &found["result"][0]["values"][0];
        assert_eq!(*first, json!([FROM + 1, "2.5"]), "{found}");
    }
}

#[tokio::test]
async fn labels_of_a_megabyte_take_no_more_than_their_share() {
    let page = |number: usize| {
        let huge = "x".repeat(1 << 20);
        Behaviour::Answers(format!(
            "m{{n=\"{number}\",huge=\"{huge}\"}} 1\nsmall 1\n# EOF\n"
        ))
    };
    let target = Target::start(page(0)).await;
    let (_directory, file) = file();
    write_targets(&file, &json!([group(&[&target.address], "gateway")]));
    // An eighth is for metrics: 2 MiB.
    let memory_bytes = 16 << 20;
    let console = Running::with(Settings {
        memory_bytes,
        targets_file: Some(file),
        scrape_interval: Duration::from_millis(50),
        ..settings()
    });
    let dropped = |stats: &Value| stats["dropped_samples"].as_u64();
    let is_up = |answer: &Value| answer["targets"][0]["up"] == true;
    console.until("/api/targets", is_up).await;
    for number in 1..5 {
        let before = console.json("/api/stats").await;
        target.now(page(number));
        let refused = |stats: &Value| dropped(stats) > dropped(&before);
        let stats = console.until("/api/stats", refused).await;
        assert!(
            stats["bytes"].as_u64() < Some(memory_bytes / 8 + (64 << 10)),
            "{stats}"
        );
    }
    let small = data(&console, "query", &[("query", "small")]).await;
    assert_eq!(small["result"][0]["value"][1], "1");
    let values = ask(&console, "label/huge/values", &[]).await;
    assert!([200, 503].contains(&values.status.as_u16()));
}

#[tokio::test]
async fn what_is_out_of_order_is_counted_and_told_to_its_sender() {
    let console = Running::start();
    let send = async |points: Vec<Value>| {
        let sent = metrics("shop", vec![gauge("queue", points)]);
        console.send_metrics(&sent).await
    };
    let (none, _) = send(vec![point(10, "/a", 1.0), point(10, "/a", 1.0)]).await;
    assert_eq!(none, 0, "the same again");
    let centuries = u64::MAX / 1_000_000_000 - FROM;
    let points = [(9, 1.0), (10, 2.0), (centuries, 3.0), (11, 4.0)];
    let points = points.map(|(second, value)| point(second, "/a", value));
    let (count, why) = send(points.to_vec()).await;
    assert_eq!(count, 3, "{why}");
    assert!(
        why.contains("3 out_of_order") && why.contains("newer"),
        "{why}"
    );
    let time = (FROM + 20).to_string();
    let found = data(&console, "query", &[("query", "queue"), ("time", &time)]).await;
    assert_eq!(found["result"][0]["value"][1], "4", "{found}");
    let page = console.get("/metrics").await.text();
    assert!(
        page.contains("console_out_of_order_samples_total 3"),
        "{page}"
    );
}

#[tokio::test]
async fn a_form_is_bounded() {
    let console = Running::start();
    let post = async |size: usize| {
        let body = format!("query={}", "x".repeat(size)).into_bytes();
        let sent = console.post("/api/v1/query", "application/x-www-form-urlencoded", body);
        refused(&Reply::to(sent).await)
    };
    let (status, kind, why) = post(300 << 10).await;
    assert_eq!((status, &*kind), (413, "bad_data"), "{why}");
    let (status, _, why) = post(60 << 10).await;
    assert!(status == 400 && why.contains("too large"), "{why}");
}
