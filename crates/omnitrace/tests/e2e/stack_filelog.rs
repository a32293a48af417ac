//! Container output that nobody sends as OTLP: `deploy/collector/filelog.yaml` ships it, as Promtail did.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::harness::{NativeStack, eventually};

/// A line as Docker's json-file driver writes it.
fn line(text: &str, labels: serde_json::Value) -> String {
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let mut entry = json!({"log": format!("{text}\n"), "stream": "stderr", "time": time});
    if !labels.is_null() {
        entry["attrs"] = labels;
    }
    entry.to_string()
}

fn write(containers: &Path, container: &str, lines: &[String]) {
    let directory = containers.join(container);
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(format!("{container}-json.log")))
        .expect("a log file");
    for line in lines {
        writeln!(file, "{line}").expect("a line");
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn the_output_of_a_container_is_shipped_redacted_and_once() {
    let mut native = NativeStack::builder()
        .overlay("filelog.yaml")
        .victorialogs()
        .without(&[
            "loki",
            "jaeger",
            "prometheus",
            "alertmanager",
            "blackbox",
            "probe",
            "postgres-exporter",
        ])
        .start()
        .await;
    let containers = native.containers();
    // What is there when the collector looks for the first time is history to it, so the test waits until it has looked.
    write(&containers, "before", &[line("history", json!(null))]);
    eventually("the collector has looked for files", async || {
        let files = native
            .collector_value("otelcol_fileconsumer_open_files", &[])
            .await;
        (files > 0.0).then_some(())
    })
    .await;
    let shipped = || json!({"omnitrace.logs": "stdout", "com.docker.compose.service": "legacy"});
    write(
        &containers,
        "c0ffee",
        &[
            line("it began", shipped()),
            line(
                "mail to canary.bird@cage.example, card 4111111111111111",
                shipped(),
            ),
        ],
    );
    // A service that sends its logs itself, and a container without labels.
    let own = json!({"omnitrace.logs": "otlp", "com.docker.compose.service": "gateway"});
    write(&containers, "facade", &[line("a second copy", own)]);
    write(
        &containers,
        "decade",
        &[line("no label at all", json!(null)), "not JSON".to_owned()],
    );

    let lines = async |native: &NativeStack, count: usize| {
        eventually(
            &format!("{count} lines of the container in VictoriaLogs"),
            async || {
                let records = native.stored_logs("legacy").await;
                (records.len() >= count).then_some(records)
            },
        )
        .await
    };
    lines(&native, 2).await;

    // What was read is remembered: a restart ships what came meanwhile, and nothing twice.
    native.terminate("collector").await;
    write(&containers, "c0ffee", &[line("it went on", shipped())]);
    native.restart("collector").await;
    let mut texts: Vec<String> = lines(&native, 3)
        .await
        .into_iter()
        .map(|record| record["_msg"].trim().to_owned())
        .collect();
    texts.sort();
    assert_eq!(texts, ["it began", "it went on", "mail to ****, card ****"]);
    for stranger in ["a second copy", "no label at all", "not JSON"] {
        let found = native.logsql(&format!("_msg:~\"{stranger}\"")).await;
        assert!(found.is_empty(), "{stranger}: {found:?}");
    }
}
