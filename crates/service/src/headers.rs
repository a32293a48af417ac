//! Request headers.

use actix_web::HttpRequest;

use crate::error::ApiError;
use crate::problem::FieldError;

/// The value of a header that a request may contain once; 422 if it is repeated or not text.
pub fn single<'a>(request: &'a HttpRequest, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::invalid(vec![FieldError::new(
            name,
            "allowed: once",
        )]));
    }
    let not_text = |_| {
        ApiError::invalid(vec![FieldError::new(
            name,
            "allowed: visible ASCII characters",
        )])
    };
    value.to_str().map(Some).map_err(not_text)
}
