//! Validates requests. All mistakes are reported at once, and no message repeats a value.

use service::{ApiError, FieldError};

use crate::types::{NewOrder, PageQuery, QuoteQuery};

/// Most items in one order.
pub const MAX_QUANTITY: u32 = 100;
/// Longest sku.
pub const MAX_SKU: usize = 64;
/// Longest e-mail address (RFC 5321).
pub const MAX_EMAIL: usize = 254;
/// Longest idempotency key.
pub const MAX_KEY: usize = 255;
/// Most orders on a page.
pub const MAX_PAGE: u32 = 100;
/// Orders on a page when the caller does not say.
pub const DEFAULT_PAGE: u32 = 20;

impl NewOrder {
    /// Checks every member.
    pub fn validate(&self) -> Result<(), ApiError> {
        let quantity = (!(1..=MAX_QUANTITY).contains(&self.quantity)).then(|| {
            FieldError::new(
                "quantity",
                format!("allowed: a whole number from 1 to {MAX_QUANTITY}"),
            )
        });
        let email = (!is_email(self.customer_email.reveal())).then(|| {
            FieldError::new(
                "customer_email",
                format!("allowed: name@domain, at most {MAX_EMAIL} characters"),
            )
        });
        all([sku_error(&self.sku), quantity, email])
    }
}

impl QuoteQuery {
    /// Checks the sku, if there is one.
    pub fn validate(&self) -> Result<(), ApiError> {
        all([self.sku.as_deref().and_then(sku_error)])
    }
}

impl PageQuery {
    /// The page size asked for.
    pub fn checked_limit(&self) -> Result<u32, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        let error = (!(1..=MAX_PAGE).contains(&limit)).then(|| {
            FieldError::new(
                "limit",
                format!("allowed: a whole number from 1 to {MAX_PAGE} (default {DEFAULT_PAGE})"),
            )
        });
        all([error]).map(|()| limit)
    }
}

/// Checks an item's name.
pub fn check_sku(sku: &str) -> Result<(), ApiError> {
    all([sku_error(sku)])
}

/// Checks an `Idempotency-Key`: visible ASCII, so that it survives every header parser.
pub fn check_key(key: &str) -> Result<(), ApiError> {
    let valid =
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let error = (!valid).then(|| {
        FieldError::new(
            "Idempotency-Key",
            format!("allowed: 1 to {MAX_KEY} visible ASCII characters"),
        )
    });
    all([error])
}

fn all<const N: usize>(errors: [Option<FieldError>; N]) -> Result<(), ApiError> {
    let errors: Vec<_> = errors.into_iter().flatten().collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(errors))
    }
}

/// True for a name that an item may have.
pub fn is_sku(sku: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // A name of dots only would be a path segment with a special meaning.
    (1..=MAX_SKU).contains(&sku.len())
        && sku.bytes().all(allowed)
        && sku.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

fn sku_error(sku: &str) -> Option<FieldError> {
    (!is_sku(sku)).then(|| {
        FieldError::new(
            "sku",
            format!("allowed: 1 to {MAX_SKU} letters, digits, '-', '_' or '.'"),
        )
    })
}

/// Checks only the form: only a delivered mail proves that the address exists.
fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let printable = |c: char| !c.is_whitespace() && !c.is_control();
    address.len() <= MAX_EMAIL
        && address.chars().all(printable)
        && (1..=64).contains(&local.len())
        && !local.contains('@')
        && domain.split('.').count() >= 2
        && domain.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Email;

    fn order(sku: &str, quantity: u32, email: &str) -> Result<(), ApiError> {
        NewOrder {
            sku: sku.to_owned(),
            quantity,
            customer_email: Email::new(email),
        }
        .validate()
    }

    #[test]
    fn a_sensible_order_passes() {
        order("omni-mug", 1, "a.b+c@example.org").unwrap();
        order("OMNI_mug.2", 100, "ä@müller.de").unwrap();
    }

    #[test]
    fn every_mistake_is_named() {
        let error = order("no such", 0, "nobody").unwrap_err().to_string();
        assert!(error.contains("3 values"), "{error}");
        for (sku, quantity, email, field) in [
            ("", 1, "a@b.c", "sku"),
            ("..", 1, "a@b.c", "sku"),
            ("a/b", 1, "a@b.c", "sku"),
            ("a", 101, "a@b.c", "quantity"),
            ("a", 1, "a@b", "customer_email"),
            ("a", 1, "a@@b.c", "customer_email"),
            ("a", 1, "a b@b.c", "customer_email"),
            ("a", 1, "a@-b.c", "customer_email"),
        ] {
            let error = order(sku, quantity, email).unwrap_err().to_string();
            assert!(error.contains(field), "{sku} {quantity} {email}: {error}");
        }
        assert!(order("a", 1, &format!("a@{}.de", "b.".repeat(130))).is_err());
    }

    #[test]
    fn the_address_is_not_shown() {
        assert_eq!(format!("{:?}", Email::new("a@b.c")), "Email(…)");
    }

    #[test]
    fn page_sizes_and_keys_are_capped() {
        let limit = |limit| {
            PageQuery {
                limit,
                cursor: None,
            }
            .checked_limit()
        };
        assert_eq!(limit(None).unwrap(), 20);
        assert_eq!(limit(Some(100)).unwrap(), 100);
        assert!(limit(Some(0)).is_err() && limit(Some(101)).is_err());
        check_key("0c9e-1").unwrap();
        assert!(
            check_key("").is_err()
                && check_key("a b").is_err()
                && check_key(&"k".repeat(256)).is_err()
        );
    }
}
