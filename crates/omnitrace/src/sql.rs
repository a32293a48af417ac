//! `omnitrace sql`: one look into the database of a stack, where no `psql` is installed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Row, ValueRef};

use crate::environment;
use crate::runtime::block_on;
use crate::terminal::{quoted, say};
use crate::up::state::State;

/// Examples of `omnitrace help sql`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace sql 'SELECT pid, state, left(query, 60) FROM pg_stat_activity'
  DATABASE_URL=postgres://me:secret@db.example/shop omnitrace sql 'SELECT 1'";

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
    let options = database(&args)?;
    block_on(async {
        let mut connection = options.connect().await.context("the database")?;
        // An operator's own words, run as the role that the URL names: nobody else's text is in it.
        let rows = sqlx::raw_sql(AssertSqlSafe(args.statement));
        let rows = rows.fetch_all(&mut connection).await?;
        show(&rows)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn database(args: &SqlArgs) -> Result<PgConnectOptions> {
    let url = match environment::text("DATABASE_URL")? {
        Some(url) => url,
        None => State::running(&args.data_dir)?
            .database_url
            .with_context(|| {
                let shown = args.data_dir.display();
                format!("the stack in {shown} uses a database of yours: set DATABASE_URL to it")
            })?,
    };
    let options = url.parse::<PgConnectOptions>();
    // The parser's error could repeat the URL, password and all.
    let options = options.map_err(|_| {
        anyhow!("DATABASE_URL: not a URL like postgres://user:password@host:5432/database")
    })?;
    Ok(options.application_name("omnitrace sql"))
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
