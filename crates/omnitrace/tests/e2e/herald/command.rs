//! `omnitrace alerts`: the command that shows and says what herald knows.

use serde_json::{Value, json};

use super::Herald;
use crate::backend_tls::Pki;
use crate::cli::run;
use crate::harness::{Capture, eventually, omnitrace};

const SECRET: &str = "correct-horse-battery-staple";

/// Exit code, stdout, stderr; free of the caller's own settings.
pub async fn alerts(herald: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = omnitrace(["alerts", "--herald", herald]);
    command.args(arguments).env("USER", "ada");
    for name in [
        "HERALD_URL",
        "HERALD_SECRET",
        "HERALD_SECRET_FILE",
        "BACKEND_CERTIFICATE",
        "BACKEND_CLIENT_CERTIFICATE",
        "BACKEND_CLIENT_KEY",
    ] {
        command.env_remove(name);
    }
    run(command, None).await
}

#[track_caller]
pub fn fine((code, said, complained): (i32, String, String)) -> String {
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    said
}

#[tokio::test]
async fn alerts_are_listed_shown_acknowledged_silenced_and_judged() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(&state.path().join("state"), &[("HERALD_SECRET", SECRET)]).await;
    let file = state.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\nthe-one-that-follows-it\n")).unwrap();
    let (url, file) = (herald.url.clone(), file.display().to_string());
    let asked = async |arguments: &[&str]| {
        let with_secret = [arguments, &["--secret-file", &file]].concat();
        alerts(&url, &with_secret).await
    };
    assert_eq!(fine(asked(&[]).await), "herald knows of no such alert");
    let taken = herald.post_as(&format!("Bearer {SECRET}")).await;
    let key = taken.json::<Value>().await.unwrap()["key"]
        .as_str()
        .unwrap()
        .to_owned();

    let listed = fine(asked(&["list", "--state", "firing"]).await);
    assert!(
        listed.starts_with(&format!("{key}  FIRING    2")),
        "{listed}"
    );
    assert!(
        listed.ends_with("  [page] ServiceDown: gateway /api/data"),
        "{listed}"
    );
    let said = fine(asked(&["ack", &key, "--note", "looking"]).await);
    assert!(said.ends_with("  [acknowledged by ada]"), "{said}");
    let (code, _, refused) = asked(&["ack", &key, "--by", "bob"]).await;
    assert_eq!(code, 1);
    assert!(
        refused.contains("herald: Not possible as it stands: ada has acknowledged it"),
        "{refused}"
    );
    let said = fine(asked(&["verdict", &key, "false"]).await);
    assert!(said.ends_with("  [false alarm]"), "{said}");

    let silence = [
        "silence",
        "--matcher",
        "alertname=~Service.+",
        "--matcher",
        "team!=x",
    ];
    let why = ["--for", "1h", "--comment", "load test", "--by", "bob"];
    let said = fine(asked(&[&silence[..], &why].concat()).await);
    assert!(
        said.ends_with("  alertname=~Service.+ team!=x  by bob: load test"),
        "{said}"
    );
    let id = said.split(' ').next().unwrap().to_owned();
    assert_eq!(fine(asked(&["silences"]).await), said);
    let shown = eventually("evidence is gathered and delivered", async || {
        let shown = fine(asked(&["show", &key]).await);
        shown.contains("  delivered     log at ").then_some(shown)
    })
    .await;
    for part in [
        "summary       users see errors",
        "first         Look at gateway (https://example.org/runbooks/A.md): users see errors",
        "cause         gateway: unknown, users see errors",
        "note          looking",
        "firing        since ",
        "PROMETHEUS_URL is not set",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let whole = fine(asked(&["show", &key, "--json"]).await);
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(
        (&whole["verdict"]["true_alarm"], &whole["verdict"]["by"]),
        (&json!(false), &json!("ada"))
    );
    assert_eq!(
        fine(asked(&["expire", &id]).await),
        format!("{id} has ended")
    );
    assert_eq!(fine(asked(&["silences"]).await), "nothing is silenced");
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn an_error_of_alerts_names_the_flag_and_the_way_out() {
    let state = tempfile::tempdir().unwrap();
    let mut herald = Herald::start(state.path(), &[("HERALD_SECRET", SECRET)]).await;
    let other = Capture::answering(&json!("hello"));
    let id = "0198c5f1-6d3a-7cc2-8f0e-5a0f6f0b7c11";
    let silence = [
        "silence",
        "--for",
        "1h",
        "--comment",
        "x",
        "--secret",
        SECRET,
        "--matcher",
    ];
    let (url, other) = (herald.url.clone(), other.url());
    let everything = [&silence[..], &["a=~.*"]].concat();
    let no_matcher = [&silence[..], &["a"]].concat();
    let too_long = [
        "silence",
        "--for",
        "9000h",
        "--comment",
        "x",
        "--secret",
        SECRET,
        "--matcher",
        "a=b",
    ];
    let cases: [(&str, &[&str], &[&str]); 9] = [
        (
            "http://127.0.0.1:9",
            &[],
            &["herald does not answer at http://127.0.0.1:9", "--herald"],
        ),
        (&other, &[], &["is not herald", "--herald"]),
        (&url, &[], &["Not authorized", "--secret-file"]),
        (
            &url,
            &["--secret", "short"],
            &["HERALD_SECRET: allowed: 16 to 512"],
        ),
        (
            &url,
            &["--secret-file", "/absent"],
            &["HERALD_SECRET_FILE: cannot read /absent"],
        ),
        (
            &url,
            &["show", id, "--secret", SECRET],
            &["Not found: no such id"],
        ),
        (
            &url,
            &everything,
            &["matchers: allowed: at least one matcher that does not match everything"],
        ),
        (
            &url,
            &no_matcher,
            &["--matcher", "name=~regex", "alertname=ServiceDown"],
        ),
        (&url, &too_long, &["endsAt: allowed: ", "30 days"]),
    ];
    for (herald, arguments, parts) in cases {
        let (code, _, complained) = alerts(herald, arguments).await;
        assert_ne!(code, 0, "{arguments:?}");
        for part in parts {
            assert!(complained.contains(part), "{part:?} in {complained}");
        }
        assert!(!complained.contains(SECRET), "{complained}");
    }
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn the_command_shows_its_certificate() {
    let (pki, state) = (Pki::new(), tempfile::tempdir().unwrap());
    let file = |name: &str| pki.path(name).display().to_string();
    let [authority, certificate, key] = ["ca.crt", "localhost.crt", "localhost.key"].map(file);
    let settings = [
        ("HERALD_TLS_CERTIFICATE", certificate.as_str()),
        ("HERALD_TLS_KEY", &key),
        ("HERALD_TLS_CLIENT_CA", &authority),
    ];
    let mut herald = Herald::start(state.path(), &settings).await;
    let url = format!("https://localhost:{}", herald.port());
    let (code, _, refused) = alerts(&url, &["--backend-certificate", &authority]).await;
    assert_eq!(code, 1);
    assert!(
        refused.contains("a client certificate is needed"),
        "{refused}"
    );
    let [certificate, key] = ["client.crt", "client.key"].map(file);
    let shown = [
        "--backend-client-certificate",
        &certificate,
        "--backend-client-key",
        &key,
    ];
    let said = alerts(
        &url,
        &[&["--backend-certificate", authority.as_str()], &shown[..]].concat(),
    )
    .await;
    assert_eq!(fine(said), "herald knows of no such alert");
    assert!(herald.child.terminate().await.success());
}

#[tokio::test]
async fn what_others_wrote_is_neutral_in_the_terminal() {
    let forged = "\u{1b}[2K\u{1b}[1A\rok \n\u{9b}2K\u{2028}\u{202e}\u{e0041} password=hunter2";
    let said =
        json!({"by": forged, "note": forged, "comment": forged, "holds": true, "until": forged});
    let trace = json!({"trace_id": forged, "operation": forged});
    let alert = json!({"id": forged, "state": forged, "title": forged, "started": forged, "acknowledged": said,
        "silenced": said, "summary": forged, "alerts": [{"status": forged, "labels": {forged: forged}}],
        "diagnosis": {"first_action": {"text": forged}, "causes": [{"service": forged, "dependency": forged, "kind": forged, "why": forged}]},
        "evidence": {"traces": [trace], "log_lines": [{"text": forged}]}});
    let mut both = alert.clone();
    both["silences"] =
        json!([{"id": forged, "by": forged, "matchers": [{"name": forged, "value": forged}]}]);
    let fake = Capture::answering(&both);
    let url = fake.url();
    let id = "0198c5f1-6d3a-7cc2-8f0e-5a0f6f0b7c11";
    for (arguments, lines) in [
        (&["show", id][..], 9),
        (&["ack", id], 1),
        (&["silences"], 1),
    ] {
        let shown = fine(alerts(&url, arguments).await);
        let hidden = |c: char| c != '\n' && telemetry::redact::plain::is_hidden(c);
        assert!(
            !shown.contains(hidden) && !shown.contains("hunter2"),
            "{shown:?}"
        );
        assert_eq!(shown.lines().count(), lines, "{shown}");
        let json = fine(alerts(&url, &[arguments, &["--json"]].concat()).await);
        assert!(
            !json.contains(telemetry::redact::plain::is_hidden),
            "{json:?}"
        );
    }
    let refused = json!({"title": forged, "detail": forged, "errors": [{"field": forged, "message": forged}]});
    let fake = Capture::answering(&refused);
    fake.answer_with(422);
    let (code, _, complained) = alerts(&fake.url(), &[]).await;
    assert_eq!((code, complained.lines().count()), (1, 2), "{complained:?}");
}
