//! The faults of a bad database, and how they change statements. The rest of the service does not know about them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use service::faults::{Fault, Parameter, Parameters, Spec, Switchboard};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqlSafeStr, SqlStr};
use telemetry::db::{Pool, Statement};

/// Not FOR UPDATE: the foreign key of an order's insert would wait too, and hide the reservation's wait.
const LOCK_ITEMS: &str = "SELECT FROM items ORDER BY sku FOR NO KEY UPDATE";

/// Slow statements.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct SlowQuery {
    ms: u64,
}

impl Parameters for SlowQuery {
    const SPEC: Spec = Spec {
        name: "slow_query",
        description: "Makes the server sleep within every statement that looks up an item.",
        signal_service: "self",
        signal: "db_client_operation_duration_seconds{db_operation_name=\"SELECT\",db_collection_name=\"items\"}",
        parameters: &[Parameter::integer("ms", "ms", 1, 10_000, 500)],
    };
}

/// A pool with too few connections.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct PoolExhaustion {
    connections: usize,
}

impl Parameters for PoolExhaustion {
    const SPEC: Spec = Spec {
        name: "pool_exhaustion",
        description: "Takes connections from the requests' pool and keeps them, at most all.",
        signal_service: "self",
        signal: "db_client_connection_count{db_client_connection_pool_name=\"requests\",\
                 db_client_connection_state=\"used\"}",
        parameters: &[Parameter::integer(
            "connections",
            "{connection}",
            1,
            500,
            500,
        )],
    };
}

/// Rows that somebody else has locked.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct LockContention {
    hold_ms: u64,
}

impl Parameters for LockContention {
    const SPEC: Spec = Spec {
        name: "lock_contention",
        description: "Locks the rows of all items, over and over, for hold_ms each time.",
        signal_service: "self",
        signal: "db_client_operation_duration_seconds{db_operation_name=\"UPDATE\",db_collection_name=\"items\"}",
        parameters: &[Parameter::integer("hold_ms", "ms", 1, 10_000, 1000)],
    };
}

/// A newer version that is slow.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct BadRelease {
    ms: u64,
}

impl Parameters for BadRelease {
    const SPEC: Spec = Spec {
        name: "bad_release",
        description: "Starts a newer version of the process in its place, whose statements that look up an item are slow; \
                      at the end the old version comes back.",
        signal_service: "self",
        signal: "db_client_operation_duration_seconds{db_operation_name=\"SELECT\",db_collection_name=\"items\"}",
        parameters: &[Parameter::integer("ms", "ms", 1, 10_000, 400)],
    };
}

impl BadRelease {
    /// What to ask the fault for to have it again.
    pub(crate) fn parameters(self) -> serde_json::Value {
        serde_json::json!({"ms": self.ms})
    }
}

/// The state of all of them.
#[derive(Default)]
pub(crate) struct Faults {
    /// This process is the release that `bad_release` puts in place.
    is_bad_release: bool,
    pub(crate) bad_release: Arc<Fault<BadRelease>>,
    slow_query: Arc<Fault<SlowQuery>>,
    pool_exhaustion: Arc<Fault<PoolExhaustion>>,
    lock_contention: Arc<Fault<LockContention>>,
}

impl Faults {
    /// All off.
    pub(crate) fn new(is_bad_release: bool) -> Self {
        Self {
            is_bad_release,
            ..Self::default()
        }
    }

    /// What the admin listener shows.
    pub(crate) fn switchboard(&self) -> Switchboard {
        Switchboard::default()
            .with(&self.slow_query)
            .with(&self.pool_exhaustion)
            .with(&self.lock_contention)
            .with(&self.bad_release)
    }

    /// Starts what makes them effective beside the requests; ends with the runtime.
    pub(crate) fn start(&self, requests: &Pool) {
        let (pool, locked) = (requests.clone(), requests.clone());
        actix_web::rt::spawn(
            self.pool_exhaustion
                .clone()
                .drive(async move |fault| exhaust(&pool, fault.connections).await),
        );
        actix_web::rt::spawn(self.lock_contention.clone().drive(async move |fault| {
            contend(&locked, Duration::from_millis(fault.hold_ms)).await
        }));
    }

    /// The SQL to send for a look-up of an item; with a sleep in it while the fault is on.
    pub(crate) fn look_up(&self, statement: Statement) -> SqlStr {
        match self.slow_query() {
            None => SqlStr::from_static(statement.sql),
            Some(sleep) => slowed(statement.sql, sleep),
        }
    }

    fn slow_query(&self) -> Option<Duration> {
        let asked = self.slow_query.active().map(|fault| fault.ms);
        let released = self.bad_release.active().filter(|_| self.is_bad_release);
        asked
            .max(released.map(|fault| fault.ms))
            .map(Duration::from_millis)
    }
}

/// The same statement, look-up or insert, with a sleep on the server in it.
fn slowed(sql: &str, sleep: Duration) -> SqlStr {
    let seconds = sleep.as_secs_f64();
    AssertSqlSafe(format!(
        "WITH answer AS ({sql}) SELECT answer.* FROM pg_sleep({seconds}) CROSS JOIN answer"
    ))
    .into_sql_str()
}

/// Past the wrapper that makes spans and metrics: the fault must not give itself away. The connections go back
/// to the pool when the future is dropped.
async fn exhaust(pool: &Pool, connections: usize) {
    let most = pool.capacity();
    let mut held = Vec::new();
    while held.len() < connections.min(most) {
        match pool.acquire_quietly().await {
            Ok(connection) => held.push(connection),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    std::future::pending::<()>().await;
}

/// On a connection of its own. It is closed when the future is dropped, and the server then releases the locks.
async fn contend(pool: &Pool, hold: Duration) {
    loop {
        let Err(error) = hold_rows(pool, hold).await;
        tracing::debug!(%error, "cannot lock the items");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn hold_rows(pool: &Pool, hold: Duration) -> Result<Infallible, sqlx::Error> {
    let mut connection = PgConnection::connect_with(pool.options()).await?;
    loop {
        let mut tx = connection.begin().await?;
        sqlx::query(LOCK_ITEMS).execute(&mut *tx).await?;
        tokio::time::sleep(hold).await;
        tx.rollback().await?;
        // Lets those that waited have their turn.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_declaration_fits_its_struct() {
        Faults::default().switchboard().check_declarations();
    }
}
