//! A child of `up` that ends by itself is started again, where it was, until it keeps dying.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cli::run;
use crate::harness::{
    Child, Directory, Signal, Up, database, eventually, http, omnitrace, traceparent,
};

/// A stack whose telemetry goes nowhere.
async fn without_console() -> Up {
    Up::start_with(Directory::new(), &database().await, |command| {
        command.arg("--no-console").env("OTEL_SDK_DISABLED", "true")
    })
    .await
}

/// Kills a process, as the kernel does when there is no memory.
pub fn kill_pid(pid: &Value) {
    let pid = i32::try_from(pid.as_i64().expect("a process id")).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
}

/// Waits until a part has been started again for the `count`th time.
pub async fn restarted(up: &mut Up, part: &str, count: u32) -> Value {
    up.event(&format!("{part}, restart {count}"), |event| {
        event["event"] == "started" && event["part"] == part && event["restarts"] == count
    })
    .await
}

fn part(up: &Up, name: &str) -> Value {
    let state = std::fs::read(up.directory.data().join("state.json")).expect("state.json");
    let state: Value = serde_json::from_slice(&state).expect("JSON");
    let mut parts = state["parts"].as_array().expect("parts").iter();
    parts.find(|part| part["name"] == name).expect(name).clone()
}

/// Orders until an order goes through, and returns its trace id.
async fn order(gateway: &str) -> String {
    let body = json!({"sku": "omni-mug", "quantity": 1, "customer_email": "ada@example.com"});
    eventually("an order goes through", async || {
        let (parent, trace_id) = traceparent(true);
        let request = http().post(format!("{gateway}/api/orders")).json(&body);
        let answer = request.header("traceparent", parent).send().await.ok()?;
        (answer.status() == 201).then_some(trace_id)
    })
    .await
}

async fn in_console(console: &str, trace_id: &str) {
    eventually(&format!("the console shows {trace_id}"), async || {
        let answer = http().get(format!("{console}/api/console/traces/{trace_id}"));
        let answer: Value = answer.send().await.ok()?.json().await.ok()?;
        (answer["complete"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_child_that_dies_comes_back_where_it_was_and_the_evidence_stays() {
    let mut up = Up::start().await;
    let ready = up.ready().await;
    let (console, gateway) = (
        ready["console_url"].as_str().unwrap(),
        ready["gateway_url"].as_str().unwrap(),
    );
    for name in ["downstream", "data", "gateway"] {
        let before = up.started(name).await;
        kill_pid(&before["pid"]);
        let died = up
            .event("its death", |event| {
                event["event"] == "died" && event["part"] == name
            })
            .await;
        assert_eq!(died["how"], "ended by itself (signal: 9 (SIGKILL))");
        let after = restarted(&mut up, name, 1).await;
        assert_ne!(after["pid"], before["pid"]);
        for address in ["url", "admin_url"] {
            assert_eq!(after[address], before[address], "{name} has moved");
            assert_eq!(part(&up, name)[address], before[address]);
        }
        assert_eq!(part(&up, name)["pid"], after["pid"]);
    }
    in_console(console, ready["trace_id"].as_str().unwrap()).await;
    in_console(console, &order(gateway).await).await;
    let log = std::fs::read_to_string(up.directory.data().join("logs/data.log")).unwrap();
    assert_eq!(
        log.matches("\"listening\"").count(),
        2,
        "both lives are in the log"
    );

    for name in ["console", "herald"] {
        let before = up.started(name).await;
        kill_pid(&before["pid"]);
        let after = restarted(&mut up, name, 1).await;
        assert_eq!(after["url"], before["url"], "{name} has moved");
    }
    in_console(console, &order(gateway).await).await;

    let mut command = omnitrace(["health"]);
    command.current_dir(up.directory.path());
    let mut health = Child::spawn("health", command);
    assert_eq!(health.wait().await.code(), Some(0), "{}", health.output());
    assert_eq!(health.output().matches("restarts: 1").count(), 5);
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

#[tokio::test]
async fn postgres_comes_back_where_it_was_with_its_data() {
    let directory = Directory::new();
    let mut command = Up::command(&directory);
    command.arg("--no-console").env("OTEL_SDK_DISABLED", "true");
    let mut up = Up {
        child: Child::spawn("up", command),
        directory,
    };
    let ready = up.ready().await;
    let gateway = ready["gateway_url"].as_str().unwrap();
    let orders = async || -> usize {
        let request = http().get(format!("{gateway}/api/orders"));
        let page: Value = request.send().await.unwrap().json().await.unwrap();
        page["orders"].as_array().map_or(0, Vec::len)
    };
    let before = orders().await;

    // The server itself, and then its supervisor.
    let processes = up.directory.processes();
    let server = processes
        .iter()
        .find(|process| process.contains("postgres -D "));
    let pid = server.and_then(|process| process.split(['/', ' ']).nth(2));
    kill_pid(&pid.expect("a server").parse::<i64>().expect("a pid").into());
    restarted(&mut up, "postgres", 1).await;
    order(gateway).await;
    kill_pid(&part(&up, "postgres")["pid"]);
    restarted(&mut up, "postgres", 2).await;
    order(gateway).await;
    assert!(
        orders().await >= before + 2,
        "orders from before are still there"
    );
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    up.directory.deserted().await;
}

#[tokio::test]
async fn a_child_that_keeps_dying_is_given_up_with_its_log() {
    let mut up = without_console().await;
    up.ready().await;
    kill_pid(&up.started("downstream").await["pid"]);
    for count in 1..=5 {
        kill_pid(&restarted(&mut up, "downstream", count).await["pid"]);
    }
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    let expected = "downstream keeps dying; it was restarted 5 times: downstream ended by itself (signal: 9 (SIGKILL)); its last lines, from ";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("listening"), "{said}");
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

#[tokio::test]
async fn ctrl_c_between_a_death_and_the_restart_does_not_wait_for_it() {
    let mut up = without_console().await;
    up.ready().await;
    kill_pid(&up.started("gateway").await["pid"]);
    for count in 1..=4 {
        kill_pid(&restarted(&mut up, "gateway", count).await["pid"]);
    }
    up.event("the longest pause", |event| {
        event["restart_in_seconds"] == 4.0
    })
    .await;
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    let again = |event: &Value| event["event"] == "started" && event["restarts"] == 5;
    assert!(!up.events().iter().any(again), "{}", up.child.output());
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

async fn without_restarts() -> Up {
    let mut up = Up::start_with(Directory::new(), &database().await, |command| {
        command
            .args(["--no-console", "--no-restart"])
            .env("OTEL_SDK_DISABLED", "true")
    })
    .await;
    up.ready().await;
    up
}

#[tokio::test]
async fn without_restarts_the_end_of_a_child_is_the_end_of_all() {
    let mut up = without_restarts().await;
    kill_pid(&up.started("data").await["pid"]);
    assert_eq!(up.child.wait().await.code(), Some(1));
    let said = up.child.stderr().join("\n");
    assert!(
        said.contains("data ended by itself (signal: 9 (SIGKILL)); its last lines, from "),
        "{said}"
    );
    assert!(
        said.contains("logs/data.log") && said.contains("listening"),
        "{said}"
    );
    let event = |kind: &str| up.events().into_iter().find(|event| event["event"] == kind);
    let message = event("error").expect("an event")["message"].to_string();
    assert!(message.contains("data ended by itself"), "{message}");
    let reason = event("stopping").expect("an event")["reason"].to_string();
    assert!(reason.contains("data ended by itself"), "{reason}");
    assert_eq!(up.directory.processes(), [] as [String; 0]);
}

async fn restart(up: &Up, part: &str) -> (i32, String, String) {
    run(omnitrace(["restart", part]), Some(&up.directory)).await
}

/// A restart on request does not count as a part that keeps dying.
#[tokio::test]
async fn a_part_is_restarted_on_request_alone_and_as_often_as_one_likes() {
    let mut up = without_console().await;
    up.ready().await;
    let others = |up: &Up| {
        [
            part(up, "downstream")["pid"].clone(),
            part(up, "data")["pid"].clone(),
        ]
    };
    let before = others(&up);
    for count in 1..=6 {
        let (old, address) = (
            part(&up, "gateway")["pid"].clone(),
            part(&up, "gateway")["url"].clone(),
        );
        let (code, said, complained) = restart(&up, "gateway").await;
        assert_eq!(code, 0, "{count}: {complained}");
        let new = part(&up, "gateway");
        assert_eq!((&new["restarts"], &new["url"]), (&json!(count), &address));
        assert_eq!(
            said,
            format!(
                "gateway restarted: process {old} is gone, {} listens in its place",
                new["pid"]
            )
        );
        let died = up
            .events()
            .into_iter()
            .rfind(|event| event["event"] == "died");
        let died = died.expect("an event");
        assert_eq!(died["how"], "stopped, since somebody asked it to");
        assert_eq!(died["restart_in_seconds"], 0.0, "its callers wait");
    }
    assert_eq!(others(&up), before);

    let (code, _, complained) = restart(&up, "collector").await;
    assert_eq!(code, 1);
    let expected =
        "error: no part \"collector\" runs here; there are: downstream, data, gateway, probe";
    assert_eq!(complained, expected);
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
    let (code, _, complained) = restart(&up, "gateway").await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("no stack runs in .omnitrace; start one with `omnitrace up`"),
        "{complained}"
    );
}

#[tokio::test]
async fn nothing_is_restarted_that_would_not_come_back() {
    let mut up = without_restarts().await;
    let (code, _, complained) = restart(&up, "gateway").await;
    assert_eq!(code, 1);
    assert!(
        complained.contains("--no-restart, so ending gateway would stop all of it"),
        "{complained}"
    );
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());

    let directory = Directory::new();
    let rules = directory.path().join("rules.yml");
    std::fs::write(&rules, "groups: []\n").expect("rules");
    let mut up = Up::start_with(directory, &database().await, |command| {
        command.arg("--rules").arg(&rules)
    })
    .await;
    up.ready().await;
    std::fs::write(
        &rules,
        "groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]\n",
    )
    .expect("rules");
    let console = part(&up, "console")["pid"].clone();
    let (code, _, complained) = restart(&up, "console").await;
    assert_eq!(code, 1);
    assert!(complained.contains("rules.yml"), "{complained}");
    assert_eq!(
        part(&up, "console")["pid"],
        console,
        "it goes on with the rules it has"
    );
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());
}

#[tokio::test]
async fn a_part_stays_away_until_it_is_started_again() {
    let mut up = Up::start().await;
    let here = Some(&up.directory);
    let (code, said, _) = run(omnitrace(["stop", "downstream", "--kill"]), here).await;
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = run(omnitrace(["restart", "downstream"]), here).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("downstream was stopped: `omnitrace start downstream`"),
        "{said}"
    );
    let (code, _, said) = run(omnitrace(["start", "data"]), here).await;
    assert_eq!(code, 1);
    assert!(said.contains("data was not stopped"), "{said}");
    let (code, _, said) = run(omnitrace(["stop", "nobody"]), here).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("no part \"nobody\" runs here; there are: console"),
        "{said}"
    );
    let stays_away = up.event("it stays away", |event| {
        event["part"] == "downstream"
            && event["message"] == "stopped; `omnitrace start downstream` starts it again"
    });
    stays_away.await;
    let (code, said, complained) =
        run(omnitrace(["start", "downstream"]), Some(&up.directory)).await;
    assert_eq!(code, 0, "{said}\n{complained}");
    assert!(said.contains("downstream started: process "), "{said}");
}
