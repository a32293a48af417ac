//! What herald measures besides its telemetry.

telemetry::label! {
    /// What became of a request to take an alert.
    pub(crate) enum ReceiveOutcome {
        /// On disk.
        Accepted = "accepted",
        /// The same is pending already.
        Duplicate = "duplicate",
        /// Whoever brought it may not.
        Unauthorized = "unauthorized",
        /// It could not be understood.
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
        /// Not told: silenced until it was out of date, or a repeat of what somebody has acknowledged.
        Suppressed = "suppressed",
    }
}

telemetry::label! {
    /// What was done with the files of the queue.
    pub(crate) enum Storage {
        /// A notification that came in, or a test of the disk.
        Write = "write",
        /// One that is to be delivered.
        Read = "read",
        /// One that has arrived.
        Remove = "remove",
        /// One that is given up.
        SetAside = "set_aside",
    }
}

telemetry::label! {
    /// What was done with the files of the history and of silences.
    pub(crate) enum HistoryFile {
        /// A change.
        Write = "write",
        /// What was there at the start, or is changed.
        Read = "read",
        /// What is too old.
        Remove = "remove",
    }
}

telemetry::label! {
    /// Whether a group of alerts fires.
    pub(crate) enum Episode {
        /// It does.
        Firing = "firing",
        /// It is over.
        Resolved = "resolved",
    }
}

telemetry::label! {
    /// What became of a question to a backend.
    pub(crate) enum Question {
        /// It was answered.
        Answered = "answered",
        /// With an error, or with what cannot be read.
        Failed = "failed",
        /// Not in time.
        Unanswered = "unanswered",
        /// Others came first, or the backend is silent.
        NotAsked = "not_asked",
    }
}

telemetry::label! {
    /// Where notifications go: `slack`, `webhook`, `log`.
    pub(crate) struct Target(&'static str);
}

telemetry::label! {
    /// Where evidence comes from: `prometheus`, `loki`, `jaeger`.
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
    /// Room on the disk that herald keeps its notifications on, for whoever may write there.
    pub(crate) HERALD_STORAGE_AVAILABLE: Gauge = "herald_storage_available_bytes", unit "By";
    /// Size of that disk.
    pub(crate) HERALD_STORAGE_SIZE: Gauge = "herald_storage_size_bytes", unit "By";
    /// Files and directories that herald found beside its notifications when it started, and left alone.
    pub(crate) HERALD_FOREIGN: Gauge { target: Target } = "herald_foreign_files", unit "{file}";
    /// Questions to the backends: answered, failed, unanswered, or not_asked since others came first or it is silent.
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
}
