//! Each fault moves the signal that it declares, the user sees what the case says, and the metrics blame who has the fault.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::blame::Calls;
use super::{SERVICES, faults, gauge, healthy, name, release};
use crate::harness::{DEADLINE, POLL, Sample, Scrape, Stack};

/// What a user does while a fault is on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Traffic {
    /// Nothing: the fault has its effect by itself.
    Nothing,
    /// `GET /api/data`.
    Reads,
    /// `POST /api/orders`.
    Orders,
}

/// How a fault is tested. What it moves is not here: it declares that itself.
struct Case {
    service: &'static str,
    fault: &'static str,
    parameters: Value,
    traffic: Traffic,
    /// What the user gets while the fault is on.
    status: u16,
    /// How far the signal moves at least: a counter or gauge by this much, the mean of a histogram up to this.
    by: f64,
}

fn case(
    service: &'static str,
    fault: &'static str,
    parameters: Value,
    traffic: Traffic,
    status: u16,
    by: f64,
) -> Case {
    Case {
        service,
        fault,
        parameters,
        traffic,
        status,
        by,
    }
}

/// One for each fault of each service.
fn cases() -> Vec<Case> {
    use Traffic::{Nothing, Orders, Reads};
    const MIB: f64 = 1024.0 * 1024.0;
    let mut cases = vec![
        case(
            "downstream",
            "latency",
            json!({"ms": 300, "jitter_ms": 50}),
            Reads,
            200,
            0.3,
        ),
        case(
            "downstream",
            "errors",
            json!({"share": 1}),
            Orders,
            503,
            2.0,
        ),
        case("downstream", "hang", json!({}), Reads, 504, 1.0),
        case(
            "downstream",
            "connection_reset",
            json!({"share": 1}),
            Reads,
            503,
            2.0,
        ),
        case(
            "downstream",
            "malformed_body",
            json!({"share": 1}),
            Orders,
            503,
            2.0,
        ),
        case("downstream", "panic", json!({"share": 1}), Reads, 503, 2.0),
        case("data", "slow_query", json!({"ms": 300}), Reads, 200, 0.3),
        case("data", "pool_exhaustion", json!({}), Orders, 503, 5.0),
        case("data", "bad_release", json!({"ms": 300}), Reads, 200, 0.3),
        case(
            "data",
            "lock_contention",
            json!({"hold_ms": 1000}),
            Orders,
            201,
            0.2,
        ),
    ];
    for service in SERVICES {
        cases.extend([
            case(service, "cpu_burn", json!({"threads": 4}), Nothing, 0, 3.0),
            case(
                service,
                "memory_leak",
                json!({"mib_per_s": 128, "max_mib": 64}),
                Nothing,
                0,
                40.0 * MIB,
            ),
            case(
                service,
                "readiness_flap",
                json!({"period_ms": 200}),
                Nothing,
                0,
                3.0,
            ),
            case(
                service,
                "log_storm",
                json!({"lines_per_s": 1000}),
                Nothing,
                0,
                200.0,
            ),
        ]);
    }
    cases
}

/// The series that a fault declares to move: counter, gauge or histogram, by the rule of `service::faults::Spec`.
struct Signal {
    service: String,
    selector: Sample,
}

/// The signal at one moment. Of a histogram, `count` is the number of observations and `value` their sum.
#[derive(Debug, Clone)]
struct Reading {
    value: f64,
    count: Option<f64>,
    /// `service_instance_id`: another process counts from zero.
    instance: String,
}

impl Signal {
    fn of(fault: &Value, service: &str) -> Self {
        let declared = |field: &str| {
            fault[field]
                .as_str()
                .unwrap_or_else(|| panic!("no {field} in {fault}"))
        };
        let service = match declared("signal_service") {
            "self" => service.to_owned(),
            other => other.to_owned(),
        };
        let selector = declared("signal");
        let parsed = Scrape::parse("", format!("{selector} 0")).samples.remove(0);
        Self {
            service,
            selector: parsed,
        }
    }

    async fn read(&self, stack: &Stack) -> Reading {
        let scrape = stack.scrape(&self.service).await;
        let labels: Vec<(&str, &str)> = self
            .selector
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let sum = |suffix: &str| scrape.value(&format!("{}{suffix}", self.selector.name), &labels);
        let (value, count) = match (sum(""), sum("_sum"), sum("_count")) {
            (None, Some(value), Some(count)) => (value, Some(count)),
            (Some(value), ..) => (value, None),
            // Only what a service is asked itself exists from the start (route x outcome).
            _ if self.is_counter() => (0.0, None),
            _ => panic!(
                "{} has no series {:?}: it must exist before the fault",
                self.service, self.selector
            ),
        };
        let instance = scrape.samples[0].labels["service_instance_id"].clone();
        Reading {
            value,
            count,
            instance,
        }
    }

    fn is_counter(&self) -> bool {
        self.selector.name.ends_with("_total") || self.selector.name.ends_with("_count")
    }
}

/// How far it has moved: of a histogram, the mean of what came since.
fn movement(from: &Reading, to: &Reading) -> f64 {
    let start = |value: f64| {
        if from.instance == to.instance {
            value
        } else {
            0.0
        }
    };
    match (from.count, to.count) {
        (Some(before), Some(now)) if now > start(before) => {
            (to.value - start(from.value)) / (now - start(before))
        }
        (Some(_), _) => 0.0,
        _ => to.value - from.value,
    }
}

async fn act(stack: &Stack, traffic: Traffic) -> u16 {
    match traffic {
        Traffic::Nothing => 0,
        Traffic::Reads => stack.get_data().await.status,
        Traffic::Orders => stack.order("omni-mug", 1).await.status,
    }
}

const LOOKS_AT_REST: u32 = 8;

/// What also rises at rest (CPU time, by the looks themselves) must not get there by that alone.
const MOST_LOOKS: u32 = 200;

#[tokio::test]
async fn every_fault_moves_the_signal_that_it_declares_and_is_blamed_on_its_service() {
    let stack = Stack::start().await;
    let cases = cases();
    for service in SERVICES {
        let listed = faults(&stack, service).await;
        let listed: BTreeSet<&str> = listed.iter().map(name).collect();
        let tested: BTreeSet<&str> = cases
            .iter()
            .filter(|case| case.service == service)
            .map(|case| case.fault)
            .collect();
        assert_eq!(
            listed, tested,
            "{service}: a fault needs a case here, and a case a fault"
        );
    }
    for case in &cases {
        check(&stack, case).await;
    }
    stack.stop().await;
}

async fn check(stack: &Stack, case: &Case) {
    let what = format!("{} of {}", case.fault, case.service);
    let listed = faults(stack, case.service).await;
    let fault = listed
        .iter()
        .find(|fault| name(fault) == case.fault)
        .expect("a listed fault");
    let signal = Signal::of(fault, case.service);

    // Healthy traffic does not move it that far: else the test below would prove nothing.
    let rest = signal.read(stack).await;
    for _ in 0..LOOKS_AT_REST {
        let healthy = act(stack, case.traffic).await;
        assert!(
            matches!(healthy, 0 | 200 | 201),
            "{what}: {healthy} before the fault"
        );
        signal.read(stack).await;
    }
    let before = signal.read(stack).await;
    let noise = movement(&rest, &before);
    assert!(noise < case.by / 2.0, "{what}: moves by {noise} at rest");
    assert_eq!(
        gauge(stack, case.service, case.fault).await,
        Some(0.0),
        "{what}"
    );

    let calls = Calls::so_far(stack).await;
    stack
        .fault_set(case.service, case.fault, case.parameters.clone())
        .await
        .expect(200);
    assert_eq!(
        gauge(stack, case.service, case.fault).await,
        Some(1.0),
        "{what}"
    );
    until_moved(stack, case, &signal, &before).await;
    match Calls::so_far(stack).await.blamed_since(&calls) {
        Some(blamed) => assert_eq!(blamed, case.service, "{what}"),
        None => assert!(case.status < 500, "{what}: nobody is blamed"),
    }

    stack
        .fault_clear(case.service, case.fault)
        .await
        .expect(200);
    assert_eq!(
        gauge(stack, case.service, case.fault).await,
        Some(0.0),
        "{what}"
    );
    healthy(stack).await;
    if case.fault == "bad_release" {
        release::is_back(stack).await;
    }
    if !signal.is_counter() && before.count.is_none() {
        comes_back(stack, case, &signal, &before).await;
    }
}

/// Lets the user act until the signal has moved.
async fn until_moved(stack: &Stack, case: &Case, signal: &Signal, before: &Reading) {
    let start = std::time::Instant::now();
    let mut looks = 0;
    loop {
        let status = act(stack, case.traffic).await;
        let moved = movement(before, &signal.read(stack).await);
        looks += 1;
        // Some faults take a moment to have their full effect.
        if moved >= case.by && status == case.status {
            return;
        }
        assert!(
            looks < MOST_LOOKS && start.elapsed() < DEADLINE,
            "{} of {}: the user got {status}, not {}; {:?} has moved by {moved}, not by {}",
            case.fault,
            case.service,
            case.status,
            signal.selector,
            case.by
        );
        tokio::time::sleep(POLL).await;
    }
}

/// A gauge that was moved by a fault goes back once it is over.
async fn comes_back(stack: &Stack, case: &Case, signal: &Signal, before: &Reading) {
    let what = format!(
        "{} of {}: {:?} comes back",
        case.fault, case.service, signal.selector
    );
    crate::harness::eventually(&what, async || {
        (movement(before, &signal.read(stack).await) < case.by / 2.0).then_some(())
    })
    .await;
}
