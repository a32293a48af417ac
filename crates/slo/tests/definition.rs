//! What is wrong with a definition is said with file, line, key and what is allowed.

use slo::{BOUNDS, Definition, Indicator, Severity};

const OBJECTIVES: &str = slo::embedded::OBJECTIVES;
const CAUSES: &str = slo::embedded::CAUSES;

fn parse(objectives: &str, causes: &str) -> Result<Definition, String> {
    Definition::parse(("slo.toml", objectives), ("causes.toml", causes))
        .map_err(|error| error.to_string())
}

/// The error after replacing some text, which must be there.
fn error_after(from: &str, to: &str) -> String {
    assert!(OBJECTIVES.contains(from), "{from} is not in slo.toml");
    parse(&OBJECTIVES.replacen(from, to, 1), CAUSES).expect_err(to)
}

/// Line of a text in slo.toml, from 1.
fn line_of(text: &str) -> usize {
    let at = OBJECTIVES.find(text).expect(text);
    OBJECTIVES[..at].lines().count() + usize::from(OBJECTIVES[..at].ends_with('\n'))
}

#[test]
fn the_committed_definitions_are_good() {
    let definition = Definition::embedded().unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = definition.profiles.keys().map(String::as_str).collect();
    assert_eq!(names, ["demo", "production"]);
    let why = definition.profile("staging").unwrap_err();
    assert_eq!(why, "no profile \"staging\": allowed is demo, production");
}

#[test]
fn every_route_of_every_service_has_one_objective_of_each_kind() {
    let definition = Definition::embedded().unwrap();
    for (service, route) in [
        ("gateway", "/health"),
        ("gateway", "/api/orders"),
        ("gateway", "/api/orders/{id}"),
        ("data", "/orders"),
        ("a-fourth", "/anything"),
    ] {
        for kind in ["availability", "latency"] {
            let mine: Vec<_> = definition
                .objectives
                .iter()
                .filter(|one| one.indicator.name() == kind && one.scope.has(service, route))
                .collect();
            assert_eq!(mine.len(), 1, "{kind} of {service} {route}");
            let is_public = mine[0].severity == Severity::Page;
            assert_eq!(is_public, service == "gateway", "{service}");
        }
    }
    assert!(
        !definition
            .objectives
            .iter()
            .any(|one| one.scope.has("data", ""))
    );
}

#[test]
fn a_latency_objective_is_a_bucket() {
    for objective in Definition::embedded().unwrap().objectives {
        if let Indicator::Latency { seconds } = objective.indicator {
            assert!(BOUNDS.contains(&seconds), "{seconds}");
        }
    }
}

#[test]
fn mistakes_are_named_with_line_key_and_what_is_allowed() {
    let cases = [
        (
            "period = \"30d\"",
            "period = \"30 days\"",
            "period",
            "allowed is 30s",
        ),
        (
            "availability = 99.5",
            "availabilty = 99.5",
            "availabilty",
            "expected one of",
        ),
        (
            "availability = 99.9",
            "availability = 100",
            "availability",
            "below 100",
        ),
        (
            "seconds = 0.25",
            "seconds = 0.3",
            "latency.seconds",
            "0.25, 0.5",
        ),
        (
            "severity = \"page\"",
            "severity = \"wake\"",
            "severity",
            "`ticket` or `page`",
        ),
        (
            "path = \"/api/orders\"",
            "path = \"/health\"",
            "service.route.path",
            "once",
        ),
        (
            "burn_rate = 14.4",
            "burn_rate = 144.0",
            "burn_rate",
            "below 100.0",
        ),
        (
            "short = \"5m\"",
            "short = \"1h\"",
            "short",
            "less than `long`",
        ),
        (
            "compression = 15",
            "compression = 0",
            "compression",
            "1 to 1000",
        ),
        (
            "compression = 15",
            "compression = 16",
            "scrape_interval",
            "smaller `compression`",
        ),
        (
            "min_bad_events = 5",
            "min_bad_events = 2",
            "min_bad_events",
            "3 or more",
        ),
        (
            "min_bad_events = 3",
            "min_bad_events = 1",
            "min_bad_events",
            "3 or more",
        ),
        (
            "removed = []",
            "removed = [\"gateway\"]",
            "removed",
            "one of both",
        ),
        (
            "compression = 1\n",
            "compression = 1\ncolour = 2\n",
            "colour",
            "expected one of",
        ),
    ];
    for (from, to, key, allowed) in cases {
        let why = error_after(from, to);
        assert!(why.starts_with("slo.toml, line "), "{why}");
        assert!(why.contains(key) && why.contains(allowed), "{to}: {why}");
    }
    let why = error_after("seconds = 0.25", "seconds = 0.3");
    let line = format!("slo.toml, line {}:", line_of("seconds = 0.25"));
    assert!(why.starts_with(&line), "{why}, expected {line}");
    let why = error_after("availability = 99.5", "availabilty = 99.5");
    let line = format!("slo.toml, line {}:", line_of("availability = 99.5"));
    assert!(why.starts_with(&line), "{why}, expected {line}");
}

#[test]
fn causes_are_checked_too() {
    let first = "alert = \"PoolSaturated\"";
    for (from, to, expected) in [
        (first, "alert = \"pool saturated\"", "a capital first"),
        (first, "alerts = \"PoolSaturated\"", "expected one of"),
        (
            "kind = \"pool\"",
            "kind = \"puddle\"",
            "`kind = \"puddle\"`: unknown variant `puddle`, expected one of `errors`",
        ),
        (
            "first_action = \"renew\"",
            "first_action = \"pray\"",
            "`first_action = \"pray\"`: unknown variant `pray`, expected one of `roll_back`",
        ),
        ("service_ready == 0", "fault_active == 1", "answer key"),
        ("[<memory>]", "[<forever>]", "allowed are <window>"),
        ("grown(loki", "grown(sum(loki", "without parentheses"),
    ] {
        assert!(CAUSES.contains(from), "{from}");
        let why = parse(OBJECTIVES, &CAUSES.replacen(from, to, 1)).expect_err(to);
        assert!(
            why.starts_with("causes.toml, line ") && why.contains(expected),
            "{why}"
        );
    }
}

#[test]
fn names_that_break_out_are_refused_with_key_and_line() {
    let places = [
        ("team = \"platform\"", "team", "default.team"),
        ("name = \"gateway\"", "name", "service.name"),
        ("path = \"/health\"", "path", "service.route.path"),
        ("name = \"gateway_health\"", "name", "probe.name"),
        ("route = \"/health\"", "route", "probe.route"),
        (
            "grafana = \"http://localhost:3000\"",
            "grafana",
            "links.grafana",
        ),
        ("runbooks = \"docs/runbooks\"", "runbooks", "links.runbooks"),
    ];
    let hostile = [
        "a\\nb",
        "a\\u001bb",
        "a\\u007fb",
        "a\\u0085b",
        "a\\u2028b",
        "a\\\"b",
        "a'b",
        "a`b",
        "a\\\\b",
        "{{ $x }}",
        "a}}",
        "",
    ];
    for value in hostile {
        let why = error_after("removed = []", &format!("removed = [\"{value}\"]"));
        let line = format!("slo.toml, line {}: `removed` ", line_of("removed = []"));
        assert!(why.starts_with(&line), "{value}: {why}, expected {line}");
    }
    for (from, key, named) in places {
        for value in hostile {
            let why = error_after(from, &format!("{key} = \"{value}\""));
            let line = format!("slo.toml, line {}: `{named}` ", line_of(from));
            assert!(why.starts_with(&line), "{value}: {why}, expected {line}");
        }
    }
}

#[test]
fn a_profile_stays_in_its_directory() {
    for name in ["../x", "/x", "", ".", "..", "a/b", "a\\nb", "a.yml"] {
        let why = error_after("[profile.demo]", &format!("[profile.\"{name}\"]"));
        let line = format!("slo.toml, line {}: the profile ", line_of("[profile.demo]"));
        assert!(why.starts_with(&line), "{name:?}: {why}");
    }
}

#[test]
fn numbers_that_leave_no_budget_are_refused() {
    for number in [
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "100",
        "101",
        "99.99999999999",
        "1e-300",
    ] {
        for (from, key) in [
            ("availability = 99.5", "availability"),
            ("percent = 99.0", "percent"),
        ] {
            let why = error_after(from, &format!("{key} = {number}"));
            assert!(why.contains("above 0 and below 100"), "{number}: {why}");
        }
        if ["99", "1e", "10"]
            .iter()
            .all(|good| !number.starts_with(good))
        {
            let why = error_after("burn_rate = 14.4", &format!("burn_rate = {number}"));
            assert!(why.contains("`burn_rate` is"), "{number}: {why}");
        }
    }
    for (from, to) in [
        ("long = \"1h\"", "long = \"0s\""),
        ("cause_for = \"5m\"", "cause_for = \"0s\""),
    ] {
        assert!(error_after(from, to).contains("is no time"), "{to}");
    }
    let why = error_after("low_disk_gb = 20", "low_disk_gb = 0");
    assert!(why.contains("expected a nonzero u32"), "{why}");
}
