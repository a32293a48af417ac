//! The official OpenTelemetry SDKs of other languages, with zero-code instrumentation where the language has it: each program in
//! `tests/sdks` calls the gateway. Its spans and the gateway's are one trace, and the console takes all that the SDK sends.
//!
//! Ignored by default, since it needs the languages and installs packages: `just test-sdks`.

use serde_json::Value;

use crate::harness::{
    Child, Up, eventually, http, jaeger_services, jaeger_tag, list, repository, until_there_is,
    without_settings,
};

/// Its name in `tests/sdks`; `telemetry.sdk.language`; the protocols that both the SDK and the console speak.
type Sdk = (&'static str, &'static str, &'static [&'static str]);

const SDKS: [Sdk; 4] = [
    ("python", "python", &["grpc", "http/protobuf"]),
    ("node", "nodejs", &["grpc", "http/protobuf", "http/json"]),
    ("go", "go", &["grpc", "http/protobuf"]),
    ("java", "java", &["grpc", "http/protobuf"]),
];

/// Those that `just test-sdks` names; all if it names none.
fn wanted() -> Vec<Sdk> {
    let names = std::env::var("OMNITRACE_SDKS").unwrap_or_default();
    if names.is_empty() {
        return SDKS.to_vec();
    }
    let known = |name: &str| SDKS.into_iter().find(|(known, ..)| *known == name);
    let sdk = |name| known(name).unwrap_or_else(|| panic!("OMNITRACE_SDKS: no program in {name}"));
    names.split(' ').map(sdk).collect()
}

async fn get(console: &str, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
    let mut url = url::Url::parse(&format!("{console}{path}")).expect("a URL");
    url.query_pairs_mut().extend_pairs(parameters);
    http().get(url).send().await.ok()?.json().await.ok()
}

/// Runs a program to its end. What it says is printed if the test fails while the process is held.
async fn run(service: &str, arguments: [&str; 2], environment: &[(&str, &str)]) -> Child {
    let mut command = without_settings(repository("crates/omnitrace/tests/sdks/sdk.sh"));
    command.arg("run").args(arguments);
    command.envs(environment.iter().copied());
    let mut child = Child::spawn(service, command);
    let status = child.wait().await;
    assert!(status.success(), "{service}: {status}");
    child
}

/// From the gateway's server span to the root of its trace, each span as `service kind`.
fn ancestry(trace: &Value) -> Option<Vec<String>> {
    let (spans, services) = (list(&trace["spans"]), jaeger_services(trace));
    let named = |at: usize| {
        let kind = jaeger_tag(&spans[at], "span.kind").unwrap_or_default();
        format!("{} {kind}", services[at])
    };
    let mut at = (0..spans.len()).find(|at| named(*at) == "gateway server")?;
    let mut line = vec![named(at)];
    while let Some(parent) = spans[at]["references"][0]["spanID"].as_str() {
        at = spans.iter().position(|span| span["spanID"] == parent)?;
        line.push(named(at));
    }
    Some(line)
}

/// The trace of the call is one, from the program's own span to the gateway's: its id.
async fn joined(console: &str, service: &str, language: &str) -> String {
    let whole = [
        "gateway server".to_owned(),
        format!("{service} client"),
        format!("{service} internal"),
    ];
    eventually(
        &format!("{service} and the gateway in one trace"),
        async || {
            let found = get(console, "/api/traces", &[("service", service)]).await?;
            let trace = found["data"].get(0)?;
            if ancestry(trace)? != whole {
                return None;
            }
            let processes = trace["processes"].as_object()?.values();
            let process = processes
                .into_iter()
                .find(|process| process["serviceName"] == service)?;
            assert_eq!(
                jaeger_tag(process, "telemetry.sdk.language").as_deref(),
                Some(language)
            );
            trace["traceID"].as_str().map(str::to_owned)
        },
    )
    .await
}

/// LogQL finds the program's line by the id of the trace.
async fn logged(console: &str, service: &str, language: &str, trace_id: &str) {
    let query = format!(r#"{{service_name="{service}"}} |= "visited" | trace_id="{trace_id}""#);
    eventually(&query, async || {
        let found = get(console, "/loki/api/v1/query_range", &[("query", &query)]).await?;
        let stream = &found["data"]["result"].get(0)?["stream"];
        assert_eq!(stream["telemetry_sdk_language"], language, "{stream}");
        assert_eq!(stream["detected_level"], "warn", "{stream}");
        Some(())
    })
    .await;
}

/// PromQL finds the duration of the call, and who has measured it.
async fn measured(console: &str, service: &str, language: &str) {
    let calls =
        format!(r#"http_client_request_duration_seconds_count{{service_name="{service}"}} == 1"#);
    let sender = format!(r#"target_info{{telemetry_sdk_language="{language}"}}"#);
    until_there_is(
        console,
        &format!("({calls}) * on (service_name, instance) {sender}"),
    )
    .await;
}

/// Sends by this protocol to where the console takes it, and asks `console`.
async fn all_is_found(console: &str, endpoint: &str, url: &str, sdk: Sdk, protocol: &str) {
    let (name, language, _) = sdk;
    let service = format!("{name}-{}", protocol.replace('/', "-"));
    let environment = [
        ("OTEL_SERVICE_NAME", service.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        // The stable names of metrics; Python and Node have older ones by default.
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "http"),
    ];
    let _said = run(&service, [name, url], &environment).await;
    let trace_id = joined(console, &service, language).await;
    logged(console, &service, language, &trace_id).await;
    measured(console, &service, language).await;
}

#[tokio::test]
#[ignore = "needs Python, Node, Go, Java and packages: just test-sdks"]
async fn each_sdk_joins_the_trace_and_all_its_signals_are_found() {
    let wanted = wanted();
    let mut up = Up::start().await;
    let started = up.started("console").await;
    let [console, grpc] = ["url", "otlp_grpc_url"].map(|url| started[url].as_str().expect("a URL"));
    let ready = up.ready().await;
    let url = format!("{}/api/data", ready["gateway_url"].as_str().expect("a URL"));
    for sdk in wanted {
        for protocol in sdk.2 {
            let endpoint = match *protocol {
                "grpc" => grpc,
                _ => console,
            };
            all_is_found(console, endpoint, &url, sdk, protocol).await;
        }
    }
    let own = http().get(format!("{console}/metrics")).send().await;
    let own = own.expect("an answer").text().await.expect("a text");
    let is_refused = |line: &&str| line.starts_with("console_rejected_items_total{");
    assert_eq!(own.lines().find(is_refused), None, "all items are taken");
}
