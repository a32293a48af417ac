//! Percent-encoding, behind which a secret may hide.

/// Undoes percent-encoding; `None` if there is none. It does not decode control characters, because they were encoded for a
/// reason.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let hex = |at: usize| {
        let digits = text.get(at + 1..at + 3)?;
        let valid = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u8::from_str_radix(digits, 16).unwrap_or_default())
    };
    let first = text.find('%')?;
    let (mut bytes, mut at) = (text.as_bytes()[..first].to_vec(), first);
    let mut any = false;
    while let Some(byte) = text.as_bytes().get(at) {
        let decoded = if *byte == b'%' { hex(at) } else { None };
        any |= decoded.is_some();
        at += if decoded.is_some() { 3 } else { 1 };
        bytes.push(decoded.unwrap_or(*byte));
    }
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    any.then(|| {
        String::from_utf8_lossy(&bytes)
            .chars()
            .map(printable)
            .collect()
    })
}
