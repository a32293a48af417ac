//! A server that the user runs: `DATABASE_URL`.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

const DEADLINE: Duration = Duration::from_secs(10);

/// The printable parts of `DATABASE_URL`, and the server's version.
#[derive(Debug, Clone)]
pub struct External {
    /// `host:port`. Never the user or the password.
    pub host: String,
    /// The server's version.
    pub version: String,
}

/// `host:port` of a database URL, without anything secret.
pub fn host(url: &str) -> Result<String> {
    let options = options(url)?;
    Ok(match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    })
}

/// Connects once, to fail early and with a clear message. Changes nothing.
pub async fn check(url: &str) -> Result<External> {
    let host = host(url)?;
    let connect = async {
        let mut connection = options(url)?.connect().await?;
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await.ok();
        anyhow::Ok(version)
    };
    let version = tokio::time::timeout(DEADLINE, connect)
        .await
        .unwrap_or_else(|_| Err(anyhow!("no answer within {DEADLINE:?}")))
        .with_context(|| format!("DATABASE_URL: cannot use the server at {host}"))?;
    Ok(External { host, version })
}

/// Whether the database counts its statements, by an extension that only superusers can create. A private database gets it, if
/// its server has it.
pub async fn counts_statements(url: &str, is_private: bool) -> Result<bool> {
    let mut connection = options(url)?.connect().await?;
    if is_private {
        let create = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
        sqlx::query(create).execute(&mut connection).await.ok();
    }
    let exists = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')";
    let exists = sqlx::query_scalar(exists).fetch_one(&mut connection);
    Ok(exists.await?)
}

/// The URL as the driver takes it.
pub fn options(url: &str) -> Result<PgConnectOptions> {
    // The parser's error could repeat the URL, password and all.
    url.parse().map_err(|_| {
        anyhow!("DATABASE_URL: not a URL like postgres://user:password@host:5432/database")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_repeated() {
        assert_eq!(
            host("postgres://me:secret@db.example:6543/shop").unwrap(),
            "db.example:6543"
        );
        let error = format!("{:#}", host("nonsense secret").unwrap_err());
        assert!(!error.contains("secret"), "{error}");
    }
}
