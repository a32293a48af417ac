//! Events that were set aside, for `omnitrace outbox`. It uses the database directly, so that it works
//! whether or not the service does.

use std::time::Duration;

use anyhow::Context;
use service::Env;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use crate::background::limited;
use crate::rows::DeadLetter;
use crate::{settings, store};

/// Most that are listed.
const MOST: i64 = 1000;

/// How long the database may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The outbox of a database.
pub struct DeadLetters {
    connection: PgConnection,
}

impl DeadLetters {
    /// Connects to the database that `DATABASE_URL` names, else to the one that `otherwise` does.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub async fn open(otherwise: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let url = match Env::process().text("DATABASE_URL")? {
            Some(url) => url,
            None => otherwise()?,
        };
        let options = settings::database_at(&url)?
            .application_name("omnitrace-outbox")
            .options([("search_path", store::SCHEMA)])
            .disable_statement_logging();
        Self::connect(&options).await
    }

    async fn connect(options: &PgConnectOptions) -> anyhow::Result<Self> {
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let connection = timeout(CONNECT, PgConnection::connect_with(options))
            .await
            .with_context(|| format!("DATABASE_URL: {server} does not answer"))?
            .with_context(|| format!("DATABASE_URL: no connection to {server}"))?;
        Ok(Self { connection })
    }

    /// The events that were set aside, oldest first, a thousand at most.
    ///
    /// # Errors
    /// When the database has no outbox of this version, or fails.
    pub async fn list(&mut self) -> anyhow::Result<Vec<DeadLetter>> {
        let query = sqlx::query_as(store::LIST_SET_ASIDE).bind(MOST);
        limited(query.fetch_all(&mut self.connection))
            .await
            .context("the outbox cannot be read: has the data service of this version run on this database?")
    }

    /// Has these events, or all, delivered again; returns those that were set aside.
    ///
    /// # Errors
    /// As [`DeadLetters::list`].
    pub async fn retry(&mut self, ids: Option<&[Uuid]>) -> anyhow::Result<Vec<Uuid>> {
        let query = sqlx::query_scalar(store::RETRY_SET_ASIDE).bind(ids);
        limited(query.fetch_all(&mut self.connection))
            .await
            .context("the outbox cannot be changed: has the data service of this version run on this database?")
    }
}
