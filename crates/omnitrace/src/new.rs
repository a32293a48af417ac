//! `omnitrace new`: creates a service that is scraped, has alerts and dashboards, and appears in the console, without a
//! further edit.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use owned::Directory;

use crate::terminal::{quoted, say_lines};

/// The long help.
pub const HELP: &str = "\
Write a service of under 50 lines into a new directory: one route with traces, metrics and logs, and also /metrics \
and /ready, which make no telemetry. The directory must not exist yet.

The service depends on the crate `telemetry`: by path in the checkout that this command was built from, in another checkout (\
--path), or by a Git repository (--git). Its Cargo.lock has the versions that this command was built with.

The package, the directory and the service in traces, metrics, logs and alerts all have this name.";

/// Examples in the help.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace new shop --framework axum
  omnitrace new shop --framework actix --path ~/src/omnitrace
  omnitrace new shop --framework axum --git https://git.example/omnitrace.git";

/// `omnitrace new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Lower-case letters, digits, `-` and `_`
    #[arg(value_parser = package)]
    name: String,
    /// The web framework
    #[arg(long)]
    framework: Framework,
    /// A checkout of OmniTrace [default: the one that this command was built from]
    #[arg(long, value_name = "DIR", conflicts_with = "git")]
    path: Option<PathBuf>,
    /// A Git repository of OmniTrace, as `git clone` takes it
    #[arg(long, value_name = "URL", value_parser = git)]
    git: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Framework {
    Axum,
    Actix,
}

impl Framework {
    /// Feature of `telemetry`, dependencies, `main.rs`.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Axum => (
                "axum",
                "axum = { version = \"0.8\", default-features = false, features = [\"http1\", \"json\", \"tokio\"] }\n\
                 tokio = { version = \"1\", features = [\"macros\", \"net\", \"rt-multi-thread\", \"signal\"] }\n",
                include_str!("../../telemetry/examples/new_axum.rs"),
            ),
            Self::Actix => (
                "actix",
                "actix-web = { version = \"4\", default-features = false, features = [\"macros\"] }\n",
                include_str!("../../telemetry/examples/new_actix.rs"),
            ),
        }
    }
}

/// The versions that were built and tested together.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// Writes the service and says how it is run.
pub fn run(args: &NewArgs) -> Result<ExitCode> {
    let (feature, dependencies, main) = args.framework.parts();
    let telemetry = match &args.git {
        Some(url) => format!("git = {}", toml_text(url)),
        None => {
            let path = checkout(args.path.as_deref())?.join("crates/telemetry");
            let path = path.to_str().context("the checkout's path is no UTF-8")?;
            format!("path = {}", toml_text(path))
        }
    };
    let manifest = format!(
        "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\
         telemetry = {{ {telemetry}, features = [\"{feature}\"] }}\ntracing = \"0.1\"\n\n\
         # On its own. As a member of your workspace, it needs neither this line nor Cargo.lock.\n[workspace]\n",
        args.name
    );
    write(
        &Directory::open(Path::new("."))?,
        &args.name,
        &manifest,
        main,
    )?;
    say_lines(&next(&args.name));
    Ok(ExitCode::SUCCESS)
}

fn next(name: &str) -> String {
    format!(
        "wrote {name}: Cargo.toml, Cargo.lock, src/main.rs, .gitignore\nnext:\n  \
         omnitrace up --scrape {name}=http://127.0.0.1:8090        # in a terminal of its own; remembered\n  \
         cd {name}\n  \
         OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8000 cargo run\n  \
         curl -i http://127.0.0.1:8090/hello/ada                   # then look for {name} at http://127.0.0.1:8000"
    )
}

/// Changes no existing file, and leaves no incomplete directory.
fn write(parent: &Directory, name: &str, manifest: &str, main: &str) -> Result<()> {
    let made = match parent.create(name, 0o777) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            bail!(
                "{name} exists already, and is left as it is: choose another name, or move it away"
            )
        }
        made => made.with_context(|| format!("cannot make the directory {name}"))?,
    };
    let write = || -> io::Result<()> {
        made.write_new("Cargo.toml", manifest.as_bytes())?;
        made.write_new("Cargo.lock", LOCK.as_bytes())?;
        made.write_new(".gitignore", b"/target\n")?;
        made.create("src", 0o777)?
            .write_new("main.rs", main.as_bytes())
    };
    // Removes the directory only if it is empty, because another process may have replaced it.
    let undo = || made.clear().and_then(|()| parent.remove_empty(name));
    write()
        .inspect_err(|_| drop(undo()))
        .with_context(|| format!("cannot write into {name}"))
}

/// The path of the checkout.
fn checkout(given: Option<&Path>) -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let asked = given.unwrap_or(&built_from);
    let found = asked.canonicalize().unwrap_or_else(|_| asked.to_owned());
    if found.join("crates/telemetry/Cargo.toml").is_file() {
        return Ok(found);
    }
    let found = found.display();
    match given {
        Some(_) => bail!(
            "--path: {found} is no checkout of OmniTrace: it has no crates/telemetry/Cargo.toml"
        ),
        None => bail!(
            "this command was built from {found}, and no checkout is there now: name one with --path, or a repository with --git"
        ),
    }
}

/// JSON's strings are TOML's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn git(url: &str) -> Result<String, String> {
    let hidden = |c: char| c.is_control() || c.is_whitespace();
    if url.is_empty() || url.starts_with('-') || url.contains(hidden) {
        return Err("allowed: an address as `git clone` takes it".to_owned());
    }
    match url::Url::parse(url) {
        Ok(_) => Ok(url.to_owned()),
        // Cargo takes no `user@host:path`.
        Err(_) => Err("allowed: a URL such as https://git.example/omnitrace.git, ssh://git@git.example/omnitrace.git or file:///srv/omnitrace.git".to_owned()),
    }
}

/// Names that a package cannot have: Rust's keywords and standard crates, directories of Cargo, devices of Windows, the
/// dependencies of the new service, and the services of `omnitrace up`.
const RESERVED: &str = "\
    abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl in \
    let loop macro match mod move mut override priv pub ref return self static struct super trait true try type typeof unsafe \
    unsized use virtual where while yield \
    alloc core proc_macro proc-macro std test \
    build deps examples incremental \
    aux con nul prn com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 \
    actix-web actix_web axum redact telemetry tokio tracing";

fn package(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let why = match () {
        () if !name.starts_with(|c: char| c.is_ascii_lowercase()) => {
            "it begins with no lower-case letter"
        }
        () if name.len() > 64 => "it has more than 64 characters",
        () if !name.chars().all(allowed) => "allowed are lower-case letters, digits, `-` and `_`",
        () if RESERVED.split_whitespace().any(|word| word == name) => {
            "the name is reserved by Rust, Cargo or Windows, or a crate that the service depends on has it"
        }
        () => return crate::up::scrape::free(name).map(str::to_owned),
    };
    Err(format!("{} cannot be a package: {why}", quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_under_50_lines() {
        for framework in Framework::value_variants() {
            let (_, _, main) = framework.parts();
            assert!(main.lines().count() < 50, "{framework:?}");
        }
    }

    #[test]
    fn names_are_those_of_packages_and_of_no_other_service() {
        for good in ["shop", "my-service", "a_1"] {
            assert_eq!(package(good), Ok(good.to_owned()));
        }
        let long = "a".repeat(65);
        for (bad, why) in [
            ("", "begins with no"),
            ("-shop", "begins with no"),
            ("1shop", "begins with no"),
            ("../shop", "begins with no"),
            ("Shop", "begins with no"),
            ("größe", "allowed are"),
            ("a/b", "allowed are"),
            ("a b", "allowed are"),
            (&long, "64"),
            ("async", "reserved"),
            ("test", "reserved"),
            ("nul", "reserved"),
            ("axum", "reserved"),
            ("gateway", "part of `omnitrace up`"),
        ] {
            let said = package(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }

    #[test]
    fn a_path_is_quoted_for_toml() {
        let line = format!("path = {}", toml_text("/a\"b\\c\n/ü"));
        let read: toml::Table = line.parse().unwrap();
        assert_eq!(read["path"].as_str(), Some("/a\"b\\c\n/ü"));
    }
}
