//! Opens the database: waits for the server, migrates the schema, adds the items.

use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use telemetry::db::Pool;
use tokio::time::Instant;

use crate::errors::is_starting;
use crate::settings::{Own, SeedItem};
use crate::store;

/// How long the server may take to accept a connection after we have started.
const WAIT: Duration = Duration::from_secs(30);

/// Connections for the relay, its listener, the sweeper and the readiness probe. Requests cannot take them away.
const BACKGROUND_CONNECTIONS: u32 = 4;

/// The open database.
#[derive(Clone)]
pub(crate) struct Database {
    /// For requests.
    pub(crate) requests: Pool,
    /// For background tasks.
    pub(crate) background: Pool,
}

/// Connects, migrates and seeds. Several processes may do it at once.
pub(crate) async fn open(settings: &Own) -> anyhow::Result<Database> {
    let options = settings
        .database
        .clone()
        .application_name("omnitrace-data")
        .options([("search_path", store::SCHEMA)])
        .disable_statement_logging();
    let server = format!("{}:{}", options.get_host(), options.get_port());
    let mut connection = connect(&options)
        .await
        .with_context(|| format!("DATABASE_URL: no connection to {server}"))?;
    migrate(&mut connection)
        .await
        .with_context(|| format!("cannot prepare the schema {} on {server}", store::SCHEMA))?;
    seed(&mut connection, &settings.items)
        .await
        .context("OMNITRACE_SEED_ITEMS: cannot add the items")?;
    connection
        .close()
        .await
        .context("closing the migration's connection")?;

    // The server gives up on a statement before our caller gives up on us.
    let timeout = api::timeouts::DATA_STATEMENT.as_millis().to_string();
    let options = options.options([("statement_timeout", timeout.as_str())]);
    let pool = |size: u32| {
        PgPoolOptions::new()
            .max_connections(size)
            .min_connections(size)
            .acquire_timeout(api::timeouts::DATA_POOL_ACQUIRE)
            .idle_timeout(Duration::from_secs(300))
            .connect_lazy_with(options.clone())
    };
    let (requests, background) = (pool(settings.pool_size), pool(BACKGROUND_CONNECTIONS));
    for pool in [&requests, &background] {
        warm(pool).await.with_context(|| {
            format!(
                "OMNITRACE_POOL_SIZE: {server} does not accept {} connections",
                settings.pool_size
            )
        })?;
    }
    Ok(Database {
        requests: Pool::new(requests, "requests"),
        background: Pool::new(background, "background"),
    })
}

/// Opens every connection now: a log-in costs many milliseconds of CPU time, which the first burst of requests would
/// otherwise wait for, and a server that does not accept as many is found at start.
async fn warm(pool: &PgPool) -> Result<(), sqlx::Error> {
    let end = Instant::now() + WAIT;
    let mut held = Vec::new();
    while held.len() < pool.options().get_max_connections() as usize {
        match pool.acquire().await {
            Ok(connection) => held.push(connection),
            Err(sqlx::Error::PoolTimedOut) if Instant::now() < end => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tries again while the server is not there yet; a wrong password or database is an error at once.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let end = Instant::now() + WAIT;
    loop {
        match PgConnection::connect_with(options).await {
            Err(error) if is_starting(&error) && Instant::now() < end => {
                tracing::info!(%error, "waiting for the database");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            result => return result,
        }
    }
}

/// Creates the schema and brings it up to date, under a lock that ends with the connection.
async fn migrate(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query(store::LOCK_SCHEMA)
        .execute(&mut *connection)
        .await?;
    let exists: bool = sqlx::query_scalar(store::SCHEMA_EXISTS)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        sqlx::query(store::CREATE_SCHEMA)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::migrate!().run(&mut *connection).await?;
    Ok(())
}

async fn seed(connection: &mut PgConnection, items: &[SeedItem]) -> Result<(), sqlx::Error> {
    let skus: Vec<_> = items.iter().map(|item| item.sku.as_str()).collect();
    let stocks: Vec<_> = items.iter().map(|item| item.stock).collect();
    let prices: Vec<_> = items.iter().map(|item| item.unit_price_cents).collect();
    sqlx::query(store::SEED)
        .bind(skus)
        .bind(stocks)
        .bind(prices)
        .execute(connection)
        .await?;
    Ok(())
}
