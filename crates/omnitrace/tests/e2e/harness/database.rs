//! One Postgres server for the whole test process, one fresh database for each test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use sqlx::{Connection, Executor, PgConnection};
use url::Url;

use super::{Child, omnitrace};

/// A database made for one test. It goes with its server, at the end of the test process.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://…`, what the data service gets as `DATABASE_URL`.
    pub url: String,
}

impl Database {
    /// Opens a connection of the test's own.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url)
            .await
            .expect("connect to the test's database")
    }
}

/// The server behind [`shared_postgres`]. A static is never dropped: the pipe on the child's stdin, closed by
/// the kernel when the test process ends, is what stops it.
struct Server {
    url: String,
    _process: Child,
}

static SERVER: Mutex<Option<Server>> = Mutex::new(None);
static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// URL of the Postgres server that all tests of this process share; starts it at the first call.
///
/// It is found the way `omnitrace up` finds it: installed, else downloaded; in the container tests it is one
/// from `OMNITRACE_POSTGRES_IMAGE`. `OMNITRACE_TEST_DATABASE_URL` names another server, whose user must be
/// allowed to create databases.
pub async fn shared_postgres() -> String {
    if let Ok(url) = std::env::var("OMNITRACE_TEST_DATABASE_URL") {
        return url;
    }
    let _first = STARTING.lock().await;
    if let Some(server) = SERVER.lock().unwrap().as_ref() {
        return server.url.clone();
    }
    let mut process = Child::spawn("postgres", server());
    let url = process.listening().await.line["database_url"]
        .as_str()
        .expect("database_url")
        .to_owned();
    *SERVER.lock().unwrap() = Some(Server {
        url: url.clone(),
        _process: process,
    });
    url
}

/// The command that runs a server until its stdin closes: in a container when compiled into the container tests.
fn server() -> Command {
    if let Some(container) = option_env!("CARGO_BIN_EXE_postgres-container") {
        let mut command = Command::new(container);
        let image = std::env::var("OMNITRACE_POSTGRES_IMAGE");
        command.arg(image.as_deref().unwrap_or("postgres:18.6-alpine"));
        return command;
    }
    omnitrace(
        ["postgres", "--ephemeral", "--data-dir"]
            .map(PathBuf::from)
            .into_iter()
            .chain([directory()]),
    )
}

/// A fresh database on the shared server.
pub async fn database() -> Database {
    database_on(&shared_postgres().await).await
}

/// A fresh database on the server at `url` (a container's, for example).
pub async fn database_on(url: &str) -> Database {
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(url)
        .await
        .unwrap_or_else(|error| panic!("connect to the test Postgres: {error}"));
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .expect("create the test's database");
    connection.close().await.ok();
    let mut url = Url::parse(url).expect("database URL");
    url.set_path(&name);
    Database { url: url.into() }
}

/// Not a `tempfile::TempDir`: a static is never dropped. `--ephemeral` removes it.
fn directory() -> PathBuf {
    let path =
        std::env::temp_dir().join(format!("omnitrace-test-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&path).expect("directory for the test Postgres");
    path
}
