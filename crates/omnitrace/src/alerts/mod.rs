//! `omnitrace alerts`: shows herald's alerts, acknowledges, silences and judges them.

pub mod args;
mod client;
mod ledger;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use self::args::{Action, AlertsArgs, State};
use self::client::Herald;
use crate::runtime::block_on;
use crate::terminal::{say, say_json};

/// Runs one action.
pub fn run(args: AlertsArgs) -> Result<ExitCode> {
    let (herald, json) = (Herald::new(&args.herald)?, args.herald.json);
    let list = Action::List {
        state: State::All,
        limit: 20,
    };
    let lines = block_on(act(&herald, args.action.unwrap_or(list), json))?;
    lines.iter().for_each(|line| say(line));
    Ok(ExitCode::SUCCESS)
}

/// The lines to print; none if JSON was printed.
async fn act(herald: &Herald, action: Action, json: bool) -> Result<Vec<String>> {
    let (method, path, body) = request(&action)?;
    let answer = herald.call(method, &path, body).await?;
    if json {
        say_json(&answer);
        return Ok(Vec::new());
    }
    Ok(match action {
        Action::List { .. } => show::alerts(&answer),
        Action::Show { .. } => show::whole(&answer),
        Action::Ack { .. } | Action::Verdict { .. } => vec![show::alert(&answer)],
        Action::Ledger { .. } => ledger::table(&answer),
        Action::Silence { .. } => vec![show::silence(&answer)],
        Action::Silences => show::silences(&answer),
        Action::Expire { id } => vec![format!("{id} has ended")],
    })
}

fn request(action: &Action) -> Result<(Method, String, Option<Value>)> {
    let get = |path: String| (Method::GET, path, None);
    let post = |path: String, body: Value| (Method::POST, path, Some(body));
    Ok(match action {
        Action::List { state, limit } => {
            get(format!("/api/alerts?state={}&limit={limit}", state.name()))
        }
        Action::Show { id } => get(format!("/api/alerts/{id}")),
        Action::Ack { id, who, note } => post(
            format!("/api/alerts/{id}/acknowledge"),
            json!({"by": who.by, "note": note}),
        ),
        Action::Verdict {
            id,
            true_alarm,
            who,
        } => post(
            format!("/api/alerts/{id}/verdict"),
            json!({"true_alarm": true_alarm, "by": who.by}),
        ),
        Action::Ledger { since } => {
            let since = TimeDelta::from_std(*since).ok();
            let since = since.and_then(|since| Utc::now().checked_sub_signed(since));
            let since = since.context("--since: allowed: a time such as 12h, 7d or 4w")?;
            let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
            get(format!("/api/ledger?since={since}"))
        }
        Action::Silence {
            matcher,
            lasts,
            comment,
            who,
        } => post(
            "/api/silences".to_owned(),
            json!({"matchers": matcher, "endsAt": end(*lasts)?, "by": who.by, "comment": comment}),
        ),
        Action::Silences => get("/api/silences".to_owned()),
        Action::Expire { id } => (Method::DELETE, format!("/api/silences/{id}"), None),
    })
}

fn end(lasts: Duration) -> Result<String> {
    let lasts = TimeDelta::from_std(lasts).ok();
    let end = lasts.and_then(|lasts| Utc::now().checked_add_signed(lasts));
    let end = end.context("--for: allowed: 30 days (720h) at most")?;
    Ok(end.to_rfc3339())
}
