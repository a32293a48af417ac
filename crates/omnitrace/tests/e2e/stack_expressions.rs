//! Every expression of the dashboards and the rules, in programs that run it: promtool and, in Loki's place, the console parse
//! it, and on the standard stack under load it finds something. `catalogue` has checked the names before.
//!
//! Ignored by default, since a plain Rust machine lacks the programs: `just test-stack` runs what is named `stack_…`.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalogue::{Dashboard, Expression, Language, rule_expressions};
use crate::harness::{
    Child, DEADLINE, Directory, NativeStack, Receiver, Reply, Signal, eventually, http, list,
    omnitrace, run_tool,
};
use crate::herald::alert;

/// What a healthy stack shows nothing for, and why. Each shows something once there is trouble: the test makes it.
const QUIET: [(&str, &str); 3] = [
    (
        r#"ALERTS{alertstate="firing",alertname!="Watchdog",service=~"$service"}"#,
        "no alert fires",
    ),
    (
        r#"fault_active{service_name=~"$service"} == 1"#,
        "no fault is on",
    ),
    (
        r#"sum by (exporter) (rate({__name__=~"otelcol_exporter_(send|enqueue)_failed_(spans|log_records|metric_points)_total",job=~"otel-collector(-tier1)?"}[$__rate_interval]))"#,
        "the collector counts failures from the first one on",
    ),
];

/// What only Loki says of itself. Nothing shows that these find something, since no Loki runs in the tests (docs/DEPLOY.md).
const OF_LOKI: [&str; 2] = [
    "sum(rate(loki_distributor_bytes_received_total[$__rate_interval]))",
    "sum(rate(loki_distributor_structured_metadata_bytes_received_total[$__rate_interval]))",
];

/// Found only while a load test runs, which is a program of its own: `loadtest/tests` scrapes these names from it.
const OF_LOAD_TESTS: &str = "loadtest_";

/// An expression as it is sent.
type Asked = (Language, String);

/// The slowest rules run once in 40 s, and read what they recorded before.
const PATIENCE: Duration = DEADLINE.saturating_mul(2);

fn is_asked(expression: &Expression) -> bool {
    let elsewhere = expression.text.contains(OF_LOAD_TESTS) || OF_LOKI.contains(&&*expression.text);
    // Links depend on the point that is clicked: that they parse is all that can be said.
    !expression.linked && !elsewhere
}

fn is_quiet(expression: &Expression) -> bool {
    QUIET.iter().any(|(text, _)| *text == expression.text)
}

/// Every expression of every dashboard, with the service that is chosen in it at first.
fn dashboard_expressions() -> Vec<(Expression, String)> {
    Dashboard::all()
        .iter()
        .flat_map(|dashboard| {
            let service = dashboard.service();
            dashboard
                .expressions()
                .into_iter()
                .map(move |expression| (expression, service.clone()))
        })
        .collect()
}

#[test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
fn promtool_parses_every_expression() {
    let of_dashboards = dashboard_expressions()
        .into_iter()
        .map(|(expression, service)| {
            (
                expression.place.clone(),
                expression.language,
                expression.runnable(&service),
            )
        });
    let of_rules = rule_expressions().into_iter().map(|expression| {
        (
            expression.place.clone(),
            expression.language,
            expression.text,
        )
    });
    let rules: Vec<(String, Value)> = of_dashboards
        .chain(of_rules)
        .filter(|(_, language, _)| *language == Language::PromQl)
        .enumerate()
        .map(|(index, (place, _, text))| {
            (
                place,
                json!({"record": format!("expression:{index}"), "expr": text}),
            )
        })
        .collect();
    assert!(rules.len() > 100, "only {} expressions", rules.len());

    let directory = Directory::new();
    let check = |rules: Vec<&Value>| {
        let path = directory.path().join("rules.json");
        let file = json!({"groups": [{"name": "expressions", "rules": rules}]});
        std::fs::write(&path, file.to_string()).expect("a file of rules");
        run_tool(
            "promtool",
            &[
                "check",
                "rules",
                "--lint=none",
                path.to_str().expect("a path of text"),
            ],
        )
    };
    let (is_valid, said) = check(rules.iter().map(|(_, rule)| rule).collect());
    assert!(is_valid, "{said}\n{rules:#?}");
    // It would have said so.
    let broken = json!({"record": "expression:broken", "expr": "sum by (job (up)"});
    assert!(!check(vec![&broken]).0);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn every_dashboard_expression_finds_something() {
    let state = Directory::new();
    let mut command = omnitrace(["herald", "--listen", "127.0.0.1:0", "--state-dir"]);
    command.arg(state.path());
    let mut herald = Child::spawn("herald", command);
    let herald_at = herald.listening().await.http_addr.to_string();
    has_been_through_an_alert(&herald_at).await;
    // With tail sampling, since there is a panel about it.
    let native = NativeStack::builder()
        .overlay("production.yaml")
        .herald(&herald_at)
        .start()
        .await;
    let expressions = dashboard_expressions();
    exceptions_are_asked(&expressions);
    console_parses(&native, &expressions).await;
    let asked: BTreeMap<Asked, &Expression> = expressions
        .iter()
        .filter(|(expression, _)| is_asked(expression))
        .map(|(expression, service)| {
            (
                (expression.language, expression.runnable(service)),
                expression,
            )
        })
        .collect();
    let (quiet, always): (Vec<_>, Vec<_>) = asked
        .iter()
        .partition(|(_, expression)| is_quiet(expression));
    for ((_, text), _) in &quiet {
        assert!(
            native.prometheus_query(text).await.is_empty(),
            "not quiet: {text}"
        );
    }

    let checks = async {
        wait_until_found(&native, always).await;
        loki_is_not_here(&native, &expressions).await;
        jaeger_panels_find_something(&native).await;
        let _refusing = trouble(&native).await;
        for (quiet_text, _) in QUIET {
            let variants = quiet
                .iter()
                .filter(|(_, expression)| expression.text == quiet_text);
            let variants: Vec<_> = variants.collect();
            eventually(
                &format!("in trouble there is something for {quiet_text}"),
                async || {
                    for ((_, text), expression) in &variants {
                        if finds(&native, expression, text).await {
                            return Some(());
                        }
                    }
                    None
                },
            )
            .await;
        }
        failed_traces_are_found(&native).await;
    };
    tokio::select! {
        never = load(&native) => never,
        () = checks => {}
    }
}

/// Of which the ledger has every number: delivered, acknowledged, judged, over.
pub async fn has_been_through_an_alert(herald: &str) {
    let url = format!("http://{herald}");
    let post = async |path: String, body: Value| {
        let request = http().post(format!("{url}{path}")).json(&body);
        Reply::read(request.send().await.expect("an answer"))
            .await
            .expect(200)
            .json()
    };
    let fires = post("/alerts".to_owned(), alert("ServiceDown", "firing")).await;
    let path = format!("/api/alerts/{}", fires["key"].as_str().expect("a key"));
    eventually("it is delivered", async || {
        let known = http().get(format!("{url}{path}")).send().await.ok()?;
        let known: Value = known.json().await.ok()?;
        known["delivered"]["log"].is_object().then_some(())
    })
    .await;
    post(format!("{path}/acknowledge"), json!({"by": "ada"})).await;
    let verdict = json!({"by": "ada", "true_alarm": false});
    post(format!("{path}/verdict"), verdict).await;
    let mut over = alert("ServiceDown", "resolved");
    over["alerts"][0]["endsAt"] = json!(chrono::Utc::now());
    post("/alerts".to_owned(), over).await;
}

/// Each exception is still there to be made.
fn exceptions_are_asked(expressions: &[(Expression, String)]) {
    let asked = |text: &str| {
        expressions
            .iter()
            .any(|(expression, _)| expression.text == text)
    };
    for (text, reason) in QUIET {
        assert!(
            asked(text),
            "no dashboard asks this any more ({reason}): {text}"
        );
    }
    for text in OF_LOKI {
        assert!(
            asked(text),
            "no dashboard asks this of Loki any more: {text}"
        );
    }
    let of_load_tests =
        |(expression, _): &(Expression, String)| expression.text.contains(OF_LOAD_TESTS);
    assert!(
        expressions.iter().any(of_load_tests),
        "no dashboard shows a load test any more"
    );
}

/// What is excused as Loki's own word is nobody else's.
async fn loki_is_not_here(native: &NativeStack, expressions: &[(Expression, String)]) {
    for (expression, service) in expressions {
        if OF_LOKI.contains(&&*expression.text) {
            let found = finds(native, expression, &expression.runnable(service)).await;
            assert!(
                !found,
                "found after all, so no exception: {}",
                expression.text
            );
        }
    }
}

/// Some of everything, for ever.
async fn load(native: &NativeStack) {
    let sku = native.stack.sku().await;
    loop {
        native.stack.get_data().await;
        native.stack.order(&sku, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What every entry of [`QUIET`] is silent about: a failing dependency, and log records that are refused where Loki is.
async fn trouble(native: &NativeStack) -> Receiver {
    native
        .stack
        .fault_set("downstream", "errors", json!({"status": 500}))
        .await
        .expect(200);
    native.signal("loki", Signal::SIGKILL);
    let address = native.addresses.of("loki:3100");
    eventually("the console is gone", async || {
        TcpListener::bind(address).ok().map(drop)
    })
    .await;
    let refusing = Receiver::start_on(address);
    refusing.refuse_with(Some(400));
    refusing
}

/// All of them, and not just the first one, so that one run tells everything that is amiss.
async fn wait_until_found(native: &NativeStack, mut missing: Vec<(&Asked, &&Expression)>) {
    let start = Instant::now();
    loop {
        let mut still = Vec::new();
        for (asked, expression) in missing {
            if !finds(native, expression, &asked.1).await {
                still.push((asked, expression));
            }
        }
        missing = still;
        if missing.is_empty() {
            return;
        }
        let places: Vec<String> = missing
            .iter()
            .map(|(asked, expression)| format!("{}\n    {}", expression.place, asked.1))
            .collect();
        let places = places.join("\n");
        assert!(start.elapsed() < PATIENCE, "nothing is found by\n{places}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn finds(native: &NativeStack, expression: &Expression, text: &str) -> bool {
    if expression.language == Language::LogQl {
        return !native.loki_query(text).await.is_empty();
    }
    if expression.instant {
        let samples = native.prometheus_query(text).await;
        return samples.iter().any(|sample| is_number(&sample["value"]));
    }
    let now = chrono::Utc::now().timestamp();
    let start = now - 3 * i64::try_from(DEADLINE.as_secs()).expect("seconds");
    let range = [
        ("query", text),
        ("start", &start.to_string()),
        ("end", &now.to_string()),
        ("step", "5"),
    ];
    let answer = ask(native, "prometheus:9090", "/api/v1/query_range", &range).await;
    assert_eq!(answer["status"], "success", "{text}: {answer}");
    let series = list(&answer["data"]["result"]);
    series
        .iter()
        .flat_map(|series| list(&series["values"]))
        .any(|value| is_number(&value))
}

fn is_number(sample: &Value) -> bool {
    let value = sample[1]
        .as_str()
        .and_then(|value| value.parse::<f64>().ok());
    value.is_some_and(|value| !value.is_nan())
}

async fn ask(native: &NativeStack, address: &str, path: &str, query: &[(&str, &str)]) -> Value {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    let url = format!("{}{path}?{query}", native.url(address));
    let answer = native.stack.client.get(&url).send().await;
    let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    answer
        .json()
        .await
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The console takes every LogQL expression, links included, and refuses a broken one.
async fn console_parses(native: &NativeStack, expressions: &[(Expression, String)]) {
    let answer = async |text: &str| {
        let url = native.url("loki:3100") + "/loki/api/v1/query_range";
        let request = native.stack.client.get(url).query(&[("query", text)]);
        let answer = request.send().await.expect("an answer of the console");
        (
            answer.status().as_u16(),
            answer.text().await.unwrap_or_default(),
        )
    };
    let mut seen = 0;
    for (expression, service) in expressions {
        if expression.language == Language::LogQl {
            let (status, said) = answer(&expression.runnable(service)).await;
            assert_eq!(status, 200, "{}: {said}", expression.place);
            seen += 1;
        }
    }
    assert!(seen > 0, "no LogQL in the dashboards");
    assert_eq!(answer("{service_name=\"data\" | x").await.0, 400);
}

/// Panels that read Jaeger, but for the one about failures.
async fn jaeger_panels_find_something(native: &NativeStack) {
    let mut kinds = Vec::new();
    for dashboard in Dashboard::all() {
        for panel in dashboard.panels() {
            for target in list(&panel["targets"]) {
                match target["queryType"].as_str() {
                    Some("search") if target["tags"].is_null() => {
                        assert_eq!(target["service"], "$service", "{}", panel["title"]);
                        let found = native.jaeger_search("data", &json!({}), 20).await;
                        assert!(!found.is_empty(), "{}", panel["title"]);
                        kinds.push("search");
                    }
                    Some("dependencyGraph") => {
                        service_map(native).await;
                        kinds.push("dependencyGraph");
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(
        kinds.contains(&"search") && kinds.contains(&"dependencyGraph"),
        "{kinds:?}"
    );
}

async fn service_map(native: &NativeStack) {
    eventually("gateway -> data in Jaeger's service map", async || {
        let now = chrono::Utc::now().timestamp_millis().to_string();
        let query = [("endTs", now.as_str()), ("lookback", "3600000")];
        let answer = ask(native, "jaeger:16686", "/api/dependencies", &query).await;
        let edges = list(&answer["data"]);
        let found = |edge: &Value| edge["parent"] == "gateway" && edge["child"] == "data";
        edges.iter().any(found).then_some(())
    })
    .await;
}

/// The panel of failed traces, as it searches.
async fn failed_traces_are_found(native: &NativeStack) {
    eventually("a failed trace of data", async || {
        let found = native
            .jaeger_search("data", &json!({"error": "true"}), 20)
            .await;
        (!found.is_empty()).then_some(())
    })
    .await;
}
