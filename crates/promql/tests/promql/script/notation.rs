//! `up{job="a"} 1 2+3x4 _ stale`.

use promql::{Labels, STALE_NAN};
use promql_parser::util::{parse_duration, unquote_string};

/// One point of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Missing,
    Value(f64),
    NativeHistogram,
}

/// Name and labels, then points.
pub fn series(line: &str) -> Result<(Labels, Vec<Item>), String> {
    let end = labels_end(line)?;
    let (name_and_labels, points) = line.split_at(end);
    Ok((labels(name_and_labels)?, items(points)?))
}

/// Where the labels end: behind the brace that is not inside quotes, or at the first space.
pub fn labels_end(line: &str) -> Result<usize, String> {
    let mut quote = None;
    let mut escaped = false;
    let mut braces = false;
    for (index, c) in line.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(open), c) if c == open => quote = None,
            (Some(open), '\\') => escaped = open != '`',
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces = true,
            (None, '}') => return Ok(index + 1),
            (None, c) if c.is_whitespace() && !braces => return Ok(index),
            _ => {}
        }
    }
    match braces {
        true => Err(format!("{line:?} has no closing brace")),
        false => Ok(line.len()),
    }
}

fn labels(text: &str) -> Result<Labels, String> {
    let (name, inner) = match text.split_once('{') {
        Some((name, inner)) => (name, inner.trim_end_matches('}')),
        None => (text, ""),
    };
    let mut pairs = vec![(promql::NAME.to_owned(), name.trim().to_owned())];
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let (name, after) = text_or_word(rest)?;
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = text_or_word(value.trim_start())?;
                pairs.push((name, value));
                rest = after;
            }
            None => {
                pairs[0].1 = name;
                rest = after;
            }
        }
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    Ok(Labels::new(pairs))
}

fn text_or_word(text: &str) -> Result<(String, &str), String> {
    let Some(quote) = text
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'))
    else {
        let end = text.find([',', '=', ' ']).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return Ok((unquote_string(&text[..=index])?, &text[index + 1..])),
            _ => {}
        }
    }
    Err(format!("{text:?} has no end"))
}

fn items(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut end = 0;
        let mut inside = false;
        // A native histogram has spaces inside of its braces.
        for (index, c) in rest.char_indices() {
            inside = (inside || rest[index..].starts_with("{{")) && !rest[..index].ends_with("}}");
            if c.is_whitespace() && !inside {
                break;
            }
            end = index + c.len_utf8();
        }
        items.extend(item(&rest[..end])?);
        rest = rest[end..].trim_start();
    }
    Ok(items)
}

fn item(token: &str) -> Result<Vec<Item>, String> {
    let (token, times) = match token.rsplit_once('x') {
        Some((token, times)) if times.parse::<usize>().is_ok() => {
            (token, times.parse::<usize>().ok())
        }
        _ => (token, None),
    };
    let more = times.unwrap_or(0);
    match token {
        "_" => return Ok(vec![Item::Missing; times.unwrap_or(1)]),
        "stale" => return Ok(vec![Item::Value(STALE_NAN); more + 1]),
        _ if token.starts_with("{{") => return Ok(vec![Item::NativeHistogram; more + 1]),
        _ => {}
    }
    let (start, step) = start_and_step(token).ok_or_else(|| format!("{token:?} is no point"))?;
    let values = std::iter::successors(Some(start), |value| Some(value + step));
    Ok(values.take(more + 1).map(Item::Value).collect())
}

fn start_and_step(token: &str) -> Option<(f64, f64)> {
    if let Some(value) = number(token) {
        return Some((value, 0.0));
    }
    let signs = token
        .char_indices()
        .skip(1)
        .filter(|(_, c)| matches!(c, '+' | '-'));
    let mut found =
        signs.filter_map(|(index, _)| Some((number(&token[..index])?, number(&token[index..])?)));
    found.next()
}

/// A number as Go reads it.
pub fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match digits.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16)
            .ok()
            .map(|value| sign * value as f64),
        None if digits.starts_with(['+', '-']) => None,
        None => digits.parse::<f64>().ok().map(|value| sign * value),
    }
}

pub fn duration_ms(text: &str) -> Result<i64, String> {
    let is_zero = text
        .trim_end_matches(char::is_alphabetic)
        .bytes()
        .all(|digit| digit == b'0');
    match (is_zero, text.strip_prefix('-')) {
        (true, _) => Ok(0),
        (_, Some(text)) => duration_ms(text).map(|ms| -ms),
        _ => parse_duration(text)
            .map(|duration| duration.as_millis() as i64)
            .map_err(|why| format!("{text:?}: {why}")),
    }
}
