//! What the services count of a fault, put before herald: its evidence names the service that has the fault.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::{Herald, alert, arrived};
use crate::faults::blame::Calls;
use crate::harness::{Capture, Stack};

/// Answers the query for failing calls as Prometheus would, and knows of nothing else.
fn prometheus(failing: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.expect("a connection"), &failing);
        }
    });
    url
}

fn answer(mut stream: TcpStream, failing: &Value) {
    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
    let first = lines.next().expect("a request").expect("its first line");
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let asked = first.contains("http_client") && first.contains("outcome");
    let result = if asked { failing } else { &json!([]) };
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}})
        .to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}",
        body.len()
    );
    write!(stream, "{head}\r\n\r\n{body}").expect("send");
}

/// Share of failing calls by caller and callee, as the query asks for it.
fn shares(calls: &Calls, before: &Calls) -> Value {
    let edges = calls.edges_since(before).into_iter();
    let failing = edges.filter(|((caller, callee), [errors, _])| caller != callee && *errors > 0.0);
    failing
        .map(|((caller, callee), [errors, all])| {
            json!({
                "metric": {"service_name": caller, "service_peer_name": callee},
                "value": [0, (errors / all).to_string()],
            })
        })
        .collect()
}

#[tokio::test]
async fn an_answer_that_nobody_can_read_is_blamed_on_who_sent_it() {
    let stack = Stack::start().await;
    let before = Calls::so_far(&stack).await;
    stack
        .fault_set("downstream", "malformed_body", json!({}))
        .await
        .expect(200);
    for _ in 0..5 {
        stack.get_data().await.expect(503);
    }
    let prometheus = prometheus(shares(&Calls::so_far(&stack).await, &before));
    stack.stop().await;

    let state = tempfile::tempdir().unwrap();
    let webhook = Capture::answering(&json!({}));
    let settings = [
        ("HERALD_WEBHOOK_URL", webhook.url()),
        ("PROMETHEUS_URL", prometheus),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let herald = Herald::start(state.path(), &settings).await;
    herald
        .accepted(&alert("AvailabilityBurnRate", "firing"))
        .await;
    let body = arrived(&webhook, 1).await.remove(0).json();
    let hops = body["evidence"]["dependencies"]["failing"]["hops"].as_array();
    let callees: Vec<&Value> = hops
        .unwrap_or_else(|| panic!("{body:#}"))
        .iter()
        .map(|hop| &hop["callee"])
        .collect();
    assert_eq!(callees, ["data", "downstream"], "{body:#}");
}
