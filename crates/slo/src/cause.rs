//! `alerts/causes.toml`: what may be wrong when users suffer, or before they do.

use serde::Deserialize;
use toml::Spanned;

use crate::error::{Error, Source};
use crate::promql::indented;
use crate::{Action, CauseKind, Profile, Severity};

/// What a text may have between `<` and `>`.
const PLACEHOLDERS: [&str; 7] = [
    "window",
    "window_seconds",
    "memory",
    "memory_seconds",
    "period",
    "period_seconds",
    "low_disk_gb",
];

/// An alert about a cause. In its texts what is in `PLACEHOLDERS` stands for values of the profile.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Its name, `PoolSaturated`.
    pub alert: String,
    /// PromQL.
    pub expr: String,
    /// Whether it must last for the profile's `cause_for`, or fires at once.
    #[serde(default = "yes")]
    pub lasts: bool,
    /// Whether it watches what watches: then it is evaluated apart from the others.
    #[serde(default)]
    pub watches: bool,
    /// Who is told.
    #[serde(default = "ticket")]
    pub severity: Severity,
    /// Who is responsible.
    #[serde(default = "platform")]
    pub team: String,
    /// Value of the label `service`, a template.
    #[serde(default = "service_name")]
    pub service: String,
    /// Value of the label `db_system_name`, if the fault is in a database and the alert is of who measures it.
    pub database: Option<String>,
    /// What dashboard shows it: uid and variables, a template.
    pub dashboard: String,
    /// One line, a template.
    pub summary: String,
    /// What was measured, what is allowed; a template.
    pub description: String,
    /// What kind of cause it tells of.
    #[serde(default)]
    pub kind: CauseKind,
    /// What to do first, if that does not depend on what else is found.
    pub first_action: Option<Action>,
    /// Whether a release may be the reason: then the notification compares it with the one before.
    #[serde(default)]
    pub release: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cause: Vec<Spanned<Cause>>,
}

fn yes() -> bool {
    true
}

fn ticket() -> Severity {
    Severity::Ticket
}

fn platform() -> String {
    "platform".to_owned()
}

fn service_name() -> String {
    "{{ $labels.service_name }}".to_owned()
}

/// What stands for by how much each series has grown within the window.
const GROWN: &str = "grown(";

impl Cause {
    /// Its PromQL, for a profile.
    pub(crate) fn promql(&self, profile: &Profile) -> String {
        let mut parts = self.expr.split(GROWN);
        let mut expr = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (selector, rest) = part.split_once(')').unwrap_or((part, ""));
            expr += &format!("(\n{}\n)", indented(&grown(selector)));
            expr += rest;
        }
        Self::filled(&expr, profile)
    }

    /// A text with the profile's values in it.
    pub(crate) fn filled(text: &str, profile: &Profile) -> String {
        text.trim()
            .replace("<window>", &profile.cause_window.to_string())
            .replace(
                "<window_seconds>",
                &profile.cause_window.seconds().to_string(),
            )
            .replace("<memory>", &profile.memory().to_string())
            .replace("<memory_seconds>", &profile.memory().seconds().to_string())
            .replace("<period>", &profile.period.to_string())
            .replace("<period_seconds>", &profile.period.seconds().to_string())
            .replace("<low_disk_gb>", &profile.low_disk_gb.to_string())
    }
}

/// `increase` sees a series from its second sample on. One that a target did not have a window before counts from 0, if the target was seen then,
/// or is younger: its errors are not old ones that nobody saw.
fn grown(selector: &str) -> String {
    format!(
        "{selector} unless {selector} offset <window>\n\
         and on (job, instance) (up offset <window> == 1 or time() - process_start_time_seconds < <window_seconds>)\n\
         or increase({selector}[<window>])"
    )
}

/// Every cause of the file.
pub(crate) fn all(source: Source<'_>) -> Result<Vec<Cause>, Error> {
    let file: File = source.parse()?;
    for cause in &file.cause {
        check(cause.get_ref()).map_err(|why| source.error(cause.span(), why))?;
    }
    Ok(file.cause.into_iter().map(Spanned::into_inner).collect())
}

fn check(cause: &Cause) -> Result<(), String> {
    let is_name = cause.alert.starts_with(|c: char| c.is_ascii_uppercase())
        && cause.alert.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_name {
        let alert = &cause.alert;
        return Err(format!(
            "`alert` is {alert:?}: allowed are letters and digits, a capital first"
        ));
    }
    let one_line = [
        ("team", &cause.team),
        ("service", &cause.service),
        ("dashboard", &cause.dashboard),
        ("summary", &cause.summary),
    ];
    let database = cause.database.iter().map(|name| ("database", name));
    for (key, text) in one_line.into_iter().chain(database) {
        if text.trim().contains(char::is_control) {
            return Err(format!(
                "`{key}` is {text:?}: control characters and line breaks are not allowed"
            ));
        }
    }
    if cause.expr.contains("fault_active") {
        return Err("`expr` reads fault_active: that is the answer key, allowed is what users and services see".to_owned());
    }
    for part in cause.expr.split(GROWN).skip(1) {
        let selector = part.split_once(')').map(|(selector, _)| selector);
        if selector.is_none_or(|selector| selector.contains('(')) {
            return Err(
                "`expr` has grown(…): allowed in it is a selector without parentheses".to_owned(),
            );
        }
    }
    for part in cause.expr.split('<').skip(1) {
        let name = part
            .split_once('>')
            .map(|(name, _)| name)
            .unwrap_or_default();
        let is_placeholder =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if is_placeholder && !PLACEHOLDERS.contains(&name) {
            let allowed = PLACEHOLDERS.join(">, <");
            return Err(format!("`expr` has <{name}>: allowed are <{allowed}>"));
        }
    }
    Ok(())
}
