//! Prometheus's own tests of PromQL, from a directory that is given, and some of this project.

use std::path::Path;

use crate::own::OWN;
use crate::script::run::{Report, run};

/// Where a copy of `promql/promqltest/testdata` of prometheus/prometheus is.
const DIRECTORY: &str = "OMNITRACE_PROMQL_TESTS";
/// Share of the covered cases that must be right.
const RIGHT: f64 = 0.98;

#[test]
fn every_case_of_this_project_is_right() {
    let report = run(OWN).unwrap();
    assert!(report.cases >= 40, "only {} cases", report.cases);
    assert_eq!(report.wrong, Vec::<String>::new());
    assert_eq!(report.not_covered.len(), 0, "{}", report.constructs());
}

#[test]
fn a_wrong_expectation_is_found() {
    let text = "load 1m\n  x 1 2 3\n\neval instant at 2m x\n  x 4\n\neval instant at 2m x\n  x 3\n  y 3\n\neval instant at 2m x\n  expect fail\n";
    let report = run(text).unwrap();
    assert_eq!((report.cases, report.right, report.wrong.len()), (3, 0, 3));
}

#[test]
#[ignore = "needs Prometheus's test data: just test-promql DIRECTORY"]
fn prometheus_own_cases_are_right() {
    let directory = std::env::var_os(DIRECTORY).unwrap_or_else(|| {
        panic!("set {DIRECTORY} to a copy of promql/promqltest/testdata of prometheus/prometheus")
    });
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "test")
    });
    files.sort();
    assert!(!files.is_empty(), "{directory:?} has no file *.test");
    let mut total = Report::default();
    println!("| file | cases | right | wrong | not covered |\n|---|---|---|---|---|");
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let report = run(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        print_row(&name, &report);
        total.add(&report);
    }
    print_row("all", &total);
    println!("\n| not covered | cases |\n|---|---|");
    for (construct, count) in &total.not_covered {
        println!("| {construct} | {count} |");
    }
    total
        .wrong
        .iter()
        .for_each(|wrong| println!("\nwrong: {wrong}"));
    let covered = total.right + total.wrong.len();
    assert!(
        total.right as f64 >= RIGHT * covered as f64,
        "{} of {covered} are right",
        total.right
    );
}

fn print_row(name: &str, report: &Report) {
    let (cases, right, wrong) = (report.cases, report.right, report.wrong.len());
    let not_covered: usize = report.not_covered.values().sum();
    println!("| `{name}` | {cases} | {right} | {wrong} | {not_covered} |");
}
