//! A pool whose waits, `BEGIN` and `COMMIT` are visible in the waterfall, and whose connections are gauged.
//!
//! Nothing in it waits for ever. It tells apart why there is no connection: none is free, the server does not answer, or
//! none can be opened. A connection that does not answer is closed, and another is opened in its place.

use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{
    self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::Span;
use tracing::field::Empty;

use crate::db::{BEGIN, COMMIT, POOL_TIMEOUT, ROLLBACK, SYSTEM, Target, classify, record_end};
use crate::deadline::abandoned;
use crate::names::db::{DB_CONNECTIONS, DB_CONNECTIONS_MAX, DB_PENDING, DB_TIMEOUTS, DB_WAIT};
use crate::names::labels::{ConnectionState, ErrorType, PoolName};
use crate::observe::Outcome;
use crate::spans;

/// How long an idle connection may take to answer before it is used.
const PING: Duration = Duration::from_millis(500);

/// How long a log-in may take while somebody waits for an answer.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a connection may take to finish a statement whose caller gave up. After that the connection is closed.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// Longest life of a connection. Closing it frees the memory that its server process has gathered.
const MAX_AGE: Duration = Duration::from_secs(1800);

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Opens and checks connections.
struct Manager {
    options: PgConnectOptions,
    /// When a connection was last found silent. Connections that were idle at that time are probably silent too, so they are
    /// replaced without a check.
    silent: Mutex<Option<Instant>>,
}

impl Manager {
    fn is_suspect(&self, metrics: &Metrics) -> bool {
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|silent| metrics.recycled.unwrap_or(metrics.created) < silent)
    }
}

impl managed::Manager for Manager {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection> {
        PgConnection::connect_with(&self.options).await
    }

    async fn recycle(
        &self,
        connection: &mut PgConnection,
        metrics: &Metrics,
    ) -> RecycleResult<sqlx::Error> {
        if metrics.created.elapsed() > MAX_AGE || self.is_suspect(metrics) {
            return Err(RecycleError::message("old, or silent like the others"));
        }
        match timeout(PING, connection.ping()).await {
            Ok(result) => Ok(result?),
            Err(_) => {
                *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                tracing::warn!(
                    limit_ms = PING.as_millis(),
                    "a database connection does not answer, it is closed"
                );
                Err(RecycleError::message("no answer"))
            }
        }
    }
}

/// Connections to one database.
#[derive(Clone)]
pub struct Pool {
    inner: managed::Pool<Manager>,
    /// Limits how many connections this handle uses at once, so that it cannot take all of them.
    share: Option<Arc<Semaphore>>,
    patience: Duration,
    name: &'static str,
}

impl Pool {
    /// At most `size` connections, opened when they are needed; `patience` is how long a caller waits for one to come free,
    /// `name` is `db.client.connection.pool.name`. The first pool's host and database become the `server.address` and
    /// `db.namespace` of every statement of the process.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(
        name: &'static str,
        options: PgConnectOptions,
        size: usize,
        patience: Duration,
    ) -> Self {
        Target::set(&options);
        let manager = Manager {
            options,
            silent: Mutex::new(None),
        };
        let inner = managed::Pool::builder(manager)
            .max_size(size)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime");
        let pool = Self {
            inner,
            share: None,
            patience,
            name,
        };
        DB_TIMEOUTS.with(PoolName(name)).absolute(0);
        DB_PENDING.with(PoolName(name)).set(0.0);
        DB_WAIT
            .with((PoolName(name), ErrorType(String::new()), Outcome::Ok))
            .record_many(0.0, 0);
        let gauged = pool.clone();
        crate::process::on_scrape(move || gauged.gauge());
        pool
    }

    /// The same connections, of which at most `most` are in use through this handle and its clones at once.
    pub fn share(&self, most: usize) -> Self {
        Self {
            share: Some(Arc::new(Semaphore::new(most))),
            ..self.clone()
        }
    }

    /// Most connections that it opens.
    pub fn capacity(&self) -> usize {
        self.inner.status().max_size
    }

    /// Options to open a connection outside of the pool, for listeners and migrations.
    pub fn options(&self) -> &PgConnectOptions {
        &self.inner.manager().options
    }

    /// Takes a connection: an internal span and a wait-time observation.
    ///
    /// # Errors
    /// `PoolTimedOut` when none is free, `Io(TimedOut)` when the server does not answer, else why none can be opened.
    pub async fn acquire(&self) -> Result<Connection> {
        let mut wait = Wait::new(self.name);
        let result = spans::within(&wait.span, self.acquire_quietly()).await;
        wait.end = Some(result.as_ref().err().map(error_type).unwrap_or_default());
        result
    }

    /// The same without span and observation, for polling: its spans would hide the important ones.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn acquire_quietly(&self) -> Result<Connection> {
        self.acquire_within(CONNECT).await
    }

    /// The same with another limit for a log-in: nobody waits for an answer when a service starts, and its machine may be slow then.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn acquire_within(&self, log_in: Duration) -> Result<Connection> {
        let started = Instant::now();
        let permit = match &self.share {
            Some(share) => Some(self.permit(share).await?),
            None => None,
        };
        let timeouts = Timeouts {
            wait: Some(self.patience.saturating_sub(started.elapsed())),
            create: Some(log_in),
            recycle: None,
        };
        let inner = self.inner.clone();
        // In a task of its own, which goes on when the caller gives up: a connection that is dropped while it is opened or checked is closed.
        let getting = tokio::spawn(async move { inner.timeout_get(&timeouts).await });
        let object = getting.await.map_err(|_| sqlx::Error::PoolClosed)?;
        let object = object.map_err(|error| why(error, log_in))?;
        Ok(Connection {
            object: Some(object),
            in_transaction: false,
            permit,
        })
    }

    async fn permit(&self, share: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        let permit = timeout(self.patience, share.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        permit.map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Takes a connection and opens a transaction (span `BEGIN`).
    ///
    /// # Errors
    /// As [`Pool::acquire`], or when the statement fails.
    pub async fn begin(&self) -> Result<Tx> {
        let mut connection = self.acquire().await?;
        // Set before the statement: if it is cut off, it is unknown whether the transaction has begun.
        connection.in_transaction = true;
        BEGIN.run(simple("BEGIN", &mut connection)).await?;
        Ok(Tx { connection })
    }

    fn gauge(&self) {
        let status = self.inner.status();
        let used = status.size.saturating_sub(status.available);
        for (state, value) in [
            (ConnectionState::Idle, status.available),
            (ConnectionState::Used, used),
        ] {
            DB_CONNECTIONS
                .with((PoolName(self.name), state))
                .set(value as f64);
        }
        DB_CONNECTIONS_MAX
            .with(PoolName(self.name))
            .set(status.max_size as f64);
    }
}

fn why(error: PoolError<sqlx::Error>, log_in: Duration) -> sqlx::Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(TimeoutType::Wait) => sqlx::Error::PoolTimedOut,
        PoolError::Timeout(_) => {
            let limit = log_in.as_millis();
            let text = format!("the server does not answer a new connection within {limit} ms");
            std::io::Error::new(ErrorKind::TimedOut, text).into()
        }
        _ => sqlx::Error::PoolClosed,
    }
}

/// `error.type` of a failed wait for a connection.
fn error_type(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) if error.kind() != ErrorKind::TimedOut => "connect".to_owned(),
        error => classify(error).0,
    }
}

/// Counts a wait for a connection, also one that was given up.
struct Wait {
    name: &'static str,
    span: Span,
    started: Instant,
    end: Option<String>,
}

impl Wait {
    fn new(name: &'static str) -> Self {
        let target = Target::get();
        let span = tracing::info_span!(
            "db.pool.acquire",
            otel.name = "acquire connection",
            otel.kind = "internal",
            otel.status_code = Empty,
            error.type = Empty,
            db.system.name = SYSTEM,
            db.client.connection.pool.name = name,
            server.address = target.map(|target| target.address.as_str()),
            server.port = target.map(|target| i64::from(target.port)),
        );
        DB_PENDING.kept(PoolName(name)).increment(1.0);
        Self {
            name,
            span,
            started: Instant::now(),
            end: None,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        DB_PENDING.kept(PoolName(self.name)).decrement(1.0);
        let error_type = self.end.take().unwrap_or_else(|| abandoned().to_owned());
        if error_type == POOL_TIMEOUT {
            DB_TIMEOUTS.with(PoolName(self.name)).increment(1);
        }
        let outcome = record_end(&self.span, &error_type);
        let labels = (PoolName(self.name), ErrorType(error_type), outcome);
        DB_WAIT.observe(labels, self.started.elapsed(), &self.span);
    }
}

/// A connection of a pool. After a drop it finishes a statement that was cut off and goes back to the pool; if it does not finish in time, it is closed.
pub struct Connection {
    /// Taken on drop.
    object: Option<Object<Manager>>,
    in_transaction: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.object.as_ref().expect("taken on drop only")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.object.as_mut().expect("taken on drop only")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (Some(mut object), permit) = (self.object.take(), self.permit.take()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(Object::take(object));
            return;
        };
        let in_transaction = self.in_transaction;
        runtime.spawn(async move {
            let ended = match in_transaction {
                true => timeout(GIVE_BACK, simple("ROLLBACK", &mut object)).await,
                false => timeout(GIVE_BACK, object.ping()).await,
            };
            match ended {
                Ok(Ok(())) => drop(object),
                _ => drop(Object::take(object)),
            }
            drop(permit);
        });
    }
}

/// A statement without values or answer.
async fn simple(sql: &'static str, connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

/// A transaction; rolled back on drop.
pub struct Tx {
    connection: Connection,
}

impl Tx {
    /// Commits (span `COMMIT`).
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn commit(mut self) -> Result<()> {
        COMMIT.run(simple("COMMIT", &mut self.connection)).await?;
        self.connection.in_transaction = false;
        Ok(())
    }

    /// Rolls back (span `ROLLBACK`).
    ///
    /// # Errors
    /// When the statement fails; the connection is closed then.
    pub async fn rollback(mut self) -> Result<()> {
        ROLLBACK
            .run(simple("ROLLBACK", &mut self.connection))
            .await?;
        self.connection.in_transaction = false;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
