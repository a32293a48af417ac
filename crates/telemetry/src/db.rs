//! Database spans, pool spans and metrics for sqlx.
//!
//! Every wait is visible: taking a connection, `BEGIN`, each statement, `COMMIT`. A 20 ms commit is not a gap.

use std::future::Future;
use std::io::ErrorKind;
use std::sync::OnceLock;
use std::time::Instant;

use sqlx::postgres::PgConnectOptions;
use tracing::Span;
use tracing::field::Empty;

use crate::deadline::abandoned;
use crate::error_type::{CANCELLED, TIMEOUT};
use crate::names::db::DB_DURATION;
use crate::names::labels::{Collection, ErrorType, Operation, System};
use crate::observe::Outcome;
use crate::spans;

pub use crate::db_pool::{Connection, Pool, Tx};

pub(crate) const SYSTEM: &str = "postgresql";

/// `error.type` when no connection of the pool came free in time.
pub(crate) const POOL_TIMEOUT: &str = "pool_timeout";

/// Where the statements go: known once a [`Pool`] is made, the same for every statement of the process.
static TARGET: OnceLock<Target> = OnceLock::new();

#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    pub(crate) namespace: Option<String>,
    pub(crate) address: String,
    pub(crate) port: u16,
}

impl Target {
    pub(crate) fn get() -> Option<&'static Self> {
        TARGET.get()
    }

    /// The first one stays.
    pub(crate) fn set(options: &PgConnectOptions) {
        let _ = TARGET.set(Self {
            namespace: options.get_database().map(str::to_owned),
            address: options.get_host().to_owned(),
            port: options.get_port(),
        });
    }
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

pub(crate) const BEGIN: Statement = Statement::new("BEGIN", "", "BEGIN");
pub(crate) const COMMIT: Statement = Statement::new("COMMIT", "", "COMMIT");
pub(crate) const ROLLBACK: Statement = Statement::new("ROLLBACK", "", "ROLLBACK");

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
        let result = spans::within(&guard.span, query).await;
        guard.end = Some(result.as_ref().err().map(classify));
        result
    }

    fn labels(
        &self,
        error_type: String,
        outcome: Outcome,
    ) -> (System, Operation, Collection, ErrorType, Outcome) {
        (
            System(SYSTEM),
            Operation(self.operation),
            Collection(self.collection),
            ErrorType(error_type),
            outcome,
        )
    }

    fn span(&self) -> Span {
        let target = Target::get();
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
            service.peer.name = SYSTEM,
        )
    }
}

/// `error.type` and SQLSTATE.
pub(crate) fn classify(error: &sqlx::Error) -> (String, Option<String>) {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().map(|code| code.into_owned());
            (code.clone().unwrap_or_else(|| "database".to_owned()), code)
        }
        sqlx::Error::PoolTimedOut => (POOL_TIMEOUT.to_owned(), None),
        sqlx::Error::PoolClosed => ("pool_closed".to_owned(), None),
        sqlx::Error::Io(error) if error.kind() == ErrorKind::TimedOut => (TIMEOUT.to_owned(), None),
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
            None => (abandoned().to_owned(), None),
            Some(end) => end.unwrap_or_default(),
        };
        if let Some(code) = code {
            self.span.record("db.response.status_code", code);
        }
        let outcome = record_end(&self.span, &error_type);
        DB_DURATION.observe(
            self.statement.labels(error_type, outcome),
            self.started.elapsed(),
            &self.span,
        );
    }
}

/// Writes the end of an operation on its span.
pub(crate) fn record_end(span: &Span, error_type: &str) -> Outcome {
    let outcome = match error_type {
        "" => Outcome::Ok,
        CANCELLED => Outcome::Cancelled,
        _ => Outcome::Error,
    };
    if outcome != Outcome::Ok {
        span.record("error.type", error_type);
    }
    if outcome == Outcome::Error {
        span.record("otel.status_code", "ERROR");
    }
    outcome
}

/// Makes the series of these statements exist at zero.
pub fn declare_statements(statements: &[Statement]) {
    for statement in statements.iter().chain(&[BEGIN, COMMIT, ROLLBACK]) {
        DB_DURATION
            .with(statement.labels(String::new(), Outcome::Ok))
            .record_many(0.0, 0);
    }
}
