//! Hears of new events: LISTEN on a connection of its own.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Acquire, Connection, PgConnection};
use tokio::time::{Instant, timeout};

use crate::store::CHANNEL;

/// A burst of notifications is one reason to look: those that follow within this belong to it.
const BURST: Duration = Duration::from_millis(10);

/// The most that a burst may last.
const LONGEST_BURST: Duration = Duration::from_millis(100);

/// How often the connection is asked whether it still answers: a silent one looks like one on which nothing happens.
const ASK: Duration = Duration::from_secs(5);

/// How long it may take to answer, and another to be opened.
const LIMIT: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A connection that listens.
pub(crate) struct Listener {
    inner: PgListener,
    options: PgConnectOptions,
    ask_at: Instant,
}

impl Listener {
    /// Connects and listens.
    pub(crate) async fn open(options: PgConnectOptions) -> Result<Self> {
        // sqlx's listener wants a pool: one of its own, with the one connection.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LIMIT)
            .connect_lazy_with(options.clone());
        let mut inner = PgListener::connect_with(&pool).await?;
        inner.listen(CHANNEL).await?;
        // A lost connection is an error here, and a new listener made.
        inner.eager_reconnect(false);
        Ok(Self {
            inner,
            options,
            ask_at: Instant::now() + ASK,
        })
    }

    /// Waits for a burst of notifications, `longest` at most. An error: the connection is lost.
    pub(crate) async fn wait(&mut self, longest: Duration) -> Result<()> {
        if Instant::now() >= self.ask_at {
            self.ask().await?;
        }
        if !self.notified(longest).await? {
            return Ok(());
        }
        let end = Instant::now() + LONGEST_BURST;
        while Instant::now() < end && self.notified(BURST).await? {}
        Ok(())
    }

    async fn notified(&mut self, longest: Duration) -> Result<bool> {
        match timeout(longest, self.inner.try_recv()).await {
            Err(_) => Ok(false),
            Ok(Ok(Some(_))) => Ok(true),
            Ok(Ok(None)) => Err(sqlx::Error::WorkerCrashed),
            Ok(Err(error)) => Err(error),
        }
    }

    async fn ask(&mut self) -> Result<()> {
        self.ask_at = Instant::now() + ASK;
        let connection = self.inner.acquire().await?;
        if let Ok(answer) = timeout(LIMIT, connection.ping()).await {
            return answer;
        }
        // When it is dropped, sqlx's listener sends a goodbye and waits for the answer, which never comes on a silent connection.
        // It gets a live one for that. Until there is one again, polling has to do.
        if let Ok(Ok(live)) = timeout(LIMIT, PgConnection::connect_with(&self.options)).await {
            drop(std::mem::replace(connection, live));
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        }
        Ok(())
    }
}
