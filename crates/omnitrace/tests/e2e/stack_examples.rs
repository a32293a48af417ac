//! The table of examples that the redaction of services and console is tested with, asked of the real collector.

use serde::Deserialize;
use serde_json::{Value, json};
use standard::Addresses;

use crate::harness::{
    Child, Directory, Receiver, Span, addresses, config, eventually, eventually_now, http,
    repository, spawn_tool,
};

#[derive(Deserialize)]
struct Examples {
    redacted: Vec<[String; 2]>,
    kept: Vec<String>,
    secret_keys: Vec<String>,
    kept_keys: Vec<String>,
    differs: Vec<Differs>,
}

/// Where the collector cannot do what the crate does, and why.
#[derive(Deserialize)]
struct Differs {
    why: String,
    text: String,
    rust: String,
    collector: String,
}

impl Examples {
    fn read() -> Self {
        let text = std::fs::read_to_string(repository("crates/redact/examples.toml"));
        toml::from_str(&text.expect("examples.toml")).expect("examples")
    }

    /// What is sent, and what must come out. The services' mark is itself a text that the collector knows.
    fn texts(&self) -> Vec<(String, String)> {
        let redacted = self.redacted.iter().map(|[text, becomes]| {
            let becomes = becomes.replace("[redacted]", "****");
            (text.clone(), becomes)
        });
        let kept = self.kept.iter().map(|text| (text.clone(), text.clone()));
        let differs = self.differs.iter().map(|example| {
            assert!(!example.why.is_empty() && example.rust != example.collector);
            (example.text.clone(), example.collector.clone())
        });
        redacted.chain(kept).chain(differs).collect()
    }
}

/// The collector with its own file, and the test in the place of Jaeger and Loki.
async fn collector(receiver: &Receiver, directory: &Directory) -> (Child, Addresses) {
    let addresses = addresses();
    let own = "host: 0.0.0.0\n                port: 8888";
    let metrics = format!(
        "host: 127.0.0.1\n                port: {}",
        addresses.port("collector:8888")
    );
    let data = directory.path().join("data");
    std::fs::create_dir_all(&data).expect("a directory");
    let config = config("collector/collector.yaml")
        .replace("/var/lib/otelcol", &data.display().to_string())
        .and_then(|config| config.replace(own, &metrics))
        .and_then(|config| {
            config
                .listen("collector", &addresses)
                .write(directory.path())
        })
        .expect("the collector's file");
    let exporters = json!({
        "exporters": {"otlp_http/test": {"endpoint": receiver.url()}},
        "service": {"pipelines": {
            "traces/export": {"exporters": ["otlp_http/test"]},
            "logs": {"exporters": ["otlp_http/test"]}}}});
    let arguments = [
        "--config",
        &config,
        "--config",
        &format!("yaml:{exporters}"),
    ]
    .map(str::to_owned);
    let mut child = spawn_tool("otelcol", &arguments, &[]);
    let ready = addresses.url("collector:13133") + "/";
    eventually("the collector is ready", async || {
        if let Some(status) = child.try_wait() {
            panic!("the collector ended with {status}\n{}", child.output());
        }
        let answer = http().get(&ready).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    (child, addresses)
}

async fn post(addresses: &Addresses, path: &str, body: &Value) {
    let request = http()
        .post(addresses.url("collector:4318") + path)
        .json(body);
    let answer = request.send().await.expect("an answer of the collector");
    assert_eq!(answer.status(), 200);
}

fn attribute(key: &str, text: &str) -> Value {
    json!({"key": key, "value": {"stringValue": text}})
}

/// One span per text, with the text wherever a span can hold one.
fn span(text: &str) -> Value {
    json!({"traceId": uuid::Uuid::new_v4().simple().to_string(), "spanId": "00f067aa0ba902b7", "name": text,
        "startTimeUnixNano": "1763942400000000000", "endTimeUnixNano": "1763942400000000001",
        "attributes": [attribute("text", text)], "status": {"code": 2, "message": text},
        "events": [{"name": text, "timeUnixNano": "1763942400000000000", "attributes": [attribute("text", text)]}]})
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn the_collector_does_with_every_example_what_the_table_says() {
    let (receiver, directory) = (Receiver::start(), Directory::new());
    let (_collector, addresses) = collector(&receiver, &directory).await;
    let texts = Examples::read().texts();
    let spans: Vec<Value> = texts.iter().map(|(text, _)| span(text)).collect();
    let records = texts.iter().map(|(text, _)| {
        json!({"timeUnixNano": "1763942400000000000", "body": {"stringValue": text}, "attributes": [attribute("text", text)]})
    });
    let records: Vec<Value> = records.collect();
    post(
        &addresses,
        "/v1/traces",
        &json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}),
    )
    .await;
    post(
        &addresses,
        "/v1/logs",
        &json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}),
    )
    .await;

    let (spans, logs) = eventually_now("every example", || {
        let (spans, logs) = (receiver.spans(), receiver.logs());
        (spans.len() == texts.len() && logs.len() == texts.len()).then_some((spans, logs))
    })
    .await;
    let mut wrong = Vec::new();
    for (((text, becomes), span), log) in texts.iter().zip(&spans).zip(&logs) {
        let event = &span.events[0];
        let places = [
            ("name", span.name.clone()),
            ("attribute", span.text("text")),
            ("status", span.status_message.clone()),
            ("event", event.name.clone()),
            ("event's attribute", text_of(&event.attributes["text"])),
            ("body", log.body.clone()),
            ("log's attribute", text_of(&log.attributes["text"])),
        ];
        for (place, got) in places.into_iter().filter(|(_, got)| got != becomes) {
            wrong.push(format!("{text}\n  {place}: {got}\n  not: {becomes}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn list(text: &str) -> Value {
    json!({"arrayValue": {"values": [{"stringValue": text}, {"stringValue": "x"}]}})
}

fn map(key: &str, text: &str) -> Value {
    json!({"kvlistValue": {"values": [attribute(key, text)]}})
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn the_collector_knows_keys_lists_and_numbers() {
    let (receiver, directory) = (Receiver::start(), Directory::new());
    let (_collector, addresses) = collector(&receiver, &directory).await;
    let Examples {
        secret_keys,
        kept_keys,
        ..
    } = Examples::read();
    let keys = secret_keys.iter().chain(&kept_keys);
    let mut attributes: Vec<Value> = keys.map(|key| attribute(key, "plain")).collect();
    attributes.extend([
        json!({"key": "a list", "value": list("ada@example.com")}),
        json!({"key": "a map", "value": map("password", "hunter2")}),
        // In lists and maps the collector knows no exceptions.
        json!({"key": "a message", "value": list("token: missing")}),
        json!({"key": "clean list", "value": list("GET")}),
        json!({"key": "clean map", "value": map("pet", "rex")}),
        json!({"key": "number", "value": {"doubleValue": 0.411_111_111_111_111_1}}),
        json!({"key": "id", "value": {"intValue": "4111111111111111"}}),
        json!({"key": "no number", "value": {"doubleValue": "NaN"}}),
    ]);
    let mut one = span("mail ada@example.com");
    one["attributes"] = attributes.into();
    let owner = json!({"attributes": [attribute("owner", "ada@example.com")]});
    let group = json!({"resource": owner, "scopeSpans": [{"spans": [one]}]});
    post(&addresses, "/v1/traces", &json!({"resourceSpans": [group]})).await;

    let first = |spans: &[Span]| spans.first().cloned();
    let span = receiver.wait_for_span("the span", first).await;
    for key in secret_keys
        .iter()
        .map(String::as_str)
        .chain(["a list", "a map", "a message"])
    {
        assert_eq!(span.text(key), "****", "{key}");
    }
    for key in &kept_keys {
        assert_eq!(span.text(key), "plain", "{key}");
    }
    assert_eq!(
        [span.name.as_str(), &text_of(&span.resource["owner"])],
        ["mail ****", "****"]
    );
    for (key, value) in [
        ("clean list", json!(["GET", "x"])),
        ("clean map", json!({"pet": "rex"})),
        ("number", json!(0.411_111_111_111_111_1)),
        ("id", json!(4_111_111_111_111_111_i64)),
    ] {
        assert_eq!(span.attributes[key], value, "{key}");
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn the_collector_redacts_bodies_that_are_lists_and_maps() {
    let (receiver, directory) = (Receiver::start(), Directory::new());
    let (_collector, addresses) = collector(&receiver, &directory).await;
    let mut without_text = map("mail", "ada@example.com");
    let number = json!({"key": "n", "value": {"doubleValue": "NaN"}});
    let values = without_text["kvlistValue"]["values"].as_array_mut();
    values.expect("a list").push(number);
    let records: Vec<Value> = [
        map("password", "hunter2"),
        map("pet", "rex"),
        list("ada@example.com"),
        without_text,
    ]
    .map(|body| json!({"timeUnixNano": "1763942400000000000", "body": body}))
    .to_vec();
    let group = json!({"scopeLogs": [{"logRecords": records}]});
    post(&addresses, "/v1/logs", &json!({"resourceLogs": [group]})).await;

    let all = || Some(receiver.logs()).filter(|logs| logs.len() == 4);
    let logs = eventually_now("the records", all).await;
    let bodies: Vec<&str> = logs.iter().map(|log| log.body.as_str()).collect();
    let shown = [
        r#"{"password":****}"#,
        r#"{"pet":"rex"}"#,
        r#"["****","x"]"#,
        "****",
    ];
    assert_eq!(bodies, shown);
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
