//! What telemetry costs in allocations, held to committed numbers: a count, not a time, so it says the same on every
//! machine. Each thread counts its own; the threads that export and render are not the request's.
//!
//! A number that rises is a regression, or the price of something new. One that falls is committed too, or it could rise again
//! unseen. After an update of `tracing`, `opentelemetry`, `metrics` or a framework it may be either.
#![allow(unsafe_code, reason = "of a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use telemetry::http_client::{self, UrlTemplate};
use telemetry::testing::recorder;

#[path = "support/requests.rs"]
mod requests;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may free and allocate after its locals are gone.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        unsafe { System.dealloc(old, layout) }
    }
}

/// How often each is done before it is counted, and while it is. Two tests share a handler, whose log line the flood control lets
/// through 1,000 times at once.
const WARM_UP: usize = 100;
const REQUESTS: usize = 101;

/// Holds what most requests allocate against the committed number: now and then one is the first of its exemplar's bucket, or
/// finds a queue or a bucket of samples full, which says nothing of the others.
#[track_caller]
fn hold(committed: u64, mut request: impl FnMut()) {
    recorder();
    let mut counts = Vec::with_capacity(REQUESTS);
    for round in 0..WARM_UP + REQUESTS {
        let before = COUNT.get();
        request();
        if round >= WARM_UP {
            counts.push(COUNT.get() - before);
        }
    }
    counts.sort_unstable();
    let found = counts[REQUESTS / 2];
    assert!(
        found <= committed,
        "{found} allocations, {committed} committed: find the new ones, or commit the number and its reason"
    );
    // An optimised build may leave some out.
    assert!(
        found == committed || !cfg!(debug_assertions),
        "only {found} allocations, {committed} committed: commit the new number, or it may rise again unseen"
    );
}

#[test]
fn a_request_to_a_tower_service() {
    requests::tower(|request| hold(37, request));
}

#[test]
fn a_request_to_actix() {
    requests::actix(|request| hold(56, request));
}

#[test]
fn a_span_inside_another() {
    let request = tracing::info_span!("request");
    request.in_scope(|| {
        hold(3, || {
            drop(tracing::info_span!("work", order.id = 7).entered())
        })
    });
}

#[test]
fn a_log_line_inside_a_span() {
    let request = tracing::info_span!("request");
    request.in_scope(|| {
        hold(5, || {
            tracing::info!(order.id = 7, customer = "c-42", "stored")
        })
    });
}

#[test]
fn a_statement() {
    requests::statement(|statement| hold(5, statement));
}

/// With the answer, what `reqwest` and `hyper` allocate for both. Seven are the copy of the request that is sent if the peer, which may
/// only be restarting, refuses the connection: a middleware gives its request away and cannot get it back.
#[test]
fn a_call_to_a_peer() {
    let peer = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "http://{}/quotes/7",
        peer.local_addr().expect("its address")
    );
    std::thread::spawn(move || answer(peer.accept().expect("a caller").0));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let client = http_client::client("quotes", Duration::from_secs(30)).expect("a client");
    let call = || {
        client
            .get(&url)
            .with_extension(UrlTemplate("/quotes/{sku}"))
    };
    hold(84, || {
        let body = async { call().send().await.expect("an answer").bytes().await };
        assert_eq!(runtime.block_on(body).expect("a body"), "ok");
    });
}

/// Answers every request of a connection.
fn answer(mut stream: TcpStream) {
    let mut requests = BufReader::new(stream.try_clone().expect("a handle")).lines();
    while let Some(Ok(line)) = requests.next() {
        if line.is_empty() {
            let sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            sent.expect("a caller that listens");
        }
    }
}
