//! How long a gate waits for its client, at a clock of its own.

use std::future::Future;
use std::pin::pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::flow::Turn;

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

const SECOND: Duration = Duration::from_secs(1);

const GET: &str = "GET / HTTP/1.1\r\n\r\n";

/// The beginning of a body that is announced as larger.
const UNFINISHED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n100000\r\nabc";

/// A gate whose server has read a request, and its client.
async fn asked(request: &str) -> (Gate<DuplexStream>, DuplexStream) {
    let (mut client, io) = duplex(64 << 10);
    let mut gate = Gate::new(io, HEAD_TIMEOUT);
    client.write_all(request.as_bytes()).await.expect("room");
    let mut read = vec![0; request.len()];
    gate.read_exact(&mut read).await.expect("the request");
    assert_eq!(read, request.as_bytes());
    (gate, client)
}

/// The same, after the response.
async fn answered(request: &str) -> (Gate<DuplexStream>, DuplexStream) {
    let (gate, client) = asked(request).await;
    answer(&gate);
    (gate, client)
}

fn answer(gate: &Gate<DuplexStream>) {
    drop(Turn(Some(gate.flow().clone())));
}

/// The time after which the gate ends, while the client does something.
async fn end(gate: &mut Gate<DuplexStream>, client: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    let reading = async {
        let mut rest = Vec::new();
        gate.read_to_end(&mut rest).await.expect("no error");
        start.elapsed()
    };
    let (mut reading, mut client) = (pin!(reading), pin!(client));
    tokio::select! {
        took = &mut reading => return took,
        () = &mut client => {}
    }
    timeout(100 * SECOND, reading).await.expect("an end")
}

fn is_about(took: Duration, expected: Duration) -> bool {
    (expected..expected + SECOND).contains(&took)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_answered_already_does_not_go_on_for_ever() {
    let (mut gate, _client) = answered(UNFINISHED).await;
    let took = end(&mut gate, async {}).await;
    assert!(is_about(took, REST), "silence: {took:?}");

    let (mut gate, mut client) = answered(UNFINISHED).await;
    let dripping = async {
        while client.write_all(b"x").await.is_ok() {
            sleep(SECOND).await;
        }
    };
    let took = end(&mut gate, dripping).await;
    assert!(is_about(took, REST), "drops: {took:?}");

    let (mut gate, mut client) = answered(UNFINISHED).await;
    advance(REST).await;
    let flood = vec![b'x'; 60 << 10];
    client.write_all(&flood).await.expect("room");
    let mut read = Vec::new();
    let count = gate.read_to_end(&mut read).await.expect("no error");
    assert!(count < flood.len(), "a flood: {count}");
}

#[tokio::test(start_paused = true)]
async fn a_body_has_its_time_until_it_is_answered() {
    let (mut gate, mut client) = asked(UNFINISHED).await;
    let mut more = [0; 3];
    let early = timeout(100 * SECOND, gate.read(&mut more)).await;
    early.expect_err("nothing is there");
    answer(&gate);
    sleep(REST - SECOND).await;
    client.write_all(b"def").await.expect("room");
    assert_eq!(gate.read(&mut more).await.expect("no error"), 3);
    assert_eq!(&more, b"def");
}

#[tokio::test(start_paused = true)]
async fn who_is_to_make_room_ends_in_a_body_too() {
    let (mut gate, _client) = answered(UNFINISHED).await;
    let flow = gate.flow().clone();
    let crowd = async {
        sleep(SECOND).await;
        flow.make_room();
    };
    let took = end(&mut gate, crowd).await;
    assert!(is_about(took, SECOND), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_to_make_room_ends_with_an_answer_unread() {
    let (io, mut client) = duplex(64);
    let mut gate = Gate::new(io, HEAD_TIMEOUT);
    let request = "GET / HTTP/1.1\r\ncontent-length: 2\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("room");
    gate.read_exact(&mut [0; 37]).await.expect("the request");
    let unread = gate.write_all(&[b'x'; 65]);
    timeout(SECOND, unread).await.expect_err("nobody reads");
    answer(&gate);
    gate.flow().make_room();
    let took = end(&mut gate, async {}).await;
    assert!(took < SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_later_head_has_its_time_from_the_first_byte_on() {
    let (mut gate, mut client) = answered(GET).await;
    let mut head = [0; GET.len()];
    let idle = timeout(100 * SECOND, gate.read(&mut head)).await;
    idle.expect_err("it is kept");
    let dripping = async {
        for byte in GET.bytes() {
            client.write_all(&[byte]).await.expect("room");
            sleep(SECOND).await;
        }
    };
    let took = end(&mut gate, dripping).await;
    assert!(is_about(took, HEAD_TIMEOUT), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_before_the_answer_is_not_late() {
    let (mut gate, mut client) = asked(GET).await;
    let (first, last) = GET.split_at(5);
    client.write_all(first.as_bytes()).await.expect("room");
    let mut head = [0; GET.len()];
    let early = timeout(100 * SECOND, gate.read(&mut head)).await;
    early.expect_err("it waits for its turn");
    answer(&gate);
    let early = timeout(HEAD_TIMEOUT - SECOND, gate.read(&mut head)).await;
    early.expect_err("it is not whole");
    client.write_all(last.as_bytes()).await.expect("room");
    gate.read_exact(&mut head).await.expect("the head");
    assert_eq!(head, GET.as_bytes());
}
