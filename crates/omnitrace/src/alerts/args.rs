//! Options of `omnitrace alerts`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::backend_tls::BackendTlsArgs;
use crate::values::{base_url, duration, id};

/// The text of `omnitrace help alerts`.
pub const HELP: &str = "\
Show the alerts that herald has received, acknowledge them, silence them for a while, and say whether they \
were right. Without an action it shows the list.

An acknowledged alert is not sent again until another alert joins its group; its end is still sent. A silenced alert is sent \
when the silence ends, if it still fires.";

/// Examples of `omnitrace help alerts`.
pub const EXAMPLES: &str = "\
Examples:
  omnitrace alerts
  omnitrace alerts list --state firing --herald http://127.0.0.1:9095
  omnitrace alerts ack 0198c5f1-6d3a-7cc2-8f0e-5a0f6f0b7c11 --note \"looking\"
  omnitrace alerts silence --matcher alertname=LatencyBurnRate --for 1h --comment \"load test\"
  omnitrace alerts verdict 0198c5f1-6d3a-7cc2-8f0e-5a0f6f0b7c11 false
  omnitrace alerts ledger --since 30d";

/// `omnitrace alerts …`.
#[derive(Debug, Args)]
pub struct AlertsArgs {
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub herald: HeraldArgs,
}

/// Herald's address and credentials.
#[derive(Debug, Args)]
pub struct HeraldArgs {
    /// Herald's address [default: that of the stack in --data-dir, else http://127.0.0.1:9095]
    #[arg(long, global = true, value_name = "URL", env = "HERALD_URL", value_parser = base_url)]
    pub herald: Option<String>,
    /// Directory of the running stack
    #[arg(long, global = true, value_name = "DIR", default_value = ".omnitrace")]
    pub data_dir: PathBuf,
    /// Herald's secret; of several, separated by spaces, the first is sent
    #[arg(
        long,
        global = true,
        value_name = "TEXT",
        env = "HERALD_SECRET",
        hide_env_values = true
    )]
    pub secret: Option<String>,
    /// File with the secret, instead of --secret
    #[arg(long, global = true, value_name = "FILE", env = "HERALD_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Certificates for an `https://` address
    #[command(flatten)]
    pub tls: BackendTlsArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show the newest alerts.
    List {
        /// Which ones
        #[arg(long, value_name = "STATE", default_value = "all")]
        state: State,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Show everything about one alert.
    Show {
        /// As the list shows it
        #[arg(value_parser = id)]
        id: Uuid,
    },
    /// Acknowledge an alert: it is not sent again until another alert joins its group.
    Ack {
        /// As the list shows it
        #[arg(value_parser = id)]
        id: Uuid,
        #[command(flatten)]
        who: Who,
        /// A note for your colleagues
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Say whether an alert was right.
    Verdict {
        /// As the list shows it
        #[arg(value_parser = id)]
        id: Uuid,
        /// false: nothing was wrong
        #[arg(value_name = "true|false", action = clap::ArgAction::Set)]
        true_alarm: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Show how many alerts there were, how many were right, and how long people took.
    Ledger {
        /// Alerts that began in this time
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
        since: Duration,
    },
    /// Send no notifications about some alerts for a while.
    Silence {
        /// All of them must match: name=value, name!=value, name=~regex or name!~regex
        #[arg(long, value_name = "MATCHER", required = true, value_parser = matcher)]
        matcher: Vec<Value>,
        /// How long the silence lasts, 30 days at most
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: Duration,
        /// Why the alerts are silenced
        #[arg(long, value_name = "TEXT")]
        comment: String,
        #[command(flatten)]
        who: Who,
    },
    /// Show the silences.
    Silences,
    /// End a silence: alerts that it held back and that still fire are sent.
    Expire {
        /// As `omnitrace alerts silences` shows it
        #[arg(value_parser = id)]
        id: Uuid,
    },
}

/// The author of a change.
#[derive(Debug, Args)]
pub struct Who {
    /// Your name
    #[arg(long, value_name = "NAME", env = "USER")]
    pub by: String,
}

/// Which alerts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Those that fire.
    Firing,
    /// Those that are over.
    Resolved,
    /// Both.
    All,
}

impl State {
    /// The name in herald's API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::All => "all",
        }
    }
}

/// Converts it to Alertmanager's format.
fn matcher(text: &str) -> Result<Value, String> {
    let allowed = "allowed: name=value, name!=value, name=~regex or name!~regex, for example alertname=ServiceDown";
    let at = text.find(['=', '!']).filter(|at| *at > 0).ok_or(allowed)?;
    let (name, rest) = text.split_at(at);
    let operators = [
        ("=~", true, true),
        ("!~", true, false),
        ("!=", false, false),
        ("=", false, true),
    ];
    let mut found = operators.iter().filter_map(|(operator, regex, equal)| {
        let value = rest.strip_prefix(operator)?;
        Some(json!({"name": name.trim(), "value": value, "isRegex": regex, "isEqual": equal}))
    });
    Ok(found.next().ok_or(allowed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_written_as_in_alertmanager() {
        for (text, value, regex, equal) in [
            ("a=b", "b", false, true),
            ("a=b=c", "b=c", false, true),
            ("a!=b", "b", false, false),
            ("a=~b.*", "b.*", true, true),
            ("a!~b", "b", true, false),
            ("a=", "", false, true),
        ] {
            let expected = json!({"name": "a", "value": value, "isRegex": regex, "isEqual": equal});
            assert_eq!(matcher(text), Ok(expected), "{text}");
        }
        for bad in ["", "a", "=b", "a!b", "!=b"] {
            assert!(matcher(bad).is_err(), "{bad}");
        }
    }
}
