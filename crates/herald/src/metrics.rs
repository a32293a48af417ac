//! Herald's metrics besides those of its telemetry.

telemetry::label! {
    /// The outcome of a request that brings an alert.
    pub(crate) enum ReceiveOutcome {
        /// On disk.
        Accepted = "accepted",
        /// The same notification is pending already.
        Duplicate = "duplicate",
        /// The client is not authorised.
        Unauthorized = "unauthorized",
        /// The request is malformed.
        Refused = "refused",
        /// The queue is full, or the disk does not take it.
        Unavailable = "unavailable",
    }
}

telemetry::label! {
    /// How a delivery ends.
    pub(crate) enum DeliveryOutcome {
        /// The target has it.
        Delivered = "delivered",
        /// Given up.
        Failed = "failed",
        /// Not delivered: silenced until it was out of date, or a repeat of an acknowledged alert.
        Suppressed = "suppressed",
    }
}

telemetry::label! {
    /// An operation on the files of the queue.
    pub(crate) enum Storage {
        /// A notification that came in, or a test of the disk.
        Write = "write",
        /// A notification that is about to be delivered.
        Read = "read",
        /// A delivered notification.
        Remove = "remove",
        /// A notification that is given up.
        SetAside = "set_aside",
    }
}

telemetry::label! {
    /// An operation on the files of the history and of silences.
    pub(crate) enum HistoryFile {
        /// A change.
        Write = "write",
        /// A record that existed at the start, or that is changed.
        Read = "read",
        /// A record that is too old.
        Remove = "remove",
    }
}

telemetry::label! {
    /// Whether a group of alerts fires.
    pub(crate) enum Episode {
        /// The group fires.
        Firing = "firing",
        /// The group has resolved.
        Resolved = "resolved",
    }
}

telemetry::label! {
    /// Who is told of an alert: its label `severity`.
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum Severity {
        /// Wakes somebody.
        Page = "page",
        /// Waits for the morning.
        Ticket = "ticket",
        /// None, or another one.
        Other = "other",
    }
}

telemetry::label! {
    /// What people have said of an alert.
    pub(crate) enum Judgement {
        /// There was trouble.
        TrueAlarm = "true_alarm",
        /// There was none.
        FalseAlarm = "false_alarm",
        /// Nothing yet.
        Unjudged = "unjudged",
    }
}

telemetry::label! {
    /// One number for several times.
    pub(crate) enum Statistic {
        /// The arithmetic mean.
        Mean = "mean",
        /// Half of them are not longer.
        Median = "median",
        /// Nine of ten are not longer.
        P90 = "p90",
    }
}

telemetry::label! {
    /// The outcome of a request to a backend.
    pub(crate) enum Question {
        /// The backend answered.
        Answered = "answered",
        /// The answer was an error, or unreadable.
        Failed = "failed",
        /// Not in time.
        Unanswered = "unanswered",
        /// Others came first, or the backend is silent.
        NotAsked = "not_asked",
    }
}

telemetry::label! {
    /// A target of notifications: `slack`, `webhook`, `log`.
    pub(crate) struct Target(&'static str);
}

telemetry::label! {
    /// A source of evidence: `prometheus`, `loki`, `jaeger`.
    pub(crate) struct Backend(&'static str);
}

telemetry::metrics! {
    /// Notifications from Alertmanager, by outcome (accepted, duplicate, unauthorized, refused or unavailable).
    pub(crate) HERALD_RECEIVED: Counter { outcome: ReceiveOutcome }
        = "herald_notifications_received_total", unit "{notification}";
    /// Notifications whose delivery has ended, by outcome (delivered, failed, or suppressed by a silence or an acknowledgement).
    pub(crate) HERALD_NOTIFICATIONS: Counter { target: Target, outcome: DeliveryOutcome }
        = "herald_notifications_total", unit "{notification}";
    /// Attempts at a delivery that failed and are repeated.
    pub(crate) HERALD_RETRIES: Counter { target: Target }
        = "herald_delivery_retries_total", unit "{attempt}";
    /// Notifications that wait for delivery.
    pub(crate) HERALD_QUEUE: Gauge { target: Target } = "herald_queue_size", unit "{notification}";
    /// Age of the oldest notification that waits for delivery, in seconds.
    pub(crate) HERALD_QUEUE_AGE: Gauge { target: Target }
        = "herald_queue_oldest_age_seconds", unit "s";
    /// Notifications kept aside because the target refused them or was away for too long.
    pub(crate) HERALD_FAILED: Gauge { target: Target }
        = "herald_failed_notifications", unit "{notification}";
    /// Notifications that went without the evidence of a backend.
    pub(crate) HERALD_EVIDENCE_MISSING: Counter { backend: Backend }
        = "herald_evidence_missing_total", unit "{notification}";
    /// Evidence that is being gathered; alerts of the same service and minute share it.
    pub(crate) HERALD_EVIDENCE_IN_PROGRESS: Gauge
        = "herald_evidence_gatherings_in_progress", unit "{gathering}";
    /// Operations on the files of the queue that failed (write, read, remove or set_aside).
    pub(crate) HERALD_STORAGE_ERRORS: Counter { operation: Storage }
        = "herald_storage_errors_total", unit "{operation}";
    /// Space on the disk of herald's notifications that an ordinary user may use.
    pub(crate) HERALD_STORAGE_AVAILABLE: Gauge = "herald_storage_available_bytes", unit "By";
    /// Size of that disk.
    pub(crate) HERALD_STORAGE_SIZE: Gauge = "herald_storage_size_bytes", unit "By";
    /// Files and directories that herald found beside its notifications when it started, and left alone.
    pub(crate) HERALD_FOREIGN: Gauge { target: Target } = "herald_foreign_files", unit "{file}";
    /// Requests to the backends: answered, failed, unanswered, or not_asked because others came first or the backend is
    /// silent.
    pub(crate) HERALD_EVIDENCE_QUESTIONS: Counter { backend: Backend, outcome: Question }
        = "herald_evidence_questions_total", unit "{question}";
    /// Attempts at a delivery without any evidence, since herald gathers for so many alerts at once only.
    pub(crate) HERALD_EVIDENCE_REFUSED: Counter
        = "herald_evidence_refused_total", unit "{notification}";
    /// Deliveries that panicked: repeated without evidence, and set aside when that panics too.
    pub(crate) HERALD_PANICS: Counter { target: Target }
        = "herald_delivery_panics_total", unit "{attempt}";
    /// Notifications that a silence holds back; they are delivered when it ends, if their group still fires.
    pub(crate) HERALD_SILENCED: Gauge { target: Target }
        = "herald_silenced_notifications", unit "{notification}";
    /// Silences that are active.
    pub(crate) HERALD_SILENCES: Gauge = "herald_active_silences", unit "{silence}";
    /// Groups of alerts in the history, by state (firing or resolved).
    pub(crate) HERALD_HISTORY: Gauge { state: Episode } = "herald_history_alerts", unit "{alert}";
    /// Size of the history's files.
    pub(crate) HERALD_HISTORY_SIZE: Gauge = "herald_history_size_bytes", unit "By";
    /// Groups of alerts that the history has forgotten to stay within its bounds.
    pub(crate) HERALD_HISTORY_DROPPED: Counter = "herald_history_dropped_total", unit "{alert}";
    /// Operations on the files of the history and of silences that failed (write, read or remove). Alerts are delivered all the same.
    pub(crate) HERALD_HISTORY_ERRORS: Counter { operation: HistoryFile }
        = "herald_history_errors_total", unit "{operation}";
    /// Alerts (groups, from their beginning to their end) that began in the last 7 days and were delivered, by severity and verdict.
    pub(crate) HERALD_LEDGER_ALERTS: Gauge { severity: Severity, verdict: Judgement }
        = "herald_ledger_alerts", unit "{alert}";
    /// Alerts that began in the last 7 days and were delivered to no target, because a silence held them back or the targets did not take them.
    pub(crate) HERALD_LEDGER_UNDELIVERED: Gauge { severity: Severity }
        = "herald_ledger_undelivered_alerts", unit "{alert}";
    /// Time from `startsAt` of an alert to its first delivery, of the alerts of the last 7 days (NaN: there is none). The fault began
    /// earlier, by the rule's `for` and window at least.
    pub(crate) HERALD_LEDGER_DETECT: Gauge { severity: Severity, statistic: Statistic }
        = "herald_ledger_time_to_detect_seconds", unit "s";
    /// Time from the first delivery of an alert to its first acknowledgement, of the alerts of the last 7 days (NaN: there is none).
    pub(crate) HERALD_LEDGER_ACKNOWLEDGE: Gauge { severity: Severity, statistic: Statistic }
        = "herald_ledger_time_to_acknowledge_seconds", unit "s";
    /// Time from `startsAt` of an alert to `endsAt` of its group's last alert, of the alerts of the last 7 days that were delivered (NaN: there is none).
    pub(crate) HERALD_LEDGER_RESOLVE: Gauge { severity: Severity, statistic: Statistic }
        = "herald_ledger_time_to_resolve_seconds", unit "s";
}
