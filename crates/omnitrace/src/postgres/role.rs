//! The role `omnitrace postgres`: a supervisor with the server as its child.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use anyhow::{Context, Result, bail};
use listen::StopSignals;
use owned::{Owner, Place};
use serde_json::{Value, json};

use super::cluster::{self, Cluster};
use super::identity::Identity;
use super::server::Server;
use super::{Installation, Options, external};
use crate::runtime::block_on;
use crate::{environment, files};

/// The role's options.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory for the server's files.
    pub data_dir: PathBuf,
    /// The server's port; 0 is any free one.
    pub port: u16,
    /// For tests: no fsync, and the files are removed at the end.
    pub ephemeral: bool,
    /// JSON lines even on a terminal.
    pub json: bool,
}

/// Resolves when this process should end.
type Stop = Pin<Box<dyn Future<Output = ()>>>;

/// Runs until a signal, or the end of the parent, stops it. Call it on the main thread: the kernel stops the server when the
/// thread that started it ends.
pub fn run(settings: &Settings) -> Result<()> {
    block_on(serve(settings))
}

async fn serve(settings: &Settings) -> Result<()> {
    let mut stop = asked_to_stop()?;
    let output = Output {
        json: settings.json || !std::io::stdout().is_terminal(),
    };
    if let Some(url) = environment::text("DATABASE_URL")? {
        let found = external::check(&url).await?;
        output.listening(
            json!({"source": "database_url", "host": found.host, "version": found.version}),
        );
        stop.await;
        return Ok(());
    }
    let user = Identity::for_server()?;
    let progress = |text: &str| output.progress(text);
    let home = cluster::home(&settings.data_dir, user.as_ref(), &progress)?;
    let prepared = tokio::select! {
        prepared = prepare(&home, user.as_ref(), &progress) => Some(prepared?),
        () = &mut stop => None,
    };
    let result = match prepared {
        Some((installation, cluster)) => {
            supervise(
                &installation,
                &cluster,
                user.as_ref(),
                settings,
                &output,
                &mut stop,
            )
            .await
        }
        None => Ok(()),
    };
    if settings.ephemeral {
        Place::of(&home, Owner::of_this_process())
            .and_then(|home| home.remove_tree())
            .context(files::DATA_DIR)?;
        // Only if nothing else is in it.
        owned::remove_empty(&settings.data_dir).ok();
    }
    result
}

async fn prepare(
    home: &Path,
    user: Option<&Identity>,
    progress: super::Progress<'_>,
) -> Result<(Installation, Cluster)> {
    let options = Options::from_environment(user)?;
    let installation = super::find(&options, user, progress).await?;
    let cluster = cluster::open(home, &installation, user, progress).await?;
    Ok((installation, cluster))
}

async fn supervise(
    installation: &Installation,
    cluster: &Cluster,
    user: Option<&Identity>,
    settings: &Settings,
    output: &Output,
    stop: &mut Stop,
) -> Result<()> {
    let Some(mut server) = start(installation, cluster, user, settings, stop).await? else {
        return Ok(());
    };
    output.listening(json!({
        "source": installation.source,
        "version": installation.version,
        "bin": installation.bin,
        "user": user.map(|user| &user.name),
        "data": cluster.data,
        "database_url": server.url,
    }));
    tokio::select! {
        status = server.wait() => bail!("PostgreSQL ended by itself ({}); it said:\n{}", status?, server.last_lines()),
        () = stop => server.stop().await,
    }
    Ok(())
}

/// A server that accepts connections; `None` when asked to stop before that.
async fn start(
    installation: &Installation,
    cluster: &Cluster,
    user: Option<&Identity>,
    settings: &Settings,
    stop: &mut Stop,
) -> Result<Option<Server>> {
    /// A free port may be taken between our look and the server's bind.
    const PORT_ATTEMPTS: u32 = 5;
    for _ in 0..PORT_ATTEMPTS {
        let mut server = Server::spawn(
            installation,
            cluster,
            user,
            settings.port,
            settings.ephemeral,
        )?;
        let ready = tokio::select! {
            ready = server.wait_until_ready() => Some(ready),
            () = &mut *stop => None,
        };
        match ready {
            Some(Ok(())) => return Ok(Some(server)),
            None => {
                server.stop().await;
                return Ok(None);
            }
            Some(Err(error)) => {
                server.stop().await;
                let said = server.last_lines();
                if settings.port != 0 || !said.contains("Address already in use") {
                    return Err(error)
                        .with_context(|| format!("PostgreSQL did not start; it said:\n{said}"));
                }
            }
        }
    }
    bail!("PostgreSQL found {PORT_ATTEMPTS} ports taken that were free a moment before")
}

fn asked_to_stop() -> Result<Stop> {
    let mut signals = StopSignals::install(environment::parent_pipe()?)?;
    Ok(Box::pin(async move {
        signals.next().await;
    }))
}

/// Lines on stdout, in the shape of every service's log.
struct Output {
    json: bool,
}

impl Output {
    fn progress(&self, text: &str) {
        self.line(text, text, json!({"progress": true}));
    }

    fn listening(&self, fields: Value) {
        let text = format!(
            "listening: PostgreSQL {} ({}) {}",
            fields["version"].as_str().unwrap_or_default(),
            fields["source"].as_str().unwrap_or_default(),
            fields["database_url"]
                .as_str()
                .or(fields["host"].as_str())
                .unwrap_or_default(),
        );
        self.line("listening", &text, fields);
    }

    fn line(&self, message: &str, text: &str, mut fields: Value) {
        let line = if self.json {
            fields["timestamp"] = chrono::Utc::now()
                .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
                .into();
            fields["level"] = "INFO".into();
            fields["target"] = "postgres".into();
            fields["message"] = message.into();
            fields.to_string()
        } else {
            text.to_owned()
        };
        // Not `println!`, which panics when the reader of stdout has ended.
        writeln!(std::io::stdout(), "{line}").ok();
    }
}
