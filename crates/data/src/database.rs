//! Opens the database: waits for the server, migrates the schema, adds the items.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use telemetry::db::Pool;
use tokio::time::Instant;

use crate::errors::{is_starting, passes};
use crate::faults::Faults;
use crate::settings::{DataSettings, SeedItem};
use crate::store::{self, BACKGROUND_CONNECTIONS, Store};

/// What the server shows as the name of our connections.
pub(crate) const APPLICATION: &str = "omnitrace-data";

/// How long the server may take to accept all connections after we have started. `omnitrace up` waits for a minute.
const WAIT: Duration = Duration::from_secs(45);

/// Connects, migrates and seeds, and opens the connections of the service.
pub(crate) async fn open(settings: &DataSettings, faults: Arc<Faults>) -> anyhow::Result<Store> {
    let end = Instant::now() + WAIT;
    let options = prepare(settings, end).await?;
    let server = address(&options);

    // The server gives up on a statement before our caller gives up on us, and on a lock before that: so it is named.
    let millis = |limit: Duration| limit.as_millis().to_string();
    let options = options.options([
        ("statement_timeout", millis(api::timeouts::DATA_STATEMENT)),
        ("lock_timeout", millis(api::timeouts::DATA_LOCK)),
    ]);
    let store = Store::new(options, settings.pool_size, faults);
    for pool in [&store.requests, &store.watching] {
        warm(pool, end).await.with_context(|| {
            format!(
                "{server} does not accept {} connections and {BACKGROUND_CONNECTIONS} for the background within {WAIT:?}: lower OMNITRACE_POOL_SIZE, or raise max_connections there",
                settings.pool_size
            )
        })?;
    }
    Ok(store)
}

/// Brings the database up to date, and that is all.
pub(crate) async fn migrated(settings: &DataSettings) -> anyhow::Result<()> {
    prepare(settings, Instant::now() + WAIT).await.map(drop)
}

/// Connects, migrates and seeds; returns how to connect. Several processes may do it at once, and while older ones serve.
async fn prepare(settings: &DataSettings, end: Instant) -> anyhow::Result<PgConnectOptions> {
    let options = settings
        .database
        .clone()
        .application_name(APPLICATION)
        .options([("search_path", store::SCHEMA)])
        .disable_statement_logging();
    let server = address(&options);
    let mut connection = connect(&options, end)
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
    Ok(options)
}

fn address(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}

/// Opens every connection now: a log-in costs many milliseconds of CPU time, which the first burst of requests would
/// otherwise wait for, and a server that does not accept as many is found at start.
async fn warm(pool: &Pool, end: Instant) -> Result<(), sqlx::Error> {
    let mut held = Vec::new();
    while held.len() < pool.capacity() {
        let left = end.saturating_duration_since(Instant::now());
        match pool.acquire_within(left).await {
            Ok(connection) => held.push(connection),
            Err(error) if passes(&error) && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tries again while the server is not there yet; a wrong password or database is an error at once.
async fn connect(options: &PgConnectOptions, end: Instant) -> Result<PgConnection, sqlx::Error> {
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
    // A release that is rolled back meets what a newer one has added, which it need not know.
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator.run(&mut *connection).await?;
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
