//! A call ends with its body: however that ends, the call is counted once, and metric and span agree.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use reqwest::{Method, Response};
use reqwest_middleware::ClientWithMiddleware;
use telemetry::error_type::BODY;
use telemetry::http_client::{Call, DECODE, UrlTemplate, client};

use telemetry::testing::{Span, Status, eventually, recorder};
use tokio::net::TcpSocket;

use support::{Count, attribute, counts, spans_with};

/// Longer than any of these tests takes, but for those that wait for it.
const PATIENT: Duration = Duration::from_secs(60);

/// What the peer sends before it closes the connection; `None` where it keeps it open for ever.
fn script(path: &str) -> (&'static str, bool) {
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf";
    match path {
        "/never" | "/too-late" => ("", true),
        "/late" | "/given-up" | "/large" => (HALF, true),
        "/torn" => (HALF, false),
        "/torn-chunk" => (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf",
            false,
        ),
        "/torn-error" => ("HTTP/1.1 503 No\r\ncontent-length: 8\r\n\r\nhalf", false),
        "/chunked" => (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
            true,
        ),
        "/none" => ("HTTP/1.1 204 No\r\n\r\n", true),
        "/empty" => ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        "/mistake" => ("HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\nwhat", true),
        "/error" => ("HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nsoon", true),
        // Fine, and so is the answer to HEAD: its length is of a body that does not come.
        "/head" => ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", true),
        _ => ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine", true),
    }
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

static PEER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.expect("a connection")));
        }
    });
    address
});

/// One request, one scripted answer.
fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
    let first = lines.next().expect("a request").expect("its first line");
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let path = first.split(' ').nth(1).expect("a path").to_owned();
    let (answer, stays) = script(&path);
    stream.write_all(answer.as_bytes()).expect("send");
    SEEN.lock().unwrap().push(path);
    if stays {
        // Until the caller goes.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn http(timeout: Duration) -> ClientWithMiddleware {
    recorder();
    client("peer", timeout).expect("a client")
}

async fn send(http: &ClientWithMiddleware, method: Method, path: &'static str) -> Response {
    let request = http.request(method, format!("http://{}{path}", *PEER));
    let sent = request.with_extension(UrlTemplate(path)).send().await;
    sent.unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn get(path: &'static str) -> Response {
    send(&http(PATIENT), Method::GET, path).await
}

fn calls(template: &str) -> Vec<Count> {
    counts(
        "http_client_request_duration_seconds",
        "url_template",
        template,
    )
}

/// Holds what was counted against `want`: status, error type, outcome.
#[track_caller]
fn counted_once(path: &str, [status, error_type, outcome]: [&str; 3]) -> Span {
    let mut spans = spans_with("url.template", path, 1);
    let [(_, code, kind, end, 1)] = &calls(path)[..] else {
        panic!("{path}: {:?}", calls(path))
    };
    assert_eq!([code, kind, end], [status, error_type, outcome], "{path}");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let span = spans.remove(0);
    assert_eq!(
        attribute(&span, "http.response.status_code"),
        status,
        "{path}"
    );
    assert_eq!(attribute(&span, "error.type"), error_type, "{path}");
    let failed = !["", "cancelled"].contains(&error_type);
    assert_eq!(matches!(span.status, Status::Error(_)), failed, "{path}");
    span
}

#[tokio::test]
async fn an_answer_that_was_read_counts_by_its_status() {
    for (path, want) in [
        ("/whole", ["200", "", "ok"]),
        ("/chunked", ["200", "", "ok"]),
        ("/none", ["204", "", "ok"]),
        ("/mistake", ["404", "404", "ok"]),
        ("/error", ["503", "503", "error"]),
    ] {
        let response = get(path).await;
        let url = response.url().to_string();
        assert_eq!(
            url,
            format!("http://{}{path}", *PEER),
            "the response is as it came"
        );
        response.bytes().await.expect("a body");
        counted_once(path, want);
    }
    let head = send(&http(PATIENT), Method::HEAD, "/head").await;
    assert_eq!(head.headers()["content-length"], "4");
    drop(head);
    counted_once("/head", ["200", "", "ok"]);
}

#[tokio::test]
async fn a_call_lasts_until_its_last_byte_and_no_longer() {
    let mut response = get("/to-the-end").await;
    assert_eq!(
        calls("/to-the-end"),
        [],
        "the head is here, the body is not"
    );
    let mut body = Vec::new();
    while body.len() < 4 {
        body.extend(response.chunk().await.expect("a chunk").expect("more"));
    }
    counted_once("/to-the-end", ["200", "", "ok"]);
    drop(response);
    assert_eq!(calls("/to-the-end").len(), 1);
}

#[tokio::test]
async fn a_torn_body_is_an_error_of_the_call() {
    for (path, status) in [
        ("/torn", "200"),
        ("/torn-chunk", "200"),
        ("/torn-error", "503"),
    ] {
        get(path).await.bytes().await.expect_err(path);
        counted_once(path, [status, "body", "error"]);
    }
}

#[tokio::test]
async fn a_late_body_is_a_time_out_and_its_wait_is_in_the_duration() {
    let timeout = Duration::from_millis(300);
    let response = send(&http(timeout), Method::GET, "/late").await;
    let error = response.bytes().await.expect_err("late");
    assert!(error.is_timeout(), "{error:?}");
    let span = counted_once("/late", ["200", "timeout", "error"]);
    let lasted = span.end.duration_since(span.start).expect("in order");
    assert!(lasted >= timeout, "{lasted:?}");
}

#[tokio::test]
async fn what_the_caller_cannot_use_is_an_error_when_it_says_so() {
    for path in ["/nonsense", "/empty"] {
        let response = get(path).await;
        let call = Call::of(&response);
        response.bytes().await.expect("a body");
        assert_eq!(calls(path), [], "open while somebody holds it");
        call.failed(DECODE);
        drop(call);
        counted_once(path, ["200", "decode", "error"]);
    }
    let mut response = get("/large").await;
    response.chunk().await.expect("a chunk");
    Call::of(&response).failed(BODY);
    drop(response);
    counted_once("/large", ["200", "body", "error"]);
}

#[tokio::test]
async fn a_body_left_unread_counts_by_its_status_and_one_given_up_is_cancelled() {
    drop(get("/unread").await);
    counted_once("/unread", ["200", "", "ok"]);

    let mut response = get("/given-up").await;
    let first = response.chunk().await.expect("a chunk");
    assert_eq!(first.as_deref(), Some(&b"half"[..]));
    assert!(
        response.chunk().now_or_never().is_none(),
        "nothing more comes"
    );
    let gave_up = SystemTime::now();
    drop(response);
    let span = counted_once("/given-up", ["200", "cancelled", "cancelled"]);
    assert!(span.end >= gave_up, "the wait is in the span");

    let waits = tokio::spawn(get("/never"));
    let asked = || SEEN.lock().unwrap().iter().any(|path| path == "/never");
    tokio::task::spawn_blocking(move || {
        eventually("the request is there", || asked().then_some(()))
    })
    .await
    .expect("asked");
    waits.abort();
    assert!(waits.await.is_err());
    counted_once("/never", ["", "cancelled", "cancelled"]);
}

/// The caller's own deadline may come a moment before the call's: that, too, is the called service's doing.
#[tokio::test]
async fn a_call_that_the_callers_deadline_cuts_off_is_late_and_not_cancelled() {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(200);
    let late = telemetry::deadline::enforce(deadline, get("/too-late")).await;
    assert!(late.is_err());
    counted_once("/too-late", ["", "timeout", "error"]);
}

/// An address at which nobody listens yet.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a free port");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}

/// The error of a call that nobody answers.
async fn refused(http: &ClientWithMiddleware, address: SocketAddr, path: &'static str) {
    let request = http.get(format!("http://{address}{path}"));
    let sent = request.with_extension(UrlTemplate(path)).send().await;
    let error = sent.expect_err("nobody listens");
    assert!(error.is_connect() && !error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn a_call_waits_while_its_peer_restarts_and_counts_once() {
    const PATH: &str = "/restarting";
    let (socket, address) = refusing();
    let away = Duration::from_millis(200);
    let http = http(PATIENT);
    let request = http.post(format!("http://{address}{PATH}"));
    let request = request.with_extension(UrlTemplate(PATH)).body("an order");
    let restart = async {
        tokio::time::sleep(away).await;
        let listener = socket.listen(8).expect("it listens");
        let (stream, _) = listener.accept().await.expect("a connection");
        let stream = stream.into_std().expect("a stream");
        stream.set_nonblocking(false).expect("it blocks");
        std::thread::spawn(move || serve(stream));
    };
    let (sent, ()) = tokio::join!(request.send(), restart);
    sent.expect("an answer").bytes().await.expect("a body");
    let span = counted_once(PATH, ["200", "", "ok"]);
    let lasted = span.end.duration_since(span.start).expect("in order");
    assert!(lasted >= away, "the wait is in the span: {lasted:?}");
}

#[tokio::test]
async fn a_peer_that_is_down_is_waited_for_in_the_first_moment_only() {
    let (_socket, address) = refusing();
    let http = http(PATIENT);
    let start = Instant::now();
    refused(&http, address, "/down").await;
    assert!(start.elapsed() >= Duration::from_millis(900));
    counted_once("/down", ["", "connect", "error"]);
    let start = Instant::now();
    for _ in 0..30 {
        refused(&http, address, "/still-down").await;
    }
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_call_with_little_time_tells_that_its_peer_is_down() {
    let (_socket, address) = refusing();
    refused(&http(Duration::from_millis(300)), address, "/short").await;
    counted_once("/short", ["", "connect", "error"]);
}
