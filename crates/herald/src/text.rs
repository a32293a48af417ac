//! Text that others wrote, made fit to be shown.

use telemetry::redact::{plain, redact};

/// At most `limit` characters, with a mark at the cut.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(limit.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// One line without control characters and secrets, cut to the limit, for quotes from logs and traces.
pub(crate) fn quoted(text: &str, limit: usize) -> String {
    shortened(&one_line(&redact(text)), limit)
}

/// One line of printable characters only.
pub(crate) fn one_line(text: &str) -> String {
    plain::one_line(text).into_owned()
}

/// `42 ms` or `1.50 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

/// `4.1 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_short_clean_and_on_one_line() {
        assert_eq!(
            quoted("mail to ada@example.com\nfailed\u{202e}", 100),
            "mail to [redacted] failed"
        );
        assert_eq!(shortened("añb", 2), "a…");
        assert_eq!(shortened("añb", 3), "añb");
        assert_eq!(
            (seconds(0.0421).as_str(), seconds(1.5).as_str()),
            ("42 ms", "1.50 s")
        );
    }
}
