//! Payment card numbers. The collector has only a pattern (`rules::collector_cards`); this code computes the check digit,
//! which spares nine of ten ids of the same length.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::{MARK, compiled, rules};

/// Digits of the shortest card number.
pub(crate) const SHORTEST: usize = 13;

/// A run of digits, perhaps grouped as on a card; the boundaries are checked by hand.
static DIGITS: LazyLock<Regex> = LazyLock::new(|| {
    let groups = rules::card_groups();
    compiled(&format!("[0-9]{{13,19}}|{groups}"))
});

pub(crate) fn redact(text: &mut Cow<'_, str>) {
    let (mut clean, mut copied, mut from) = (String::new(), 0, 0);
    while let Some(found) = DIGITS.find_at(text, from) {
        if stands_alone(text, found.start(), found.end()) && is_card(found.as_str()) {
            clean.push_str(&text[copied..found.start()]);
            clean.push_str(MARK);
            (copied, from) = (found.end(), found.end());
        } else {
            // A card may begin with the next group.
            let digits = found.as_str().bytes().take_while(u8::is_ascii_digit);
            from = found.start() + digits.count();
        }
    }
    if copied > 0 {
        clean.push_str(&text[copied..]);
        *text = Cow::Owned(clean);
    }
}

/// Whether the digits can be a card. Digits next to a letter, another digit, a hyphenated group (a UUID), or a decimal point
/// are an id.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let touches = |neighbour: Option<u8>, beyond: Option<u8>| match neighbour {
        Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => true,
        Some(b'-') => beyond.is_some_and(|byte| byte.is_ascii_alphanumeric()),
        Some(b'.') => beyond.is_some_and(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    let bytes = text.as_bytes();
    let at = |index: Option<usize>| index.and_then(|index| bytes.get(index).copied());
    !touches(at(start.checked_sub(1)), at(start.checked_sub(2)))
        && !touches(at(Some(end)), at(Some(end + 1)))
}

/// Issuer prefixes of payment cards (ISO/IEC 7812: 3 to 6, and Mastercard's 2221-2720) and the Luhn check.
/// Epoch timestamps in milli-, micro- and nanoseconds begin with 1 until the year 2033.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let issuer = matches!(digits[0], 3..=6) || (digits[0] == 2 && matches!(digits[1], 2..=7));
    issuer && (SHORTEST..=19).contains(&digits.len()) && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match index % 2 {
            0 => *digit,
            _ if *digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
