//! Each release against the one before it: share of errors, p95, and whether to roll back.
//!
//! Whether to roll back is decided by these thresholds and no others: the alerts' texts and herald ask for the recorded result, and
//! herald compares with the same thresholds while nothing is recorded yet.

use telemetry::names::process::PROCESS_START;

use crate::yaml::Rule;
use crate::{Profile, REQUESTS};

/// Records the releases that are worse than the one before; the label `reason` says how: [`ERRORS`] or [`LATENCY`].
pub const ROLLBACK_ADVISED: &str = "release:rollback:advised";
/// Records the releases that can be compared with the one before: both have served enough requests.
pub const ROLLBACK_JUDGED: &str = "release:rollback:judged";
/// Reason: a larger share of requests fails; the value is the difference.
pub const ERRORS: &str = "errors";
/// Reason: requests take longer; the value is how many times as long the p95 is.
pub const LATENCY: &str = "latency";

/// A p95 so many times that of the release before is a regression …
pub const SLOWER: f64 = 1.5;
/// … unless it is still shorter than this, in seconds.
pub const STILL_FAST: f64 = 0.05;
/// So much more of all requests failing is one too.
pub const MORE_ERRORS: f64 = 0.01;
/// Fewer requests than this say nothing.
pub const MIN_REQUESTS: u32 = 10;

const VERSION: &str = "service_name, service_version";

/// Their recording rules.
pub(super) fn rules(profile: &Profile) -> Vec<Rule> {
    let mut rules = versions(profile);
    rules.extend(measurements(profile));
    rules.extend(changes(profile));
    rules
}

/// Which version runs (the one that started last), and which did before.
fn versions(profile: &Profile) -> Vec<Rule> {
    let memory = profile.memory();
    vec![
        Rule::record(
            "release:started:seconds",
            format!(
                "min by ({VERSION}) ({}{{job!=\"loadtest\",service_version!=\"\"}})",
                PROCESS_START.name()
            ),
        ),
        Rule::record(
            "release:current:started_seconds",
            "topk by (service_name) (1, release:started:seconds)",
        ),
        Rule::record(
            "release:previous:started_seconds",
            format!(
                "topk by (service_name) (1,\n  last_over_time(release:started:seconds[{memory}])\n  unless on ({VERSION}) release:current:started_seconds\n)"
            ),
        ),
        Rule::record(
            "release:pair:info",
            "group by (service_name, service_version) (release:current:started_seconds)\n* on (service_name) group_left (previous_version)\nlabel_replace(\n  group by (service_name, service_version) (release:previous:started_seconds),\n  \"previous_version\", \"$1\", \"service_version\", \"(.*)\"\n)",
        ),
    ]
}

/// Of each version now, and of the one before as it was for most of the time.
fn measurements(profile: &Profile) -> Vec<Rule> {
    let (window, memory) = (profile.cause_window, profile.memory());
    let requests = |outcome: &str| {
        format!(
            "sum by ({VERSION}) (rate({REQUESTS}_count{{http_route!=\"\",outcome{outcome}}}[{window}]))"
        )
    };
    let before = |name: &str| {
        format!(
            "quantile_over_time(0.5, {name}[{memory}])\nand on ({VERSION}) release:previous:started_seconds"
        )
    };
    vec![
        Rule::record(
            "release:errors:ratio_rate",
            format!(
                "{}\n/\n({} > 0)",
                requests("=\"error\""),
                requests("=~\"ok|error\"")
            ),
        ),
        Rule::record(
            "release:latency:p95_seconds",
            format!(
                "histogram_quantile(0.95,\n  sum by ({VERSION}, le) (rate({REQUESTS}_bucket{{http_route!=\"\",outcome=\"ok\"}}[{window}]))\n)\nand on ({VERSION}) {} > 0",
                requests("=\"ok\"")
            ),
        ),
        Rule::record(
            "release:previous_errors:ratio_rate",
            before("release:errors:ratio_rate"),
        ),
        Rule::record(
            "release:previous_latency:p95_seconds",
            before("release:latency:p95_seconds"),
        ),
    ]
}

fn changes(profile: &Profile) -> Vec<Rule> {
    let window = profile.cause_window;
    let now_and_before = |now: &str, operator: &str, before: &str| {
        format!(
            "release:pair:info * on ({VERSION}) group_left ()\n(\n  {now}\n  {operator} on (service_name) group_left ()\n  {before}\n)"
        )
    };
    let judged = format!("and on ({VERSION}) {ROLLBACK_JUDGED}");
    vec![
        Rule::record(
            "release:latency:p95_change_ratio",
            now_and_before("release:latency:p95_seconds", "/", "release:previous_latency:p95_seconds"),
        ),
        Rule::record(
            "release:errors:ratio_change",
            now_and_before("release:errors:ratio_rate", "-", "release:previous_errors:ratio_rate"),
        ),
        Rule::record(
            ROLLBACK_JUDGED,
            format!(
                "group by ({VERSION}, previous_version) (\n  release:latency:p95_change_ratio or release:errors:ratio_change\n)\nand on ({VERSION}) sum by ({VERSION}) (increase({REQUESTS}_count{{http_route!=\"\",outcome=~\"ok|error\"}}[{window}])) >= {MIN_REQUESTS}"
            ),
        ),
        Rule::record(
            ROLLBACK_ADVISED,
            format!(
                "release:latency:p95_change_ratio > {SLOWER}\nand on ({VERSION}) release:latency:p95_seconds > {STILL_FAST}\n{judged}"
            ),
        )
        .label("reason", LATENCY),
        Rule::record(
            ROLLBACK_ADVISED,
            format!("release:errors:ratio_change > {MORE_ERRORS}\n{judged}"),
        )
        .label("reason", ERRORS),
    ]
}

/// The template that says it in words. Every release of late is named: the one at fault may be of a service further down.
pub(super) fn annotation(profile: &Profile) -> String {
    let of = |name: &str, version: &str, format: &str| {
        format!(
            "{{{{ with printf `{name}{{service_name=%q,service_version=%q}}` .Labels.service_name .Labels.{version} | query }}}}{{{{ . | first | value | {format} }}}}{{{{ else }}}}no data{{{{ end }}}}"
        )
    };
    let advice = |reason: &str, text: &str| {
        format!(
            "{{{{ range printf `{ROLLBACK_ADVISED}{{reason=\"{reason}\",service_name=%q,service_version=%q}}` .Labels.service_name .Labels.service_version | query }}}} Rolling back to {{{{ .Labels.previous_version }}}} is advised: {text}.{{{{ end }}}}"
        )
    };
    let lines = [
        "{{ range $i, $pair := query `release:pair:info` }}{{ if $i }} {{ end }}{{ .Labels.service_name }} {{ .Labels.service_version }}, before it {{ .Labels.previous_version }}:".to_owned(),
        format!(
            " p95 {}, before {};",
            of("release:latency:p95_seconds", "service_version", "humanizeDuration"),
            of("release:previous_latency:p95_seconds", "previous_version", "humanizeDuration")
        ),
        format!(
            " errors {}, before {}.",
            of("release:errors:ratio_rate", "service_version", "humanizePercentage"),
            of("release:previous_errors:ratio_rate", "previous_version", "humanizePercentage")
        ),
        advice(LATENCY, "its p95 is {{ .Value | printf \"%.1f\" }} times as long as before"),
        advice(ERRORS, "{{ .Value | humanizePercentage }} more of its requests fail than before"),
        format!(
            "{{{{ if not (printf `{ROLLBACK_ADVISED}{{service_name=%q}}` .Labels.service_name | query) }}}}{{{{ with printf `{ROLLBACK_JUDGED}{{service_name=%q}}` .Labels.service_name | query }}}} Rolling back is not advised: it is neither clearly slower nor failing more.{{{{ else }}}} Whether to roll back is unclear: there were too few requests to compare.{{{{ end }}}}{{{{ end }}}}"
        ),
        format!("{{{{ else }}}}No service changed its version in the last {}.{{{{ end }}}}", profile.memory()),
    ];
    lines.concat()
}
