//! docs/PROOF.md names only tests that exist, and gives every claim a status.

use crate::harness::repository;

const PAGE: &str = include_str!("../../../../docs/PROOF.md");
const STATUSES: [&str; 3] = ["proved here", "proved only with real images", "not proved"];

/// Claim, what was shown, tests, status.
fn rows(page: &str) -> Vec<[&str; 4]> {
    page.lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells
                .try_into()
                .unwrap_or_else(|_| panic!("not four cells: {line}"))
        })
        .filter(|cells: &[&str; 4]| cells[0] != "claim")
        .collect()
}

/// What stands in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// A recipe of the justfile, a path of the repository, or a module of these tests.
fn exists(name: &str) -> bool {
    if let Some(recipe) = name.strip_prefix("just ") {
        let justfile = std::fs::read_to_string(repository("justfile")).unwrap();
        return justfile
            .lines()
            .filter_map(|line| line.split([' ', ':']).next())
            .any(|word| word == recipe);
    }
    if name.contains('/') {
        return repository(name).exists();
    }
    let modules = include_str!("main.rs");
    modules.lines().any(|line| line == format!("mod {name};"))
}

#[test]
fn every_test_that_the_page_names_exists() {
    for name in ["just no-such-recipe", "crates/none/tests", "no_such_module"] {
        assert!(!exists(name), "{name}");
    }
    let rows = rows(PAGE);
    assert!(rows.len() > 40, "only {} rows", rows.len());
    for [claim, _, tests, status] in rows {
        assert!(STATUSES.contains(&status), "{claim}: status {status:?}");
        let named: Vec<&str> = names(tests).collect();
        assert!(
            status != "proved here" || !named.is_empty(),
            "{claim}: proved by which test?"
        );
        for name in named {
            assert!(exists(name), "{claim}: there is no {name}");
        }
    }
}
