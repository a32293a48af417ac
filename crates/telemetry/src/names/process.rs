//! What every process measures of itself: what runs, its logs, its export, the system's resources, the runtime.

use super::labels::{ErrorType, Level, SemconvVersion, Version};

crate::metrics! {
    /// Constant 1; the labels say what runs.
    pub BUILD_INFO: Gauge { version: Version, semconv_version: SemconvVersion } = "build_info", unit "1";

    /// Log records written.
    pub LOG_RECORDS: Counter { level: Level } = "log_records_total", unit "{record}";
    /// Log records held back by the flood limit.
    pub LOG_SUPPRESSED: Counter { level: Level } = "log_records_suppressed_total", unit "{record}";

    /// Ended spans that reached the export queue, or were dropped because it was full (error_type queue_full) or had been shut down (already_shutdown).
    pub SPAN_PROCESSED: Counter { error_type: ErrorType }
        = "otel_sdk_processor_span_processed_total", unit "{span}", stability Development;
    /// Spans whose export ended: accepted (error_type empty) or dropped after retries (error_type says why).
    pub SPAN_EXPORTED: Counter { error_type: ErrorType }
        = "otel_sdk_exporter_span_exported_total", unit "{span}", stability Development;
    /// Bytes of the spans that were encoded for export, each once however often it is sent, before compression.
    pub SPAN_BYTES: Counter = "span_export_bytes_total", unit "By";
    /// Spans waiting for export.
    pub SPAN_QUEUE: Gauge = "otel_sdk_processor_span_queue_size", unit "{span}", stability Development;
    /// Limit of the span queue (OTEL_BSP_MAX_QUEUE_SIZE).
    pub SPAN_QUEUE_MAX: Gauge
        = "otel_sdk_processor_span_queue_capacity", unit "{span}", stability Development;
    /// Log records that reached the export queue, or were dropped because it was full (error_type queue_full) or had been shut down (already_shutdown).
    pub LOG_PROCESSED: Counter { error_type: ErrorType }
        = "otel_sdk_processor_log_processed_total", unit "{log_record}", stability Development;
    /// Log records whose export ended: accepted (error_type empty) or dropped after retries (error_type says why).
    pub LOG_EXPORTED: Counter { error_type: ErrorType }
        = "otel_sdk_exporter_log_exported_total", unit "{log_record}", stability Development;
    /// Bytes of the log records that were encoded for export, each once however often it is sent, before compression.
    pub LOG_BYTES: Counter = "log_export_bytes_total", unit "By";
    /// Log records waiting for export.
    pub LOG_QUEUE: Gauge
        = "otel_sdk_processor_log_queue_size", unit "{log_record}", stability Development;
    /// Limit of the log queue (OTEL_BLRP_MAX_QUEUE_SIZE).
    pub LOG_QUEUE_MAX: Gauge
        = "otel_sdk_processor_log_queue_capacity", unit "{log_record}", stability Development;

    /// Total user and system CPU time spent in seconds.
    pub PROCESS_CPU: Counter = "process_cpu_seconds_total", unit "s";
    /// Resident memory size in bytes.
    pub PROCESS_RESIDENT: Gauge = "process_resident_memory_bytes", unit "By";
    /// Virtual memory size in bytes.
    pub PROCESS_VIRTUAL: Gauge = "process_virtual_memory_bytes", unit "By";
    /// Maximum amount of virtual memory available in bytes.
    pub PROCESS_VIRTUAL_MAX: Gauge = "process_virtual_memory_max_bytes", unit "By";
    /// Number of open file descriptors.
    pub PROCESS_FDS: Gauge = "process_open_fds", unit "{file}";
    /// Maximum number of open file descriptors.
    pub PROCESS_FDS_MAX: Gauge = "process_max_fds", unit "{file}";
    /// Number of OS threads in the process.
    pub PROCESS_THREADS: Gauge = "process_threads", unit "{thread}";
    /// Start time of the process since unix epoch in seconds.
    pub PROCESS_START: Gauge = "process_start_time_seconds", unit "s";

    /// Time of the machine's clock when this was read, in seconds since the epoch: compared with the time of the scrape, it shows a wrong clock.
    pub SYSTEM_TIME: Gauge = "system_time_seconds", unit "s";
    /// Processes of the whole machine, other containers' too, that the kernel has ended since its start because memory ran out, theirs or the machine's.
    pub SYSTEM_OOM_KILLS: Counter = "system_oom_kills_total", unit "{process}";

    /// Worker threads of the tokio runtime that serves the admin listener.
    pub TOKIO_WORKERS: Gauge = "tokio_runtime_workers", unit "{thread}";
    /// Tasks alive on that runtime.
    pub TOKIO_TASKS: Gauge = "tokio_runtime_alive_tasks", unit "{task}";
    /// Tasks in that runtime's global queue.
    pub TOKIO_QUEUE: Gauge = "tokio_runtime_global_queue_depth", unit "{task}";
}
