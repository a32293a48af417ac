//! Errors of the database, and what they mean to a caller.

use std::io::{self, ErrorKind};
use std::time::Duration;

use api::problems::{DEPENDENCY_TIMEOUT, DEPENDENCY_UNAVAILABLE};
use service::ApiError;

/// A statement that failed. Shown by its message only: Postgres puts values into the detail.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct StoreError(#[from] sqlx::Error);

/// SQLSTATE of a statement that ran into `statement_timeout`.
const QUERY_CANCELED: &str = "57014";

/// SQLSTATE of a statement that ran into `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// SQLSTATEs that pass by themselves: connection trouble (class 08), too many connections, shutting down,
/// starting up, serialization failure, deadlock.
const TRANSIENT: [&str; 6] = ["53300", "57P01", "57P02", "57P03", "40001", "40P01"];

impl From<StoreError> for ApiError {
    #[track_caller]
    fn from(error: StoreError) -> Self {
        let (kind, detail) = match (&error.0, code(&error.0).as_deref()) {
            (_, Some(QUERY_CANCELED)) => {
                (DEPENDENCY_TIMEOUT, "the database did not answer in time")
            }
            (_, Some(LOCK_NOT_AVAILABLE)) => (
                DEPENDENCY_UNAVAILABLE,
                "somebody holds a lock in the database that this needs, try again",
            ),
            (sqlx::Error::PoolTimedOut, _) => (
                DEPENDENCY_UNAVAILABLE,
                "no database connection is free, try again",
            ),
            (sqlx::Error::Io(source), _) if source.kind() == ErrorKind::TimedOut => (
                DEPENDENCY_TIMEOUT,
                "the database does not answer, try again",
            ),
            (sqlx::Error::Io(_), _) => (
                DEPENDENCY_UNAVAILABLE,
                "the database cannot be reached, try again",
            ),
            (error, _) if passes(error) => (
                DEPENDENCY_UNAVAILABLE,
                "the database is unavailable, try again",
            ),
            _ => return Self::internal(error),
        };
        Self::new(kind, detail).with_source(error)
    }
}

impl StoreError {
    /// A statement of the background that was given up.
    pub(crate) fn late(limit: Duration) -> Self {
        let text = format!("no answer within {} ms", limit.as_millis());
        Self(io::Error::new(ErrorKind::TimedOut, text).into())
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(std::borrow::Cow::into_owned)
}

/// True for what waiting cures.
pub(crate) fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        error => code(error)
            .is_some_and(|code| code.starts_with("08") || TRANSIENT.contains(&code.as_str())),
    }
}

/// True while a server does not listen yet, or still recovers. False for what waiting does not cure.
pub(crate) fn is_starting(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_))
        || code(error).is_some_and(|code| code == "57P03" || code == "53300")
}
