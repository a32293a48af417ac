//! Problem types of the order API, beside those that every service has ([`problem`]).

use ::problem::{COMMON, Problem, ProblemType};

/// No item has this sku.
pub const UNKNOWN_SKU: ProblemType = ProblemType::new("unknown-sku", 404, "No such item");
/// No order has this id.
pub const UNKNOWN_ORDER: ProblemType = ProblemType::new("unknown-order", 404, "No such order");
/// Less in stock than was ordered.
pub const OUT_OF_STOCK: ProblemType = ProblemType::new("out-of-stock", 409, "Out of stock");
/// The payment was declined; the stock is released.
pub const PAYMENT_DECLINED: ProblemType =
    ProblemType::new("payment-declined", 402, "Payment declined");
/// The `Idempotency-Key` was used before, with another body.
pub const KEY_REUSED: ProblemType = ProblemType::new(
    "idempotency-key-reused",
    422,
    "Idempotency key used with another request",
);
/// Something that the service needs cannot be reached, or does not answer sensibly.
pub const DEPENDENCY_UNAVAILABLE: ProblemType =
    ProblemType::new("dependency-unavailable", 503, "A dependency is unavailable");
/// Something that the service needs did not answer in time.
pub const DEPENDENCY_TIMEOUT: ProblemType =
    ProblemType::new("dependency-timeout", 504, "A dependency is too slow");

const OURS: [ProblemType; 7] = [
    UNKNOWN_SKU,
    UNKNOWN_ORDER,
    OUT_OF_STOCK,
    PAYMENT_DECLINED,
    KEY_REUSED,
    DEPENDENCY_UNAVAILABLE,
    DEPENDENCY_TIMEOUT,
];

/// The type of a problem document that another service sent, if we know it.
pub fn recognise(problem: &Problem) -> Option<ProblemType> {
    let slug = problem.slug()?;
    OURS.iter()
        .chain(&COMMON)
        .find(|kind| kind.slug == slug)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique() {
        let mut slugs: Vec<_> = OURS.iter().chain(&COMMON).map(|kind| kind.slug).collect();
        let all = slugs.len();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), all);
    }
}
