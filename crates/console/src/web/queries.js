// Every PromQL expression of the pages; `console_queries` (e2e) asks the console each of them. `$service` stands for the name
// of a service as a PromQL string, `$window` for the time that rates are taken over. Calls leave out the probe's requests.

export const OVERVIEW = {
  /** How much each service is asked, and how it answers. */
  requests: `sum by (service_name) (rate(http_server_request_duration_seconds_count[$window]))`,
  errors: `sum by (service_name) (rate(http_server_request_duration_seconds_count{outcome="error"}[$window]))`,
  p95: `histogram_quantile(0.95, sum by (le, service_name) (rate(http_server_request_duration_seconds_bucket[$window])))`,
  ready: `min by (service_name) (service_ready)`,
  versions: `group by (service_name, service_version) (build_info)`,
  known: `group by (service_name) (service:known:info)`,

  /** Calls of services. */
  calls: `sum by (service_name, service_peer_name) (rate(http_client_request_duration_seconds_count{service_name!="probe"}[$window]))`,
  callErrors: `sum by (service_name, service_peer_name) (rate(http_client_request_duration_seconds_count{service_name!="probe",outcome="error"}[$window]))`,
  callP95: `histogram_quantile(0.95, sum by (le, service_name, service_peer_name) (rate(http_client_request_duration_seconds_bucket{service_name!="probe"}[$window])))`,

  /** Statements in databases. */
  statements: `sum by (service_name, db_system_name) (rate(db_client_operation_duration_seconds_count[$window]))`,
  statementErrors: `sum by (service_name, db_system_name) (rate(db_client_operation_duration_seconds_count{outcome="error"}[$window]))`,
  statementP95: `histogram_quantile(0.95, sum by (le, service_name, db_system_name) (rate(db_client_operation_duration_seconds_bucket[$window])))`,
};

/** Read over the last ten minutes: a series that was not there at the start is a change. */
export const CHANGES = {
  versions: `group by (service_name, service_version) (build_info)`,
  starts: `max by (service_name, instance) (process_start_time_seconds)`,
  alerts: `max by (alertname, service, route, severity) (ALERTS{alertstate="firing",severity!="none"})`,
};

export const BUDGET = {
  left: `min by (service_name, http_route, slo) (slo:error_budget:remaining)`,
};

/** Panels of one service. */
export const SERVICE = {
  known: `group(service:known:info{service_name=$service})`,
  running: `group(build_info{service_name=$service})`,
  requests: `sum by (outcome) (rate(http_server_request_duration_seconds_count{service_name=$service}[$window]))`,
  errors: `sum by (error_type) (rate(http_server_request_duration_seconds_count{service_name=$service,outcome="error"}[$window]))`,
  p50: `histogram_quantile(0.5, sum by (le) (rate(http_server_request_duration_seconds_bucket{service_name=$service}[$window])))`,
  p95: `histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket{service_name=$service}[$window])))`,
  p99: `histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{service_name=$service}[$window])))`,
  exemplars: `http_server_request_duration_seconds_bucket{service_name=$service}`,
  inFlight: `sum(http_server_active_requests{service_name=$service})`,

  poolUsed: `sum by (db_client_connection_pool_name) (db_client_connection_count{service_name=$service,db_client_connection_state="used"})`,
  poolMax: `sum by (db_client_connection_pool_name) (db_client_connection_max{service_name=$service})`,
  poolWaiting: `sum by (db_client_connection_pool_name) (db_client_connection_pending_requests{service_name=$service})`,
  poolWait: `histogram_quantile(0.95, sum by (le, db_client_connection_pool_name) (rate(db_client_connection_wait_time_seconds_bucket{service_name=$service}[$window])))`,

  cpu: `sum by (service_instance_id) (rate(process_cpu_seconds_total{service_name=$service}[$window]))`,
  memory: `sum by (service_instance_id) (process_resident_memory_bytes{service_name=$service})`,
  versions: `count by (service_version) (build_info{service_name=$service})`,
  starts: `max by (service_instance_id) (process_start_time_seconds{service_name=$service})`,
  ready: `min(service_ready{service_name=$service})`,
  dependencies: `min by (dependency) (service_dependency_up{service_name=$service})`,
  logs: `sum by (level) (rate(log_records_total{service_name=$service}[$window]))`,
  logsHeldBack: `sum(rate(log_records_suppressed_total{service_name=$service}[$window]))`,

  spanQueue: `max(otel_sdk_processor_span_queue_size{service_name=$service} / otel_sdk_processor_span_queue_capacity{service_name=$service})`,
  logQueue: `max(otel_sdk_processor_log_queue_size{service_name=$service} / otel_sdk_processor_log_queue_capacity{service_name=$service})`,
  spansLost: `sum(rate(otel_sdk_processor_span_processed_total{service_name=$service,error_type!=""}[$window])) + sum(rate(otel_sdk_exporter_span_exported_total{service_name=$service,error_type!=""}[$window]))`,
  logsLost: `sum(rate(otel_sdk_processor_log_processed_total{service_name=$service,error_type!=""}[$window])) + sum(rate(otel_sdk_exporter_log_exported_total{service_name=$service,error_type!=""}[$window]))`,
};

/** Tables of one service. */
export const OPERATIONS = {
  rate: `sum by (http_request_method, http_route) (rate(http_server_request_duration_seconds_count{service_name=$service}[$window])) > 0`,
  errors: `sum by (http_request_method, http_route) (rate(http_server_request_duration_seconds_count{service_name=$service,outcome="error"}[$window]))`,
  p95: `histogram_quantile(0.95, sum by (le, http_request_method, http_route) (rate(http_server_request_duration_seconds_bucket{service_name=$service}[$window])))`,
};

export const CALLS = {
  rate: `sum by (service_peer_name, http_request_method, url_template) (rate(http_client_request_duration_seconds_count{service_name=$service}[$window])) > 0`,
  errors: `sum by (service_peer_name, http_request_method, url_template) (rate(http_client_request_duration_seconds_count{service_name=$service,outcome="error"}[$window]))`,
  p95: `histogram_quantile(0.95, sum by (le, service_peer_name, http_request_method, url_template) (rate(http_client_request_duration_seconds_bucket{service_name=$service}[$window])))`,
};

export const STATEMENTS = {
  rate: `sum by (db_system_name, db_operation_name, db_collection_name) (rate(db_client_operation_duration_seconds_count{service_name=$service}[$window])) > 0`,
  errors: `sum by (db_system_name, db_operation_name, db_collection_name) (rate(db_client_operation_duration_seconds_count{service_name=$service,outcome="error"}[$window]))`,
  p95: `histogram_quantile(0.95, sum by (le, db_system_name, db_operation_name, db_collection_name) (rate(db_client_operation_duration_seconds_bucket{service_name=$service}[$window])))`,
};

/** A text as a string of PromQL or LogQL. @param {string} text */
export const literal = (text) => `"${text.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`))}"`;

/** @param {string} query @param {{window?: string, service?: string}} values */
export const filled = (query, { window = '1m', service = '' }) => query.replace(/\$(service|window)/g, (_, name) => (name === 'service' ? literal(service) : window));
