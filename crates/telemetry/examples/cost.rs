//! What docs/OVERHEAD.md counts instructions of: the requests of `tests/allocations.rs`, one after the other on one
//! thread, exported to a sink in the same process. Log lines go to stdout.
//!
//! `cost tower|actix|statement REQUESTS`, at most 1,000 of them: then flood control would suppress log lines.
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use telemetry::{ServiceInfo, Settings};

#[path = "../tests/support/requests.rs"]
mod requests;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().unwrap_or_default();
    let times = arguments.next().unwrap_or_default().parse()?;
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", sink.local_addr()?);
    std::thread::spawn(move || {
        for connection in sink.incoming().flatten() {
            std::thread::spawn(|| answer(connection));
        }
    });
    let settings = Settings::from_lookup(&|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        _ => std::env::var(name).ok(),
    })?;
    let info = ServiceInfo {
        name: "cost".into(),
        version: "1.0.0".into(),
    };
    let telemetry = telemetry::init(info, &settings, &[])?;
    match scenario.as_str() {
        "tower" => requests::tower(|request| repeat(times, request)),
        "actix" => requests::actix(|request| repeat(times, request)),
        "statement" => {
            let request = tracing::info_span!("request");
            request.in_scope(|| requests::statement(|statement| repeat(times, statement)));
        }
        _ => return Err("cost tower|actix|statement REQUESTS".into()),
    }
    telemetry.shutdown(Duration::from_secs(60));
    Ok(())
}

/// What callgrind is told to count.
#[inline(never)]
fn repeat(times: usize, request: &mut dyn FnMut()) {
    for _ in 0..times {
        request();
    }
}

/// Takes what is exported, and says that it did.
fn answer(mut stream: TcpStream) {
    let mut requests = BufReader::new(stream.try_clone().expect("a handle"));
    let (mut line, mut length) = (String::new(), 0);
    while requests.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            let mut body = vec![0; length];
            requests.read_exact(&mut body).expect("the body");
            let sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            sent.expect("a caller that listens");
        }
        line.clear();
    }
}
