//! Checks a text before the parser reads it, because the parser bounds neither its tree nor its regular expressions.

use lrpar::{Lexeme, Lexer, NonStreamingLexer};
use promql_parser::parser::token::{
    T_ADD, T_ANCHORED, T_DIV, T_DURATION, T_EOF, T_EQL_REGEX, T_GTR, T_IDENTIFIER, T_LEFT_BRACE,
    T_LEFT_BRACKET, T_LEFT_PAREN, T_LSS, T_NEQ_REGEX, T_NUMBER, T_OFFSET, T_RIGHT_BRACE,
    T_RIGHT_BRACKET, T_RIGHT_PAREN, T_SMOOTHED, T_STRING, T_SUB, TokenId,
};
use promql_parser::parser::{self, Expr};
use promql_parser::util::{parse_str_radix, unquote_string};

use crate::Error;
use crate::matcher;

/// Bytes of an expression.
const MAX_BYTES: usize = 32 << 10;
/// Names, numbers, strings and operators; the tree is at most this deep when it is dropped.
const MAX_TOKENS: usize = 2_000;
/// Brackets inside brackets.
const MAX_BRACKETS: usize = 100;
/// `[5m * 2]`, `offset step()`.
const CALCULATED: &str = "a calculated duration";
/// Seconds with which the parser would panic, with room.
const MAX_SECONDS: f64 = 1e10;

/// The counts of the text.
#[derive(Default)]
struct Scan<'a> {
    tokens: usize,
    brackets: usize,
    deepest: usize,
    regexes: Vec<&'a str>,
    /// Regular expressions in matchers and in `label_replace`.
    patterns: usize,
    in_range: bool,
    /// A duration that is none.
    impossible: Option<&'a str>,
    /// A construct that the parser would refuse without naming it.
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
    let lexer = parser::lexer(text).map_err(unread)?;
    let mut scan = Scan::default();
    let mut before = (T_EOF, "");
    for lexeme in lexer.iter().flatten() {
        let token = (lexeme.tok_id(), lexer.span_str(lexeme.span()));
        scan.add(before, token);
        // `offset -5m`: the minus is part of the number.
        if !(before.0 == T_OFFSET && matches!(token.0, T_ADD | T_SUB)) {
            before = token;
        }
    }
    scan.check()?;
    match (parser::parse(text), scan.refused) {
        (Ok(expr), _) => Ok((expr, scan.patterns)),
        (Err(_), Some(construct)) => Err(Error::NotCovered(construct.to_owned())),
        (Err(why), None) => Err(Error::Syntax(why)),
    }
}

/// The lexer knows no signs and names between `[` and `]`.
fn unread(why: String) -> Error {
    match why.starts_with("unexpected character inside brackets") {
        true => Error::NotCovered(CALCULATED.to_owned()),
        false => Error::Syntax(why),
    }
}

impl<'a> Scan<'a> {
    fn add(&mut self, before: (TokenId, &str), (id, token): (TokenId, &'a str)) {
        self.tokens += 1;
        match id {
            T_LEFT_PAREN | T_LEFT_BRACKET | T_LEFT_BRACE => self.brackets += 1,
            T_RIGHT_PAREN | T_RIGHT_BRACKET | T_RIGHT_BRACE => {
                self.brackets = self.brackets.saturating_sub(1);
            }
            T_IDENTIFIER if token == "label_replace" => self.patterns += 1,
            T_STRING if matches!(before.0, T_EQL_REGEX | T_NEQ_REGEX) => {
                self.patterns += 1;
                self.regexes.push(token);
            }
            T_NUMBER if self.in_range || before.0 == T_OFFSET => {
                let seconds = parse_str_radix(token).unwrap_or(f64::NAN);
                let is_possible = (0.0..MAX_SECONDS).contains(&seconds);
                self.impossible = self.impossible.or((!is_possible).then_some(token));
            }
            _ => {}
        }
        self.deepest = self.deepest.max(self.brackets);
        self.in_range = id == T_LEFT_BRACKET || (self.in_range && id != T_RIGHT_BRACKET);
        self.refused = self.refused.or(refused(before, id));
    }

    fn check(&self) -> Result<(), Error> {
        if self.tokens > MAX_TOKENS || self.deepest > MAX_BRACKETS {
            return Err(Error::TooLarge(format!(
                "an expression of {} words and {} brackets inside each other; {MAX_TOKENS} and {MAX_BRACKETS} are allowed",
                self.tokens, self.deepest
            )));
        }
        if let Some(duration) = self.impossible {
            return Err(Error::Syntax(format!(
                "the duration {duration} is out of range"
            )));
        }
        for literal in &self.regexes {
            let pattern = unquote_string(literal).map_err(Error::Syntax)?;
            matcher::check(&pattern, self.patterns)?;
        }
        Ok(())
    }
}

fn refused(before: (TokenId, &str), id: TokenId) -> Option<&'static str> {
    match (before, id) {
        ((T_OFFSET, _), T_NUMBER | T_DURATION | T_ADD | T_SUB) => None,
        ((T_OFFSET, _), _) => Some(CALCULATED),
        ((T_LSS | T_GTR, _), T_DIV) => Some("the operators `</` and `>/` of native histograms"),
        ((T_IDENTIFIER, "info"), T_LEFT_PAREN) => Some("the function `info`"),
        (_, T_ANCHORED) => Some("the modifier `anchored`"),
        (_, T_SMOOTHED) => Some("the modifier `smoothed`"),
        _ => None,
    }
}
