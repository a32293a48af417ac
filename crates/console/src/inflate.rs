//! gzip with a bound: the size of what comes out is not known before it is out.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// Why a body could not be inflated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// More than the limit would come out.
    TooLarge,
    /// Not gzip, damaged or cut off.
    Malformed(String),
}

/// Inflates all members of `compressed` if no more than `limit` bytes come out.
///
/// It is done twice, first only to count: so a bomb costs no memory at all, and what is kept has exactly its size, where a
/// growing buffer would need up to three times as much.
pub(crate) fn gunzip(compressed: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let malformed = |why: io::Error| InflateError::Malformed(why.to_string());
    let reader = || MultiGzDecoder::new(compressed).take(limit as u64 + 1);
    let size = io::copy(&mut reader(), &mut io::sink()).map_err(malformed)?;
    let size = usize::try_from(size).ok().filter(|size| *size <= limit);
    let size = size.ok_or(InflateError::TooLarge)?;
    let mut inflated = vec![0; size];
    reader().read_exact(&mut inflated).map_err(malformed)?;
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
