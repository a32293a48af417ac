//! However a request ends, it is counted once, with the outcome that metric and span agree on.

mod support;

use std::io::Read;

use actix_web::body::SizedStream;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadGateway, ErrorForbidden, ErrorServiceUnavailable};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::Bytes;
use actix_web::{Error, HttpResponse, web};
use futures_util::{FutureExt, StreamExt, stream};
use telemetry::http_server::ErrorType;

use support::{Answer, Count, PROCESS, Span, attribute, eventually, now};

const UNSET: i32 = 0;
const ERROR: i32 = 2;

/// The application: one route for each way in which a request can end.
fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/ok", web::get().to(async || "fine"))
        .route("/ok", web::head().to(async || "fine"))
        .route("/address", web::get().to(async || "here"))
        .route("/empty", web::get().to(HttpResponse::NoContent))
        .route("/mistake", web::get().to(HttpResponse::UnprocessableEntity))
        .route("/plain", web::get().to(HttpResponse::InternalServerError))
        .route("/timeout", web::get().to(timed_out))
        .route(
            "/err",
            web::get().to(async || Err::<&str, _>(ErrorBadGateway("upstream"))),
        )
        .route("/panic", web::get().to(panics))
        .route("/panic-in-body", web::get().to(panics_in_body))
        .route("/never", web::get().to(std::future::pending::<&str>))
        .route("/half", web::get().to(half_a_body))
        .route("/torn", web::get().to(torn_body))
        .service(
            web::resource("/guarded/{status}")
                .wrap(from_fn(guard))
                .route(web::get().to(async || "never reached")),
        );
}

/// As a deadline middleware answers.
async fn timed_out() -> HttpResponse {
    let mut response = HttpResponse::GatewayTimeout().finish();
    response.extensions_mut().insert(ErrorType("timeout"));
    response
}

async fn panics() -> HttpResponse {
    panic!("on purpose")
}

async fn panics_in_body() -> HttpResponse {
    let explode = async { panic!("on purpose, in the body") };
    let chunks = stream::iter([Ok::<_, Error>(Bytes::from("half"))]).chain(explode.into_stream());
    HttpResponse::Ok().streaming(chunks)
}

/// Promises eight bytes, sends four, and then nothing for ever.
async fn half_a_body() -> HttpResponse {
    let chunks = stream::iter([Ok::<_, Error>(Bytes::from("half"))]).chain(stream::pending());
    HttpResponse::Ok().body(SizedStream::new(8, chunks))
}

async fn torn_body() -> HttpResponse {
    let chunks = [Ok(Bytes::from("half")), Err(ErrorBadGateway("lost"))];
    HttpResponse::Ok().streaming(stream::iter(chunks))
}

/// Middleware that rejects with an `Err`, as authentication does.
async fn guard(
    request: ServiceRequest,
    _next: Next<actix_web::body::BoxBody>,
) -> Result<ServiceResponse, Error> {
    match request.path() {
        "/guarded/403" => Err(ErrorForbidden("not you")),
        _ => Err(ErrorServiceUnavailable("not now")),
    }
}

/// Requests `path`, and holds what was counted against `want` (method, status, error type, outcome).
#[track_caller]
fn counted_once(path: &str, route: &str, want: [&str; 4]) -> (Answer, Span) {
    let answer = PROCESS.request(want[0], path);
    let span = one(route, want);
    (answer, span)
}

#[track_caller]
fn one(route: &str, want: [&str; 4]) -> Span {
    let (counts, mut spans) = PROCESS.ended(route, 1);
    assert_eq!(counts, [count(want, 1)], "{route}");
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(PROCESS.active(route), 0.0, "still active: {route}");
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

fn count([method, status, error_type, outcome]: [&str; 4], times: u64) -> Count {
    (
        method.into(),
        status.into(),
        error_type.into(),
        outcome.into(),
        times,
    )
}

#[track_caller]
fn status(span: &Span) -> i32 {
    span.status.clone().unwrap_or_default().code
}

#[test]
fn success_is_ok_and_the_trace_is_in_the_answer() {
    let answer = PROCESS.request("GET", "/ok");
    let head = PROCESS.request("HEAD", "/ok");
    let (mut counts, spans) = PROCESS.ended("/ok", 2);
    counts.sort();
    assert_eq!(
        counts,
        [
            count(["GET", "200", "", "ok"], 1),
            count(["HEAD", "200", "", "ok"], 1)
        ]
    );
    assert!(spans.iter().all(|span| status(span) == UNSET));
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
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let traceparent = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    answer.head.contains(&format!(
        "server-timing: traceparent;desc=\"{traceparent}\""
    ))
}

#[test]
fn the_callers_mistake_is_no_error() {
    let (_, span) = counted_once("/mistake", "/mistake", ["GET", "422", "", "ok"]);
    assert_eq!(status(&span), UNSET);
    // No route: counted under an empty one, so that paths cannot make series.
    PROCESS.request("GET", "/no/such/4711");
    PROCESS.request("BREW", "/nor/this");
    let (mut counts, spans) = PROCESS.ended("", 2);
    counts.sort();
    assert_eq!(
        counts,
        [
            count(["GET", "404", "", "ok"], 1),
            count(["_OTHER", "404", "", "ok"], 1)
        ]
    );
    assert!(spans.iter().all(|span| status(span) == UNSET));
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
        assert_eq!(status(&span), ERROR, "{span:#?}");
    }
}

#[test]
fn an_err_of_a_middleware_counts_by_its_status() {
    let forbidden = PROCESS.request("GET", "/guarded/403");
    let unavailable = PROCESS.request("GET", "/guarded/503");
    let (mut counts, spans) = PROCESS.ended("/guarded/{status}", 2);
    counts.sort();
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
    assert_eq!(status(by_status("403")), UNSET);
    assert_eq!(status(by_status("503")), ERROR);
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
    assert_eq!(status(&span), ERROR);
}

#[test]
fn a_panic_in_the_body_is_counted() {
    let (_, span) = counted_once(
        "/panic-in-body",
        "/panic-in-body",
        ["GET", "500", "panic", "error"],
    );
    assert_eq!(status(&span), ERROR);
}

#[test]
fn a_body_that_fails_is_an_error_although_the_status_was_200() {
    let (_, span) = counted_once("/torn", "/torn", ["GET", "200", "body", "error"]);
    assert_eq!(status(&span), ERROR);
}

#[test]
fn a_caller_that_hangs_up_is_counted_apart() {
    let caller = PROCESS.open("GET", "/never", "");
    eventually("the request is under way", || {
        (PROCESS.active("/never") == 1.0).then_some(())
    });
    drop(caller);
    let span = one("/never", ["GET", "", "cancelled", "cancelled"]);
    assert_eq!(status(&span), UNSET);
}

#[test]
fn a_body_that_the_caller_did_not_wait_for_is_counted_apart() {
    let mut caller = PROCESS.open("GET", "/half", "");
    let (mut text, mut chunk) = (String::new(), [0; 512]);
    while !text.contains("half") {
        let read = caller.read(&mut chunk).expect("the first half");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    assert_eq!(PROCESS.active("/half"), 1.0);
    let hung_up = now();
    drop(caller);
    let span = one("/half", ["GET", "", "cancelled", "cancelled"]);
    assert_eq!(status(&span), UNSET);
    assert!(
        span.end_time_unix_nano >= hung_up,
        "the wait is in the span"
    );
}

/// What the socket is bound to says nothing: it is often `0.0.0.0`.
#[test]
fn server_address_is_what_the_caller_asked_for_or_the_services_name() {
    let own = |port: u16| ("red".to_owned(), port);
    let asked = |host: &str, port: u16| (host.to_owned(), port);
    let bound = PROCESS.port();
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
        PROCESS.send(head);
    }
    let (_, spans) = PROCESS.ended("/address", cases.len());
    let mut seen: Vec<_> = spans
        .iter()
        .map(|span| {
            let port = attribute(span, "server.port").parse().expect("a port");
            (attribute(span, "server.address"), port)
        })
        .collect();
    let mut expected = cases.map(|(_, expected)| expected).to_vec();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}
