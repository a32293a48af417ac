//! From the overview to the cause of a trouble and back: one path, eight troubles.

use serde_json::json;

use super::walk::{Hop, Path, Trouble};

const FAILED_TRACE: &str = "[data-testid=worst-trace]:has(.error) a";
const SLOW_TRACE: &str = "[data-testid=worst-trace]:not(:has(.error)) a";
/// Both look an item up, and which of them takes longer is not the same each time.
const SLOW_STATEMENT: &str = "[data-testid=span-row][data-service=data]:has([title*='SELECT items'], [title*='INSERT orders'])";
const LINE: &str = "[data-testid=span-detail] [data-testid=log-line]";

/// The first span of a service in the trace.
macro_rules! span_of {
    ($service:literal) => {
        concat!("[data-testid=span-row][data-service=", $service, "]")
    };
}

/// From the slowest trace to the statement that takes the time, and to what its service wrote.
const TO_THE_SLOW_STATEMENT: &[Hop] = &[
    Hop {
        click: SLOW_TRACE,
        place: SLOW_STATEMENT,
        words: "data",
    },
    Hop {
        click: SLOW_STATEMENT,
        place: "[data-testid=span-detail] .summary",
        words: " s on the critical path",
    },
    Hop {
        click: span_of!("data"),
        place: LINE,
        words: "sku=",
    },
];

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn errors_of_a_dependency_are_found_by_clicks() {
    let path = Path {
        name: "errors",
        trouble: Trouble::Fault("downstream", json!({"share": 0.5})),
        alert: "AvailabilityBurnRate",
        service: "gateway",
        evidence: &[
            ("[data-testid=first-action]", "Look at downstream"),
            ("[data-testid=cause][data-kind=errors]", "downstream"),
            ("[data-testid=cause]", "errors: "),
            ("[data-testid=failing] [data-testid=at-fault]", "downstream"),
            ("[data-testid=worst-trace]", "failed at downstream"),
            ("[data-testid=first-error]", "downstream: "),
        ],
        hops: &[
            Hop {
                click: FAILED_TRACE,
                place: concat!(span_of!("downstream"), ".failed"),
                words: "downstream",
            },
            Hop {
                click: concat!(span_of!("downstream"), ".failed"),
                place: LINE,
                words: "request failed",
            },
        ],
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_slow_statement_is_found_by_clicks() {
    let path = Path {
        name: "slow_query",
        trouble: Trouble::Fault("data", json!({"ms": 1000})),
        alert: "LatencyBurnRate",
        service: "gateway",
        evidence: &[(
            "[data-testid=slowest] [data-testid=at-fault]",
            "postgresql ",
        )],
        hops: TO_THE_SLOW_STATEMENT,
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn an_exhausted_pool_is_found_by_clicks() {
    let path = Path {
        name: "pool_exhaustion",
        trouble: Trouble::Fault("data", json!({})),
        alert: "AvailabilityBurnRate",
        service: "gateway",
        evidence: &[
            (
                "[data-testid=failing] [data-testid=at-fault]",
                "a connection of the pool requests",
            ),
            (
                "[data-testid=worst-trace]",
                "failed at data acquire connection",
            ),
        ],
        hops: &[
            Hop {
                click: FAILED_TRACE,
                place: concat!(
                    span_of!("data"),
                    ".failed:has([title*='acquire connection'])"
                ),
                words: "data",
            },
            Hop {
                click: concat!(span_of!("data"), ".failed"),
                place: LINE,
                words: "request failed",
            },
        ],
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn answers_that_cannot_be_read_are_found_by_clicks() {
    let path = Path {
        name: "malformed_body",
        trouble: Trouble::Fault("downstream", json!({"share": 0.5})),
        alert: "AvailabilityBurnRate",
        service: "gateway",
        evidence: &[
            ("[data-testid=failing] [data-testid=at-fault]", "downstream"),
            ("[data-testid=first-error]", "data: "),
        ],
        hops: &[
            // Downstream itself thinks that it has answered well.
            Hop {
                click: FAILED_TRACE,
                place: concat!(span_of!("downstream"), ":not(.failed)"),
                words: "downstream",
            },
            Hop {
                click: concat!(span_of!("data"), ".failed"),
                place: LINE,
                words: "request failed",
            },
        ],
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn memory_that_grows_is_found_by_clicks() {
    let path = Path {
        name: "memory_leak",
        trouble: Trouble::Fault("downstream", json!({"mib_per_s": 256, "max_mib": 1024})),
        alert: "MemoryGrowth",
        service: "downstream",
        evidence: &[
            ("main", "GiB more than its least"),
            ("[data-testid=cause][data-kind=memory]", "downstream"),
            ("[data-testid=cause]", "memory: "),
        ],
        // Requests are served as before: no trace and no line tells of it.
        hops: &[Hop {
            click: ".since a[href='/services/downstream']",
            place: "[data-testid=memory]",
            words: "GiB",
        }],
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_flood_of_log_lines_is_found_by_clicks() {
    let path = Path {
        name: "log_storm",
        trouble: Trouble::Fault("downstream", json!({"lines_per_s": 500})),
        alert: "LogStorm",
        service: "downstream",
        evidence: &[("main", "floods its log")],
        // Its lines belong to no request.
        hops: &[Hop {
            click: "[data-testid=alert-logs]",
            place: "[data-testid=log-row]",
            words: "unexpected state, trying again",
        }],
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_bad_release_is_found_by_clicks() {
    let path = Path {
        name: "bad_release",
        trouble: Trouble::Fault("data", json!({"ms": 1000})),
        alert: "LatencyBurnRate",
        service: "gateway",
        // Not the statement: for a minute the slowest requests are those that waited for the new version to start.
        evidence: &[("[data-testid=releases]", "→ 0.2.0")],
        hops: TO_THE_SLOW_STATEMENT,
    };
    path.walk().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_killed_service_is_found_by_clicks() {
    let path = Path {
        name: "killed service",
        trouble: Trouble::Killed("data"),
        alert: "AvailabilityBurnRate",
        service: "gateway",
        evidence: &[
            ("[data-testid=failing] [data-testid=at-fault]", "data"),
            ("[data-testid=worst-trace]", "failed at gateway"),
        ],
        // The call of a service that is not there ends at its caller.
        hops: &[
            Hop {
                click: FAILED_TRACE,
                place: concat!(span_of!("gateway"), ".failed"),
                words: "gateway",
            },
            Hop {
                click: concat!(span_of!("gateway"), ".failed"),
                place: LINE,
                words: "request failed",
            },
        ],
    };
    path.walk().await;
}
