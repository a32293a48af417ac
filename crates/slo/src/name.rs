//! What names and links may hold: they end up in PromQL, in templates of Prometheus and in names of files.

use crate::error::{Error, Source};
use toml::Spanned;

const LONGEST: usize = 200;

/// Refuses what would break out of where the text is written.
pub(crate) fn check(source: Source<'_>, key: &str, text: &Spanned<String>) -> Result<(), Error> {
    let value = text.get_ref();
    let hidden = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
    let why = match () {
        () if value.trim().is_empty() => "is empty: allowed is a text".to_owned(),
        () if value.len() > LONGEST => format!("has more than {LONGEST} bytes"),
        () if value.contains(hidden) => {
            format!("is {value:?}: control characters and line breaks are not allowed")
        }
        () if value.contains(['"', '\'', '`', '\\']) => {
            format!("is {value:?}: quotes and backslashes are not allowed")
        }
        () if value.contains("{{") || value.contains("}}") => {
            format!(
                "is {value:?}: Prometheus would run it as a template, {{{{ and }}}} are not allowed"
            )
        }
        () => return Ok(()),
    };
    Err(source.error(text.span(), format!("`{key}` {why}")))
}

/// The same for a link, which has no spaces.
pub(crate) fn check_link(
    source: Source<'_>,
    key: &str,
    text: &Spanned<String>,
) -> Result<(), Error> {
    check(source, key, text)?;
    if text.get_ref().contains(char::is_whitespace) {
        let why = format!("`{key}` is {:?}: a link has no spaces", text.get_ref());
        return Err(source.error(text.span(), why));
    }
    Ok(())
}

/// Refuses a profile that would be written to a file elsewhere.
pub(crate) fn check_profile(source: Source<'_>, name: &Spanned<String>) -> Result<(), Error> {
    let text = name.get_ref();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) {
        return Ok(());
    }
    let why = format!(
        "the profile {text:?} names a file: allowed are up to 64 letters, digits, dashes and underscores"
    );
    Err(source.error(name.span(), why))
}
