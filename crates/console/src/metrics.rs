//! The metrics of the console itself. It keeps the counts and writes the page; it has no other telemetry.

use crate::otlp::Signal;

telemetry::label! {
    /// Why items were not taken.
    pub(crate) struct Reason(&'static str);
}
telemetry::label! {
    /// Template of a route.
    pub(crate) struct Path(String);
}
telemetry::label! {
    /// Status of an answer, or `aborted`.
    pub(crate) struct Status(String);
}

telemetry::label! {
    /// Group of rules.
    pub(crate) struct RuleGroup(String);
}
telemetry::label! {
    /// A receiver of alerts: `page`, `ticket` or `watchdog`.
    pub(crate) struct Receiver(String);
}

impl telemetry::LabelValue for Signal {
    fn value(self) -> std::borrow::Cow<'static, str> {
        self.as_str().into()
    }
}

telemetry::metrics! {
    /// Estimated bytes of traces, logs and metrics held.
    pub(crate) STORE: Gauge = "console_store_bytes", unit "By";
    /// Bytes of bodies and answers under way.
    pub(crate) UNDER_WAY: Gauge = "console_under_way_bytes", unit "By";
    /// Budget for stored data and requests in progress.
    pub(crate) STORE_LIMIT: Gauge = "console_store_limit_bytes", unit "By";
    /// Traces held.
    pub(crate) TRACES: Gauge = "console_traces", unit "{trace}";
    /// Spans held.
    pub(crate) SPANS: Gauge = "console_spans", unit "{span}";
    /// Log records held.
    pub(crate) LOGS: Gauge = "console_logs", unit "{log_record}";
    /// Traces that made room for newer ones.
    pub(crate) EVICTED_TRACES: Counter = "console_evicted_traces_total", unit "{trace}";
    /// Log records without a trace that made room for newer items.
    pub(crate) EVICTED_LOGS: Counter = "console_evicted_logs_total", unit "{log_record}";
    /// Spans that did not fit into their trace.
    pub(crate) DROPPED_SPANS: Counter = "console_dropped_spans_total", unit "{span}";
    /// Log records that did not fit into their trace.
    pub(crate) DROPPED_LOGS: Counter = "console_dropped_logs_total", unit "{log_record}";
    /// Samples of series that found no room.
    pub(crate) DROPPED_SAMPLES: Counter = "console_dropped_samples_total", unit "{sample}";
    /// Samples that were no newer than the last one of their series, too far in the future, or of a series that another source says.
    pub(crate) OUT_OF_ORDER_SAMPLES: Counter = "console_out_of_order_samples_total", unit "{sample}";
    /// Samples that made room for newer ones before they were too old.
    pub(crate) EVICTED_SAMPLES: Counter = "console_evicted_samples_total", unit "{sample}";
    /// Items of OTLP requests that were not taken.
    pub(crate) REJECTED: Counter { signal: Signal, reason: Reason }
        = "console_rejected_items_total", unit "{item}";
    /// Scrapes that the console skipped, because it had no memory for the page. The earlier samples of the target stay.
    pub(crate) SKIPPED_SCRAPES: Counter = "console_skipped_scrapes_total", unit "{scrape}";
    /// HTTP requests by route and status.
    pub(crate) REQUESTS: Counter { path: Path, status: Status }
        = "console_requests_total", unit "{request}";
    /// Evaluations of rules.
    pub(crate) RULE_EVALUATIONS: Counter { rule_group: RuleGroup }
        = "console_rule_evaluations_total", unit "{evaluation}";
    /// Evaluations of rules that returned an error; `/api/v1/rules` has the last error of each rule.
    pub(crate) RULE_FAILURES: Counter { rule_group: RuleGroup }
        = "console_rule_evaluation_failures_total", unit "{evaluation}";
    /// Evaluations of groups of rules.
    pub(crate) RULE_ITERATIONS: Counter { rule_group: RuleGroup }
        = "console_rule_group_iterations_total", unit "{iteration}";
    /// Evaluations of groups of rules that did not happen, since those before took too long.
    pub(crate) RULE_ITERATIONS_MISSED: Counter { rule_group: RuleGroup }
        = "console_rule_group_iterations_missed_total", unit "{iteration}";
    /// Time between two evaluations of a group of rules.
    pub(crate) RULE_INTERVAL: Gauge { rule_group: RuleGroup }
        = "console_rule_group_interval_seconds", unit "s";
    /// How long the last evaluation of a group of rules took.
    pub(crate) RULE_DURATION: Gauge { rule_group: RuleGroup }
        = "console_rule_group_last_duration_seconds", unit "s";
    /// Time of the last evaluation of a group of rules, in seconds since the epoch; 0 before the first.
    pub(crate) RULE_LAST: Gauge { rule_group: RuleGroup }
        = "console_rule_group_last_evaluation_timestamp_seconds", unit "s";
    /// Notifications about alerts that their receiver has taken.
    pub(crate) NOTIFICATIONS_SENT: Counter { receiver: Receiver }
        = "console_notifications_sent_total", unit "{notification}";
    /// Notifications about alerts that their receiver has not accepted; the console sends them again.
    pub(crate) NOTIFICATIONS_FAILED: Counter { receiver: Receiver }
        = "console_notifications_failed_total", unit "{notification}";
    /// Alerts that nobody is told about, since there are too many groups of alerts.
    pub(crate) ALERTS_DROPPED: Counter = "console_notifications_dropped_alerts_total", unit "{alert}";
}
