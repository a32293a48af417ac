//! Every time-out between a client of the gateway and the last service, in one table.
//!
//! Each is shorter than the one above it, so that the innermost part that is slow is the one that says so, and
//! an answer that nobody waits for is not worked on.

use std::time::Duration;

/// The probe waits for longer than the gateway takes to answer whatever happens.
pub const PROBE_TO_GATEWAY: Duration = Duration::from_millis(6000);
/// The gateway answers its caller within this.
pub const GATEWAY_REQUEST: Duration = Duration::from_millis(5000);
/// A call from the gateway to data, its retry included.
pub const GATEWAY_TO_DATA: Duration = Duration::from_millis(4000);
/// Data answers within this.
pub const DATA_REQUEST: Duration = Duration::from_millis(3500);
/// One SQL statement.
pub const DATA_STATEMENT: Duration = Duration::from_millis(3000);
/// The part of it for waiting for a lock: shorter, so that the error names the lock.
pub const DATA_LOCK: Duration = Duration::from_millis(2100);
/// A call from data to downstream, its retry included.
pub const DATA_TO_DOWNSTREAM: Duration = Duration::from_millis(2000);
/// Downstream answers within this.
pub const DOWNSTREAM_REQUEST: Duration = Duration::from_millis(1800);
/// Taking a connection from data's pool.
pub const DATA_POOL_ACQUIRE: Duration = Duration::from_millis(1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_shrink_downwards() {
        let table = [
            PROBE_TO_GATEWAY,
            GATEWAY_REQUEST,
            GATEWAY_TO_DATA,
            DATA_REQUEST,
            DATA_STATEMENT,
            DATA_LOCK,
            DATA_TO_DOWNSTREAM,
            DOWNSTREAM_REQUEST,
            DATA_POOL_ACQUIRE,
        ];
        assert!(
            table.is_sorted_by(|outer, inner| outer > inner),
            "{table:?}"
        );
    }
}
