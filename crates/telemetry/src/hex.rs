//! Ids as text. `core::fmt` takes ten times as long.

use opentelemetry::{SpanId, TraceId};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `N` digits of lower-case hex.
pub(crate) struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The digits of the bytes; zeros if there are fewer bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; N];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(digits)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits")
    }
}

impl From<TraceId> for Hex<32> {
    fn from(id: TraceId) -> Self {
        Self::new(&id.to_bytes())
    }
}

impl From<SpanId> for Hex<16> {
    fn from(id: SpanId) -> Self {
        Self::new(&id.to_bytes())
    }
}

impl From<u8> for Hex<2> {
    fn from(byte: u8) -> Self {
        Self::new(&[byte])
    }
}

/// Parses at most 32 lower-case digits.
pub(crate) fn number(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}
