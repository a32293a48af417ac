//! How surely something is more frequent among some than among others.

/// The 97.5 % quantile of the normal distribution, for intervals with 95 % confidence.
const Z: f64 = 1.959_964;

/// Wilson's score interval of a proportion (E. B. Wilson, 1927). It also holds for small counts and for shares of 0 and 1.
fn wilson(count: u32, of: u32) -> (f64, f64) {
    let (share, of) = (share(count, of), f64::from(of));
    let z2 = Z * Z / of;
    let middle = share + z2 / 2.0;
    let width = Z * (share * (1.0 - share) / of + z2 / (4.0 * of)).sqrt();
    let (low, high) = ((middle - width) / (1.0 + z2), (middle + width) / (1.0 + z2));
    (low.max(0.0), high.min(1.0))
}

/// A share; 0 of 0 is 0.
pub(super) fn share(count: u32, of: u32) -> f64 {
    match of {
        0 => 0.0,
        of => f64::from(count) / f64::from(of),
    }
}

/// The lower bound of the difference between two shares (R. G. Newcombe's method 10, 1998).
pub(super) fn surely_more((count, of): (u32, u32), (others, of_others): (u32, u32)) -> f64 {
    if of == 0 || of_others == 0 {
        return 0.0;
    }
    let (one, other) = (share(count, of), share(others, of_others));
    let (low, high) = (wilson(count, of).0, wilson(others, of_others).1);
    (one - other) - ((one - low).powi(2) + (high - other).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_interval_of_the_paper() {
        // Newcombe 1998, table II: 56/70 against 48/80, 9/10 against 3/10, 10/10 against 0/10.
        for (one, other, expected) in [
            ((56, 70), (48, 80), 0.0524),
            ((9, 10), (3, 10), 0.1705),
            ((10, 10), (0, 10), 0.6075),
            ((10, 10), (0, 20), 0.6791),
        ] {
            let found = surely_more(one, other);
            assert!(
                (found - expected).abs() < 1e-4,
                "{one:?} {other:?}: {found}"
            );
        }
    }

    #[test]
    fn one_of_one_says_less_than_nine_of_ten() {
        assert!(surely_more((1, 1), (0, 100)) < surely_more((9, 10), (0, 100)));
        assert!(surely_more((50, 100), (50, 100)) < 0.0);
        assert_eq!(surely_more((0, 0), (1, 1)), 0.0);
        assert_eq!(surely_more((1, 1), (0, 0)), 0.0);
    }
}
