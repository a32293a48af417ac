//! `bad_release`: a deployment of a slow version as everybody sees one, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::json;

use super::faults;
use crate::harness::{Signal, Stack, Up, eventually, http};

const VERSION: &str = env!("OMNITRACE_BUILD");

/// Version and instance of data, as its metrics name them.
async fn running(stack: &Stack) -> (String, String) {
    let scrape = stack.scrape("data").await;
    let [build] = scrape.matching("build_info", &[])[..] else {
        panic!("one build_info in {}", scrape.text)
    };
    let label = |name: &str| build.labels[name].clone();
    assert_eq!(label("version"), label("service_version"));
    (label("service_version"), label("service_instance_id"))
}

async fn until(stack: &Stack, version: &str) -> String {
    eventually(&format!("data runs as {version}"), async || {
        let (found, instance) = running(stack).await;
        (found == version).then_some(instance)
    })
    .await
}

/// Waits until the version that was started runs again.
pub(crate) async fn is_back(stack: &Stack) {
    until(stack, VERSION).await;
}

/// The processes that data has started: the newer release, while it runs.
fn beside(stack: &Stack) -> Vec<i32> {
    let pid = stack.pid("data");
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("data runs");
    let pids = children.split_whitespace().map(|pid| pid.parse());
    pids.collect::<Result<_, _>>().expect("process ids")
}

/// A process that its parent has not waited for yet has ended all the same.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn started_at(stack: &Stack) -> f64 {
    let scrape = stack.scrape("data").await;
    let seconds = scrape.value("process_start_time_seconds", &[]);
    seconds.expect("a start time")
}

/// `GET /api/data`, over and over, until `stop`; how many were answered. None is refused or cut off. On a machine that
/// is busy with something else the new start can take longer than the gateway waits: that is a 504, and shows nothing here.
async fn browse(stack: &Stack, stop: &AtomicBool) -> u32 {
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        let reply = stack.get_data().await;
        assert!(matches!(reply.status, 200 | 504), "{reply:?}");
        count += u32::from(reply.status == 200);
    }
    count
}

#[tokio::test]
async fn a_newer_version_takes_over_refusing_nobody_and_goes_by_itself() {
    let stack = Arc::new(Stack::start().await);
    let (version, first) = running(&stack).await;
    assert_eq!(version, VERSION);
    let (pid, first_start) = (stack.pid("data"), started_at(&stack).await);

    let stop = Arc::new(AtomicBool::new(false));
    let browsing = {
        let (stack, stop) = (stack.clone(), stop.clone());
        tokio::spawn(async move { browse(&stack, &stop).await })
    };
    let fault = json!({"ms": 200, "expires_in_s": 12});
    stack
        .fault_set("data", "bad_release", fault)
        .await
        .expect(200);
    let second = until(&stack, "0.2.0").await;
    assert_ne!(first, second, "another instance");
    assert_eq!(beside(&stack).len(), 1, "a process of its own");
    assert!(started_at(&stack).await > first_start);
    let listed = faults(&stack, "data").await;
    let active = &listed
        .iter()
        .find(|fault| fault["name"] == "bad_release")
        .expect("listed")["active"];
    assert_eq!(active["parameters"], json!({"ms": 200}));
    assert!(
        active["seconds_left"]
            .as_f64()
            .is_some_and(|left| left > 0.0 && left < 12.0),
        "{active}"
    );

    // Slow in the database, and every signal says which release it was.
    let reply = stack.get_data().await.expect(200);
    let spans = stack
        .trace_over(&reply.trace_id(), &["gateway", "data", "downstream"])
        .await;
    let slow = spans
        .iter()
        .find(|span| span.name == "SELECT items")
        .expect("the statement");
    assert!(slow.end_ns - slow.start_ns >= 200_000_000, "{slow:?}");
    for (name, value) in [
        ("service.version", "0.2.0"),
        ("service.instance.id", &second),
    ] {
        assert_eq!(slow.resource[name], value, "{slow:?}");
    }

    let third = until(&stack, VERSION).await;
    assert!(third != first && third != second);
    stop.store(true, Ordering::Release);
    let count = browsing.await.expect("nobody was refused");
    assert!(count >= 10, "{count}");
    assert_eq!(stack.pid("data"), pid);
    assert_eq!(beside(&stack), [] as [i32; 0]);
    let started = stack
        .log_lines("data")
        .iter()
        .filter(|line| line["message"] == "listening")
        .count();
    assert_eq!(started, 3);
    let stack = Arc::into_inner(stack).expect("nobody else has it");
    stack.stop().await;
}

#[tokio::test]
async fn a_bad_release_can_be_stopped_and_a_real_restart_is_the_old_one() {
    let mut stack = Stack::start().await;
    stack
        .fault_set("data", "bad_release", json!({}))
        .await
        .expect(200);
    until(&stack, "0.2.0").await;
    // The default of 400 ms, set again while it is on.
    stack
        .fault_set("data", "bad_release", json!({"ms": 1}))
        .await
        .expect(200);
    assert_eq!(super::gauge(&stack, "data", "bad_release").await, Some(1.0));
    assert_eq!(stack.kill("data", Signal::SIGTERM).await, 0);
    stack.restart("data").await;
    assert_eq!(running(&stack).await.0, VERSION);
    assert_eq!(super::gauge(&stack, "data", "bad_release").await, Some(0.0));
    stack.stop().await;
}

#[tokio::test]
async fn neither_release_outlives_the_other() {
    let mut stack = Stack::start().await;
    for killed in ["the newer", "the older"] {
        stack
            .fault_set("data", "bad_release", json!({}))
            .await
            .expect(200);
        until(&stack, "0.2.0").await;
        let newer = beside(&stack)[0];
        if killed == "the newer" {
            kill(Pid::from_raw(newer), Signal::SIGKILL).expect("it runs");
            let code = stack.ended("data").await;
            assert_eq!(code, 1, "{}", stack.output("data"));
            assert!(stack.output("data").contains("the newer release has ended"));
        } else {
            stack.kill("data", Signal::SIGKILL).await;
        }
        eventually(&format!("after {killed} was killed both end"), async || {
            (!runs(newer)).then_some(())
        })
        .await;
        // A rollback.
        stack.restart("data").await;
        assert_eq!(running(&stack).await.0, VERSION);
    }
    stack.stop().await;
}

/// Waits for a line of data's log, after `before` of them.
async fn says(stack: &Stack, message: &str, before: usize) {
    eventually(&format!("data says {message:?}"), async || {
        let lines = stack.log_lines("data");
        let said = lines[before..]
            .iter()
            .any(|line| line["message"] == message);
        said.then_some(())
    })
    .await;
}

/// As systemd stops a service: every process of it gets the signal, and the newer one learns of the older one's stop, too.
#[tokio::test]
async fn a_stop_of_both_at_once_drops_no_request() {
    let mut stack = Stack::start().await;
    for newer_first in [true, false] {
        let slow = json!({"ms": 2000});
        stack
            .fault_set("data", "bad_release", slow)
            .await
            .expect(200);
        until(&stack, "0.2.0").await;
        let request = tokio::spawn(stack.request(reqwest::Method::GET, "/api/data").send());
        stack
            .wait_for_metric("data", "http_server_active_requests", &[], |active| {
                active >= 1.0
            })
            .await;
        let older = i32::try_from(stack.pid("data")).expect("a process id");
        let mut both = [beside(&stack)[0], older];
        if !newer_first {
            both.reverse();
        }
        let before = stack.log_lines("data").len();
        kill(Pid::from_raw(both[0]), Signal::SIGTERM).expect("it runs");
        says(&stack, "draining", before).await;
        kill(Pid::from_raw(both[1]), Signal::SIGTERM).expect("it runs");
        let answer = request.await.expect("a task").expect("an answer");
        assert_eq!(answer.status(), 200, "{}", stack.output("data"));
        assert_eq!(stack.ended("data").await, 0, "{}", stack.output("data"));
        stack.restart("data").await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_stop_while_one_release_gives_way_to_the_other_is_not_lost() {
    let mut stack = Stack::start().await;
    // Telemetry is flushed in the time that is left.
    stack.receiver.delay(Duration::from_secs(3600));
    stack.get_data().await.expect(200);
    stack
        .fault_set("data", "bad_release", json!({}))
        .await
        .expect(200);
    says(&stack, "stopped", 0).await;
    assert_eq!(stack.kill("data", Signal::SIGTERM).await, 0);
    let lines = stack.log_lines("data");
    let started = lines.iter().filter(|line| line["message"] == "listening");
    assert_eq!(started.count(), 1, "{}", stack.output("data"));
}

#[tokio::test]
async fn a_service_ends_well_with_every_fault_on() {
    let mut stack = Stack::start().await;
    for service in super::SERVICES {
        for fault in faults(&stack, service).await {
            let name = super::name(&fault);
            // Would replace the process in the middle of it.
            if name != "bad_release" {
                stack.fault_set(service, name, json!({})).await.expect(200);
            }
        }
    }
    // What holds connections has taken them.
    stack
        .wait_for_metric(
            "data",
            "db_client_connection_count",
            &[("db_client_connection_state", "used")],
            |used| used >= 10.0,
        )
        .await;
    for service in super::SERVICES {
        assert_eq!(stack.kill(service, Signal::SIGTERM).await, 0, "{service}");
        assert!(
            !stack.output(service).contains("panic"),
            "{service}: {}",
            stack.output(service)
        );
    }
}

#[tokio::test]
async fn up_notices_no_end_of_a_child() {
    let mut up = Up::start().await;
    let admin = up.started("data").await["admin_url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let client = http();
    let fault = client
        .put(format!("{admin}/faults/bad_release"))
        .json(&json!({"expires_in_s": 60}));
    assert_eq!(fault.send().await.expect("an answer").status(), 200);
    let runs = async |version: &str| {
        let wanted = format!("service_version=\"{version}\"");
        eventually(&format!("data runs as {version}"), async || {
            let metrics = client
                .get(format!("{admin}/metrics"))
                .send()
                .await
                .ok()?
                .text()
                .await
                .ok()?;
            metrics.contains(&wanted).then_some(())
        })
        .await;
    };
    runs("0.2.0").await;
    client
        .delete(format!("{admin}/faults"))
        .send()
        .await
        .expect("an answer");
    runs(VERSION).await;
    assert!(up.child.try_wait().is_none(), "{}", up.child.output());
    assert!(up.stop().await.success());
    up.directory.deserted().await;
}
