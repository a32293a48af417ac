//! `omnitrace rules`: renders the alerting rules from their definitions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::terminal::{quoted, say};

/// Examples of `omnitrace help rules`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace rules                                       write the files in alerts/rules
  omnitrace rules --check                               fail if they are not up to date";

/// `omnitrace rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// One profile only, as `slo.toml` names it (default: all)
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Directory of slo.toml and causes.toml
    #[arg(long, value_name = "DIR", default_value = "alerts")]
    pub input: PathBuf,
    /// Where `PROFILE.yml` is written
    #[arg(long, value_name = "DIR", default_value = "alerts/rules")]
    pub output: PathBuf,
    /// Write nothing; fail if a file is not up to date
    #[arg(long)]
    pub check: bool,
}

/// Writes the rules of each profile, or with `--check` says which files differ.
pub fn run(args: &RulesArgs) -> Result<ExitCode> {
    let definition = definition(&args.input)?;
    let names: Vec<&str> = match &args.profile {
        Some(name) => vec![name],
        None => definition.profiles.keys().map(String::as_str).collect(),
    };
    let mut stale = false;
    for name in names {
        let profile = definition
            .profile(name)
            .map_err(|why| anyhow!("--profile: {why}"))?;
        let path = args.output.join(format!("{name}.yml"));
        let text = slo::rules(&definition, profile);
        if !args.check {
            write(&path, &text)?;
            say(&quoted(&path.display().to_string()));
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            eprintln!(
                "error: {} is not what {} says: run `omnitrace rules` and commit the result",
                path.display(),
                args.input.display()
            );
            stale = true;
        } else {
            say(&format!(
                "{}: up to date",
                quoted(&path.display().to_string())
            ));
        }
    }
    Ok(if stale {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn definition(directory: &Path) -> Result<slo::Definition> {
    let read = |name: &str| {
        let path = directory.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| {
            let path = path.display();
            format!("cannot read {path}: run this in the repository, or name the directory of the definitions with --input")
        })?;
        Ok::<_, anyhow::Error>((path.display().to_string(), text))
    };
    let (objectives, causes) = (read("slo.toml")?, read("causes.toml")?);
    Ok(slo::Definition::parse(
        (&objectives.0, &objectives.1),
        (&causes.0, &causes.1),
    )?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let hint = "choose another directory with --output";
    if let Some(directory) = path.parent() {
        owned::Directory::make(directory, 0o755).context(hint)?;
    }
    owned::write_output(path, text.as_bytes()).context(hint)
}
