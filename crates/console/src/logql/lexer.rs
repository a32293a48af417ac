//! Text becomes tokens.

use super::refusal::{Kind, Refusal};
use crate::quoted::{self, Wrong};
use slo::duration;

/// A word, sign or literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A label, function or keyword.
    Word(String),
    /// `"…"` or `` `…` ``, without quotes and escapes.
    Text(String),
    /// `5`, `1.5e3`, `0x1f`.
    Number(f64),
    /// `1h30m`, as nanoseconds.
    Duration(u64),
    /// `20MB`, as written.
    Bytes(String),
    /// Brackets, commas, operators.
    Operator(&'static str),
    /// After the last one.
    End,
}

impl Token {
    /// How a message calls it.
    pub fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Text(text) => format!("the string {:?}", short(text)),
            Self::Number(number) => format!("the number {number}"),
            Self::Duration(_) => "a duration".to_owned(),
            Self::Bytes(bytes) => format!("the number of bytes {bytes}"),
            Self::Operator(sign) => format!("\"{sign}\""),
            Self::End => "the end".to_owned(),
        }
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(40)]
}

/// An operator stands before those that it begins with.
const OPERATORS_LONGEST_FIRST: [&str; 26] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "{", "}", "(", ")", "[", "]", ",",
    "|", "=", ">", "<", "+", "-", "*", "/", "%",
];

/// All tokens, each with the byte at which it begins; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Refusal> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.next()?;
        let is_end = token == Token::End;
        tokens.push((start, token));
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// White space, and comments to the end of their line.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let after = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            let after = match after.starts_with('#') {
                true => after.find('\n').map_or("", |end| &after[end..]),
                false => after,
            };
            self.at += rest.len() - after.len();
            if after.len() == rest.len() {
                return;
            }
        }
    }

    fn next(&mut self) -> Result<Token, Refusal> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        let starts_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        match first {
            '"' => self.quoted(),
            '`' => self.raw_string(),
            _ if first.is_ascii_digit() || (first == '.' && starts_number(&rest[1..])) => {
                self.number()
            }
            _ if is_word(first) => Ok(Token::Word(self.take(is_word).to_owned())),
            _ => self.operator(first),
        }
    }

    /// The text up to the first character that does not belong.
    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn operator(&mut self, first: char) -> Result<Token, Refusal> {
        let rest = self.rest();
        if first == '^' {
            self.at += 1;
            return Ok(Token::Operator("^"));
        }
        let sign = OPERATORS_LONGEST_FIRST
            .into_iter()
            .find(|sign| rest.starts_with(sign));
        let sign = sign.ok_or_else(|| self.wrong(format!("unexpected character {first:?}")))?;
        self.at += sign.len();
        Ok(Token::Operator(sign))
    }

    /// `5`, `1.5e-3`, `0x1f`, `1h30m`, `20MB`.
    fn number(&mut self) -> Result<Token, Refusal> {
        let start = self.at;
        let mut word = self.take(|c| c.is_alphanumeric() || c == '.' || c == '_');
        let is_exponent = word.ends_with(['e', 'E']) && !word.starts_with("0x");
        if is_exponent && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take(|c| c.is_ascii_digit());
            word = &self.text[start..self.at];
        }
        if let Some(number) = number(word) {
            return Ok(Token::Number(number));
        }
        if let Ok(nanoseconds) = duration::parse_long(word) {
            return Ok(Token::Duration(nanoseconds));
        }
        if is_bytes(word) {
            return Ok(Token::Bytes(word.to_owned()));
        }
        self.at = start;
        Err(self.wrong(format!(
            "{:?} is neither a number nor a duration",
            short(word)
        )))
    }

    /// Between backquotes everything stands for itself.
    fn raw_string(&mut self) -> Result<Token, Refusal> {
        let rest = &self.rest()[1..];
        let end = rest.find('`').ok_or_else(|| self.unterminated())?;
        self.at += end + 2;
        Ok(Token::Text(rest[..end].to_owned()))
    }

    fn quoted(&mut self) -> Result<Token, Refusal> {
        let (text, rest) = quoted::text(&self.rest()[1..]).map_err(|why| match why {
            Wrong::Endless => self.unterminated(),
            Wrong::Escape(why) => Refusal::at_byte(Kind::Unsupported, self.text, self.at, why),
        })?;
        self.at = self.text.len() - rest.len();
        Ok(Token::Text(text))
    }

    fn unterminated(&self) -> Refusal {
        self.wrong("a string that does not end".to_owned())
    }

    fn wrong(&self, message: String) -> Refusal {
        Refusal::at_byte(Kind::Syntax, self.text, self.at, message)
    }
}

/// Accepts digits too: a word does not begin with one, see [`Lexer::next`].
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn number(word: &str) -> Option<f64> {
    match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16)
            .ok()
            .map(|number| number as f64),
        // `f64` also reads `inf` and `nan`, but those do not begin with a digit.
        None => word.parse().ok(),
    }
}

fn is_bytes(word: &str) -> bool {
    const UNITS: [&str; 13] = [
        "b", "kb", "mb", "gb", "tb", "pb", "eb", "kib", "mib", "gib", "tib", "pib", "eib",
    ];
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    UNITS.contains(&unit.to_ascii_lowercase().as_str())
}
