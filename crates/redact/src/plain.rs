//! Makes untrusted text safe to show on one line of a terminal or log.
//!
//! An escape sequence clears a screen or writes over the line above, a line separator begins a line that nobody wrote, a
//! bidirectional mark turns `ok` around, and what has no width hides in between.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character moves, hides or reorders what stands around it: controls (C0, DEL, C1), separators of lines and
/// paragraphs, bidirectional marks, characters without width, variation selectors, tags.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line: it replaces line ends and controls with spaces, and removes invisible characters.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let seen = text.chars().filter_map(|c| match c {
        '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() => Some(' '),
        c => (!is_hidden(c)).then_some(c),
    });
    Cow::Owned(seen.collect())
}

/// The same for a text of several lines; line ends stay.
pub fn lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(one_line).collect();
    lines.join("\n")
}

/// A JSON text that means the same, and does nothing to the terminal it is shown on.
pub fn json(text: &str) -> Cow<'_, str> {
    // JSON escapes those below U+0020; outside a string they are white space.
    let is_raw = |c: char| c >= ' ' && is_hidden(c);
    // Most texts are ASCII, where only DEL is hidden: a scan of bytes is much faster than one of characters.
    let plain = text.bytes().fold(true, |plain, byte| plain & (byte < 0x7f));
    if plain || !text.contains(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_raw(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// HTML that is nothing but this text, between tags and in quoted attributes.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_hidden(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_shows_the_text_and_does_nothing_else() {
        assert_eq!(
            html("<a title='x'>\"&\"</a>\n\u{202e}ok"),
            "&lt;a title=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;  ok"
        );
    }

    #[test]
    fn a_line_stays_one_line_and_shows_all_that_it_holds() {
        for (text, line) in [
            ("plain, größer, 日本, 🙂", "plain, größer, 日本, 🙂"),
            ("a\u{1b}[2K\rok", "a [2K ok"),
            ("a\nok\tb\u{7f}\u{85}\u{9b}2K", "a ok b  \u{20}2K"),
            ("a\u{2028}b\u{2029}c", "a b c"),
            ("ko\u{202e}\u{2066}\u{200f}", "ko"),
            (
                "a\u{200b}\u{200d}\u{feff}\u{ad}\u{2060}\u{3164}b\u{fe0f}",
                "ab",
            ),
            ("a\u{e0041}\u{e007f}\u{e0100}b", "ab"),
        ] {
            assert_eq!(one_line(text), line, "{text:?}");
        }
        assert_eq!(lines("a\u{1b}b\nc\r\nd"), "a b\nc \nd");
    }

    #[test]
    fn json_means_what_it_meant() {
        let value = "a\u{9b}2K\u{2028}\u{202e}\u{e0041}\u{1b}é";
        let text = format!("{{\"a\":\"{}\"}}\n", value.replace('\u{1b}', "\\u001b"));
        let shown = json(&text);
        assert!(!shown.trim_end().contains(is_hidden), "{shown}");
        assert_eq!(
            shown,
            "{\"a\":\"a\\u009b2K\\u2028\\u202e\\udb40\\udc41\\u001bé\"}\n"
        );
    }
}
