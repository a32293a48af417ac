//! Names with `*`, in options and in files.

/// Whether a name fits a pattern, in which `*` stands for any text.
pub fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .any(|skipped| rest.is_char_boundary(skipped) && fits(after, &rest[skipped..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("data-lock", "data-lock", true),
            ("data-lock", "data-locks", false),
            ("data-*", "data-", true),
            ("*-lock", "data-lock", true),
            ("d*a*k", "data-lock", true),
            ("d*x*k", "data-lock", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
