//! Decompresses gzip within a limit. Only decompressing shows the size of the result.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::body::Body;

/// Why a body could not be inflated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// More than the limit would come out.
    TooLarge,
    /// The result does not fit into the available memory.
    NoRoom,
    /// Not gzip, damaged or cut off.
    Malformed(String),
}

/// How many bytes it decompresses between two calls of `pause`.
const STEP: usize = 256 << 10;

/// Inflates all members of `compressed` if no more than `limit` bytes come out and `has_room` for them. Calls `pause` with the size so
/// far now and then.
///
/// It is done twice, first only to count: so a bomb costs no memory at all.
pub(crate) fn gunzip(
    compressed: &[u8],
    limit: usize,
    has_room: impl FnOnce(usize) -> bool,
    mut pause: impl FnMut(usize),
) -> Result<Body, InflateError> {
    let malformed = |why: io::Error| InflateError::Malformed(why.to_string());
    let mut reader = MultiGzDecoder::new(compressed);
    let (mut size, mut step) = (0, vec![0; STEP]);
    loop {
        match reader.read(&mut step).map_err(malformed)? {
            0 => break,
            some => size += some,
        }
        if size > limit {
            return Err(InflateError::TooLarge);
        }
        pause(size);
    }
    if !has_room(size) {
        return Err(InflateError::NoRoom);
    }
    let mut inflated = Body::new(size).map_err(|_| InflateError::NoRoom)?;
    let mut reader = MultiGzDecoder::new(compressed);
    while inflated.len() < size {
        let read = reader.read(&mut step).map_err(malformed)?;
        inflated.extend(&step[..read]);
        pause(size);
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    fn gunzip(compressed: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        let inflated = super::gunzip(compressed, limit, |_| true, |_| {});
        inflated.map(|body| body.to_vec())
    }

    #[test]
    fn what_has_no_room_is_not_inflated() {
        let mut asked = 0;
        let no_room = |size| {
            asked = size;
            false
        };
        let refused = super::gunzip(&gzip(b"one"), 7, no_room, |_| {});
        assert_eq!((refused.err(), asked), (Some(InflateError::NoRoom), 3));
    }

    #[test]
    fn all_members_count() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(gunzip(&two, 7).as_deref(), Ok(b"one two".as_slice()));
        assert_eq!(gunzip(&two, 6), Err(InflateError::TooLarge));
        let many = gzip(&[0; 10]).repeat(1_000);
        assert_eq!(gunzip(&many, 9_999), Err(InflateError::TooLarge));
    }

    #[test]
    fn damage_is_found() {
        let whole = gzip(&[7; 1_000]);
        for bad in [
            &[][..],
            b"plain text",
            &whole[..whole.len() - 1],
            &[&whole[..], b"rest"].concat(),
        ] {
            assert!(
                matches!(gunzip(bad, 10_000), Err(InflateError::Malformed(_))),
                "{bad:?}"
            );
        }
    }
}
