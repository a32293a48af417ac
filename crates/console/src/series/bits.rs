//! Single bits in bytes.

/// Written from the highest bit of the first byte on.
#[derive(Debug, Default)]
pub(super) struct Bits {
    pub bytes: Vec<u8>,
    /// Free bits of the last byte.
    free: u32,
}

impl Bits {
    /// Has room for this many bytes before it grows.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            free: 0,
        }
    }

    /// The lowest `count` bits of a number.
    pub fn push(&mut self, number: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (number >> (left - take)) & ((1 << take) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part << (self.free - take)) as u8;
            }
            (self.free, left) = (self.free - take, left - take);
        }
    }

    /// Deletes all bits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.free = 0;
    }

    /// Bits that are free before it grows beyond so many bytes.
    pub fn room(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.bytes.len()) * 8 + self.free as usize
    }
}

/// Bits that are read at once at most.
const SEEN: u32 = 56;

/// Reads what [`Bits`] wrote. Behind the end there are zeros.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits.
    pub fn take(&mut self, count: u32) -> u64 {
        if count > SEEN {
            let high = self.take(count - SEEN);
            return high << SEEN | self.take(SEEN);
        }
        let number = self.ahead().checked_shr(u64::BITS - count);
        self.at += count as usize;
        number.unwrap_or_default()
    }

    /// The number of ones before the next zero, at most `most`; it reads the zero, too.
    pub fn ones(&mut self, most: u32) -> u32 {
        let ones = self.ahead().leading_ones().min(most);
        self.at += (ones + u32::from(ones < most)) as usize;
        ones
    }

    /// Reads as many pairs of zeros as it sees at once; returns their number.
    pub fn pairs_of_zeros(&mut self) -> usize {
        if self.at / 8 >= self.bytes.len() {
            return usize::MAX;
        }
        let pairs = self.ahead().leading_zeros().min(SEEN) as usize / 2;
        self.at += 2 * pairs;
        pairs
    }

    /// The next bits; at least [`SEEN`] of them, from the highest on.
    fn ahead(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let mut next = [0; 8];
        let seen = rest.len().min(8);
        next[..seen].copy_from_slice(&rest[..seen]);
        u64::from_be_bytes(next) << (self.at % 8)
    }
}
