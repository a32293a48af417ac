//! Single bits in bytes.

/// Written from the highest bit of the first byte on.
#[derive(Debug, Default)]
pub(super) struct Bits {
    pub bytes: Vec<u8>,
    /// Of the last byte.
    free: u32,
}

impl Bits {
    /// With room for so many bytes before it grows.
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

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.free = 0;
    }

    /// Bits that are free before it grows beyond so many bytes.
    pub fn room(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.bytes.len()) * 8 + self.free as usize
    }
}

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
        let (mut number, mut left) = (0, count);
        while left > 0 {
            let byte = self.bytes.get(self.at / 8).copied().unwrap_or_default();
            let free = 8 - (self.at % 8) as u32;
            let take = left.min(free);
            let part = (u64::from(byte) >> (free - take)) & ((1 << take) - 1);
            number = (number << take) | part;
            self.at += take as usize;
            left -= take;
        }
        number
    }

    /// How many ones come before the next zero, at most `most`; the zero is read, too.
    pub fn ones(&mut self, most: u32) -> u32 {
        let mut ones = 0;
        while ones < most && self.take(1) == 1 {
            ones += 1;
        }
        ones
    }
}
