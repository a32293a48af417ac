//! The functions.

use super::numbers::{fixed, humanize, humanize_1024, humanize_duration, humanize_percentage};
use super::run::Value;
use super::{Operand, Query};

#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Query,
    First,
    Value,
    Not,
    Printf,
    Humanize(fn(f64) -> String),
}

const ALL: [(&str, Function); 9] = [
    ("query", Function::Query),
    ("first", Function::First),
    ("value", Function::Value),
    ("not", Function::Not),
    ("printf", Function::Printf),
    ("humanize", Function::Humanize(humanize)),
    ("humanize1024", Function::Humanize(humanize_1024)),
    ("humanizeDuration", Function::Humanize(humanize_duration)),
    (
        "humanizePercentage",
        Function::Humanize(humanize_percentage),
    ),
];

impl Function {
    /// The function with this name.
    pub fn of(name: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|(known, _)| *known == name);
        let names = || ALL.map(|(known, _)| known).join(", ");
        let why = || {
            format!(
                "the function {name} is not covered: allowed are {}",
                names()
            )
        };
        found.map(|(_, function)| *function).ok_or_else(why)
    }

    /// Whether it can be called so.
    pub fn check(self, arguments: &[Operand], is_piped: bool) -> Result<(), String> {
        let given = arguments.len() + usize::from(is_piped);
        let wanted = match (self, arguments) {
            (Self::Printf, [Operand::Text(format), ..]) => 1 + verbs(format)?,
            (Self::Printf, _) => {
                return Err("printf without a written format is not covered".into());
            }
            _ => 1,
        };
        match given == wanted {
            true => Ok(()),
            false => Err(format!(
                "a function is given {given} arguments, not {wanted}"
            )),
        }
    }

    /// Calls the function; the caller has checked the number of arguments.
    pub fn call(self, arguments: Vec<Value>, query: Query<'_>) -> Result<Value, String> {
        let mut arguments = arguments.into_iter();
        let first = arguments.next().ok_or("an argument is missing")?;
        Ok(match (self, first) {
            (Self::Query, Value::Text(text)) => Value::Samples(query(&text)?),
            (Self::First, Value::Samples(all)) => {
                let first = all.into_iter().next();
                Value::Sample(first.ok_or("first() called on vector with no elements")?)
            }
            (Self::Value, Value::Sample((_, value))) => Value::Number(value),
            (Self::Not, value) => Value::Flag(!value.is_true()),
            (Self::Printf, Value::Text(format)) => Value::Text(printed(&format, arguments)?),
            (Self::Humanize(words), Value::Number(value)) => Value::Text(words(value)),
            (function, _) => return Err(format!("{function:?} of something else than it takes")),
        })
    }
}

/// Its precision, if it says one, and its letter.
type Verb = (Option<usize>, char);

/// The literal text, then a verb, if there is one, and the rest.
fn piece(format: &str) -> Result<(&str, Option<Verb>, &str), String> {
    let Some((text, rest)) = format.split_once('%') else {
        return Ok((format, None, ""));
    };
    let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
    let (digits, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let letter = rest.chars().next().unwrap_or(' ');
    let precision = digits
        .strip_prefix('.')
        .and_then(|digits| digits.parse().ok());
    let is_known = match letter {
        '%' | 's' | 'q' | 'v' => digits.is_empty(),
        'f' => digits.is_empty() || precision.is_some_and(|digits: usize| digits < 32),
        _ => false,
    };
    match is_known {
        true => Ok((text, Some((precision, letter)), &rest[1..])),
        false => Err(format!(
            "the format %{digits}{letter} is not covered: allowed are %s, %q, %v, %f, %.2f and %%"
        )),
    }
}

fn verbs(mut format: &str) -> Result<usize, String> {
    let mut count = 0;
    while let (_, Some((_, letter)), rest) = piece(format)? {
        count += usize::from(letter != '%');
        format = rest;
    }
    Ok(count)
}

fn printed(mut format: &str, mut arguments: impl Iterator<Item = Value>) -> Result<String, String> {
    let mut out = String::new();
    loop {
        let (text, verb, rest) = piece(format)?;
        out.push_str(text);
        format = rest;
        let Some((precision, letter)) = verb else {
            return Ok(out);
        };
        if letter == '%' {
            out.push('%');
            continue;
        }
        match (letter, arguments.next()) {
            ('f', Some(Value::Number(value))) => out += &fixed(value, precision.unwrap_or(6)),
            ('s', Some(Value::Text(text))) => out += &text,
            ('q', Some(Value::Text(text))) => out += &slo::quoted(&text),
            ('v', Some(value)) => out += &value.shown()?,
            _ => return Err(format!("%{letter} of something else than it takes")),
        }
    }
}
