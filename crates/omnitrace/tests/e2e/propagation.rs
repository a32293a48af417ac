//! W3C trace context and baggage, judged by what the next hop really gets.
//!
//! The gateway stands alone here; a capture server answers in place of the data service.

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;

use crate::harness::{Capture, Captured, Kind, Reply, Stack, traceparent};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A gateway, and what it calls.
pub struct Hop {
    pub stack: Stack,
    data: Capture,
}

impl Hop {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let data = Capture::answering(&json!({
            "sku": "tea", "name": "Tea", "stock": 3, "unit_price_cents": 450,
            "quote": {"sku": "tea", "price_cents": 420, "currency": "EUR"},
        }));
        let mut builder =
            Stack::builder()
                .only(&["gateway"])
                .env("gateway", "DATA_URL", &data.url());
        for (name, value) in settings {
            builder = builder.env("gateway", name, value);
        }
        let stack = builder.start().await;
        Self { stack, data }
    }

    /// `GET /api/data` with these headers: the answer, and the request that went on from there.
    pub async fn send(&self, headers: &[(&str, &str)]) -> (Reply, Captured) {
        let mut request = self.stack.request(Method::GET, "/api/data");
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
            request = request.header(*name, value);
        }
        let reply = self.stack.send(request).await.expect(200);
        (reply, self.data.take_one())
    }
}

/// Trace id, span id and flags of an outgoing `traceparent`.
#[track_caller]
fn outgoing(request: &Captured) -> (String, String, String) {
    let header = request.header("traceparent").expect("a traceparent");
    let parts: Vec<&str> = header.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{header}");
    assert_eq!(parts[0], "00", "{header}");
    (
        parts[1].to_owned(),
        parts[2].to_owned(),
        parts[3].to_owned(),
    )
}

pub fn baggage(request: &Captured) -> BTreeSet<String> {
    let all = request.header("baggage").unwrap_or_default();
    let entries = all.split(',').filter(|entry| !entry.is_empty());
    entries.map(str::to_owned).collect()
}

pub fn set<const N: usize>(entries: [&str; N]) -> BTreeSet<String> {
    entries.map(str::to_owned).into()
}

#[tokio::test]
async fn a_sampled_callers_trace_is_continued() {
    let hop = Hop::start(&[]).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");

    let (reply, sent) = hop
        .send(&[
            ("traceparent", &parent),
            ("tracestate", "vendor=a1"),
            ("tracestate", "other=b2"),
            ("baggage", "tenant=acme, region=eu%20west;ttl=3"),
        ])
        .await;

    assert_eq!(reply.trace_id(), TRACE);
    let (trace_id, client_span, flags) = outgoing(&sent);
    assert_eq!((trace_id.as_str(), flags.as_str()), (TRACE, "01"));
    assert_eq!(
        sent.header("tracestate").as_deref(),
        Some("vendor=a1,other=b2")
    );
    assert_eq!(
        baggage(&sent),
        set(["tenant=acme", "region=eu%20west;ttl=3"])
    );
    let receiver = hop.stack.stop().await;
    let spans = receiver.trace(TRACE);
    let [server, client] = spans.as_slice() else {
        panic!("not two spans: {spans:#?}")
    };
    assert_eq!((server.kind, client.kind), (Kind::Server, Kind::Client));
    assert_eq!(server.parent_span_id, CALLER);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!(client.span_id, client_span);
    assert_eq!(server.trace_state, "vendor=a1,other=b2");
    assert!(server.links.is_empty());
}

#[tokio::test]
async fn an_unsampled_callers_trace_is_passed_on_and_not_exported() {
    let hop = Hop::start(&[]).await;
    let parent = format!("00-{TRACE}-{CALLER}-00");

    let (reply, sent) = hop
        .send(&[("traceparent", &parent), ("tracestate", "fw529a3039@dt=a1")])
        .await;
    let (trace_id, span_id, flags) = outgoing(&sent);
    assert_eq!((trace_id.as_str(), flags.as_str()), (TRACE, "00"));
    assert_ne!(span_id, CALLER, "the next hop's parent is our client span");
    assert_eq!(
        sent.header("tracestate").as_deref(),
        Some("fw529a3039@dt=a1")
    );
    assert_eq!(
        reply.trace_id(),
        TRACE,
        "whoever has the answer can still search the logs"
    );

    let (_, bare) = hop.send(&[("traceparent", &parent)]).await;
    // Nor is an empty one sent.
    assert_eq!(bare.header("tracestate"), None);
    assert_eq!(bare.header("baggage"), None);
    let receiver = hop.stack.stop().await;
    assert!(receiver.spans().is_empty(), "{:#?}", receiver.spans());
}

#[tokio::test]
async fn an_unusable_traceparent_starts_a_new_trace_and_drops_its_tracestate() {
    let hop = Hop::start(&[]).await;
    let upper = TRACE.to_uppercase();
    let cases = [
        ("no version 00", format!("ff-{TRACE}-{CALLER}-01")),
        ("zero trace id", format!("00-{:032}-{CALLER}-01", 0)),
        ("zero span id", format!("00-{TRACE}-{:016}-01", 0)),
        ("upper case", format!("00-{upper}-{CALLER}-01")),
        ("short trace id", format!("00-{}-{CALLER}-01", &TRACE[1..])),
        ("no flags", format!("00-{TRACE}-{CALLER}")),
        ("flags that are not hex", format!("00-{TRACE}-{CALLER}-0x")),
        (
            "more than version 00 has",
            format!("00-{TRACE}-{CALLER}-01-more"),
        ),
        ("other separators", format!("00_{TRACE}_{CALLER}_01")),
        (
            "a list",
            format!("00-{TRACE}-{CALLER}-01,00-{TRACE}-{CALLER}-01"),
        ),
        ("not ASCII", format!("00-{TRACE}-{CALLER}-0é")),
        ("empty", String::new()),
    ];
    for (what, parent) in &cases {
        let headers = [
            ("traceparent", parent.as_str()),
            ("tracestate", "vendor=a1"),
            ("baggage", "tenant=acme"),
        ];
        is_new_trace(what, &hop.send(&headers).await);
    }
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let twice = [
        ("traceparent", parent.as_str()),
        ("traceparent", &parent),
        ("tracestate", "vendor=a1"),
        ("baggage", "tenant=acme"),
    ];
    is_new_trace("sent twice", &hop.send(&twice).await);
    is_new_trace(
        "tracestate alone",
        &hop.send(&[("tracestate", "vendor=a1"), ("baggage", "tenant=acme")])
            .await,
    );

    let receiver = hop.stack.stop().await;
    let roots = receiver
        .spans()
        .iter()
        .filter(|span| span.is_root())
        .count();
    assert_eq!(roots, cases.len() + 2, "each began a trace");
    assert!(receiver.trace(TRACE).is_empty());
}

#[track_caller]
fn is_new_trace(what: &str, (reply, sent): &(Reply, Captured)) {
    let (trace_id, _, flags) = outgoing(sent);
    assert_ne!(trace_id.to_lowercase(), TRACE, "{what}");
    assert_eq!(trace_id, reply.trace_id(), "{what}");
    assert_eq!(flags, "01", "{what}");
    assert_eq!(sent.header("tracestate"), None, "{what}");
    // Baggage is another header and another specification.
    assert_eq!(baggage(sent), set(["tenant=acme"]), "{what}");
}

#[tokio::test]
async fn a_higher_version_is_read_as_version_00() {
    let hop = Hop::start(&[]).await;
    for (parent, want) in [
        (format!("01-{TRACE}-{CALLER}-01"), "01"),
        (
            format!("cc-{TRACE}-{CALLER}-01-what-the-future-holds"),
            "01",
        ),
        // The trace id is random, and stays so; flags of the future are not passed on.
        (format!("00-{TRACE}-{CALLER}-03"), "03"),
        (format!("00-{TRACE}-{CALLER}-02"), "02"),
        (format!("00-{TRACE}-{CALLER}-ff"), "03"),
    ] {
        let (reply, sent) = hop
            .send(&[("traceparent", &parent), ("tracestate", "a=1")])
            .await;
        let (trace_id, _, flags) = outgoing(&sent);
        assert_eq!(
            (trace_id.as_str(), flags.as_str()),
            (TRACE, want),
            "{parent}"
        );
        assert_eq!(
            sent.header("tracestate").as_deref(),
            Some("a=1"),
            "{parent}"
        );
        assert_eq!(reply.trace_id(), TRACE);
    }
    hop.stack.stop().await;
}

#[tokio::test]
async fn unusable_tracestate_and_baggage_are_dropped_alone() {
    let hop = Hop::start(&[]).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let long = format!("vendor={}", "v".repeat(2000));
    let many: Vec<String> = (0..40).map(|n| format!("k{n}=v")).collect();
    for state in [
        "=",
        "no equals sign",
        "UPPER=1",
        "a=ä",
        &long,
        &many.join(","),
    ] {
        let headers = [
            ("traceparent", parent.as_str()),
            ("tracestate", state),
            ("baggage", "tenant=acme"),
        ];
        let (_, sent) = hop.send(&headers).await;
        assert_eq!(outgoing(&sent).0, TRACE, "{state}");
        assert_eq!(sent.header("tracestate"), None, "{state}");
        assert_eq!(baggage(&sent), set(["tenant=acme"]), "{state}");
    }
    for (state, want) in [
        ("vendor=1,vendor=2,other=3", "vendor=1,other=3"),
        ("foo@@bar=1,b=2", "foo@@bar=1,b=2"),
    ] {
        let headers = [("traceparent", parent.as_str()), ("tracestate", state)];
        let (_, sent) = hop.send(&headers).await;
        assert_eq!(sent.header("tracestate").as_deref(), Some(want));
    }
    for bad in [
        "tenant",
        "=acme",
        "ten ant=acme",
        "tenant=acme,,region=eu",
        "tenant=ac\"me",
        "tenant=acme;pri\"vate",
        "tenant=ä",
    ] {
        let headers = [
            ("traceparent", parent.as_str()),
            ("tracestate", "vendor=a1"),
            ("baggage", bad),
        ];
        let (_, sent) = hop.send(&headers).await;
        assert_eq!(outgoing(&sent).0, TRACE, "{bad}");
        assert_eq!(
            sent.header("tracestate").as_deref(),
            Some("vendor=a1"),
            "{bad}"
        );
        assert_eq!(sent.header("baggage"), None, "{bad}");
    }
    hop.stack.stop().await;
}

#[tokio::test]
async fn only_allowed_baggage_passes() {
    for (allow, want) in [
        ("tenant", set(["tenant=acme"])),
        ("", set([])),
        ("*", set(["tenant=acme", "user=ada"])),
    ] {
        let hop = Hop::start(&[("OMNITRACE_BAGGAGE_ALLOW", allow)]).await;
        let (_, sent) = hop.send(&[("baggage", "tenant=acme,user=ada")]).await;
        assert_eq!(baggage(&sent), want, "{allow:?}");
        hop.stack.stop().await;
    }
}

#[tokio::test]
async fn an_untrusted_caller_is_linked_and_not_followed() {
    let hop = Hop::start(&[("OMNITRACE_TRUST_CALLERS", "none")]).await;
    // Not even the decision not to sample is the caller's.
    let parent = format!("00-{TRACE}-{CALLER}-00");

    let (reply, sent) = hop
        .send(&[
            ("traceparent", &parent),
            ("tracestate", "vendor=a1"),
            ("baggage", "user=ada"),
        ])
        .await;

    let (trace_id, _, flags) = outgoing(&sent);
    assert_eq!((&trace_id, flags.as_str()), (&reply.trace_id(), "01"));
    assert_ne!(trace_id, TRACE);
    assert_eq!(
        (sent.header("tracestate"), sent.header("baggage")),
        (None, None)
    );
    let receiver = hop.stack.stop().await;
    let spans = receiver.trace(&trace_id);
    let root = spans.iter().find(|span| span.is_root()).expect("a root");
    let links: Vec<_> = root
        .links
        .iter()
        .map(|link| (link.trace_id.as_str(), link.span_id.as_str()))
        .collect();
    assert_eq!(links, [(TRACE, CALLER)]);
}

#[tokio::test]
async fn a_disabled_sdk_exports_nothing_and_passes_the_context_through() {
    let hop = Hop::start(&[("OTEL_SDK_DISABLED", "true")]).await;
    let (parent, _) = traceparent(true);

    let (_, sent) = hop
        .send(&[
            ("traceparent", &parent),
            ("tracestate", "vendor=a1"),
            ("baggage", "tenant=acme"),
        ])
        .await;
    assert_eq!(sent.header("traceparent"), Some(parent));
    assert_eq!(sent.header("tracestate").as_deref(), Some("vendor=a1"));
    assert_eq!(baggage(&sent), set(["tenant=acme"]));

    let (_, sent) = hop.send(&[]).await;
    assert_eq!(
        sent.header("traceparent"),
        None,
        "there is no trace to continue"
    );
    let counted = [("http_route", "/api/data"), ("outcome", "ok")];
    let requests = hop
        .stack
        .scrape("gateway")
        .await
        .value("http_server_request_duration_seconds_count", &counted);
    assert_eq!(requests, Some(2.0), "metrics are pulled, and go on");
    let receiver = hop.stack.stop().await;
    assert!(
        receiver.deliveries().is_empty(),
        "{:?}",
        receiver.deliveries()
    );
}

#[tokio::test]
async fn without_propagators_nothing_is_read_or_sent() {
    let headers = [("tracestate", "vendor=a1"), ("baggage", "tenant=acme")];
    let parent = format!("00-{TRACE}-{CALLER}-01");
    for (propagators, context, bags) in [
        ("none", false, false),
        ("tracecontext", true, false),
        ("baggage", false, true),
    ] {
        let hop = Hop::start(&[("OTEL_PROPAGATORS", propagators)]).await;
        let all = [&headers[..], &[("traceparent", parent.as_str())]].concat();
        let (reply, sent) = hop.send(&all).await;
        assert_eq!(
            sent.header("traceparent").is_some(),
            context,
            "{propagators}"
        );
        assert_eq!(
            sent.header("tracestate").is_some(),
            context,
            "{propagators}"
        );
        assert_eq!(sent.header("baggage").is_some(), bags, "{propagators}");
        assert_eq!(reply.trace_id() == TRACE, context, "{propagators}");
        hop.stack.stop().await;
    }
}
