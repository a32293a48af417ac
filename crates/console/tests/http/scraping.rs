//! Targets, their samples, and what happens when they misbehave.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use console::Settings;

use crate::harness::{Running, settings};

/// What a target does when it is asked.
#[derive(Clone)]
pub enum Behaviour {
    Answers(String),
    Fails,
    Floods,
    Hangs,
}

/// A service with metrics.
pub struct Target {
    pub address: String,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Target {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (shared, seen) = (behaviour.clone(), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let now = shared.lock().expect("no panic").clone();
                tokio::spawn(answer(stream, now, seen.clone()));
            }
        });
        Self {
            address,
            behaviour,
            requests,
            task,
        }
    }

    pub fn now(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no panic") = behaviour;
    }
}

async fn answer(
    mut stream: tokio::net::TcpStream,
    behaviour: Behaviour,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    seen.lock()
        .expect("no panic")
        .push(String::from_utf8_lossy(&request).to_lowercase());
    let head = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nconnection: close\r\n";
    // Whether the console is still there to hear it is its own affair.
    let _ = match behaviour {
        Behaviour::Answers(text) => {
            stream
                .write_all(
                    format!(
                        "HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n{text}",
                        text.len()
                    )
                    .as_bytes(),
                )
                .await
        }
        Behaviour::Fails => {
            stream
                .write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
        }
        Behaviour::Floods => {
            let _ = stream
                .write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes())
                .await;
            let lines = "flood{n=\"1\"} 1\n".repeat(10_000);
            while stream.write_all(lines.as_bytes()).await.is_ok() {}
            Ok(())
        }
        Behaviour::Hangs => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(())
        }
    };
}

fn exposition(requests: u32) -> String {
    format!(
        "# TYPE http_server_request_duration_seconds histogram\n\
         http_server_request_duration_seconds_bucket{{http_route=\"/a\",le=\"0.1\"}} {requests} # {{trace_id=\"{:032x}\",span_id=\"{:016x}\"}} 0.05 1767225600.5\n\
         http_server_request_duration_seconds_bucket{{http_route=\"/a\",le=\"+Inf\"}} {requests}\n\
         http_server_request_duration_seconds_sum{{http_route=\"/a\"}} 0.5\n\
         http_server_request_duration_seconds_count{{http_route=\"/a\"}} {requests}\n\
         # TYPE odd gauge\nodd{{text=\"a\\\"b\\\\c\\nd\"}} NaN\n# EOF\n",
        7, 1
    )
}

pub fn write_targets(file: &Path, targets: &Value) {
    // Written beside the old file and renamed, as Prometheus asks of its users, so that nobody reads half a file.
    let new = file.with_extension("new");
    std::fs::write(&new, targets.to_string()).expect("a file");
    std::fs::rename(new, file).expect("a move");
}

pub fn group(addresses: &[&str], service: &str) -> Value {
    json!({"targets": addresses, "labels": {"service_name": service}})
}

pub fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("targets.json");
    (directory, file)
}

#[tokio::test]
async fn samples_and_exemplars_of_targets_are_served() {
    let target = Target::start(Behaviour::Answers(exposition(3))).await;
    let (_directory, file) = file();
    write_targets(&file, &json!([group(&[&target.address], "gateway")]));
    let console = Running::scraping(file);
    let targets = console
        .until("/api/targets", |answer| answer["targets"][0]["up"] == true)
        .await;
    let state = &targets["targets"][0];
    assert_eq!(
        (&state["address"], &state["service_name"], &state["error"]),
        (&json!(target.address), &json!("gateway"), &Value::Null)
    );
    assert!(
        state["series"].as_u64() >= Some(5) && state["last_scrape_us"].as_u64() > Some(0),
        "{state}"
    );
    assert!(
        target.requests.lock().expect("no panic")[0]
            .contains("accept: application/openmetrics-text")
    );

    let path = "/api/metrics?name=http_server_request_duration_seconds_count&label=service_name=gateway&label=http_route=/a";
    let series = console.json(path).await;
    assert_eq!(
        (series.as_array().map(Vec::len), series[0]["value"].as_f64()),
        (Some(1), Some(3.0)),
        "{series}"
    );
    assert!(
        series[0]["labels"]["instance"] == target.address,
        "{series}"
    );
    let bucket = console
        .json("/api/metrics?name=http_server_request_duration_seconds_bucket&label=le=0.1")
        .await;
    let exemplar = &bucket[0]["exemplar"];
    assert_eq!(
        (&exemplar["trace_id"], exemplar["value"].as_f64()),
        (&json!(format!("{:032x}", 7)), Some(0.05))
    );
    assert_eq!(
        exemplar["timestamp_us"].as_f64(),
        Some(1_767_225_600_500_000.0)
    );
    let odd = console.json("/api/metrics?name=odd").await;
    assert_eq!(odd[0]["labels"]["text"], "a\"b\\c\nd");
    target.now(Behaviour::Answers(exposition(4)));
    console
        .until(path, |series| series[0]["value"].as_f64() == Some(4.0))
        .await;
    for bad in [
        "/api/metrics?name=a&label=b",
        "/api/metrics?name=a&lable=b=c",
    ] {
        assert_eq!(console.get(bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_target_that_misbehaves_is_down_and_says_why() {
    let target = Target::start(Behaviour::Answers(exposition(1))).await;
    let well = Target::start(Behaviour::Answers(exposition(1))).await;
    let (_directory, file) = file();
    write_targets(
        &file,
        &json!([
            group(&[&target.address], "sick"),
            group(&[&well.address], "well")
        ]),
    );
    // A page has one interval to come, and the flood takes some time to be too large.
    let console = Running::with(Settings {
        targets_file: Some(file),
        scrape_interval: Duration::from_millis(500),
        ..settings()
    });
    let state = async |up: bool, word: &str| {
        console
            .until("/api/targets", |answer| {
                let targets = answer["targets"].as_array().cloned().unwrap_or_default();
                let of = |name: &str| {
                    targets
                        .iter()
                        .find(|target| target["service_name"] == name)
                        .cloned()
                        .unwrap_or_default()
                };
                let error = of("sick")["error"].as_str().unwrap_or_default().to_owned();
                of("sick")["up"] == up && error.contains(word) && of("well")["up"] == true
            })
            .await;
    };
    state(true, "").await;
    for (behaviour, word) in [
        (Behaviour::Fails, "500"),
        (Behaviour::Floods, "larger than"),
        (
            Behaviour::Answers("this is { no exposition".into()),
            "line 1",
        ),
        (Behaviour::Hangs, "timed out"),
    ] {
        target.now(behaviour);
        state(false, word).await;
        target.now(Behaviour::Answers(exposition(2)));
        state(true, "").await;
    }
    target.task.abort();
    state(false, "").await;
    let up = console
        .json("/api/metrics?name=up&label=service_name=sick")
        .await;
    assert_eq!(up[0]["value"].as_f64(), Some(0.0), "{up}");
}

#[tokio::test]
async fn the_targets_file_is_read_again_and_a_bad_one_changes_nothing() {
    let (one, two) = (
        Target::start(Behaviour::Answers(exposition(1))).await,
        Target::start(Behaviour::Answers(exposition(2))).await,
    );
    let (_directory, file) = file();
    let console = Running::scraping(file.clone());
    // The file may come after the console.
    console
        .until("/api/targets", |answer| {
            answer["error"]
                .as_str()
                .is_some_and(|why| why.contains("targets.json"))
        })
        .await;
    write_targets(&file, &json!([group(&[&one.address], "one")]));
    console
        .until("/api/targets", |answer| {
            answer["targets"][0]["up"] == true && answer["error"].is_null()
        })
        .await;
    std::fs::write(&file, "[{\"targets\":").expect("a file");
    let answer = console
        .until("/api/targets", |answer| answer["error"].is_string())
        .await;
    assert_eq!(
        answer["targets"][0]["service_name"], "one",
        "the last good one is kept"
    );
    for bad in [
        json!({"targets": []}),
        json!([{"targets": ["no address"]}]),
        json!([{"targets": [5]}]),
    ] {
        write_targets(&file, &bad);
        console
            .until("/api/targets", |answer| answer["error"].is_string())
            .await;
    }
    write_targets(
        &file,
        &json!([group(&[&one.address, &two.address], "pair")]),
    );
    let all_up = |answer: &Value| {
        let targets = answer["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets.len() == 2
            && targets
                .iter()
                .all(|target| target["up"] == true && target["service_name"] == "pair")
    };
    console.until("/api/targets", all_up).await;
    write_targets(&file, &json!([]));
    console
        .until("/api/targets", |answer| answer["targets"] == json!([]))
        .await;
    console
        .until("/api/metrics?name=odd", |answer| *answer == json!([]))
        .await;
}

/// A page of so many bytes.
fn page(bytes: usize) -> Behaviour {
    let comment = format!("# HELP padding {}\n", "c".repeat(bytes));
    Behaviour::Answers(format!("{comment}{}", exposition(1)))
}

/// Uploads that do not end, and take all the room that bodies have.
async fn uploads(console: &Running) -> Vec<tokio::net::TcpStream> {
    let mut open = Vec::new();
    for size in [5 << 20, 512 << 10, 256 << 10, 128 << 10, 64 << 10] {
        let stream = tokio::net::TcpStream::connect(console.address).await;
        let mut stream = stream.expect("a connection");
        let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 6000000\r\n\r\n";
        let body = [head.as_bytes(), &vec![b' '; size]].concat();
        stream.write_all(&body).await.expect("room");
        open.push(stream);
    }
    let is_full = |stats: &Value| stats["under_way_bytes"].as_u64() > Some(5_900_000);
    console.until("/api/stats", is_full).await;
    open
}

#[tokio::test]
async fn uploads_do_not_make_targets_look_down() {
    let target = Target::start(page(512 << 10)).await;
    let (_directory, file) = file();
    write_targets(&file, &json!([group(&[&target.address], "gateway")]));
    let console = Running::with(Settings {
        memory_bytes: 8 << 20,
        max_body_bytes: 8 << 20,
        targets_file: Some(file),
        ..settings()
    });
    let last = |answer: &Value| answer["targets"][0]["last_scrape_us"].as_u64();
    let is_up = |answer: &Value| answer["targets"][0]["up"] == true;
    console.until("/api/targets", is_up).await;
    let open = uploads(&console).await;
    for _ in 0..3 {
        let before = last(&console.json("/api/targets").await);
        let next = |answer: &Value| last(answer) > before;
        let after = console.until("/api/targets", next).await;
        assert!(is_up(&after), "{after}");
    }
    // Pages that find no room, these not even when there are no uploads, say nothing about the target.
    target.now(page(6 << 20));
    let skipped = |stats: &Value| stats["skipped_scrapes"].as_u64();
    let stats = console
        .until("/api/stats", |stats| skipped(stats) > Some(0))
        .await;
    let state = console.json("/api/targets").await;
    let again = |later: &Value| skipped(later) > skipped(&stats).map(|count| count + 1);
    console.until("/api/stats", again).await;
    let later = console.json("/api/targets").await;
    assert_eq!(last(&later), last(&state), "when its page was last read");
    let why = later["targets"][0]["error"].as_str().unwrap_or_default();
    assert!(is_up(&later) && why.contains("no room"), "{later}");
    let up = "/api/metrics?name=up&label=service_name=gateway";
    assert_eq!(console.json(up).await[0]["value"].as_f64(), Some(1.0));
    let page = console.get("/metrics").await.text();
    assert!(!page.contains("console_skipped_scrapes_total 0"), "{page}");
    drop(open);
    target.now(Behaviour::Answers(exposition(1)));
    let is_well = |answer: &Value| is_up(answer) && answer["targets"][0]["error"].is_null();
    console.until("/api/targets", is_well).await;
}
