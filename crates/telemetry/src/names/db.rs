//! What is measured of a database.

use super::DB_SECONDS;
use super::labels::{
    Collection, ConnectionState, ErrorType, LockHolder, Operation, PoolName, System,
};
use crate::Outcome;

crate::metrics! {
    /// Duration of database client operations.
    pub DB_DURATION: Histogram {
        db_system_name: System,
        db_operation_name: Operation,
        db_collection_name: Collection,
        error_type: ErrorType,
        outcome: Outcome,
    } = "db_client_operation_duration_seconds", unit "s", buckets DB_SECONDS, stability Stable;

    /// Connections of the pool, by state (idle or used).
    pub DB_CONNECTIONS: Gauge {
        db_client_connection_pool_name: PoolName,
        db_client_connection_state: ConnectionState,
    } = "db_client_connection_count", unit "{connection}", stability Development;

    /// Most connections the pool may open.
    pub DB_CONNECTIONS_MAX: Gauge { db_client_connection_pool_name: PoolName }
        = "db_client_connection_max", unit "{connection}", stability Development;

    /// Requests waiting for a connection.
    pub DB_PENDING: Gauge { db_client_connection_pool_name: PoolName }
        = "db_client_connection_pending_requests", unit "{request}", stability Development;

    /// Time to obtain a connection from the pool; error_type says whether none was free (pool_timeout), the server did not
    /// answer (timeout) or could not be reached (connect).
    pub DB_WAIT: Histogram {
        db_client_connection_pool_name: PoolName,
        error_type: ErrorType,
        outcome: Outcome,
    } = "db_client_connection_wait_time_seconds", unit "s", buckets DB_SECONDS, stability Development;

    /// Waits for a connection that ended because none came free.
    pub DB_TIMEOUTS: Counter { db_client_connection_pool_name: PoolName }
        = "db_client_connection_timeouts_total", unit "{timeout}", stability Development;

    /// Statements of the service that wait for a lock in the database, by the application that holds it.
    pub DB_LOCK_WAITS: Gauge {
        db_operation_name: Operation,
        db_collection_name: Collection,
        lock_holder: LockHolder,
    } = "db_client_lock_waiting_statements", unit "{statement}";
}
