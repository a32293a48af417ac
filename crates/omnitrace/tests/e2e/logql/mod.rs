//! The console's LogQL parser against the vendor's grammar (`@grafana/lezer-logql`): over every expression in the repository, and
//! over tables of others.

mod found;
mod tables;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use console::logql::{Kind, check};

use crate::harness::repository;
use found::{Found, every_expression};
use tables::{BAD, GOOD, UNSUPPORTED};

/// Whether the vendor's grammar takes each expression.
fn judged(expressions: &[String]) -> Vec<bool> {
    let script = repository("crates/omnitrace/tests/logql/judge.mjs");
    let mut judge = Command::new("node")
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node: install it (nodejs, npm), or run `just test-logql`");
    let mut input = judge.stdin.take().expect("a pipe");
    let asked = serde_json::to_string(expressions).expect("JSON");
    input.write_all(asked.as_bytes()).expect("it reads");
    drop(input);
    let output = judge.wait_with_output().expect("it ends");
    assert!(
        output.status.success(),
        "{}: run `just test-logql`, which installs what it needs",
        script.display()
    );
    serde_json::from_slice(&output.stdout).expect("a JSON list")
}

/// By our parser; what is not answered is valid all the same.
fn is_valid(expression: &str) -> bool {
    check(expression).map_or_else(|why| why.kind != Kind::Syntax, |()| true)
}

/// Both agree about each, and that it is as `wanted`.
fn agree(expressions: Vec<String>, wanted: bool) {
    let verdicts = judged(&expressions);
    assert_eq!(verdicts.len(), expressions.len());
    let differ: Vec<String> = expressions
        .iter()
        .zip(&verdicts)
        .map(|(expression, verdict)| (expression, *verdict, is_valid(expression)))
        .filter(|(_, vendor, own)| (*vendor, *own) != (wanted, wanted))
        .map(|(expression, vendor, own)| {
            format!(
                "vendor {vendor}, own {own}: {expression}: {:?}",
                check(expression)
            )
        })
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn owned(table: &[&str]) -> Vec<String> {
    table.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
#[ignore = "needs Node and the vendor's grammar: just test-logql"]
fn both_take_every_expression_in_the_repository() {
    let texts: BTreeSet<String> = every_expression()
        .into_iter()
        .map(|found| found.text)
        .collect();
    agree(texts.into_iter().collect(), true);
}

#[test]
#[ignore = "needs Node and the vendor's grammar: just test-logql"]
fn both_agree_about_others() {
    agree(owned(GOOD), true);
    agree(owned(BAD), false);
    agree(
        UNSUPPORTED
            .iter()
            .map(|(text, _)| (*text).to_owned())
            .collect(),
        true,
    );
}

/// What a program or a person's click sends is answered; what a runbook has for the real Loki may be more.
#[test]
fn every_expression_that_is_sent_is_answered() {
    let refused: Vec<String> = every_expression()
        .iter()
        .filter(|found| !found.file.starts_with("docs/"))
        .filter_map(|Found { file, text }| Some(format!("{file}: {text}: {}", check(text).err()?)))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn what_is_good_is_answered_and_what_is_not_answered_is_named() {
    for good in GOOD {
        assert!(check(good).is_ok(), "{good}: {:?}", check(good));
    }
    for bad in BAD {
        let why = check(bad).expect_err(bad);
        assert_eq!(why.kind, Kind::Syntax, "{bad}: {why}");
    }
    for (expression, name) in UNSUPPORTED {
        let why = check(expression).expect_err(expression);
        assert_eq!(why.kind, Kind::Unsupported, "{expression}: {why}");
        assert!(why.to_string().contains(name), "{expression}: {why}");
    }
}
