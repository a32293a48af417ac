//! The one catalogue: every metric that a service exposes, every span attribute that this crate sets.
//!
//! Prometheus names are derived from the OpenTelemetry semantic conventions (pinned: [`SEMCONV_VERSION`]): dots become
//! underscores, the unit is a suffix, counters end in `_total`. `docs/TELEMETRY.md` is held equal to this file by a
//! test, and so is every service's scrape.

/// Version of the OpenTelemetry semantic conventions that the names follow.
pub const SEMCONV_VERSION: &str = "1.42.0";

/// What the conventions promise about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Stable in the semantic conventions.
    Stable,
    /// In development there: may change with the pinned version.
    Development,
    /// Not in the conventions: Prometheus custom or our own.
    Own,
}

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// One metric of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Prometheus name.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Unit as UCUM (`s`, `By`, `1`, `{request}`).
    pub unit: &'static str,
    /// HELP text.
    pub help: &'static str,
    /// Labels, besides the three that every series carries ([`GLOBAL_LABELS`]).
    pub labels: &'static [&'static str],
    /// Upper bounds of the buckets, for histograms.
    pub buckets: &'static [f64],
    /// Which services expose it; empty means all.
    pub services: &'static [&'static str],
    /// What the conventions promise.
    pub stability: Stability,
}

/// One span, event or log attribute of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Attribute name.
    pub name: &'static str,
    /// What it holds, with an example.
    pub help: &'static str,
    /// What the conventions promise.
    pub stability: Stability,
}

/// Labels on every series of a service.
pub const GLOBAL_LABELS: &[&str] = &["service_name", "service_version", "service_instance_id"];

/// Buckets of the HTTP conventions, in seconds.
pub const HTTP_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Buckets of the database conventions, in seconds.
pub const DB_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Server RED: rate, errors and duration of requests.
pub const HTTP_SERVER_DURATION: &str = "http_server_request_duration_seconds";
/// Requests being served now.
pub const HTTP_SERVER_ACTIVE: &str = "http_server_active_requests";
/// Client RED: one observation per attempt.
pub const HTTP_CLIENT_DURATION: &str = "http_client_request_duration_seconds";
/// Database RED.
pub const DB_DURATION: &str = "db_client_operation_duration_seconds";
/// Connections of a pool by state.
pub const DB_CONNECTIONS: &str = "db_client_connection_count";
/// Size limit of a pool.
pub const DB_CONNECTIONS_MAX: &str = "db_client_connection_max";
/// Requests waiting for a connection.
pub const DB_PENDING: &str = "db_client_connection_pending_requests";
/// Time to obtain a connection.
pub const DB_WAIT: &str = "db_client_connection_wait_time_seconds";
/// Waits that ended without a connection.
pub const DB_TIMEOUTS: &str = "db_client_connection_timeouts_total";
/// Gauge: 1 while a fault is on. Label: `fault`.
pub const FAULT_ACTIVE: &str = "fault_active";
/// Orders settled.
pub const ORDERS_SETTLED: &str = "orders_settled_total";
/// Order events that wait for delivery.
pub const OUTBOX_PENDING: &str = "outbox_pending_events";
/// For how many seconds the oldest of them has waited.
pub const OUTBOX_OLDEST: &str = "outbox_oldest_pending_event_age_seconds";
/// Attempts to deliver an order event.
pub const OUTBOX_DELIVERIES: &str = "outbox_deliveries_total";
/// Order events that were set aside because downstream refuses them.
pub const OUTBOX_DEAD_LETTERS: &str = "outbox_dead_letter_events";
/// Statements of the service that wait for a lock, and who holds it.
pub const DB_LOCK_WAITS: &str = "db_client_lock_waiting_statements";
/// Gauge: 1 while a dependency of the service answers. Label: `dependency`.
pub const DEPENDENCY_UP: &str = "service_dependency_up";
/// Gauge: 1 while the service is ready.
pub const SERVICE_READY: &str = "service_ready";
/// How often the service has become ready or ceased to be.
pub const READINESS_CHANGES: &str = "service_readiness_changes_total";
/// Constant 1; the labels say what runs.
pub const BUILD_INFO: &str = "build_info";
/// Log records by level.
pub const LOG_RECORDS: &str = "log_records_total";
/// Log records held back by the flood limit.
pub const LOG_SUPPRESSED: &str = "log_records_suppressed_total";
/// Spans handed to the exporter queue, or dropped because it was full (`error_type="queue_full"`).
pub const SPAN_PROCESSED: &str = "otel_sdk_processor_span_processed_total";
/// Spans whose export ended, by `error_type` (empty: accepted).
pub const SPAN_EXPORTED: &str = "otel_sdk_exporter_span_exported_total";
/// Spans waiting for export.
pub const SPAN_QUEUE: &str = "otel_sdk_processor_span_queue_size";
/// Limit of that queue.
pub const SPAN_QUEUE_MAX: &str = "otel_sdk_processor_span_queue_capacity";
/// As [`SPAN_PROCESSED`], for log records.
pub const LOG_PROCESSED: &str = "otel_sdk_processor_log_processed_total";
/// As [`SPAN_EXPORTED`], for log records.
pub const LOG_EXPORTED: &str = "otel_sdk_exporter_log_exported_total";
/// Log records waiting for export.
pub const LOG_QUEUE: &str = "otel_sdk_processor_log_queue_size";
/// Limit of that queue.
pub const LOG_QUEUE_MAX: &str = "otel_sdk_processor_log_queue_capacity";

/// Notifications that herald was asked to take.
pub const HERALD_RECEIVED: &str = "herald_notifications_received_total";
/// Notifications whose delivery to a target has ended.
pub const HERALD_NOTIFICATIONS: &str = "herald_notifications_total";
/// Attempts at a delivery that are to be repeated.
pub const HERALD_RETRIES: &str = "herald_delivery_retries_total";
/// Notifications that wait for delivery.
pub const HERALD_QUEUE: &str = "herald_queue_size";
/// For how many seconds the oldest of them has waited.
pub const HERALD_QUEUE_AGE: &str = "herald_queue_oldest_age_seconds";
/// Notifications kept aside because a target refuses them.
pub const HERALD_FAILED: &str = "herald_failed_notifications";
/// Evidence that notifications went without.
pub const HERALD_EVIDENCE_MISSING: &str = "herald_evidence_missing_total";
/// Evidence that is being gathered.
pub const HERALD_EVIDENCE_IN_PROGRESS: &str = "herald_evidence_gatherings_in_progress";
/// Questions to the backends.
pub const HERALD_EVIDENCE_QUESTIONS: &str = "herald_evidence_questions_total";
/// Notifications for which no backend was asked.
pub const HERALD_EVIDENCE_REFUSED: &str = "herald_evidence_refused_total";
/// Operations on the files of the queue that failed.
pub const HERALD_STORAGE_ERRORS: &str = "herald_storage_errors_total";
/// What is in the directories of the queue without being a notification.
pub const HERALD_FOREIGN: &str = "herald_foreign_files";
/// Deliveries that panicked.
pub const HERALD_PANICS: &str = "herald_delivery_panics_total";

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    stability: Stability,
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        help,
        labels,
        buckets: &[],
        services: &[],
        stability,
    }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    labels: &'static [&'static str],
    stability: Stability,
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram,
        unit: "s",
        help,
        labels,
        buckets,
        services: &[],
        stability,
    }
}

const fn only(services: &'static [&'static str], metric: Metric) -> Metric {
    Metric { services, ..metric }
}

use Kind::{Counter, Gauge};
use Stability::{Development, Own, Stable};

const ERROR_TYPE: &[&str] = &["error_type"];
const POOL: &[&str] = &["db_client_connection_pool_name"];
const DATA: &[&str] = &["data"];
const HERALD: &[&str] = &["herald"];
const WITH_CLIENT: &[&str] = &["gateway", "data"];

/// Every metric, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    histogram(
        HTTP_SERVER_DURATION,
        HTTP_SECONDS,
        &[
            "http_request_method",
            "http_route",
            "http_response_status_code",
            "error_type",
            "outcome",
        ],
        Stable,
        "Duration of HTTP server requests, from the arrival of the request body to the end of the response body.",
    ),
    metric(
        HTTP_SERVER_ACTIVE,
        Gauge,
        "{request}",
        &["http_request_method", "http_route"],
        Development,
        "HTTP server requests in progress.",
    ),
    only(
        WITH_CLIENT,
        histogram(
            HTTP_CLIENT_DURATION,
            HTTP_SECONDS,
            &[
                "http_request_method",
                "url_template",
                "peer_service",
                "server_address",
                "server_port",
                "http_response_status_code",
                "error_type",
                "outcome",
            ],
            Stable,
            "Duration of HTTP client requests, to the end of the response body, one observation per attempt.",
        ),
    ),
    only(
        DATA,
        histogram(
            DB_DURATION,
            DB_SECONDS,
            &[
                "db_system_name",
                "db_operation_name",
                "db_collection_name",
                "error_type",
                "outcome",
            ],
            Stable,
            "Duration of database client operations.",
        ),
    ),
    only(
        DATA,
        metric(
            DB_CONNECTIONS,
            Gauge,
            "{connection}",
            &[
                "db_client_connection_pool_name",
                "db_client_connection_state",
            ],
            Development,
            "Connections of the pool, by state (idle or used).",
        ),
    ),
    only(
        DATA,
        metric(
            DB_CONNECTIONS_MAX,
            Gauge,
            "{connection}",
            POOL,
            Development,
            "Most connections the pool may open.",
        ),
    ),
    only(
        DATA,
        metric(
            DB_PENDING,
            Gauge,
            "{request}",
            POOL,
            Development,
            "Requests waiting for a connection.",
        ),
    ),
    only(
        DATA,
        histogram(
            DB_WAIT,
            DB_SECONDS,
            &["db_client_connection_pool_name", "error_type", "outcome"],
            Development,
            "Time to obtain a connection from the pool; error_type says whether none was free (pool_timeout), the server did not \
             answer (timeout) or could not be reached (connect).",
        ),
    ),
    only(
        DATA,
        metric(
            DB_TIMEOUTS,
            Counter,
            "{timeout}",
            POOL,
            Development,
            "Waits for a connection that ended because none came free.",
        ),
    ),
    only(
        DATA,
        metric(
            ORDERS_SETTLED,
            Counter,
            "{order}",
            &["status", "settled_by"],
            Own,
            "Orders settled, by status (confirmed or declined) and by whom (the request or the sweeper).",
        ),
    ),
    only(
        DATA,
        metric(
            OUTBOX_PENDING,
            Gauge,
            "{event}",
            &[],
            Own,
            "Order events that wait for delivery.",
        ),
    ),
    only(
        DATA,
        metric(
            OUTBOX_OLDEST,
            Gauge,
            "s",
            &[],
            Own,
            "Age of the oldest order event that waits for delivery, in seconds.",
        ),
    ),
    only(
        DATA,
        metric(
            OUTBOX_DELIVERIES,
            Counter,
            "{delivery}",
            &["outcome"],
            Own,
            "Attempts to deliver an order event, by outcome.",
        ),
    ),
    only(
        DATA,
        metric(
            OUTBOX_DEAD_LETTERS,
            Gauge,
            "{event}",
            &[],
            Own,
            "Order events that were set aside because downstream refuses them.",
        ),
    ),
    only(
        DATA,
        metric(
            DB_LOCK_WAITS,
            Gauge,
            "{statement}",
            &["db_operation_name", "db_collection_name", "lock_holder"],
            Own,
            "Statements of the service that wait for a lock in the database, by the application that holds it.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_RECEIVED,
            Counter,
            "{notification}",
            &["outcome"],
            Own,
            "Notifications from Alertmanager, by outcome (accepted, duplicate, unauthorized, refused or unavailable).",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_NOTIFICATIONS,
            Counter,
            "{notification}",
            &["target", "outcome"],
            Own,
            "Notifications whose delivery has ended, by outcome (delivered or failed).",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_RETRIES,
            Counter,
            "{attempt}",
            &["target"],
            Own,
            "Attempts at a delivery that failed and are repeated.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_QUEUE,
            Gauge,
            "{notification}",
            &["target"],
            Own,
            "Notifications that wait for delivery.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_QUEUE_AGE,
            Gauge,
            "s",
            &["target"],
            Own,
            "Age of the oldest notification that waits for delivery, in seconds.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_FAILED,
            Gauge,
            "{notification}",
            &["target"],
            Own,
            "Notifications kept aside because the target refused them or was away for too long.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_EVIDENCE_MISSING,
            Counter,
            "{notification}",
            &["backend"],
            Own,
            "Notifications that went without the evidence of a backend.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_EVIDENCE_IN_PROGRESS,
            Gauge,
            "{gathering}",
            &[],
            Own,
            "Evidence that is being gathered; alerts of the same service and minute share it.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_STORAGE_ERRORS,
            Counter,
            "{operation}",
            &["operation"],
            Own,
            "Operations on the files of the queue that failed (write, read, remove or set_aside).",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_FOREIGN,
            Gauge,
            "{file}",
            &["target"],
            Own,
            "Files and directories that herald found beside its notifications when it started, and left alone.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_EVIDENCE_QUESTIONS,
            Counter,
            "{question}",
            &["backend", "outcome"],
            Own,
            "Questions to the backends: answered, failed, unanswered, or not_asked since others came first or it is silent.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_EVIDENCE_REFUSED,
            Counter,
            "{notification}",
            &[],
            Own,
            "Attempts at a delivery without any evidence, since herald gathers for so many alerts at once only.",
        ),
    ),
    only(
        HERALD,
        metric(
            HERALD_PANICS,
            Counter,
            "{attempt}",
            &["target"],
            Own,
            "Deliveries that panicked: repeated without evidence, and set aside when that panics too.",
        ),
    ),
    metric(
        FAULT_ACTIVE,
        Gauge,
        "1",
        &["fault"],
        Own,
        "1 while the named fault is switched on, else 0.",
    ),
    metric(
        SERVICE_READY,
        Gauge,
        "1",
        &[],
        Own,
        "1 while the service is ready to take requests, else 0.",
    ),
    only(
        DATA,
        metric(
            DEPENDENCY_UP,
            Gauge,
            "1",
            &["dependency"],
            Own,
            "1 while the named dependency answers, else 0.",
        ),
    ),
    metric(
        READINESS_CHANGES,
        Counter,
        "{change}",
        &[],
        Own,
        "How often the service has become ready or ceased to be.",
    ),
    metric(
        BUILD_INFO,
        Gauge,
        "1",
        &["version", "semconv_version"],
        Own,
        "Constant 1; the labels say what runs.",
    ),
    metric(
        LOG_RECORDS,
        Counter,
        "{record}",
        &["level"],
        Own,
        "Log records written.",
    ),
    metric(
        LOG_SUPPRESSED,
        Counter,
        "{record}",
        &["level"],
        Own,
        "Log records held back by the flood limit.",
    ),
    metric(
        SPAN_PROCESSED,
        Counter,
        "{span}",
        ERROR_TYPE,
        Development,
        "Ended spans that reached the export queue, or were dropped because it was full (error_type queue_full).",
    ),
    metric(
        SPAN_EXPORTED,
        Counter,
        "{span}",
        ERROR_TYPE,
        Development,
        "Spans whose export ended: accepted (error_type empty) or dropped after retries (error_type says why).",
    ),
    metric(
        SPAN_QUEUE,
        Gauge,
        "{span}",
        &[],
        Development,
        "Spans waiting for export.",
    ),
    metric(
        SPAN_QUEUE_MAX,
        Gauge,
        "{span}",
        &[],
        Development,
        "Limit of the span queue (OTEL_BSP_MAX_QUEUE_SIZE).",
    ),
    metric(
        LOG_PROCESSED,
        Counter,
        "{log_record}",
        ERROR_TYPE,
        Development,
        "Log records that reached the export queue, or were dropped because it was full (error_type queue_full).",
    ),
    metric(
        LOG_EXPORTED,
        Counter,
        "{log_record}",
        ERROR_TYPE,
        Development,
        "Log records whose export ended: accepted (error_type empty) or dropped after retries (error_type says why).",
    ),
    metric(
        LOG_QUEUE,
        Gauge,
        "{log_record}",
        &[],
        Development,
        "Log records waiting for export.",
    ),
    metric(
        LOG_QUEUE_MAX,
        Gauge,
        "{log_record}",
        &[],
        Development,
        "Limit of the log queue (OTEL_BLRP_MAX_QUEUE_SIZE).",
    ),
    metric(
        "process_cpu_seconds_total",
        Counter,
        "s",
        &[],
        Own,
        "Total user and system CPU time spent in seconds.",
    ),
    metric(
        "process_resident_memory_bytes",
        Gauge,
        "By",
        &[],
        Own,
        "Resident memory size in bytes.",
    ),
    metric(
        "process_virtual_memory_bytes",
        Gauge,
        "By",
        &[],
        Own,
        "Virtual memory size in bytes.",
    ),
    metric(
        "process_virtual_memory_max_bytes",
        Gauge,
        "By",
        &[],
        Own,
        "Maximum amount of virtual memory available in bytes.",
    ),
    metric(
        "process_open_fds",
        Gauge,
        "{file}",
        &[],
        Own,
        "Number of open file descriptors.",
    ),
    metric(
        "process_max_fds",
        Gauge,
        "{file}",
        &[],
        Own,
        "Maximum number of open file descriptors.",
    ),
    metric(
        "process_threads",
        Gauge,
        "{thread}",
        &[],
        Own,
        "Number of OS threads in the process.",
    ),
    metric(
        "process_start_time_seconds",
        Gauge,
        "s",
        &[],
        Own,
        "Start time of the process since unix epoch in seconds.",
    ),
    metric(
        TOKIO_WORKERS,
        Gauge,
        "{thread}",
        &[],
        Own,
        "Worker threads of the tokio runtime that serves the admin listener.",
    ),
    metric(
        TOKIO_TASKS,
        Gauge,
        "{task}",
        &[],
        Own,
        "Tasks alive on that runtime.",
    ),
    metric(
        TOKIO_QUEUE,
        Gauge,
        "{task}",
        &[],
        Own,
        "Tasks in that runtime's global queue.",
    ),
];

/// Worker threads of the runtime.
pub const TOKIO_WORKERS: &str = "tokio_runtime_workers";
/// Tasks alive on the runtime.
pub const TOKIO_TASKS: &str = "tokio_runtime_alive_tasks";
/// Length of the runtime's global queue.
pub const TOKIO_QUEUE: &str = "tokio_runtime_global_queue_depth";

const fn attribute(name: &'static str, stability: Stability, help: &'static str) -> Attribute {
    Attribute {
        name,
        help,
        stability,
    }
}

/// Every span attribute that this crate sets, in alphabetical order.
pub const ATTRIBUTES: &[Attribute] = &[
    attribute(
        "client.address",
        Stable,
        "Address of the caller's socket, `127.0.0.1`.",
    ),
    attribute("code.file.path", Stable, "On error logs: the source file."),
    attribute("code.line.number", Stable, "On error logs: the line."),
    attribute(
        "db.client.connection.pool.name",
        Development,
        "Pool that a connection was taken from.",
    ),
    attribute("db.collection.name", Stable, "Table, `orders`."),
    attribute("db.namespace", Stable, "Database, `omnitrace`."),
    attribute(
        "db.operation.name",
        Stable,
        "`SELECT`, `INSERT`, `BEGIN`, …",
    ),
    attribute(
        "db.query.text",
        Stable,
        "The statement with `$1` for values; values never appear.",
    ),
    attribute(
        "db.response.status_code",
        Stable,
        "SQLSTATE of a failed statement, `40001`.",
    ),
    attribute("db.system.name", Stable, "`postgresql`."),
    attribute(
        "error.type",
        Stable,
        "What kind of error: a 5xx code, `panic`, `timeout`, `cancelled`, a SQLSTATE, …",
    ),
    attribute("http.request.method", Stable, "`GET`, or `_OTHER`."),
    attribute(
        "http.request.resend_count",
        Stable,
        "Which retry this attempt is, from 1.",
    ),
    attribute("http.response.status_code", Stable, "`201`."),
    attribute("http.route", Stable, "Route template, `/api/orders/{id}`."),
    attribute("messaging.destination.name", Development, "`order-events`."),
    attribute(
        "messaging.message.id",
        Development,
        "Id of the event, on both sides of the hop.",
    ),
    attribute(
        "messaging.operation.name",
        Development,
        "`send` or `process`.",
    ),
    attribute(
        "messaging.operation.type",
        Development,
        "`send` or `process`.",
    ),
    attribute("messaging.system", Development, "`postgresql_outbox`."),
    attribute("network.protocol.version", Stable, "`1.1`."),
    attribute(
        "omnitrace.exemplar",
        Own,
        "`true` on spans that a metric's exemplar names: tail sampling keeps them.",
    ),
    attribute("peer.service", Development, "Name of the service called."),
    attribute(
        "server.address",
        Stable,
        "Host that the caller asked for (else the service's name), or that is called.",
    ),
    attribute("server.port", Stable, "Its port."),
    attribute(
        "url.full",
        Stable,
        "Called URL, credentials and secrets redacted.",
    ),
    attribute("url.path", Stable, "Requested path, redacted."),
    attribute("url.query", Stable, "Requested query, redacted."),
    attribute(
        "url.scheme",
        Stable,
        "`http`: what the service itself speaks. TLS that ends before it is not seen, and a forwarded scheme is not believed.",
    ),
    attribute(
        "url.template",
        Development,
        "Template of the called path, `/quotes/{sku}`.",
    ),
    attribute(
        "user_agent.original",
        Stable,
        "The caller's user agent, redacted and capped.",
    ),
];

/// The catalogue's entry of a metric.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}
