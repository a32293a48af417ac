//! `postgres-container IMAGE`: runs Postgres in a container, prints its URL, and removes it when stdin closes.
//!
//! A process of its own, because no code runs in a test process at its end, let alone when it is killed: the
//! kernel closes the pipe then, and the container goes. Prints the `listening` line of `omnitrace postgres`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use testcontainers::core::client::ClientError;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt, TestcontainersError};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

/// Every test has its own database and pool; no data is needed after a crash.
const SERVER_SETTINGS: [&str; 4] = [
    "max_connections=300",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
];

const ENGINE_HINT: &str = "these tests need a Docker engine that answers (`docker version`). Start one with \
     `systemctl start docker`, or, as root on Debian, with `.ci/start-docker.sh`, which installs it too. \
     The same tests run without Docker in plain `cargo test`";

const IMAGE_HINT: &str = "the image cannot be had. Where no image registry is reached, build one from Debian \
     packages with `.ci/postgres-image/build.sh` and set OMNITRACE_POSTGRES_IMAGE=omnitrace-postgres:15";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(image) = std::env::args().nth(1) else {
        eprintln!("usage: postgres-container IMAGE[:TAG]");
        return ExitCode::FAILURE;
    };
    match run(&image).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postgres-container: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(image: &str) -> anyhow::Result<()> {
    // Before the container exists: from then on a signal must remove it first.
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let container = start(image).await?;
    let announced = announce(&container, image).await;
    if announced.is_ok() {
        tokio::select! {
            () = stdin_closed() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    container
        .rm()
        .await
        .context("cannot remove the container")?;
    announced
}

async fn start(image: &str) -> anyhow::Result<ContainerAsync<GenericImage>> {
    let (name, tag) = split(image);
    let started = GenericImage::new(name, tag)
        .with_exposed_port(5432.tcp())
        // On stdout the same line comes from a temporary server that is about to stop.
        .with_wait_for(WaitFor::message_on_stderr(
            "database system is ready to accept connections",
        ))
        .with_env_var("POSTGRES_PASSWORD", "test")
        .with_cmd(
            SERVER_SETTINGS
                .into_iter()
                .flat_map(|setting| ["-c", setting]),
        )
        .start()
        .await;
    started.map_err(|error| {
        let hint = match &error {
            TestcontainersError::Client(ClientError::PullImage { .. }) => IMAGE_HINT,
            TestcontainersError::Client(_) => ENGINE_HINT,
            _ => "the container did not become ready",
        };
        anyhow::anyhow!(error).context(format!("{image}: {hint}"))
    })
}

async fn announce(container: &ContainerAsync<GenericImage>, image: &str) -> anyhow::Result<()> {
    let port = container
        .get_host_port_ipv4(5432.tcp())
        .await
        .context("the container's port")?;
    // Elsewhere when DOCKER_HOST says so, or when we are in a container ourselves.
    let host = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(_) => "127.0.0.1".to_owned(),
        Err(_) => container
            .get_host()
            .await
            .context("the container's host")?
            .to_string(),
    };
    let line = serde_json::json!({
        "message": "listening",
        "database_url": format!("postgres://postgres:test@{host}:{port}/postgres"),
        "source": "container",
        "image": image,
        "container": container.id(),
    });
    writeln!(std::io::stdout(), "{line}").context("nobody reads our stdout")
}

/// The name and the tag; a port in the registry's name is not a tag.
fn split(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// In a thread, because a read of stdin can neither be polled nor cancelled; it ends with the process.
async fn stdin_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        closed.send(())
    });
    wait.await.ok();
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn an_image_is_name_and_tag() {
        assert_eq!(split("postgres:18-alpine"), ("postgres", "18-alpine"));
        assert_eq!(
            split("registry:5000/postgres"),
            ("registry:5000/postgres", "latest")
        );
        assert_eq!(
            split("registry:5000/postgres:18"),
            ("registry:5000/postgres", "18")
        );
    }
}
