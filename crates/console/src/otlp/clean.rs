//! Texts of one body that hold no secret. Senders repeat most of them, and to compare a text takes less than to redact it.

use std::borrow::Cow;
use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::values::{MAX_NAME, clean};

const PLACES: usize = 256;

/// The last one of each place.
pub(super) struct Clean<'a>([&'a str; PLACES]);

impl Default for Clean<'_> {
    fn default() -> Self {
        Self([""; PLACES])
    }
}

impl<'a> Clean<'a> {
    /// The text, redacted and cut to `limit` bytes, which are no fewer than [`MAX_NAME`].
    pub fn text(&mut self, sent: &'a [u8], limit: usize) -> Result<Cow<'a, str>, String> {
        let last = &mut self.0[place(sent)];
        if last.as_bytes() == sent {
            return Ok(Cow::Borrowed(last));
        }
        let text = std::str::from_utf8(sent).map_err(|_| "a text is no UTF-8")?;
        let clean = clean(text, limit);
        if matches!(clean, Cow::Borrowed(_)) && text.len() <= MAX_NAME {
            *last = text;
        }
        Ok(clean)
    }
}

fn place(text: &[u8]) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(text);
    hasher.finish() as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::super::values::MAX_TEXT;
    use super::*;

    #[test]
    fn a_text_means_the_same_each_time() {
        let long = "x".repeat(MAX_NAME + 1);
        let mut texts = Clean::default();
        // Twice as many as there are places, so that all are taken, and taken again.
        let many: Vec<String> = (0..2 * PLACES).map(|i| format!("/api/items/{i}")).collect();
        for _ in 0..3 {
            for text in ["", "GET", "ada@example.com", "token=abcdef", &long] {
                for limit in [MAX_NAME, MAX_TEXT] {
                    let read = texts.text(text.as_bytes(), limit);
                    assert_eq!(read, Ok(clean(text, limit)), "{text} {limit}");
                }
            }
            for text in &many {
                assert_eq!(texts.text(text.as_bytes(), MAX_TEXT), Ok(text.into()));
            }
        }
        assert!(texts.text(&[0xff], MAX_TEXT).is_err());
    }
}
