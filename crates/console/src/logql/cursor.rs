//! The tokens of an expression, one after the other, with limits on how many and how deep.

use super::lexer::{Token, tokens};
use super::refusal::{Kind, Refusal};

/// The longest expression, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// The most brackets inside each other.
const MAX_DEPTH: usize = 32;

/// The most matchers of a selector, stages, conditions and regular expressions of one expression.
const MAX_PARTS: usize = 64;

/// Words of the grammar that no label can be called.
const RESERVED: [&str; 18] = [
    "bool",
    "decolorize",
    "drop",
    "group_left",
    "group_right",
    "ignoring",
    "json",
    "keep",
    "label_format",
    "line_format",
    "logfmt",
    "offset",
    "on",
    "pattern",
    "regexp",
    "unpack",
    "unwrap",
    "vector",
];

fn is_reserved(word: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// The position in the text of an expression.
pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    parts: usize,
    pub(super) room: Room<'a>,
}

/// Gets the memory size of the next part, and may refuse it.
pub(crate) type Room<'a> = &'a mut dyn FnMut(usize) -> Result<(), Refusal>;

impl<'a> Parser<'a> {
    /// Starts at the beginning of a text.
    pub fn new(text: &'a str, room: Room<'a>) -> Result<Self, Refusal> {
        if text.len() > MAX_TEXT {
            let why = format!("the expression is longer than {MAX_TEXT} bytes");
            return Err(Refusal::new(Kind::TooMuch, why));
        }
        Ok(Self {
            text,
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
            parts: 0,
            room,
        })
    }

    /// The next token.
    pub fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    /// Skips the next token; [`Token::End`] stays.
    pub fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// Skips the next token if it is this operator.
    pub fn accept(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Operator(found) if *found == sign);
        if found {
            self.advance();
        }
        found
    }

    /// Skips the next token, which must be this operator.
    pub fn expect(&mut self, sign: &str) -> Result<(), Refusal> {
        match self.accept(sign) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("\"{sign}\""))),
        }
    }

    /// A label's name.
    pub fn label(&mut self) -> Result<String, Refusal> {
        match self.peek() {
            Token::Word(word) if !is_reserved(word) => {
                let word = word.clone();
                self.advance();
                Ok(word)
            }
            _ => Err(self.unexpected("a label")),
        }
    }

    /// A quoted text.
    pub fn quoted(&mut self) -> Result<String, Refusal> {
        match self.peek() {
            Token::Text(text) => {
                let text = text.clone();
                self.advance();
                Ok(text)
            }
            _ => Err(self.unexpected("a string")),
        }
    }

    /// No LogQL, at the next token.
    pub fn unexpected(&self, wanted: &str) -> Refusal {
        let message = format!("unexpected {}, expected {wanted}", self.peek().shown());
        Refusal::at_byte(Kind::Syntax, self.text, self.tokens[self.at].0, message)
    }

    /// No LogQL, at the token before the next one.
    pub fn wrong_before(&self, message: &str) -> Refusal {
        let at = self.tokens[self.at.saturating_sub(1)].0;
        Refusal::at_byte(Kind::Syntax, self.text, at, message.to_owned())
    }

    /// The error for LogQL that the console does not support; `back` tokens before the next one.
    pub fn unsupported(&self, back: usize, what: impl Into<String>) -> Refusal {
        let at = self.tokens[self.at.saturating_sub(back)].0;
        Refusal::at_byte(Kind::Unsupported, self.text, at, what.into())
    }

    /// Counts a matcher, stage or condition.
    pub fn part(&mut self) -> Result<(), Refusal> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            let why = format!("more than {MAX_PARTS} matchers, stages and conditions");
            return Err(Refusal::new(Kind::TooMuch, why));
        }
        Ok(())
    }

    /// Reads an expression in parentheses.
    pub fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.expect("(")?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let why = format!("more than {MAX_DEPTH} brackets inside each other");
            return Err(Refusal::new(Kind::TooMuch, why));
        }
        let found = inner(self)?;
        self.depth -= 1;
        self.expect(")")?;
        Ok(found)
    }

    /// No token may follow.
    pub fn end(&self) -> Result<(), Refusal> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(self.unexpected("the end")),
        }
    }

    /// Reads one of these operators.
    pub fn expect_any(&mut self, signs: &[&'static str]) -> Result<&'static str, Refusal> {
        match *self.peek() {
            Token::Operator(sign) if signs.contains(&sign) => {
                self.advance();
                Ok(sign)
            }
            _ => Err(self.unexpected(&signs.join(" "))),
        }
    }
}
