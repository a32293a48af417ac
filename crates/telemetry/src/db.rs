//! Database spans, pool spans and metrics for sqlx.
//!
//! Every wait is visible: taking a connection, `BEGIN`, each statement, `COMMIT`. A 20 ms commit is not a gap.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::time::Instant;

use metrics::{Label, counter, gauge, histogram};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::http_server::{CANCELLED, TIMEOUT};
use crate::names;
use crate::observe::{Outcome, observe};

const SYSTEM: &str = "postgresql";

/// Where the statements go: known once a [`Pool`] is made, the same for every statement of the process.
static TARGET: OnceLock<Target> = OnceLock::new();

#[derive(Debug, Clone, Default)]
struct Target {
    namespace: Option<String>,
    address: String,
    port: u16,
}

/// One SQL statement with its low-cardinality names.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// `db.operation.name`, e.g. `SELECT`.
    pub operation: &'static str,
    /// `db.collection.name`, e.g. `orders`; empty when there is none.
    pub collection: &'static str,
    /// `db.query.text`: parameters only as `$1`, never values.
    pub sql: &'static str,
}

const BEGIN: Statement = Statement::new("BEGIN", "", "BEGIN");
const COMMIT: Statement = Statement::new("COMMIT", "", "COMMIT");
const ROLLBACK: Statement = Statement::new("ROLLBACK", "", "ROLLBACK");

impl Statement {
    /// Declares a statement; usable in a `const`.
    pub const fn new(operation: &'static str, collection: &'static str, sql: &'static str) -> Self {
        Self {
            operation,
            collection,
            sql,
        }
    }

    /// Runs a query future in a client span and counts it, however it ends:
    /// `GET_ITEM.run(sqlx::query(GET_ITEM.sql).bind(sku).fetch_one(&mut *conn)).await`.
    pub async fn run<T>(
        &self,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut guard = Guard::new(*self);
        let span = guard.span.clone();
        let result = query.instrument(span).await;
        guard.end = Some(result.as_ref().err().map(classify));
        result
    }

    fn labels(&self, error_type: String, outcome: Outcome) -> Vec<Label> {
        vec![
            Label::new("db_system_name", SYSTEM),
            Label::new("db_operation_name", self.operation),
            Label::new("db_collection_name", self.collection),
            Label::new("error_type", error_type),
            Label::new("outcome", outcome.as_str()),
        ]
    }

    fn span(&self) -> Span {
        let target = TARGET.get();
        let name = [self.operation, self.collection].join(" ");
        tracing::info_span!(
            "db.client",
            otel.name = name.trim_end(),
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            db.system.name = SYSTEM,
            db.namespace = target.and_then(|target| target.namespace.as_deref()),
            db.operation.name = self.operation,
            db.collection.name = (!self.collection.is_empty()).then_some(self.collection),
            db.query.text = self.sql,
            db.response.status_code = Empty,
            server.address = target.map(|target| target.address.as_str()),
            server.port = target.map(|target| i64::from(target.port)),
            peer.service = SYSTEM,
        )
    }
}

/// `error.type` and SQLSTATE.
fn classify(error: &sqlx::Error) -> (String, Option<String>) {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().map(|code| code.into_owned());
            (code.clone().unwrap_or_else(|| "database".to_owned()), code)
        }
        sqlx::Error::PoolTimedOut => (TIMEOUT.to_owned(), None),
        sqlx::Error::PoolClosed => ("pool_closed".to_owned(), None),
        sqlx::Error::Io(_) => ("io".to_owned(), None),
        // The caller asked for one row and there was none: an answer, not a failure.
        sqlx::Error::RowNotFound => (String::new(), None),
        _ => ("client".to_owned(), None),
    }
}

struct Guard {
    statement: Statement,
    span: Span,
    started: Instant,
    end: Option<Option<(String, Option<String>)>>,
}

impl Guard {
    fn new(statement: Statement) -> Self {
        Self {
            statement,
            span: statement.span(),
            started: Instant::now(),
            end: None,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (error_type, code) = match self.end.take() {
            None => (CANCELLED.to_owned(), None),
            Some(end) => end.unwrap_or_default(),
        };
        let outcome = match error_type.as_str() {
            "" => Outcome::Ok,
            CANCELLED => Outcome::Cancelled,
            _ => Outcome::Error,
        };
        if let Some(code) = code {
            self.span.record("db.response.status_code", code);
        }
        if outcome != Outcome::Ok {
            self.span.record("error.type", error_type.as_str());
        }
        if outcome == Outcome::Error {
            self.span.record("otel.status_code", "ERROR");
        }
        observe(
            names::DB_DURATION,
            self.statement.labels(error_type, outcome),
            self.started.elapsed(),
            &self.span,
        );
    }
}

/// Makes the series of these statements exist at zero.
pub fn declare_statements(statements: &[Statement]) {
    for statement in statements.iter().chain(&[BEGIN, COMMIT, ROLLBACK]) {
        histogram!(
            names::DB_DURATION,
            statement.labels(String::new(), Outcome::Ok)
        )
        .record_many(0.0, 0);
    }
}

/// A pool whose waits, BEGIN and COMMIT are visible in the waterfall, and whose connections are gauged.
#[derive(Clone)]
pub struct Pool {
    inner: PgPool,
    name: &'static str,
}

impl Pool {
    /// Wraps a pool; `name` is `db.client.connection.pool.name`. The first pool's host and database become the
    /// `server.address` and `db.namespace` of every statement of the process.
    pub fn new(inner: PgPool, name: &'static str) -> Self {
        let options = inner.connect_options();
        let _ = TARGET.set(Target {
            namespace: options.get_database().map(str::to_owned),
            address: options.get_host().to_owned(),
            port: options.get_port(),
        });
        counter!(names::DB_TIMEOUTS, "db_client_connection_pool_name" => name).absolute(0);
        gauge!(names::DB_PENDING, "db_client_connection_pool_name" => name).set(0.0);
        histogram!(names::DB_WAIT, "db_client_connection_pool_name" => name).record_many(0.0, 0);
        let pool = Self { inner, name };
        let gauged = pool.clone();
        crate::process::on_scrape(move || gauged.gauge());
        pool
    }

    /// The raw pool, for migrations and listeners.
    pub fn raw(&self) -> &PgPool {
        &self.inner
    }

    /// Takes a connection: an internal span and a wait-time observation.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let span = tracing::info_span!(
            "db.pool.acquire",
            otel.name = "acquire connection",
            otel.kind = "internal",
            otel.status_code = Empty,
            error.type = Empty,
            db.client.connection.pool.name = self.name,
        );
        let wait = Wait::new(self.name, span.clone());
        let result = self.inner.acquire().instrument(span.clone()).await;
        drop(wait);
        if let Err(error) = &result {
            span.record("error.type", classify(error).0);
            span.record("otel.status_code", "ERROR");
            if matches!(error, sqlx::Error::PoolTimedOut) {
                counter!(names::DB_TIMEOUTS, "db_client_connection_pool_name" => self.name)
                    .increment(1);
            }
        }
        result
    }

    /// Takes a connection and opens a transaction (span `BEGIN`).
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let connection = self.acquire().await?;
        Ok(Tx {
            inner: BEGIN.run(Transaction::begin(connection, None)).await?,
        })
    }

    fn gauge(&self) {
        let idle = self.inner.num_idle() as f64;
        let used = f64::from(self.inner.size()) - idle;
        for (state, value) in [("idle", idle), ("used", used.max(0.0))] {
            gauge!(
                names::DB_CONNECTIONS,
                "db_client_connection_pool_name" => self.name,
                "db_client_connection_state" => state
            )
            .set(value);
        }
        gauge!(names::DB_CONNECTIONS_MAX, "db_client_connection_pool_name" => self.name)
            .set(f64::from(self.inner.options().get_max_connections()));
    }
}

/// Counts a wait for a connection, also one that was given up.
struct Wait {
    name: &'static str,
    span: Span,
    started: Instant,
}

impl Wait {
    fn new(name: &'static str, span: Span) -> Self {
        gauge!(names::DB_PENDING, "db_client_connection_pool_name" => name).increment(1.0);
        Self {
            name,
            span,
            started: Instant::now(),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        gauge!(names::DB_PENDING, "db_client_connection_pool_name" => self.name).decrement(1.0);
        let labels = vec![Label::new("db_client_connection_pool_name", self.name)];
        observe(names::DB_WAIT, labels, self.started.elapsed(), &self.span);
    }
}

/// A transaction; rolled back on drop.
pub struct Tx {
    inner: Transaction<'static, Postgres>,
}

impl Tx {
    /// Commits (span `COMMIT`).
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        COMMIT.run(self.inner.commit()).await
    }

    /// Rolls back (span `ROLLBACK`).
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        ROLLBACK.run(self.inner.rollback()).await
    }
}

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
