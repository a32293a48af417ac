//! Samples, compressed as in the paper "Gorilla": times by how the step changes, values by the bits that differ from the one before.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::bits::{Bits, Reader};
use crate::store::cost;

/// A chunk is closed at this number of samples. A constant series needs a few bytes per chunk, but the chunk's place in the
/// lists needs more.
const MAX_SAMPLES: usize = 720;

/// And when the next sample might not fit into so many bytes.
const MAX_BYTES: usize = 512;

/// The maximum size of a sample: a step of 64 bits, and a value that differs in all bits.
const MAX_BITS: usize = 4 + 64 + 2 + 5 + 6 + 64;

/// Steps that change by less than half of 2 to the power of so many bits, in the order of their prefixes: `10`, `110`, `1110`. `0` is no change, `1111` any.
const STEP_BITS: [u32; 3] = [14, 17, 20];

/// Milliseconds since the epoch, and the value as its bits: NaN has many forms, and one of them means that the series has ended.
pub(super) type Point = (i64, u64);

/// The state that the next sample is encoded against.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    at: i64,
    step: i64,
    value: u64,
    /// The position and number of the bits that differ.
    leading: u32,
    size: u32,
}

/// Facts about samples that need no decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub first: Point,
    pub last: Point,
    pub count: usize,
    /// No sample is less than the one before, a NaN or a stale marker.
    pub rises: bool,
}

impl Summary {
    /// The summary of one sample.
    pub fn of(point: Point) -> Self {
        Self {
            first: point,
            last: point,
            count: 1,
            rises: rises(point.1, point.1),
        }
    }

    /// Adds the following samples.
    pub fn add(&mut self, next: &Self) {
        self.rises = self.rises_into(next);
        self.last = next.last;
        self.count += next.count;
    }

    /// Shifts all times by this much.
    fn shift(&mut self, by_ms: i64) {
        self.first.0 = self.first.0.saturating_add(by_ms);
        self.last.0 = self.last.0.saturating_add(by_ms);
    }

    /// Whether both together rise.
    pub fn rises_into(&self, next: &Self) -> bool {
        self.rises && next.rises && rises(self.last.1, next.first.1)
    }

    /// Whether all samples are in a span of time.
    pub fn is_within(&self, time_ms: &RangeInclusive<i64>) -> bool {
        time_ms.contains(&self.first.0) && time_ms.contains(&self.last.0)
    }
}

/// Not if one of them is NaN, as the stale marker is.
fn rises(old: u64, new: u64) -> bool {
    f64::from_bits(old) <= f64::from_bits(new)
}

/// A chunk that takes samples.
#[derive(Debug)]
pub(super) struct Head {
    /// All samples but the first.
    bits: Bits,
    summary: Option<Summary>,
    last: Last,
}

impl Head {
    /// Its bytes on the heap, whatever it holds.
    pub const COST: usize = cost::block(MAX_BYTES);

    pub fn new() -> Self {
        Self {
            bits: Bits::with_capacity(MAX_BYTES),
            summary: None,
            last: Last::default(),
        }
    }

    /// `None` if it is empty.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// Whether it must be closed before it takes another sample.
    pub fn is_full(&self) -> bool {
        let count = self.summary.map_or(0, |summary| summary.count);
        count >= MAX_SAMPLES || self.bits.room(MAX_BYTES) < MAX_BITS
    }

    /// Adds a sample; the chunk must not be full.
    pub fn push(&mut self, point: Point) {
        let new = Summary::of(point);
        match &mut self.summary {
            None => {
                self.summary = Some(new);
                (self.last.at, self.last.value) = point;
            }
            Some(summary) => {
                summary.add(&new);
                self.push_time(point.0);
                self.push_value(point.1);
            }
        }
    }

    fn push_time(&mut self, at: i64) {
        let step = at.wrapping_sub(self.last.at);
        let change = step.wrapping_sub(self.last.step);
        (self.last.at, self.last.step) = (at, step);
        if change == 0 {
            return self.bits.push(0, 1);
        }
        for (ones, bits) in (1..).zip(STEP_BITS) {
            let half = 1_i64 << (bits - 1);
            if (-half..half).contains(&change) {
                self.bits.push((1 << (ones + 1)) - 2, ones + 1);
                return self.bits.push(change as u64, bits);
            }
        }
        self.bits.push(0b1111, 4);
        self.bits.push(change as u64, 64);
    }

    fn push_value(&mut self, value: u64) {
        let last = &mut self.last;
        let differs = value ^ last.value;
        last.value = value;
        if differs == 0 {
            return self.bits.push(0, 1);
        }
        // Five bits tell where they begin.
        let (leading, trailing) = (differs.leading_zeros().min(31), differs.trailing_zeros());
        let fits = last.size > 0 && leading >= last.leading && {
            let end = 64 - last.leading - last.size;
            trailing >= end
        };
        if fits {
            self.bits.push(0b10, 2);
        } else {
            (last.leading, last.size) = (leading, 64 - leading - trailing);
            self.bits.push(0b11, 2);
            self.bits.push(u64::from(leading), 5);
            self.bits.push(u64::from(last.size - 1), 6);
        }
        let shift = 64 - last.leading - last.size;
        self.bits.push(differs >> shift, last.size);
    }

    /// Its samples as an immutable chunk; `None` if it is empty.
    pub fn closed(&self) -> Option<Chunk> {
        // Beyond the end a reader sees zeros, which mean that nothing has changed.
        let zeros = self.bits.bytes.iter().rev().take_while(|byte| **byte == 0);
        let bytes = &self.bits.bytes[..self.bits.bytes.len() - zeros.count()];
        self.summary.map(|summary| Chunk {
            bytes: bytes.into(),
            summary,
        })
    }

    /// Shifts all samples by this much: only the time of the first one is absolute.
    pub fn shift(&mut self, by_ms: i64) {
        if let Some(summary) = &mut self.summary {
            summary.shift(by_ms);
            self.last.at = self.last.at.saturating_add(by_ms);
        }
    }

    /// Forgets what it holds.
    pub fn clear(&mut self) {
        self.bits.clear();
        (self.summary, self.last) = (None, Last::default());
    }
}

/// A chunk that changes no more.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// All samples but the first.
    bytes: Arc<[u8]>,
    pub summary: Summary,
}

impl Chunk {
    /// Bytes with its places in the lists of its series and of its share.
    pub fn cost(&self) -> usize {
        const REFERENCES: usize = 16;
        cost::block(REFERENCES + self.bytes.len())
            + cost::slot(size_of::<Self>())
            + cost::slot(size_of::<super::shares::Closed>())
    }

    /// Shifts all samples by this much.
    pub fn shift(&mut self, by_ms: i64) {
        self.summary.shift(by_ms);
    }

    /// How many samples are in a span of time.
    pub fn count_in(&self, time_ms: &RangeInclusive<i64>) -> usize {
        let is_in = |(at, _): &Point| time_ms.contains(at);
        self.points().filter(is_in).count()
    }

    /// Its samples, oldest first.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        let (at, value) = self.summary.first;
        let mut reader = Reader::new(&self.bytes);
        let mut last = Last {
            at,
            value,
            ..Last::default()
        };
        // The next ones that change nothing.
        let mut same: usize = 0;
        let others = (1..self.summary.count).map(move |_| {
            if same == 0 {
                same = reader.pairs_of_zeros();
            }
            match same {
                0 => last.read(&mut reader),
                _ => {
                    same -= 1;
                    last.at = last.at.wrapping_add(last.step);
                }
            }
            (last.at, last.value)
        });
        std::iter::once(self.summary.first).chain(others)
    }
}

impl Last {
    fn read(&mut self, reader: &mut Reader<'_>) {
        let bits = match reader.ones(4) {
            0 => 0,
            4 => 64,
            ones => STEP_BITS[ones as usize - 1],
        };
        self.step = self.step.wrapping_add(signed(reader.take(bits), bits));
        self.at = self.at.wrapping_add(self.step);
        match reader.ones(2) {
            0 => return,
            2 => (self.leading, self.size) = (reader.take(5) as u32, reader.take(6) as u32 + 1),
            _ => {}
        }
        let shift = 64 - self.leading - self.size;
        self.value ^= reader.take(self.size) << shift;
    }
}

/// The lowest bits of a number as one that may be negative.
fn signed(number: u64, bits: u32) -> i64 {
    match bits {
        0 => 0,
        bits => ((number << (64 - bits)) as i64) >> (64 - bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same in each run.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    /// Fills a head as far as it goes, and reads what it holds.
    fn round_trip(points: &[Point]) -> Vec<Point> {
        let mut head = Head::new();
        for point in points {
            assert!(!head.is_full());
            head.push(*point);
        }
        assert!(head.bits.bytes.len() <= MAX_BYTES);
        let chunk = head.closed().expect("samples");
        assert_eq!(Some(&chunk.summary.first), points.first());
        assert_eq!(Some(&chunk.summary.last), points.last());
        assert_eq!(chunk.summary.count, points.len());
        chunk.points().collect()
    }

    fn as_many_as_fit(mut next: impl FnMut(usize) -> Point) -> Vec<Point> {
        let mut head = Head::new();
        let mut points = Vec::new();
        while !head.is_full() {
            points.push(next(points.len()));
            head.push(points[points.len() - 1]);
        }
        points
    }

    #[test]
    fn what_is_written_is_read() {
        for seed in 1..500_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut at = dice.next() as i64 >> (seed % 40);
            let (step_bits, value_bits) = (dice.next() % 64, dice.next() % 64);
            let points = as_many_as_fit(|_| {
                at = at.wrapping_add((dice.next() >> step_bits) as i64);
                (at, dice.next() >> value_bits)
            });
            assert_eq!(round_trip(&points), points, "seed {seed}");
        }
    }

    #[test]
    fn every_form_of_a_number_stays_as_it_is() {
        let odd = [
            f64::NAN.to_bits(),
            0x7ff0_0000_0000_0002,
            0x7ff8_0000_0000_0001,
            0xfff0_0000_0000_0001,
            f64::INFINITY.to_bits(),
            f64::NEG_INFINITY.to_bits(),
            (-0.0_f64).to_bits(),
            0,
            u64::MAX,
            f64::MIN_POSITIVE.to_bits(),
        ];
        let points: Vec<Point> = odd.iter().copied().zip(1..).map(|(v, t)| (t, v)).collect();
        assert_eq!(round_trip(&points), points);
        let far = [(i64::MIN, 0), (0, 1), (i64::MAX, 2)];
        assert_eq!(round_trip(&far), far);
    }

    #[test]
    fn steps_of_all_sizes_are_read() {
        let mut points = vec![(0, 0)];
        for change in [
            0, 1, -1, 8_191, 8_192, -8_192, -8_193, 65_535, 65_536, 524_287, 524_288, -524_289,
        ] {
            let (at, _) = points[points.len() - 1];
            points.push((at + 10_000_000 + change, 0));
            points.push((at + 20_000_000 + change, 0));
        }
        for part in points.chunks(12) {
            assert_eq!(round_trip(part), part);
        }
    }

    #[test]
    fn what_does_not_change_takes_two_bits() {
        let points = as_many_as_fit(|number| (1_000 * number as i64, 7));
        assert_eq!(points.len(), MAX_SAMPLES);
        let mut head = Head::new();
        points.iter().for_each(|point| head.push(*point));
        let bytes = head.bits.bytes.len();
        assert!(bytes <= MAX_SAMPLES / 4 + 4, "{bytes}");
        let chunk = head.closed().expect("samples");
        assert!(chunk.bytes.len() < 8, "{}", chunk.bytes.len());
        assert!(chunk.points().eq(points));
        let random =
            as_many_as_fit(|number| (1_000 * number as i64, Dice(number as u64 + 1).next()));
        assert!((40..120).contains(&random.len()), "{}", random.len());
    }
}
