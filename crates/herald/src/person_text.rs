//! Texts that people write about an alert: short and printable.

use service::FieldError;
use telemetry::redact::redact;

use crate::text::one_line;

/// Characters of a person's name, and whether it may be empty.
pub(crate) const NAME: Length = Length(1, 100);

/// The length of a comment.
pub(crate) const NOTE: Length = Length(1, 1000);

/// The length of an optional note.
pub(crate) const OPTIONAL_NOTE: Length = Length(0, 1000);

/// Least and most characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length(usize, usize);

/// The text on one line, without secrets; or an error for this field.
pub(crate) fn person_text(
    field: &str,
    text: &str,
    Length(least, most): Length,
    errors: &mut Vec<FieldError>,
) -> String {
    let shown = one_line(&redact(text)).trim().to_owned();
    if !(least..=most).contains(&shown.chars().count()) || text.chars().count() > 2 * most {
        let allowed = format!("allowed: {least} to {most} characters that can be seen");
        errors.push(FieldError::new(field, allowed));
    }
    shown
}
