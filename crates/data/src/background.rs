//! What the background tasks do in the database. No request's deadline ends these statements, so each has a limit of its own.

use std::future::Future;
use std::time::Duration;

use telemetry::db::Connection;
use telemetry::redact::redact;
use tokio::time::Instant;
use uuid::Uuid;

use crate::errors::StoreError;
use crate::listener::Listener;
use crate::rows::{CausedRow, Claimed, LockWait, Pending};
use crate::store::{self, MARK_DELIVERED, Result, Store};

/// The server ends a statement before (`api::timeouts::DATA_STATEMENT`), if it still answers.
pub(crate) const LIMIT: Duration = Duration::from_millis(3500);

/// How long a relay may work on events that it has claimed before another may: longer than a batch ordinarily takes. One that takes
/// longer is delivered twice, and applied once.
const EVENT_LEASE: Duration = Duration::from_secs(10);

/// As above, for orders and a sweeper; two that settle the same order do no harm.
const ORDER_LEASE: Duration = Duration::from_secs(5);

/// How long delivered events are kept for inspection.
const KEEP_DELIVERED: Duration = Duration::from_secs(3600);

/// Events deleted at once: a statement that runs for long would run into its time-out, and delete nothing at all.
pub(crate) const PURGE_BATCH: u64 = 1000;

/// An event is set aside after this many refusals. One is not enough: during a deployment downstream may refuse for a moment.
const REFUSALS: i32 = 5;

/// How much of a refusal's text is kept.
const REFUSAL_LENGTH: usize = 500;

/// How many events wait, for how long the oldest has, and how many are set aside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    pub(crate) pending: i64,
    pub(crate) oldest_s: f64,
    pub(crate) set_aside: i64,
}

/// Runs a statement within the limit.
pub(crate) async fn limited<T>(
    statement: impl Future<Output = std::result::Result<T, sqlx::Error>>,
) -> Result<T> {
    match telemetry::deadline::enforce(Instant::now() + LIMIT, statement).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::late(LIMIT)),
    }
}

impl Store {
    async fn quietly(&self) -> Result<Connection> {
        Ok(self.background.acquire_quietly().await?)
    }

    /// Claims orders that have been pending for `age`. Another sweeper gets others. One that cannot be read is passed over.
    pub(crate) async fn claim_pending(&self, age: Duration, limit: i64) -> Result<Vec<Pending>> {
        let mut connection = self.quietly().await?;
        let query = sqlx::query_as(store::CLAIM_PENDING)
            .bind(age.as_secs_f64())
            .bind(limit)
            .bind(ORDER_LEASE.as_secs_f64());
        let rows: Vec<CausedRow> = limited(query.fetch_all(&mut *connection)).await?;
        let readable = |row| match Pending::try_from(row) {
            Ok(pending) => Some(pending),
            Err(error) => {
                tracing::error!(%error, "a pending order cannot be read, it is passed over");
                None
            }
        };
        Ok(rows.into_iter().filter_map(readable).collect())
    }

    /// Claims events that are due. Another relay gets others.
    pub(crate) async fn claim_events(&self, limit: i64) -> Result<Vec<Claimed>> {
        let mut connection = self.quietly().await?;
        let query = sqlx::query_as(store::CLAIM_EVENTS)
            .bind(limit)
            .bind(EVENT_LEASE.as_secs_f64());
        limited(query.fetch_all(&mut *connection)).await
    }

    /// The event has arrived.
    pub(crate) async fn mark_delivered(&self, id: Uuid) -> Result<()> {
        let mut connection = self.background.acquire().await?;
        let query = sqlx::query(MARK_DELIVERED.sql).bind(id);
        limited(MARK_DELIVERED.run(query.execute(&mut *connection))).await?;
        Ok(())
    }

    /// The event did not arrive: not before `delay` again.
    pub(crate) async fn postpone(&self, id: Uuid, delay: Duration) -> Result<()> {
        let mut connection = self.quietly().await?;
        let query = sqlx::query(store::POSTPONE_EVENT)
            .bind(id)
            .bind(delay.as_secs_f64());
        limited(query.execute(&mut *connection)).await?;
        Ok(())
    }

    /// Downstream refuses the event: not before `delay` again, or never. True when it was set aside.
    pub(crate) async fn refuse(&self, id: Uuid, delay: Duration, why: &str) -> Result<bool> {
        let mut connection = self.quietly().await?;
        let why: String = redact(why).chars().take(REFUSAL_LENGTH).collect();
        let query = sqlx::query_scalar(store::REFUSE_EVENT)
            .bind(id)
            .bind(delay.as_secs_f64())
            .bind(why)
            .bind(REFUSALS);
        limited(query.fetch_one(&mut *connection)).await
    }

    /// What is in the outbox.
    pub(crate) async fn backlog(&self) -> Result<Backlog> {
        let mut connection = self.quietly().await?;
        let query = sqlx::query_as(store::BACKLOG);
        let (pending, oldest_s, set_aside) = limited(query.fetch_one(&mut *connection)).await?;
        Ok(Backlog {
            pending,
            oldest_s,
            set_aside,
        })
    }

    /// Deletes some events that were delivered long ago, and old orders of the probe. Returns the number of events.
    pub(crate) async fn purge(&self) -> Result<u64> {
        let mut connection = self.quietly().await?;
        let of = |statement| {
            sqlx::query(statement)
                .bind(KEEP_DELIVERED.as_secs_f64())
                .bind(i64::try_from(PURGE_BATCH).unwrap_or(i64::MAX))
        };
        limited(of(store::PURGE_PROBES).execute(&mut *connection)).await?;
        let events = limited(of(store::PURGE).execute(&mut *connection)).await?;
        Ok(events.rows_affected())
    }

    /// Statements of this service that wait for a lock.
    pub(crate) async fn lock_waits(&self) -> Result<Vec<LockWait>> {
        let mut connection = self.watching.acquire_quietly().await?;
        limited(sqlx::query_as(store::LOCK_WAITS).fetch_all(&mut *connection)).await
    }

    /// Hears of new events.
    pub(crate) async fn listen(&self) -> Result<Listener> {
        limited(Listener::open(self.background.options().clone())).await
    }

    /// Asks the server for a sign of life.
    pub(crate) async fn ping(&self) -> Result<()> {
        let mut connection = self.watching.acquire_quietly().await?;
        limited(sqlx::query(store::PING).execute(&mut *connection)).await?;
        Ok(())
    }
}
