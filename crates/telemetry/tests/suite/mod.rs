//! However a request ends, it is counted once, with the outcome that metric and span agree on: the same for every framework.
//! Each binary that includes this has an `App` with the same routes, one for each way in which a request can end.

mod server;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use telemetry::testing::{SERVICE, Span, Status, eventually, recorder};

use crate::support::{Count, attribute, counts, spans_with};
use server::{Answer, answer, open, send};
pub use server::{SERVER, request};

/// An application under test.
pub trait Serve {
    /// Serves its routes behind the server middleware, as long as the process lives.
    fn serve(listener: TcpListener);
}

const DURATION: &str = "http_server_request_duration_seconds";

/// Waits for the spans of so many requests of `route`; returns them and what was counted. What is counted twice shows,
/// because a span ends after its request was counted.
pub fn ended(route: &str, requests: usize) -> (Vec<Count>, Vec<Span>) {
    let spans = spans_with("http.route", route, requests);
    let mut counts = counts(DURATION, "http_route", route);
    counts.sort();
    (counts, spans)
}

/// What a handler does that takes too long.
pub async fn given_up() {
    let soon = tokio::time::Instant::now() + Duration::from_millis(5);
    let late = telemetry::deadline::enforce(soon, std::future::pending::<()>()).await;
    late.expect_err("it never ends");
}

/// Waits until one request of a route is in progress.
pub fn under_way(route: &str) {
    eventually("the request is under way", || {
        (active(route) == 1.0).then_some(())
    });
}

/// Requests of a route in progress.
fn active(route: &str) -> f64 {
    let mut samples = recorder().metrics();
    samples.retain(|sample| {
        sample.name == "http_server_active_requests" && sample.has(&[("http_route", route)])
    });
    samples.iter().map(|sample| sample.value).sum()
}

/// Requests `path`, and holds what was counted against `want` (method, status, error type, outcome).
#[track_caller]
pub fn counted_once(path: &str, route: &str, want: [&str; 4]) -> (Answer, Span) {
    let answer = request(want[0], path);
    let span = one(route, want);
    (answer, span)
}

#[track_caller]
pub fn one(route: &str, want: [&str; 4]) -> Span {
    let (counts, mut spans) = ended(route, 1);
    assert_eq!(counts, [count(want, 1)], "{route}");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(active(route), 0.0, "still active: {route}");
    let span = spans.remove(0);
    assert_eq!(
        attribute(&span, "http.response.status_code"),
        want[1],
        "{span:#?}"
    );
    assert_eq!(attribute(&span, "error.type"), want[2], "{span:#?}");
    assert_eq!(attribute(&span, "http.request.method"), want[0]);
    span
}

pub fn count([method, status, error_type, outcome]: [&str; 4], times: u64) -> Count {
    (
        method.into(),
        status.into(),
        error_type.into(),
        outcome.into(),
        times,
    )
}

fn failed(span: &Span) -> bool {
    matches!(span.status, Status::Error(_))
}

#[test]
fn success_is_ok_and_the_trace_is_in_the_answer() {
    let answer = request("GET", "/ok");
    let head = request("HEAD", "/ok");
    let (counts, spans) = ended("/ok", 2);
    assert_eq!(
        counts,
        [
            count(["GET", "200", "", "ok"], 1),
            count(["HEAD", "200", "", "ok"], 1)
        ]
    );
    assert!(!spans.iter().any(failed));
    assert_eq!(
        (answer.status, answer.body.as_str(), head.status),
        (200, "fine", 200)
    );
    for answer in [answer, head] {
        assert!(spans.iter().any(|span| names(&answer, span)), "{answer:?}");
    }
    counted_once("/empty", "/empty", ["GET", "204", "", "ok"]);
}

/// True when the answer's `Server-Timing` leads to the span.
fn names(answer: &Answer, span: &Span) -> bool {
    let traceparent = format!("00-{}-{}-01", span.trace_id, span.span_id);
    answer.head.contains(&format!(
        "server-timing: traceparent;desc=\"{traceparent}\""
    ))
}

#[test]
fn the_callers_mistake_is_no_error() {
    let (_, span) = counted_once("/mistake", "/mistake", ["GET", "422", "", "ok"]);
    assert!(!failed(&span));
    // No route: counted under an empty one, so that paths cannot make series.
    request("GET", "/no/such/4711");
    request("BREW", "/nor/this");
    let (counts, spans) = ended("", 2);
    assert_eq!(
        counts,
        [
            count(["GET", "404", "", "ok"], 1),
            count(["_OTHER", "404", "", "ok"], 1)
        ]
    );
    assert!(!spans.iter().any(failed));
}

#[test]
fn a_plain_5xx_an_err_and_a_time_out_are_errors() {
    for (path, code, error_type) in [
        ("/plain", "500", "500"),
        ("/err", "502", "502"),
        ("/timeout", "504", "timeout"),
    ] {
        let (answer, span) = counted_once(path, path, ["GET", code, error_type, "error"]);
        assert_eq!(answer.status.to_string(), code);
        assert!(names(&answer, &span), "{answer:?}");
        assert!(failed(&span));
    }
}

#[test]
fn an_err_of_a_middleware_counts_by_its_status() {
    let forbidden = request("GET", "/guarded/403");
    let unavailable = request("GET", "/guarded/503");
    let (counts, spans) = ended("/guarded/{status}", 2);
    assert_eq!(
        counts,
        [
            count(["GET", "403", "", "ok"], 1),
            count(["GET", "503", "503", "error"], 1)
        ]
    );
    let by_status = |code: &str| {
        let found = spans
            .iter()
            .find(|span| attribute(span, "http.response.status_code") == code);
        found.unwrap_or_else(|| panic!("no span with {code}: {spans:#?}"))
    };
    assert!(!failed(by_status("403")));
    assert!(failed(by_status("503")));
    assert!(names(&forbidden, by_status("403")), "{forbidden:?}");
    assert!(names(&unavailable, by_status("503")), "{unavailable:?}");
}

#[test]
fn a_panic_is_answered_and_counted() {
    let (answer, span) = counted_once("/panic", "/panic", ["GET", "500", "panic", "error"]);
    assert_eq!(answer.status, 500);
    assert!(
        answer
            .head
            .contains("content-type: application/problem+json"),
        "{answer:?}"
    );
    assert!(
        answer.body.contains("\"status\":500") && !answer.body.contains("on purpose"),
        "{answer:?}"
    );
    assert!(names(&answer, &span), "{answer:?}");
    assert!(failed(&span));
}

#[test]
fn a_panic_in_the_body_is_counted() {
    let (_, span) = counted_once(
        "/panic-in-body",
        "/panic-in-body",
        ["GET", "500", "panic", "error"],
    );
    assert!(failed(&span));
}

#[test]
fn a_body_that_fails_is_an_error_although_the_status_was_200() {
    for path in ["/torn", "/short"] {
        let (_, span) = counted_once(path, path, ["GET", "200", "body", "error"]);
        assert!(failed(&span), "{path}");
    }
}

#[test]
fn a_caller_that_hangs_up_is_counted_apart() {
    let caller = open("GET", "/never", "");
    under_way("/never");
    drop(caller);
    let span = one("/never", ["GET", "", "cancelled", "cancelled"]);
    assert!(!failed(&span));
}

#[test]
fn a_body_that_the_caller_did_not_wait_for_is_counted_apart() {
    let mut caller = open("GET", "/half", "");
    let (mut text, mut chunk) = (String::new(), [0; 512]);
    while !text.contains("half") {
        let read = caller.read(&mut chunk).expect("the first half");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    assert_eq!(active("/half"), 1.0);
    let hung_up = SystemTime::now();
    drop(caller);
    let span = one("/half", ["GET", "", "cancelled", "cancelled"]);
    assert!(!failed(&span));
    assert!(span.end >= hung_up, "the wait is in the span");
}

/// Whoever forwards may say anything; what a proxy asks for stands in the URI.
#[test]
fn url_scheme_is_that_of_the_uri_or_the_listener_and_its_port_the_usual_one() {
    let cases = [
        ("GET /scheme HTTP/1.1\r\nhost: shop.example", ("http", "80")),
        (
            "GET /scheme HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-proto: https\r\nforwarded: proto=https",
            ("http", "80"),
        ),
        (
            "GET http://shop.example/scheme HTTP/1.1\r\nhost: shop.example",
            ("http", "80"),
        ),
        (
            "GET https://shop.example/scheme HTTP/1.1\r\nhost: shop.example",
            ("https", "443"),
        ),
        (
            "GET HTTPS://shop.example:8443/scheme HTTP/1.1\r\nhost: shop.example",
            ("https", "8443"),
        ),
        (
            "GET evil://shop.example/scheme HTTP/1.1\r\nhost: shop.example",
            ("http", "80"),
        ),
    ];
    for (head, _) in &cases {
        send(head);
    }
    let (_, spans) = ended("/scheme", cases.len());
    let of = |span| {
        (
            attribute(span, "url.scheme"),
            attribute(span, "server.port"),
        )
    };
    let mut seen: Vec<_> = spans.iter().map(of).collect();
    let mut expected = cases.map(|(_, expected)| expected).to_vec();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

/// What the socket is bound to says nothing: it is often `0.0.0.0`.
#[test]
fn server_address_is_what_the_caller_asked_for_or_the_services_name() {
    let own = |port: u16| (SERVICE.to_owned(), port);
    let asked = |host: &str, port: u16| (host.to_owned(), port);
    let bound = SERVER.port();
    let cases = [
        (
            "GET /address HTTP/1.1\r\nhost: Shop.Example:8080",
            asked("shop.example", 8080),
        ),
        (
            "GET /address HTTP/1.1\r\nhost: shop.example",
            asked("shop.example", 80),
        ),
        (
            "GET /address HTTP/1.1\r\nhost: [2001:db8::1]:81",
            asked("2001:db8::1", 81),
        ),
        (
            "GET http://proxied.example:82/address HTTP/1.1\r\nhost: x",
            asked("proxied.example", 82),
        ),
        (
            "GET /address HTTP/1.1\r\nhost: a.example\r\nx-forwarded-host: evil",
            asked("a.example", 80),
        ),
        ("GET /address HTTP/1.1\r\nhost: 0.0.0.0:8080", own(bound)),
        ("GET /address HTTP/1.1\r\nhost: [::]:8080", own(bound)),
        ("GET /address HTTP/1.1\r\nhost: <script>", own(bound)),
        ("GET /address HTTP/1.0\r\naccept: */*", own(bound)),
    ];
    for (head, _) in &cases {
        send(head);
    }
    let (_, spans) = ended("/address", cases.len());
    let mut seen: Vec<_> = spans
        .iter()
        .map(|span| {
            let port = attribute(span, "server.port").parse().expect("a port");
            (attribute(span, "server.address").to_owned(), port)
        })
        .collect();
    let mut expected = cases.map(|(_, expected)| expected).to_vec();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_body_is_over_with_its_last_declared_byte() {
    let mut caller = open("GET", "/declared", "");
    let (mut text, mut chunk) = (String::new(), [0; 512]);
    while !text.contains("complete") {
        let read = caller.read(&mut chunk).expect("all of it");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    // The application has not ended its stream.
    eventually("it is counted while the connection is open", || {
        (counts(DURATION, "http_route", "/declared").len() == 1).then_some(())
    });
    drop(caller);
    one("/declared", ["GET", "200", "", "ok"]);
}

#[test]
fn the_span_says_what_was_asked_for_and_by_whom() {
    send("GET /items/ada@example.com?token=hunter2 HTTP/1.1\r\nhost: test\r\nuser-agent: suite/1");
    let span = one("/items/{id}", ["GET", "200", "", "ok"]);
    assert_eq!(
        (span.name.as_str(), span.kind),
        ("GET /items/{id}", "server")
    );
    for (name, value) in [
        ("url.path", "/items/[redacted]"),
        ("url.query", "token=[redacted]"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "suite/1"),
    ] {
        assert_eq!(attribute(&span, name), value, "{name}");
    }
}

#[test]
fn a_callers_trace_goes_on_unless_it_is_named_twice() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    let head = format!("GET /caller HTTP/1.1\r\nhost: test\r\n{parent}");
    send(&head);
    send(&format!("{head}\r\n{parent}"));
    let (_, spans) = ended("/caller", 2);
    let (continued, new): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.trace_id == TRACE);
    assert_eq!((continued.len(), new.len()), (1, 1), "{spans:#?}");
    assert_eq!(continued[0].parent_span_id, "00f067aa0ba902b7");
}

#[test]
fn a_log_line_and_an_exemplar_lead_to_the_span() {
    request("GET", "/log");
    let span = one("/log", ["GET", "200", "", "ok"]);
    let logs = recorder().logs();
    let log = logs.iter().find(|log| log.message == "in the handler");
    assert_eq!(log.expect("a line").span_id, span.span_id);
    let openmetrics = Some("application/openmetrics-text");
    let text = recorder().telemetry().metrics().render(openmetrics).body;
    let mut buckets = text
        .lines()
        .filter(|line| line.contains("http_route=\"/log\""));
    let exemplar = format!(
        "trace_id=\"{}\",span_id=\"{}\"",
        span.trace_id, span.span_id
    );
    assert!(buckets.any(|line| line.contains(&exemplar)), "{text}");
    assert_eq!(attribute(&span, "omnitrace.exemplar"), "true");
}

/// Until the body is here, the time is its sender's; the span shows it.
#[test]
fn the_time_to_send_a_body_is_not_counted() {
    const HELD_BACK: Duration = Duration::from_millis(200);
    let mut caller = open(
        "POST",
        "/upload",
        "content-length: 8\r\nconnection: close\r\n",
    );
    caller.write_all(b"half").expect("send");
    under_way("/upload");
    std::thread::sleep(HELD_BACK);
    let last = SystemTime::now();
    caller.write_all(b"half").expect("send");
    assert_eq!(answer(caller).body, "received");
    let span = one("/upload", ["POST", "200", "", "ok"]);
    let since_the_last_byte = span.end.duration_since(last).expect("in order");
    let metrics = recorder().metrics();
    let sum = metrics.iter().find(|sample| {
        sample.name == format!("{DURATION}_sum") && sample.has(&[("http_route", "/upload")])
    });
    let counted = sum.expect("a sum").value;
    assert!(counted <= since_the_last_byte.as_secs_f64(), "{counted}");
    assert!(last.duration_since(span.start).expect("in order") >= HELD_BACK);
}
