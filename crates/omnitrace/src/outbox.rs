//! `omnitrace outbox`: the events that downstream refuses.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args, Subcommand};
use data::{DeadLetter, DeadLetters};
use serde_json::json;
use uuid::Uuid;

use crate::runtime::block_on;
use crate::terminal::{quoted, say, say_json};
use crate::up::state::State;
use crate::values::id;

/// The text of `omnitrace help outbox`.
pub const HELP: &str = "\
An order event that downstream refuses five times is set aside in the outbox. It is counted (outbox_dead_letter_events), it \
does not delay other events, and it stays until you deliver it again with `retry`.

The database is the one that DATABASE_URL names, else that of the stack which `omnitrace up` runs in --data-dir.";

/// `omnitrace outbox …`.
#[derive(Debug, Subcommand)]
pub enum OutboxAction {
    /// Show the events that were set aside: what each is about, and why downstream refused it.
    #[command(after_help = "\
Examples:
  omnitrace outbox list
  DATABASE_URL=postgres://me:secret@db.example/shop omnitrace outbox list --json | jq -r '.events[].id'")]
    List {
        #[command(flatten)]
        outbox: OutboxArgs,
    },
    /// Deliver events again; events that are still refused are set aside again.
    #[command(after_help = "\
Examples:
  omnitrace outbox retry 0198c5f1-6d3a-7cc2-8f0e-5a0f6f0b7c11
  omnitrace outbox retry --all", group(ArgGroup::new("which").args(["ids", "all"]).required(true)))]
    Retry {
        /// Their ids, as `omnitrace outbox list` shows them
        #[arg(
            value_name = "ID",
            value_parser = id,
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        ids: Vec<Uuid>,
        /// All that were set aside
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        outbox: OutboxArgs,
    },
}

/// Which outbox is meant.
#[derive(Debug, Args)]
pub struct OutboxArgs {
    /// Directory of the running stack, when DATABASE_URL is not set
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `outbox list` or `retry`.
pub fn run(action: OutboxAction) -> Result<ExitCode> {
    block_on(async {
        match action {
            OutboxAction::List { outbox } => list(&outbox).await,
            OutboxAction::Retry { ids, all, outbox } => {
                retry((!all).then_some(&ids), &outbox).await
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn open(outbox: &OutboxArgs) -> Result<DeadLetters> {
    DeadLetters::open(|| {
        let state = State::running(&outbox.data_dir).context("DATABASE_URL is not set")?;
        state.database_url.with_context(|| {
            let shown = outbox.data_dir.display();
            format!("the stack in {shown} uses a database of yours: set DATABASE_URL to it")
        })
    })
    .await
}

async fn list(outbox: &OutboxArgs) -> Result<()> {
    let events = open(outbox).await?.list().await?;
    if outbox.json {
        say_json(&json!({"events": events}));
        return Ok(());
    }
    match events.len() {
        0 => say("no event is set aside"),
        count => say(&format!(
            "{count} set aside; `omnitrace outbox retry ID` has one delivered again"
        )),
    }
    events.iter().for_each(print);
    Ok(())
}

fn print(event: &DeadLetter) {
    say(&format!(
        "{}  {:<16} order {}  set aside {}  attempts {}",
        event.id,
        event.kind.as_deref().unwrap_or("(no type)"),
        event.order_id.as_deref().unwrap_or("(none)"),
        event.set_aside_at.format("%Y-%m-%d %H:%M:%S UTC"),
        event.attempts
    ));
    let refusal = event.refusal.as_deref().unwrap_or_default();
    say(&format!("  {}", quoted(refusal)));
}

async fn retry(ids: Option<&Vec<Uuid>>, outbox: &OutboxArgs) -> Result<()> {
    let retried = open(outbox).await?.retry(ids.map(Vec::as_slice)).await?;
    let unknown: Vec<String> = ids
        .into_iter()
        .flatten()
        .filter(|id| !retried.contains(id))
        .map(Uuid::to_string)
        .collect();
    if outbox.json {
        say_json(&json!({"retried": retried, "not_set_aside": unknown}));
    } else {
        say(&format!("{} to be delivered again", retried.len()));
    }
    if !unknown.is_empty() {
        bail!(
            "not set aside: {}; `omnitrace outbox list` shows what is",
            unknown.join(", ")
        );
    }
    Ok(())
}
