//! What is asked of a text before the parser sees it: the parser bounds neither its tree nor its regular expressions.

use promql_parser::parser::{self, Expr};
use promql_parser::util::unquote_string;

use crate::Error;
use crate::matcher;

/// Bytes of an expression.
const MAX_BYTES: usize = 32 << 10;
/// Names, numbers, strings and signs; a tree is at most this deep when it is dropped.
const MAX_TOKENS: usize = 2_000;
/// Brackets inside brackets.
const MAX_BRACKETS: usize = 100;
/// `[5m * 2]`, `offset step()`.
const CALCULATED: &str = "a calculated duration";

/// What the text holds.
#[derive(Default)]
pub(crate) struct Scan<'a> {
    tokens: usize,
    brackets: usize,
    deepest: usize,
    regexes: Vec<&'a str>,
    /// Those and the ones of `label_replace`.
    patterns: usize,
    in_range: bool,
    refused: Option<&'static str>,
}

/// The parser's tree of a text that does not take too much, and how many regular expressions it has.
pub(crate) fn parsed(text: &str) -> Result<(Expr, usize), Error> {
    if text.len() > MAX_BYTES {
        let length = text.len();
        return Err(Error::TooLarge(format!(
            "an expression of {length} bytes; {MAX_BYTES} are allowed"
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
            matcher::check(&pattern, scan.patterns)?;
        }
    }
    match (parser::parse(text), scan.refused) {
        (Ok(expr), _) => Ok((expr, scan.patterns)),
        (Err(_), Some(construct)) => Err(Error::NotCovered(construct.to_owned())),
        (Err(why), None) => Err(Error::Syntax(why)),
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
        // `offset -5m`: the sign is part of the number.
        if !(before == "offset" && matches!(token, "+" | "-")) {
            before = token;
        }
    }
    scan
}

impl<'a> Scan<'a> {
    fn add(&mut self, before: &str, token: &'a str) {
        self.tokens += 1;
        match token {
            "(" | "[" | "{" => self.brackets += 1,
            ")" | "]" | "}" => self.brackets = self.brackets.saturating_sub(1),
            "label_replace" => self.patterns += 1,
            _ if before == "~" && token.starts_with(['"', '\'', '`']) => {
                self.patterns += 1;
                self.regexes.push(token);
            }
            _ => {}
        }
        self.deepest = self.deepest.max(self.brackets);
        let refused = match self.in_range {
            true if "(+-*/%^".contains(token) => Some(CALCULATED),
            _ => refused(before, token),
        };
        self.refused = self.refused.or(refused);
        self.in_range = token == "[" || (self.in_range && token != "]");
    }
}

/// What the parser does not read, and refuses without naming it.
fn refused(before: &str, token: &str) -> Option<&'static str> {
    let is_number = token.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    match (before, token) {
        ("offset", _) if !is_number => Some(CALCULATED),
        ("<" | ">", "/") => Some("the operators `</` and `>/` of native histograms"),
        ("info", "(") => Some("the function `info`"),
        (_, "anchored") => Some("the modifier `anchored`"),
        (_, "smoothed") => Some("the modifier `smoothed`"),
        _ => None,
    }
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
