//! The console's receivers of alerts and its access rules, from flags and variables. Errors never show a secret or a URL.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use console::{Access, Notify};
use reqwest::header::HeaderValue;
use url::Url;

use crate::environment;

/// The part of `omnitrace help console` about secrets.
pub const CONSOLE_HELP: &str = "\
Beyond loopback, clients need a token. It is OMNITRACE_CONSOLE_TOKEN (16 to 512 letters, digits and -._~), which is \
then needed on loopback too. Without the variable, the console makes a token at each start and prints it with the address of the page. \
Clients send it as a bearer token, or as the password in a URL. OTLP, /metrics, /ready and /live need no token. \
OMNITRACE_NOTIFY_SECRET is herald's secret.

A console on port 8000 takes OTLP at its default ports too, where these are free; on another port only if the options say so.";

const URL: &str = "OMNITRACE_NOTIFY_URL";
const SECRET: &str = "OMNITRACE_NOTIFY_SECRET";
const TOKEN: &str = "OMNITRACE_CONSOLE_TOKEN";
const WATCHDOG: &str = "OMNITRACE_WATCHDOG_URL";

/// Options of `omnitrace console` about receivers, herald and access.
#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// URL to post alerts to, in the format of Alertmanager's webhook, such as herald's http://127.0.0.1:9095/alerts [default: none]
    #[arg(
        long,
        value_name = "URL",
        env = "OMNITRACE_NOTIFY_URL",
        hide_env_values = true
    )]
    pub notify_url: Option<String>,
    /// URL to post the alert that always fires to, once per minute; when it stops, alerting is dead [default: none]
    #[arg(
        long,
        value_name = "URL",
        env = "OMNITRACE_WATCHDOG_URL",
        hide_env_values = true
    )]
    pub watchdog_url: Option<String>,
    /// Herald's address, such as http://127.0.0.1:9095; users of the console can then see and change alerts and silences [default: none]
    #[arg(
        long,
        value_name = "URL",
        env = "OMNITRACE_HERALD_URL",
        hide_env_values = true
    )]
    pub herald_url: Option<String>,
    /// Let all clients read without a token; then nobody can set faults, acknowledge or silence through the console
    #[arg(long)]
    pub no_token: bool,
}

/// The receivers of a console's alerts.
///
/// # Errors
/// Names the option and the variable, and shows neither URL nor secret.
pub fn receivers(args: &NotifyArgs) -> Result<Notify> {
    let secret = environment::text(SECRET)?;
    if let Some(secret) = &secret {
        HeaderValue::from_str(secret).map_err(|_| {
            anyhow!("{SECRET}: cannot be sent as a header; allowed: visible ASCII characters, in one line")
        })?;
    }
    let (told, watchdog) = (args.notify_url.as_deref(), args.watchdog_url.as_deref());
    Ok(Notify {
        url: url(told, &format!("--notify-url ({URL})"))?,
        watchdog_url: url(watchdog, &format!("--watchdog-url ({WATCHDOG})"))?,
        secret,
    })
}

/// Herald's address.
///
/// # Errors
/// As [`receivers`].
pub fn herald(args: &NotifyArgs) -> Result<Option<String>> {
    let is_base = |url: &Url| {
        let is_bare = url.query().is_none() && url.fragment().is_none();
        is_bare && url.username().is_empty() && url.password().is_none()
    };
    checked(args.herald_url.as_deref(), is_base, || {
        "--herald-url (OMNITRACE_HERALD_URL): not where herald is (not shown: it may hold a secret); allowed: an http or https URL \
         without login and parameters, such as http://127.0.0.1:9095"
            .to_owned()
    })
}

/// The clients that the console answers.
///
/// # Errors
/// Names the variable, and does not show the token.
pub fn access(args: &NotifyArgs) -> Result<Access> {
    let token = environment::text(TOKEN)?;
    let token = token.map(|token| token.parse().map_err(|why| anyhow!("{TOKEN}: {why}")));
    match (token.transpose()?, args.no_token) {
        (Some(_), true) => bail!("{TOKEN} is set, and --no-token given: leave out one of them"),
        (Some(token), false) => Ok(Access::Token(token)),
        (None, true) => Ok(Access::Anybody),
        (None, false) => Ok(Access::ByAddress),
    }
}

/// Whether the console of `omnitrace up` will find its variable in order.
///
/// # Errors
/// As [`receivers`].
pub fn check_inherited() -> Result<()> {
    url(environment::text(WATCHDOG)?.as_deref(), WATCHDOG).map(drop)
}

fn url(text: Option<&str>, of: &str) -> Result<Option<String>> {
    checked(
        text,
        |_| true,
        || {
            format!(
                "{of}: no URL that can be posted to (not shown: it may hold a secret); allowed: an http or https URL, such as \
             http://127.0.0.1:9095/alerts"
            )
        },
    )
}

/// An address for HTTP that fits. An empty one is none, as of other variables.
fn checked(
    text: Option<&str>,
    fits: impl Fn(&Url) -> bool,
    complaint: impl FnOnce() -> String,
) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    let url = Url::parse(text).ok();
    url.filter(|url| is_http(url) && fits(url))
        .with_context(complaint)?;
    Ok(Some(text.to_owned()))
}
