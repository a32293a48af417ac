//! What the server side measures, under every framework.

use super::HTTP_SECONDS;
use super::labels::{ErrorType, Method, Route, Status};
use crate::Outcome;

crate::metrics! {
    /// Duration of HTTP server requests, from the arrival of the request body to the end of the response body.
    pub HTTP_SERVER_DURATION: Histogram {
        http_request_method: Method,
        http_route: Route,
        http_response_status_code: Status,
        error_type: ErrorType,
        outcome: Outcome,
    } = "http_server_request_duration_seconds", unit "s", buckets HTTP_SECONDS, stability Stable;

    /// Requests of a probe: they are counted here, and in no other number of HTTP requests.
    pub HTTP_SERVER_SYNTHETIC: Counter { http_request_method: Method, http_route: Route, outcome: Outcome }
        = "http_server_synthetic_requests_total", unit "{request}";

    /// HTTP server requests in progress.
    pub HTTP_SERVER_ACTIVE: Gauge { http_request_method: Method, http_route: Route }
        = "http_server_active_requests", unit "{request}", stability Development;
}
