//! Alertmanager's configuration as `omnitrace alertmanager-config` renders it, at work in a running Alertmanager.

use serde_json::{Value, json};

use crate::backend_tls::Pki;
use crate::harness::{Capture, Child, Directory, eventually, http, repository, spawn_tool};
use crate::herald::{Herald, arrived};
use crate::stack_alertmanager_config::rendered;
use crate::stack_tls::make_certificates;

/// A running Alertmanager that sends to the test.
struct Alertmanager {
    url: String,
    webhook: Capture,
    _child: Child,
    _directory: Directory,
}

impl Alertmanager {
    async fn start() -> Self {
        let webhook = Capture::answering(&json!({}));
        let url = webhook.url();
        Self::sending_to(webhook, &[("webhook_url", &url)], None).await
    }

    async fn sending_to(webhook: Capture, files: &[(&str, &str)], herald: Option<&str>) -> Self {
        let directory = Directory::new();
        let text = rendered(directory.path(), files, herald).await;
        let output = directory.path().join("alertmanager.yml");
        // Nobody waits half a minute for a test.
        std::fs::write(
            &output,
            text.replace("\"30s\"", "\"1s\"")
                .replace("\"5s\"", "\"1s\""),
        )
        .expect("the file");
        let address = crate::harness::addresses()
            .of("alertmanager:9093")
            .to_owned();
        let arguments = [
            format!("--config.file={}", output.display()),
            format!("--storage.path={}", directory.path().join("data").display()),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let child = spawn_tool("alertmanager", &arguments, &[]);
        let url = format!("http://{address}");
        eventually("Alertmanager is ready", async || {
            let answer = http().get(format!("{url}/-/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Self {
            url,
            webhook,
            _child: child,
            _directory: directory,
        }
    }

    async fn fire(&self, alerts: Value) {
        let answer = http()
            .post(format!("{}/api/v2/alerts", self.url))
            .json(&alerts)
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }

    /// `state` of every alert, by its label `name`.
    async fn states(&self) -> Vec<(String, String)> {
        let answer = http()
            .get(format!("{}/api/v2/alerts", self.url))
            .send()
            .await
            .expect("an answer");
        let alerts: Vec<Value> = answer.json().await.expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut states: Vec<(String, String)> = alerts
            .iter()
            .map(|alert| {
                (
                    text(&alert["labels"]["name"]),
                    text(&alert["status"]["state"]),
                )
            })
            .collect();
        states.sort();
        states
    }
}

fn alert(name: &str, severity: &str, labels: Value) -> Value {
    let mut all = json!({"alertname": "AvailabilityBurnRate", "name": name, "severity": severity, "team": "orders"});
    for (key, value) in labels.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    json!({"labels": all})
}

/// The labels of an alert of another rule.
fn named(rule: &str, mut labels: Value) -> Value {
    labels["alertname"] = rule.into();
    labels
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_title_names_route_and_trouble_and_a_text_the_release() {
    let slack = Capture::answering(&json!({}));
    let url = slack.url();
    let alertmanager = Alertmanager::sending_to(slack, &[("slack_webhook_url", &url)], None).await;
    let with_texts = |mut alert: Value| {
        alert["annotations"] = json!({
            "summary": "gateway /api/orders: requests fail",
            "release": "data 0.2.0, before it 0.1.0: slower",
        });
        alert
    };
    let orders = json!({"slo": "availability", "service": "gateway", "route": "/api/orders", "deployment_environment_name": "staging"});
    alertmanager
        .fire(json!([
            with_texts(alert("page", "page", orders.clone())),
            with_texts(alert("probe", "page", named("ProbeFailing", orders))),
        ]))
        .await;
    let message = arrived(&alertmanager.webhook, 1).await.remove(0).json();
    let told = &message["attachments"][0];
    assert_eq!(
        told["title"],
        "[staging] FIRING page: gateway /api/orders: requests fail (2 alerts)"
    );
    let text = told["text"].as_str().unwrap_or_default();
    assert!(text.contains("release: data 0.2.0, before it"), "{text}");
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn a_page_silences_the_tickets_of_its_own_objective_and_no_others() {
    let alertmanager = Alertmanager::start().await;
    let of = |slo: &str, service: &str, route: &str| json!({"slo": slo, "service": service, "route": route});
    let orders = of("orders-availability", "gateway", "/api/orders");
    // Alerts of other stacks that share the Alertmanager.
    let elsewhere = |environment: &str| {
        let mut labels = orders.clone();
        labels["deployment_environment_name"] = environment.into();
        labels
    };
    alertmanager
        .fire(json!([
            alert("page", "page", orders.clone()),
            alert("same", "ticket", orders.clone()),
            alert("probe", "page", named("ProbeFailing", orders.clone())),
            alert(
                "cause",
                "ticket",
                named("NotReady", of("none", "gateway", "none"))
            ),
            alert(
                "cause elsewhere",
                "ticket",
                named("NotReady", of("none", "data", "none"))
            ),
            alert(
                "other slo",
                "ticket",
                of("orders-latency", "gateway", "/api/orders")
            ),
            alert(
                "other service",
                "ticket",
                of("orders-availability", "data", "/api/orders")
            ),
            alert(
                "other route",
                "ticket",
                of("orders-availability", "gateway", "/api/data")
            ),
            alert("page elsewhere", "page", elsewhere("staging")),
            alert("same elsewhere", "ticket", elsewhere("production")),
            alert("page without labels", "page", json!({})),
            alert("ticket without labels", "ticket", json!({})),
        ]))
        .await;
    let want = [
        ("cause", "suppressed"),
        ("cause elsewhere", "active"),
        ("other route", "active"),
        ("other service", "active"),
        ("other slo", "active"),
        ("page", "active"),
        ("page elsewhere", "active"),
        ("page without labels", "active"),
        ("probe", "active"),
        ("same", "suppressed"),
        ("same elsewhere", "active"),
        ("ticket without labels", "active"),
    ];
    let want: Vec<(String, String)> = want
        .map(|(name, state)| (name.to_owned(), state.to_owned()))
        .into();
    let mut seen = Vec::new();
    eventually("every alert has its state", async || {
        seen = alertmanager.states().await;
        (seen == want).then_some(())
    })
    .await;

    // What is sent: the pages of the objective as one, the tickets grouped by alert, objective and service; never those below the page.
    let mut sent: Vec<String> = Vec::new();
    let mut sizes = Vec::new();
    eventually("every group is sent", async || {
        for request in alertmanager.webhook.take() {
            let body = request.json();
            sizes.push((
                body["groupLabels"]["slo"].clone(),
                body["alerts"].as_array().map(Vec::len),
            ));
            for alert in body["alerts"].as_array().into_iter().flatten() {
                sent.push(
                    alert["labels"]["name"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
        }
        (sent.len() >= 10).then_some(())
    })
    .await;
    assert!(
        sizes.contains(&(json!("orders-availability"), Some(2))),
        "page and probe as one: {sizes:?}"
    );
    sent.sort();
    let want: Vec<&str> = seen
        .iter()
        .filter(|(_, state)| state == "active")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(sent, want);
}

/// Two ways, so that silence at one of them tells which part is dead.
#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn the_alert_that_always_fires_goes_by_herald_and_around_it() {
    let (by_herald, around) = (
        Capture::answering(&json!({})),
        Capture::answering(&json!({})),
    );
    let (state, url) = (Directory::new(), by_herald.url());
    let mut herald = Some(Herald::start(state.path(), &[("HERALD_WATCHDOG_URL", &url)]).await);
    let at = format!(
        "http://127.0.0.1:{}",
        herald.as_ref().map_or("", Herald::port)
    );
    let url = around.url();
    let alertmanager = Alertmanager::sending_to(around, &[("watchdog_url", &url)], Some(&at)).await;
    let watchdog = json!([{"labels": {"alertname": "Watchdog", "severity": "none"}}]);
    alertmanager.fire(watchdog.clone()).await;
    let beat = arrived(&by_herald, 1).await.remove(0).json();
    assert_eq!(beat["from"], "herald");
    let beat = arrived(&alertmanager.webhook, 1).await.remove(0).json();
    assert_eq!(beat["commonLabels"]["alertname"], "Watchdog");

    drop(herald.take());
    let fired = Value::from_iter([
        ("alertname", "Watchdog"),
        ("name", "another"),
        ("team", "b"),
    ]);
    alertmanager.fire(json!([{"labels": fired}])).await;
    arrived(&alertmanager.webhook, 1).await;
    assert_eq!(by_herald.take().len(), 0);
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn alertmanager_is_let_in_by_its_secret_and_its_certificate() {
    let (pki, state) = (Pki::new(), Directory::new());
    let webhook = Capture::answering(&json!({}));
    let [certificate, key, ca, own, own_key] = [
        "localhost.crt",
        "localhost.key",
        "ca.crt",
        "client.crt",
        "client.key",
    ]
    .map(|name| pki.path(name).display().to_string());
    let secret = "correct-horse-battery-staple";
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("HERALD_SECRET", secret.to_owned()),
        ("HERALD_TLS_CERTIFICATE", certificate),
        ("HERALD_TLS_KEY", key),
        ("HERALD_TLS_CLIENT_CA", ca.clone()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let herald = Herald::start(state.path(), &settings).await;
    let port = herald.port();
    let herald = format!(
        "https://localhost:{port} --herald-ca {ca} --herald-certificate {own} --herald-key {own_key}"
    );
    let alertmanager =
        Alertmanager::sending_to(webhook, &[("herald_secret", secret)], Some(&herald)).await;
    alertmanager
        .fire(json!([alert("one", "page", json!({}))]))
        .await;
    let notification = arrived(&alertmanager.webhook, 1).await.remove(0).json();
    assert_eq!(notification["alerts"][0]["labels"]["name"], "one");
}

/// Lines of compose.tls.yaml that begin so, as they are where `part` finds its certificates.
fn overlay(beginning: &str, part: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(repository("deploy/compose.tls.yaml")).expect("the file");
    let text = text.replace("/etc/omnitrace/tls", part.to_str().expect("text"));
    let lines = text.lines().map(str::trim);
    let found = lines.filter(|line| line.starts_with(beginning));
    found.map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh and openssl: just test-stack"]
async fn with_the_overlay_tls_alertmanager_brings_alerts_and_who_has_no_certificate_does_not() {
    let (certificates, state) = (make_certificates(), Directory::new());
    let webhook = Capture::answering(&json!({}));
    let url = webhook.url();
    let lines = overlay("HERALD_TLS_", &certificates.path().join("herald"));
    let settings = lines.iter().filter_map(|line| line.split_once(": "));
    let settings: Vec<_> = settings
        .chain([("HERALD_WEBHOOK_URL", url.as_str())])
        .collect();
    assert_eq!(settings.len(), 4, "{settings:?}");
    let herald = Herald::start(state.path(), &settings).await;

    let url = format!("https://localhost:{}", herald.port());
    let ca = std::fs::read(certificates.path().join("client/ca.crt")).expect("a file");
    let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
    let stranger = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
    let stranger = stranger.build().expect("a client");
    let post = stranger.post(format!("{url}/alerts")).json(&json!({}));
    assert_eq!(post.send().await.expect("an answer").status(), 401);
    let plain = url.replace("https:", "http:");
    let plain = http().post(format!("{plain}/alerts")).json(&json!({}));
    let answered = plain.send().await;
    assert!(answered.is_err(), "{answered:?}");

    let flags = overlay("- --herald-", &certificates.path().join("alertmanager"));
    assert_eq!(flags.len(), 3, "{flags:?}");
    let flags = flags.join(" ").replace("- --", "--");
    let alertmanager =
        Alertmanager::sending_to(webhook, &[], Some(&format!("{url} {flags}"))).await;
    alertmanager
        .fire(json!([alert("one", "page", json!({}))]))
        .await;
    let notification = arrived(&alertmanager.webhook, 1).await.remove(0).json();
    assert_eq!(notification["alerts"][0]["labels"]["name"], "one");
}
