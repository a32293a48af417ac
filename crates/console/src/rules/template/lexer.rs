//! Splits a template into text, actions and the tokens of an action.

use crate::quoted::{self, Wrong};

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Item {
    Text(String),
    Action(Vec<Token>),
}

/// A piece of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// A variable (`None`: the dot) and its fields.
    Path(Option<String>, Vec<String>),
    Text(String),
    Number(f64),
    Pipe,
    Open,
    Close,
    Declare,
    Comma,
}

const BEGIN: &str = "{{";
const END: &str = "}}";

/// All items of a template.
pub(super) fn items(mut text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while let Some((before, action)) = text.split_once(BEGIN) {
        items.push(Item::Text(before.to_owned()));
        let mut rest = action;
        let mut tokens = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix(END) {
                text = after;
                break;
            }
            let (token, after) = token(rest)?;
            tokens.push(token);
            rest = after;
        }
        items.push(Item::Action(tokens));
    }
    items.push(Item::Text(text.to_owned()));
    Ok(items)
}

fn token(text: &str) -> Result<(Token, &str), String> {
    let first = text.chars().next().ok_or("an action without }}")?;
    if let Some(rest) = text.strip_prefix(":=") {
        return Ok((Token::Declare, rest));
    }
    let rest = &text[first.len_utf8()..];
    match first {
        '|' => Ok((Token::Pipe, rest)),
        '(' => Ok((Token::Open, rest)),
        ')' => Ok((Token::Close, rest)),
        ',' => Ok((Token::Comma, rest)),
        '"' => quoted(rest),
        '`' => {
            let raw = rest.split_once('`').ok_or("a text without its second `")?;
            Ok((Token::Text(raw.0.to_owned()), raw.1))
        }
        '.' | '$' => Ok(path(text)),
        _ if first.is_ascii_digit() => number(text),
        _ if is_letter(first) => {
            let (word, rest) = split(text, is_letter);
            Ok((Token::Word(word.to_owned()), rest))
        }
        _ => Err(format!("{first:?} is not covered")),
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn split(text: &str, fits: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !fits(c)).unwrap_or(text.len()))
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let (digits, rest) = split(text, |c| is_letter(c) || c == '.');
    let number = digits.parse().map_err(|_| format!("{digits} is no number"));
    Ok((Token::Number(number?), rest))
}

fn path(text: &str) -> (Token, &str) {
    let (all, rest) = split(text, |c| is_letter(c) || c == '.' || c == '$');
    let mut names = all.split('.').map(str::to_owned);
    let root = names.next().unwrap_or_default();
    let variable = root.strip_prefix('$').map(str::to_owned);
    let fields = names.filter(|name| !name.is_empty()).collect();
    (Token::Path(variable, fields), rest)
}

fn quoted(text: &str) -> Result<(Token, &str), String> {
    match quoted::text(text) {
        Ok((text, rest)) => Ok((Token::Text(text), rest)),
        Err(Wrong::Endless) => Err("a text without its second \"".to_owned()),
        Err(Wrong::Escape(why)) => Err(why),
    }
}
