//! `omnitrace sql`: one look into the database of a stack, where no `psql` is installed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Row, ValueRef};

use crate::environment;
use crate::files::DATA_DIR;
use crate::postgres::external;
use crate::runtime::block_on;
use crate::terminal::{quoted, say};
use crate::up::state::State;

/// Examples of `omnitrace help sql`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace sql 'SELECT pid, state, left(query, 60) FROM pg_stat_activity'
  DATABASE_URL=postgres://me:secret@db.example/shop omnitrace sql 'SELECT 1'";

const DATABASE_URL: &str = "DATABASE_URL";

/// `omnitrace sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// What to run; several statements are separated by `;`
    statement: String,
    /// Directory of the running stack, when DATABASE_URL is not set
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
}

/// Runs the statement and prints its rows.
pub fn run(args: SqlArgs) -> Result<ExitCode> {
    let (named_by, url) = database(&args)?;
    let options = external::options(&url)?.application_name("omnitrace sql");
    let host = external::host(&url)?;
    block_on(async {
        let mut connection = options
            .connect()
            .await
            .with_context(|| format!("{named_by}: cannot use the server at {host}"))?;
        // The operator's own statement, run with the role of the URL; it contains no text of others.
        let rows = sqlx::raw_sql(AssertSqlSafe(args.statement));
        let rows = rows.fetch_all(&mut connection).await?;
        show(&rows)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The variable or option that names the database, and its URL.
fn database(args: &SqlArgs) -> Result<(&'static str, String)> {
    if let Some(url) = environment::text(DATABASE_URL)? {
        return Ok((DATABASE_URL, url));
    }
    let private = State::running(&args.data_dir)?.database_url;
    let url = private.with_context(|| {
        let shown = args.data_dir.display();
        format!("the stack in {shown} uses a database of yours: set DATABASE_URL to it")
    })?;
    Ok((DATA_DIR, url))
}

fn show(rows: &[PgRow]) -> Result<()> {
    let Some(first) = rows.first() else {
        say("(no rows)");
        return Ok(());
    };
    let names: Vec<&str> = first.columns().iter().map(Column::name).collect();
    say(&quoted(&names.join(" | ")));
    for row in rows {
        let values: Result<Vec<String>> = (0..row.len()).map(|column| value(row, column)).collect();
        say(&quoted(&values?.join(" | ")));
    }
    Ok(())
}

/// Postgres sends text, since nothing was prepared.
fn value(row: &PgRow, column: usize) -> Result<String> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(String::new());
    }
    let text = value
        .as_str()
        .map_err(|error| anyhow!("not text: {error}"))?;
    Ok(text.to_owned())
}
