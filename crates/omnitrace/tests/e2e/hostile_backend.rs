//! `doctor` and `health` keep the time-out that was asked for, whatever answers, and read no more than they have a use for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::cli::run;
use crate::doctor::doctor;
use crate::harness::{Stack, omnitrace};

/// How a backend can be of no use.
#[derive(Debug, Clone, Copy)]
enum Manner {
    SaysNothing,
    DripsItsBody,
    EndlessHead,
    EndlessBody,
    RedirectsForEver,
}

const ALL: [Manner; 5] = [
    Manner::SaysNothing,
    Manner::DripsItsBody,
    Manner::EndlessHead,
    Manner::EndlessBody,
    Manner::RedirectsForEver,
];

const ASKED: Duration = Duration::from_secs(3);
/// Starting a process on a busy machine counts too; without a bound the questions one after the other take 15 s and more.
const SLACK: Duration = Duration::from_secs(7);

/// A server with bad manners, for as long as the test process lives; its URL.
fn serve(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(manner, stream).ok());
        }
    });
    format!("http://{address}")
}

fn answer(manner: Manner, mut stream: TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0; 4096]).map(drop)?;
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    match manner {
        Manner::SaysNothing => {
            // Until the client has enough.
            stream.read(&mut [0; 16]).map(drop)
        }
        Manner::DripsItsBody => {
            write!(stream, "{ok}Content-Length: 1000000\r\n\r\n")?;
            repeat(&mut stream, b" ", Duration::from_millis(500))
        }
        Manner::EndlessHead => {
            stream.write_all(ok.as_bytes())?;
            repeat(&mut stream, b"X: y\r\n", Duration::from_millis(500))
        }
        Manner::EndlessBody => {
            write!(stream, "{ok}Content-Length: 640000000\r\n\r\n[")?;
            repeat(&mut stream, &[b'['; 1 << 16], Duration::ZERO)
        }
        Manner::RedirectsForEver => write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: /again\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ),
    }
}

/// Until the client hangs up.
fn repeat(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes)?;
        std::thread::sleep(pause);
    }
}

/// Every backend of this manner: each path is named, and the end comes in time.
async fn follow(gateway: &str, backend: &str, manner: Manner) {
    let start = Instant::now();
    let (code, said, _) = doctor(&[
        "--timeout",
        "3s",
        "--gateway-url",
        gateway,
        "--prometheus-url",
        backend,
        "--jaeger-url",
        backend,
        "--loki-url",
        backend,
        "--alertmanager-url",
        backend,
        "--grafana-url",
        backend,
        "--collector-url",
        backend,
    ])
    .await;
    let took = start.elapsed();
    assert_eq!(code, 1, "{manner:?}: {said}");
    assert!(took < ASKED + SLACK, "{manner:?}: {took:?}\n{said}");
    let silent = said.lines().last().unwrap_or_default();
    for path in ["collector", "order -> Jaeger", "rules", "Grafana"] {
        assert!(
            silent.starts_with("failed: ") && silent.contains(path),
            "{manner:?}: {path} in\n{said}"
        );
    }
}

#[tokio::test]
async fn the_doctor_ends_in_time_whatever_the_backends_do() {
    let stack = Stack::start().await;
    let gateway = stack.url("gateway");
    for manner in ALL {
        follow(&gateway, &serve(manner), manner).await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn the_doctor_and_health_end_in_time_whatever_the_gateway_does() {
    for manner in ALL {
        let url = serve(manner);
        let start = Instant::now();
        let (code, said, _) = doctor(&[
            "--timeout",
            "3s",
            "--gateway-url",
            &url,
            "--prometheus-url",
            &url,
        ])
        .await;
        let took = start.elapsed();
        assert_eq!(code, 1, "{manner:?}: {said}");
        assert!(
            said.contains("FAIL    order -> gateway"),
            "{manner:?}: {said}"
        );
        assert!(took < ASKED + SLACK, "{manner:?}: {took:?}\n{said}");

        let start = Instant::now();
        let arguments = ["health", "--timeout", "3s", "--url", &url];
        let (code, said, _) = run(omnitrace(arguments), None).await;
        let took = start.elapsed();
        assert_eq!(code, 1, "{manner:?}: {said}");
        assert!(said.contains("NOT READY"), "{manner:?}: {said}");
        assert!(took < ASKED + SLACK, "{manner:?}: {took:?}\n{said}");
    }
}
