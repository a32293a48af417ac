//! What every end-to-end test is written with.
//!
//! ```ignore
//! let stack = Stack::start().await;                       // downstream, data, gateway; OTLP comes to the test
//! let sku = stack.sku().await;
//! let reply = stack.order(&sku, 1).await;                 // POST /api/orders
//! assert_eq!(reply.status, 201, "{reply:?}");
//! let spans = stack.trace_over(&reply.trace_id(), &["gateway", "data", "downstream"]).await;
//! stack.fault_set("downstream", "latency", json!({"ms": 400})).await.expect(200);
//! let scrape = stack.scrape("downstream").await;
//! assert_eq!(scrape.value("fault_active", &[("fault", "latency")]), Some(1.0));
//! stack.stop().await;                                     // SIGTERM to each, exit codes checked
//! ```
//!
//! - [`Stack`]: the three services as child processes on free ports, wired to each other, with the verbs of a user.
//! - [`Receiver`]: the OTLP endpoint inside the test; [`Span`] and [`LogRecord`] are what arrived, flattened.
//! - [`Capture`]: stands in for a service that is called, and keeps the requests it got.
//! - [`database()`]: one fresh database on the Postgres that all tests of this process share.
//! - [`Child`]: any other `omnitrace` process; killed on drop, its output printed when the test fails.
//! - [`Books`]: what the database says, past every service; [`Proxy`]: mistreats what data sends downstream, [`Wire`] what it says to Postgres.
//! - [`Up`]: the whole of `omnitrace up`, in a [`Directory`] that knows which processes were started in it.
//! - [`NativeStack`]: the standard stack around a [`Stack`], from the files in `deploy/`, without Docker; [`tool()`] finds its programs.
//! - [`Tiers`]: the same with collectors in two tiers.
//! - [`Customer`]: orders with a key and insists until it knows what became of it.
//! - [`eventually`]: wait on a condition, never on a clock. Every wait ends by [`DEADLINE`] with what it saw last.
//!
//! The module also compiles when another package includes it by `#[path]`: then the executable is taken
//! from `OMNITRACE_BIN`, or from the target directory that the test itself was built into.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test uses a part of the harness, and other packages include it by path"
)]

mod books;
mod capture;
mod child;
mod customer;
mod database;
mod decode;
mod exposition;
mod native;
mod native_ask;
mod native_config;
mod native_logs;
mod native_parts;
mod native_scrape;
mod native_tiers;
mod proxy;
mod receiver;
mod reply;
mod scrape;
mod stack;
mod telemetry;
mod tools;
mod up;
mod verbs;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use books::{Account, Books, EventRow, OrderRow};
pub use capture::{Capture, Captured, HANG};
pub use child::{Child, Listening, omnitrace, without_settings};
pub use customer::{Customer, Tally};
pub use database::{Database, database, database_on, shared_postgres};
pub use exposition::{Exemplar, Family, exemplar_of, histograms, openmetrics};
pub use native::{NativeBuilder, NativeStack};
pub use native_ask::{jaeger_services, jaeger_tag, list};
pub use native_config::{addresses, config, free_port, repository};
pub use native_tiers::Tiers;
pub use nix::sys::signal::Signal;
pub use proxy::{Deliveries, Proxy};
pub use receiver::{Delivery, Receiver};
pub use reply::Reply;
pub use scrape::{Sample, Scrape};
pub use stack::{Stack, StackBuilder};
pub use telemetry::{Event, Kind, Link, LogRecord, Span, Status, complete, tree};
pub use tools::{run_tool, spawn_tool, spawn_tool_with_hosts, tool};
pub use up::{Directory, Up, until_there_is};
pub use wire::Wire;

/// How long a wait lasts at most. Generous: CI machines have two cores and build at the same time.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Pause between two looks at a condition.
pub const POLL: Duration = Duration::from_millis(25);

/// Looks at `probe` until it gives a value. Panics after [`DEADLINE`], naming `what` was waited for.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(POLL).await;
    }
}

/// The same for a `probe` that need not wait itself. Its future can be spawned, which one that borrows an
/// async closure cannot (yet).
pub async fn eventually_now<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(POLL).await;
    }
}

/// The same for plain threads.
pub fn eventually_blocking<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(POLL);
    }
}

/// The executable under test.
pub fn binary() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_omnitrace") {
        return path.into();
    }
    if let Some(path) = std::env::var_os("OMNITRACE_BIN") {
        return path.into();
    }
    // target/debug/deps/some_test-0123 -> target/debug/omnitrace
    let test = std::env::current_exe().expect("path of this test");
    let built = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target directory")
        .join("omnitrace");
    assert!(
        built.is_file(),
        "no executable at {}: run `cargo build -p omnitrace`, or set OMNITRACE_BIN",
        built.display()
    );
    built
}

/// An HTTP client for loopback: no proxy, every request ends by [`DEADLINE`].
pub fn http() -> reqwest::Client {
    // Feature unification builds reqwest without a TLS provider of its own; a second install is refused, which is fine.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .expect("HTTP client")
}

/// A W3C `traceparent` with a random trace id, and that id. `sampled` sets the flag.
pub fn traceparent(sampled: bool) -> (String, String) {
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let span_id = &uuid::Uuid::new_v4().simple().to_string()[..16];
    (
        format!("00-{trace_id}-{span_id}-{:02x}", u8::from(sampled)),
        trace_id,
    )
}
