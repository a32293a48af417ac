//! Alertmanager's configuration as `omnitrace alertmanager-config` renders it, checked by amtool: in every combination of
//! secrets, and with hostile values.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Child, Directory, omnitrace, run_tool};

/// What each receiver needs.
const RECEIVERS: [(&str, &[(&str, &str)]); 6] = [
    (
        "slack_configs",
        &[("slack_webhook_url", "https://hooks.slack.example/T/B/x")],
    ),
    (
        "pagerduty_configs",
        &[("pagerduty_routing_key", "0123456789abcdef")],
    ),
    (
        "email_configs",
        &[
            ("smtp_smarthost", "mail.example:587"),
            ("smtp_from", "alerts@omnitrace.example"),
            ("smtp_to", "oncall@omnitrace.example"),
        ],
    ),
    (
        "webhook_configs",
        &[("webhook_url", "https://hook.example/alerts")],
    ),
    (
        "watchdog",
        &[("watchdog_url", "https://dead-man.example/ping")],
    ),
    (
        "herald",
        &[("herald_secret", "correct-horse-battery-staple")],
    ),
];

pub(crate) fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        std::fs::write(directory.join(name), text).expect("a secret");
    }
}

/// Runs the command; exit code, stderr.
pub(crate) async fn render(secrets: &Path, output: &Path, herald: Option<&str>) -> (i32, String) {
    let mut command = omnitrace(["alertmanager-config"]);
    command
        .arg("--secrets")
        .arg(secrets)
        .arg("--output")
        .arg(output);
    if let Some(herald) = herald {
        command.args(["--herald-url"]).args(herald.split(' '));
    }
    let mut child = Child::spawn("alertmanager-config", command);
    let status = child.wait().await;
    (status.code().unwrap_or(-1), child.stderr().join("\n"))
}

/// The configuration for these secrets, which stay in `directory` as the configuration does.
pub(crate) async fn rendered(
    directory: &Path,
    files: &[(&str, &str)],
    herald: Option<&str>,
) -> String {
    let secrets = directory.join("secrets");
    let output = directory.join("alertmanager.yml");
    std::fs::create_dir(&secrets).expect("a directory");
    write(&secrets, files);
    let (code, said) = render(&secrets, &output, herald).await;
    assert_eq!(code, 0, "{said}");
    std::fs::read_to_string(&output).expect("the file")
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn amtool_accepts_every_combination_of_secrets() {
    for combination in 0..1_u32 << RECEIVERS.len() {
        let on = |index: usize| combination & (1 << index) != 0;
        let directory = Directory::new();
        let secrets = directory.path().join("secrets");
        std::fs::create_dir(&secrets).expect("a directory");
        for (index, (_, files)) in RECEIVERS.iter().enumerate() {
            if on(index) {
                write(&secrets, files);
            }
        }
        let output = directory.path().join("alertmanager.yml");
        let herald = on(5).then_some("http://herald:9095");
        let (code, said) = render(&secrets, &output, herald).await;
        assert_eq!(code, 0, "{combination:b}: {said}");
        let path = output.to_str().expect("a path of text");
        let (valid, said) = run_tool("amtool", &["check-config", path]);
        assert!(valid, "{combination:b}: {said}");

        let text = std::fs::read_to_string(&output).expect("the file");
        for (index, (kind, files)) in RECEIVERS.iter().enumerate().take(3) {
            assert_eq!(text.contains(kind), on(index), "{combination:b} {kind}");
            let secret = files[0].1;
            assert!(
                index == 2 || !text.contains(secret),
                "{kind}: a secret was copied"
            );
        }
        assert_eq!(text.contains("http://herald:9095/alerts"), on(5));
        assert_eq!(text.contains("/herald_secret"), on(5));
        for (labels, receiver) in [
            (["alertname=A", "severity=page"], "page"),
            (["alertname=A", "severity=ticket"], "ticket"),
            (["alertname=Watchdog", "severity=none"], "watchdog"),
            (["alertname=A", "team=orders"], "ticket"),
        ] {
            let config = format!("--config.file={path}");
            let (ok, said) = run_tool(
                "amtool",
                &["config", "routes", "test", &config, labels[0], labels[1]],
            );
            // A warning about the flag follows.
            assert!(
                ok && said.lines().next() == Some(receiver),
                "{labels:?}: {said}"
            );
        }
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn amtool_accepts_what_herald_asks_for() {
    let directory = Directory::new();
    let output = directory.path().join("alertmanager.yml");
    let path = output.to_str().expect("a path of text");
    let files =
        "--herald-ca /tls/ca.crt --herald-certificate /tls/tls.crt --herald-key /tls/tls.key";
    for secret in ["", "correct-horse-battery-staple"] {
        write(directory.path(), &[("herald_secret", secret)]);
        let herald = format!("https://herald:9095 {files}");
        let (code, said) = render(directory.path(), &output, Some(&herald)).await;
        assert_eq!(code, 0, "{said}");
        let (valid, said) = run_tool("amtool", &["check-config", path]);
        assert!(valid, "{said}");
        let config: Value =
            serde_json::from_slice(&std::fs::read(&output).expect("the file")).expect("JSON");
        for (receiver, way) in [
            ("page", "alerts"),
            ("ticket", "alerts"),
            ("watchdog", "watchdog"),
        ] {
            let mut receivers = config["receivers"].as_array().expect("a list").iter();
            let found = receivers
                .find(|found| found["name"] == receiver)
                .expect(receiver);
            let webhook = &found["webhook_configs"][0];
            assert_eq!(webhook["url"], format!("https://herald:9095/{way}"));
            let http = &webhook["http_config"];
            assert_eq!(http["tls_config"]["key_file"], "/tls/tls.key", "{found}");
            let file = http["authorization"]["credentials_file"].as_str();
            assert_eq!(
                file.is_some_and(|file| file.ends_with("/herald_secret")),
                !secret.is_empty()
            );
        }
    }
}

#[tokio::test]
async fn half_a_receiver_is_an_error_that_names_the_file() {
    let directory = Directory::new();
    let output = directory.path().join("alertmanager.yml");
    let email = |index: usize, hostile: &'static str| {
        let mut files = RECEIVERS[2].1.to_vec();
        files[index].1 = hostile;
        files
    };
    let (no_port, lines, template) = (
        email(0, "mail.example"),
        email(2, "a@b.example\nreceivers: []"),
        email(1, "{{ .X }}@b.example"),
    );
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&no_port, "smtp_smarthost: does not hold a host and a port"),
        (&lines, "smtp_to: does not hold e-mail addresses"),
        (&template, "smtp_from: does not hold e-mail addresses"),
        (
            &[("smtp_smarthost", "mail.example:587")],
            "smtp_from is missing",
        ),
        (&[("smtp_auth_password", "x")], "smtp_smarthost is missing"),
        (
            &[
                ("smtp_smarthost", "mail.example:587"),
                ("smtp_from", "a@omnitrace.example"),
                ("smtp_to", "b@omnitrace.example"),
                ("smtp_auth_username", "a"),
            ],
            "smtp_auth_username and smtp_auth_password belong together",
        ),
        (
            &[("slack_webhook_url", "hooks.slack.example")],
            "slack_webhook_url: does not hold",
        ),
    ];
    for (index, (files, expected)) in cases.into_iter().enumerate() {
        let secrets = directory.path().join(index.to_string());
        std::fs::create_dir(&secrets).expect("a directory");
        write(&secrets, files);
        let (code, said) = render(&secrets, &output, None).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(expected), "{expected:?} in {said}");
        assert!(!output.exists(), "nothing is written");
    }
    let secrets = directory.path().join("herald");
    std::fs::create_dir(&secrets).expect("a directory");
    let (code, said) = render(&secrets, &output, Some("http://a:hunter2@herald:9095")).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("--herald-url: ") && said.contains("herald/herald_secret"),
        "{said}"
    );
    assert!(!said.contains("hunter2") && !output.exists(), "{said}");
    write(
        &secrets,
        &[(
            "herald_secret",
            "correct-horse-battery\nstaple-staple-staple\n",
        )],
    );
    let (code, said) = render(&secrets, &output, Some("http://herald:9095")).await;
    assert!(
        code == 1 && said.contains("Alertmanager sends one secret"),
        "{said}"
    );
    let (code, said) = render(&directory.path().join("none"), &output, None).await;
    assert_eq!(code, 1);
    assert!(said.contains("there is no such directory"), "{said}");
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn hostile_values_are_an_error_or_a_file_that_amtool_accepts() {
    let hostile = [
        ":",
        "#",
        "a: b # c",
        "\"",
        "'",
        "{{ .X }}",
        "{{",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "%zz",
        "\\",
        "é:25",
        "[::1]:25",
        "x:99999",
        "- a",
        "&a *b",
        "a\nb: c",
        "a\tb",
        "null",
        "http://h/{{",
        "http://h/?a={{b",
        "http://u:p@h:1/#x",
        "http://[::1]/\"a'",
    ];
    let names = [
        "slack_webhook_url",
        "pagerduty_routing_key",
        "webhook_url",
        "watchdog_url",
        "smtp_smarthost",
        "smtp_from",
        "smtp_to",
        "smtp_auth_username",
    ];
    let (mut taken, mut refused) = (0, 0);
    for value in hostile {
        for name in names.into_iter().chain(["herald", "directory"]) {
            let directory = Directory::new();
            let part = if name == "directory" {
                value.replace('/', "_")
            } else {
                "secrets".to_owned()
            };
            let secrets = directory.path().join(part);
            std::fs::create_dir(&secrets).expect("a directory");
            for (_, files) in RECEIVERS {
                write(&secrets, files);
            }
            write(
                &secrets,
                &[("smtp_auth_username", "a"), ("smtp_auth_password", "b")],
            );
            if names.contains(&name) {
                write(&secrets, &[(name, value)]);
            }
            let output = directory.path().join("alertmanager.yml");
            let herald = (name == "herald").then_some(value);
            let (code, said) = render(&secrets, &output, herald).await;
            if code != 0 {
                assert!(said.contains("error"), "{name} {value:?}: {said}");
                assert!(!output.exists(), "{name} {value:?}: nothing is written");
                refused += 1;
                continue;
            }
            taken += 1;
            let path = output.to_str().expect("a path of text");
            let (valid, said) = run_tool("amtool", &["check-config", path]);
            assert!(valid, "{name} {value:?}: {said}");
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} {refused}");
}
