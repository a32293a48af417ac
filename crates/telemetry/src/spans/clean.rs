//! Texts that were found to hold no secret. Most values are those of the request before: a route, a host, a statement. To
//! compare a text with one that is known is much cheaper than to look it through.

/// As many as are remembered.
const PLACES: usize = 256;

/// Longest that is remembered.
const MAX_TEXT: usize = 256;

/// Each text has one place, which the last of those that share it has. None of them was redacted.
pub(super) struct Clean(Vec<String>);

impl Clean {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn knows(&self, text: &str) -> bool {
        text.len() <= MAX_TEXT && self.0.get(place(text)).is_some_and(|known| known == text)
    }

    pub(super) fn keep(&mut self, text: &str) {
        if text.len() <= MAX_TEXT {
            self.0.resize(PLACES, String::new());
            let kept = &mut self.0[place(text)];
            kept.clear();
            kept.push_str(text);
        }
    }
}

/// Hashes all bytes. Texts that collide gain nothing: they are checked again.
fn place(text: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).copied();
    let mixed = words.fold(text.len() as u64, |mixed, word| {
        (mixed.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(ODD)
    });
    (mixed >> 56) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_kept_last_and_is_the_same_is_known() {
        let mut clean = Clean::new();
        assert!(!clean.knows(""));
        for text in ["", "a", "GET /orders/{id}", &"x".repeat(MAX_TEXT)] {
            clean.keep(text);
            assert!(clean.knows(text), "{text}");
        }
        let long = "x".repeat(MAX_TEXT + 1);
        clean.keep(&long);
        assert!(!clean.knows(&long));
        let texts: Vec<String> = (0..10_000).map(|n| format!("order {n}")).collect();
        for text in &texts {
            assert!(!clean.knows(text), "{text}");
            clean.keep(text);
            assert!(clean.knows(text), "{text}");
        }
        let left = texts.iter().filter(|text| clean.knows(text)).count();
        assert!((200..=PLACES).contains(&left), "{left}");
    }
}
