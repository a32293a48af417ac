//! What the client side measures.

use super::HTTP_SECONDS;
use super::labels::{
    ErrorType, Method, ServerAddress, ServerPort, ServicePeerName, Status, UrlTemplate,
};
use crate::Outcome;

crate::metrics! {
    /// Duration of HTTP client requests, to the end of the response body, one observation per attempt.
    pub HTTP_CLIENT_DURATION: Histogram {
        http_request_method: Method,
        url_template: UrlTemplate,
        service_peer_name: ServicePeerName,
        server_address: ServerAddress,
        server_port: ServerPort,
        http_response_status_code: Status,
        error_type: ErrorType,
        outcome: Outcome,
    } = "http_client_request_duration_seconds", unit "s", buckets HTTP_SECONDS, stability Stable;
}
