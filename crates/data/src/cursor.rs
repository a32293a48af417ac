//! Where the next page starts, as text that callers pass back without looking into it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service::{ApiError, FieldError};
use uuid::Uuid;

/// First byte: a later release may encode something else, and will know that this one did not.
const VERSION: u8 = 1;

/// A cursor that continues after the order with this id.
pub(crate) fn encode(last: Uuid) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The id in a cursor; 422 for anything that [`encode`] did not make.
pub(crate) fn decode(cursor: &str) -> Result<Uuid, ApiError> {
    let invalid = || {
        ApiError::invalid(vec![FieldError::new(
            "cursor",
            "allowed: next_cursor of an earlier page",
        )])
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    match bytes.split_first() {
        Some((&VERSION, id)) => Uuid::from_slice(id).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        let id = Uuid::now_v7();
        assert_eq!(decode(&encode(id)).unwrap(), id);
    }

    #[test]
    fn anything_else_is_refused() {
        let good = encode(Uuid::nil());
        for bad in [
            "",
            "!",
            "AA",
            &good[1..],
            &format!("{good}AAAA"),
            &good.replace('A', "B"),
        ] {
            assert_eq!(decode(bad).unwrap_err().kind().status, 422, "{bad}");
        }
    }
}
