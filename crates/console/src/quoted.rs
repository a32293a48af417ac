//! Texts in double quotes, as Go writes them. LogQL and the templates of rules use them.

use std::str::Chars;

/// Why it is none.
pub(crate) enum Wrong {
    /// The second quote is missing in its line.
    Endless,
    /// The reason, in words.
    Escape(String),
}

/// The text between the first quote, which has been read, and the second one, without its escapes; and the text after it.
pub(crate) fn text(sent: &str) -> Result<(String, &str), Wrong> {
    let mut is_escaped = false;
    for (position, c) in sent.char_indices() {
        match c {
            '\n' => break,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => {
                let text = unescaped(&sent[..position]).map_err(Wrong::Escape)?;
                return Ok((text, &sent[position + 1..]));
            }
            _ => {}
        }
    }
    Err(Wrong::Endless)
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        clean.push(if c == '\\' { escaped(&mut rest)? } else { c });
    }
    Ok(clean)
}

fn escaped(rest: &mut Chars<'_>) -> Result<char, String> {
    let escape = rest.next().unwrap_or_default();
    let digits = match escape {
        'n' => return Ok('\n'),
        't' => return Ok('\t'),
        'r' => return Ok('\r'),
        '\\' | '"' | '\'' => return Ok(escape),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => {
            return Err(format!(
                "the escape \\{escape} does not exist; write \\\\{escape}, or put the string in backquotes"
            ));
        }
    };
    let hex: String = rest.by_ref().take(digits).collect();
    let is_hex = hex.len() == digits && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    let code = is_hex.then(|| u32::from_str_radix(&hex, 16).ok()).flatten();
    code.and_then(char::from_u32)
        .ok_or_else(|| format!("the escape \\{escape}{hex} is no character"))
}
