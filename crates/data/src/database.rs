//! Opens the database: waits for the server, migrates the schema, adds the items.

use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use telemetry::db::Pool;
use tokio::time::Instant;

use crate::errors::{is_starting, passes};
use crate::settings::{Own, SeedItem};
use crate::store;

/// What the server shows as the name of our connections.
pub(crate) const APPLICATION: &str = "omnitrace-data";

/// How long the server may take to accept a connection after we have started.
const WAIT: Duration = Duration::from_secs(30);

/// Connections for the background. Requests cannot take them away.
const BACKGROUND_CONNECTIONS: usize = 5;

/// Those of them that the relay and the sweeper leave to the watch for locks and the probe: who waits for a lock must not keep
/// it from being named.
const WATCHING_CONNECTIONS: usize = 2;

/// Of five connections for requests one is left to the other kind of them, so that who waits for a lock on orders does not
/// keep those from the items who do not need any, and the other way round. See docs/adr/0013.
const SPARED: usize = 5;

/// The open database.
#[derive(Clone)]
pub(crate) struct Database {
    /// For requests that look up an item: most of their connections.
    pub(crate) items: Pool,
    /// For requests about orders: most of the same connections.
    pub(crate) orders: Pool,
    /// All of them.
    pub(crate) requests: Pool,
    /// For the relay and the sweeper.
    pub(crate) background: Pool,
    /// For looking whether all is well.
    pub(crate) watching: Pool,
}

impl Database {
    fn new(options: PgConnectOptions, size: usize) -> Self {
        let pool = |name, size| {
            Pool::new(
                name,
                options.clone(),
                size,
                api::timeouts::DATA_POOL_ACQUIRE,
            )
        };
        let requests = pool("requests", size);
        let watching = pool("background", BACKGROUND_CONNECTIONS);
        // A pool of one cannot be shared out.
        let most = size - (size / SPARED).max(1).min(size - 1);
        Self {
            items: requests.share(most),
            orders: requests.share(most),
            requests,
            background: watching.share(BACKGROUND_CONNECTIONS - WATCHING_CONNECTIONS),
            watching,
        }
    }
}

/// Connects, migrates and seeds. Several processes may do it at once.
pub(crate) async fn open(settings: &Own) -> anyhow::Result<Database> {
    let options = settings
        .database
        .clone()
        .application_name(APPLICATION)
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

    // The server gives up on a statement before our caller gives up on us, and on a lock before that: so it is named.
    let millis = |limit: Duration| limit.as_millis().to_string();
    let options = options.options([
        ("statement_timeout", millis(api::timeouts::DATA_STATEMENT)),
        ("lock_timeout", millis(api::timeouts::DATA_LOCK)),
    ]);
    let database = Database::new(options, settings.pool_size);
    for pool in [&database.requests, &database.watching] {
        warm(pool).await.with_context(|| {
            format!(
                "{server} does not accept {} connections and {BACKGROUND_CONNECTIONS} for the background: lower OMNITRACE_POOL_SIZE, or raise max_connections there",
                settings.pool_size
            )
        })?;
    }
    Ok(database)
}

/// Opens every connection now: a log-in costs many milliseconds of CPU time, which the first burst of requests would
/// otherwise wait for, and a server that does not accept as many is found at start.
async fn warm(pool: &Pool) -> Result<(), sqlx::Error> {
    let end = Instant::now() + WAIT;
    let mut held = Vec::new();
    while held.len() < pool.capacity() {
        match pool.acquire_quietly().await {
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
