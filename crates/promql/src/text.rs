//! What is asked of a text before the parser sees it: the parser bounds neither its tree nor its regular expressions.

use promql_parser::util::unquote_string;

use crate::Error;
use crate::matcher;

/// Bytes of an expression.
const MAX_BYTES: usize = 32 << 10;
/// Names, numbers, strings and signs; a tree is at most this deep when it is dropped.
const MAX_TOKENS: usize = 2_000;
/// Brackets inside brackets.
const MAX_BRACKETS: usize = 100;
/// Words that a selector may follow.
const BEFORE_SELECTORS: [&str; 6] = ["and", "or", "unless", "bool", "group_left", "group_right"];

/// What the text holds.
#[derive(Default)]
pub(crate) struct Scan<'a> {
    tokens: usize,
    brackets: usize,
    deepest: usize,
    regexes: Vec<&'a str>,
    in_range: bool,
    /// What Prometheus has behind a feature flag, and the parser refuses without naming it.
    experimental: Option<&'static str>,
}

/// Refuses a text that would take too much, and says how many regular expressions it has.
pub(crate) fn check(text: &str) -> Result<usize, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLarge(format!(
            "an expression of {} bytes; {MAX_BYTES} are allowed",
            text.len()
        )));
    }
    let scan = scan(text);
    if scan.tokens > MAX_TOKENS || scan.deepest > MAX_BRACKETS {
        return Err(Error::TooLarge(format!(
            "an expression of {} words and {} brackets inside each other; {MAX_TOKENS} and {MAX_BRACKETS} are allowed",
            scan.tokens, scan.deepest
        )));
    }
    for literal in &scan.regexes {
        // A literal that cannot be read is for the parser to complain about.
        if let Ok(pattern) = unquote_string(literal) {
            matcher::anchored(&pattern, scan.regexes.len())?;
        }
    }
    match scan.experimental {
        Some(construct) => Err(Error::NotCovered(construct.to_owned())),
        None => Ok(scan.regexes.len()),
    }
}

fn scan(text: &str) -> Scan<'_> {
    let mut scan = Scan::default();
    let mut rest = text;
    let mut before = "";
    while let Some(first) = rest.chars().next() {
        let length = token(rest, first);
        let (token, after) = rest.split_at(length);
        rest = after;
        if first.is_whitespace() || first == '#' {
            continue;
        }
        scan.add(before, token);
        before = token;
    }
    scan
}

impl<'a> Scan<'a> {
    fn add(&mut self, before: &str, token: &'a str) {
        self.tokens += 1;
        match token {
            "(" | "{" if self.in_range => self.experimental = Some("a calculated duration"),
            "(" if before == "offset" => self.experimental = Some("a calculated duration"),
            "+" | "-" | "*" | "/" | "%" | "^" if self.in_range => {
                self.experimental = Some("a calculated duration");
            }
            "(" | "[" | "{" => self.brackets += 1,
            ")" | "]" | "}" => self.brackets = self.brackets.saturating_sub(1),
            _ if before == "~" && token.starts_with(['"', '\'', '`']) => self.regexes.push(token),
            // After the selector that it is about: a metric may have the name.
            "anchored" if may_end_selector(before) => self.experimental = Some("`anchored`"),
            "smoothed" if may_end_selector(before) => self.experimental = Some("`smoothed`"),
            _ => {}
        }
        self.in_range = token == "[" || (self.in_range && token != "]");
        self.deepest = self.deepest.max(self.brackets);
    }
}

fn may_end_selector(token: &str) -> bool {
    let is_word = token.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    matches!(token, "]" | "}") || (is_word && !BEFORE_SELECTORS.contains(&token))
}

/// Bytes of the token that the text begins with.
fn token(text: &str, first: char) -> usize {
    let until = |end: fn(char) -> bool| text.find(end).unwrap_or(text.len());
    match first {
        '#' => until(|c| c == '\n'),
        '"' | '\'' | '`' => quoted(text, first),
        c if c.is_whitespace() => until(|c| !c.is_whitespace()),
        c if c.is_alphanumeric() || c == '_' => {
            until(|c| !(c.is_alphanumeric() || matches!(c, '_' | ':' | '.')))
        }
        c => c.len_utf8(),
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}
