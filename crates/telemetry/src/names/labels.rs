//! Labels of the standard metrics.

use crate::label;

label! {
    /// `http_request_method`: a known one, or `_OTHER`.
    pub struct Method(&'static str);
}
label! {
    /// `http_route`: the template, never the path; empty when no route matched.
    pub struct Route(String);
}
label! {
    /// `http_response_status_code`; empty when there was no answer.
    pub struct Status(String);
}
label! {
    /// `error_type`: what kind of error; empty when there was none.
    pub struct ErrorType(String);
}
label! {
    /// `url_template`: the template of the called path.
    pub struct UrlTemplate(&'static str);
}
label! {
    /// `service_peer_name`: the service called.
    pub struct ServicePeerName(&'static str);
}
label! {
    /// `server_address`: the host called.
    pub struct ServerAddress(String);
}
label! {
    /// `server_port`: the port called.
    pub struct ServerPort(String);
}
label! {
    /// `db_system_name`.
    pub struct System(&'static str);
}
label! {
    /// `db_operation_name`: that of a declared statement; empty for others.
    pub struct Operation(&'static str);
}
label! {
    /// `db_collection_name`: as [`Operation`].
    pub struct Collection(&'static str);
}
label! {
    /// `db_client_connection_pool_name`.
    pub struct PoolName(&'static str);
}
label! {
    /// `db_client_connection_state`.
    pub enum ConnectionState {
        /// In the pool.
        Idle = "idle",
        /// Taken.
        Used = "used",
    }
}
label! {
    /// `lock_holder`: an application by its own name. Whoever sets it bounds how many there are.
    pub struct LockHolder(String);
}
label! {
    /// `level` of a log record.
    pub struct Level(&'static str);
}
label! {
    /// `version` of the service.
    pub struct Version(String);
}
label! {
    /// `semconv_version`: [`SEMCONV_VERSION`](super::SEMCONV_VERSION).
    pub struct SemconvVersion(&'static str);
}
