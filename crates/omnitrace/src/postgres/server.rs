//! A running server: started in the foreground as our child, stopped by signal.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

use super::Installation;
use super::cluster::{self, Cluster, USER};
use super::identity::Identity;

/// Crash recovery of a large log can take a while.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Fast stop, then immediate stop, then SIGKILL.
const STOP_DEADLINES: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(3)),
    (Signal::SIGKILL, Duration::from_secs(10)),
];
const LAST_LINES: usize = 20;

/// A server that accepts connections.
pub struct Server {
    process: tokio::process::Child,
    last_lines: Arc<Mutex<Vec<String>>>,
    /// `postgres://user:password@127.0.0.1:port/database`.
    pub url: String,
}

impl Server {
    /// Starts the server on `port`, or on any free one (0); [`Server::wait_until_ready`] reports whether it listens.
    /// `ephemeral` gives up safety after a crash for speed.
    pub fn spawn(
        installation: &Installation,
        cluster: &Cluster,
        user: Option<&Identity>,
        port: u16,
        ephemeral: bool,
    ) -> Result<Self> {
        let port = match port {
            0 => TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            port => port,
        };
        let mut command = cluster::command(
            &installation.bin.join("postgres"),
            user,
            &cluster.data,
            Signal::SIGINT,
        );
        // In a process group of its own: a Ctrl-C on the terminal is for the supervisor, which stops the server in order.
        command
            .arg("-D")
            .arg(&cluster.data)
            .arg("-p")
            .arg(port.to_string())
            .process_group(0);
        for (name, value) in settings(ephemeral) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        if has_statement_statistics(installation) {
            command.args(["-c", "shared_preload_libraries=pg_stat_statements"]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = tokio::process::Command::from(command)
            .spawn()
            .context("cannot start postgres")?;
        let stderr = process
            .stderr
            .take()
            .context("stderr of postgres")?
            .into_owned_fd()?;
        let last_lines = relay(std::fs::File::from(stderr));
        let url = format!(
            "postgres://{USER}:{}@127.0.0.1:{port}/{USER}",
            cluster.password
        );
        Ok(Self {
            process,
            last_lines,
            url,
        })
    }

    /// Waits until the server accepts connections and the database exists.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let options: PgConnectOptions = self.url.parse().context("own URL")?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                // Let the relay read the last words.
                tokio::time::sleep(Duration::from_millis(50)).await;
                bail!("it ended with {status}");
            }
            // The server's maintenance database always exists; the project's own is created from it.
            match options.clone().database("postgres").connect().await {
                Ok(connection) => return ensure_database(connection).await,
                Err(error) if start.elapsed() > START_DEADLINE => {
                    bail!("no connection within {START_DEADLINE:?}: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Resolves when the server ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.process.wait().await?)
    }

    /// The last lines of its stderr.
    pub fn last_lines(&self) -> String {
        self.last_lines
            .lock()
            .map(|lines| lines.join("\n"))
            .unwrap_or_default()
    }

    /// Stops the server: closes connections and writes the state; kills it if that takes too long.
    pub async fn stop(&mut self) {
        for (signal, patience) in STOP_DEADLINES {
            let Some(pid) = self.process.id() else { return };
            kill(Pid::from_raw(pid.cast_signed()), signal).ok();
            if tokio::time::timeout(patience, self.process.wait())
                .await
                .is_ok()
            {
                return;
            }
        }
    }
}

async fn ensure_database(mut connection: PgConnection) -> Result<()> {
    let exists = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(USER)
        .fetch_optional(&mut connection)
        .await?;
    if exists.is_none() {
        // An identifier cannot be a parameter; this one is a constant.
        connection
            .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {USER}")))
            .await?;
    }
    connection.close().await?;
    Ok(())
}

/// Whether the server can count its statements. The library is part of PostgreSQL, but not of every package, and its
/// location depends on the packager.
fn has_statement_statistics(installation: &Installation) -> bool {
    ["../lib", "../lib/postgresql"].iter().any(|directory| {
        let directory = installation.bin.join(directory);
        // macOS has the second ending since PostgreSQL 16.
        ["so", "dylib"].iter().any(|ending| {
            directory
                .join(format!("pg_stat_statements.{ending}"))
                .is_file()
        })
    })
}

/// Small, private, quiet; as safe as Postgres is by default unless `ephemeral`.
fn settings(ephemeral: bool) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        // Loopback and password only: a socket's path may be too long (107 bytes), and its directory may belong to another
        // user.
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("shared_buffers", "32MB"),
        ("max_wal_size", "256MB"),
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("max_logical_replication_workers", "0"),
        ("jit", "off"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
        // Neither DETAIL lines nor statements, because both can contain customers' input.
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
    ];
    settings.extend(if ephemeral {
        [
            ("max_connections", "300"),
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
        ]
        .as_slice()
    } else {
        [("max_connections", "100")].as_slice()
    });
    settings
}

/// Passes the server's log on to our stderr, and keeps its last lines.
fn relay(stderr: std::fs::File) -> Arc<Mutex<Vec<String>>> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&kept);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { break };
            // Not `eprintln!`, which panics when the reader of stderr has ended.
            use std::io::Write;
            writeln!(std::io::stderr(), "{}", redact::plain::one_line(&line)).ok();
            let Ok(mut lines) = lines.lock() else { break };
            if lines.len() == LAST_LINES {
                lines.remove(0);
            }
            lines.push(line);
        }
    });
    kept
}
