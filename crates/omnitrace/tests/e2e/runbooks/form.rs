//! What can be said of the pages without running anything.

use std::collections::BTreeMap;
use std::process::Command;

use super::pages::{Page, pages};
use crate::harness::repository;

const SECTIONS: [&str; 6] = [
    "Meaning", "Impact", "Confirm", "Mitigate", "Escalate", "Silence",
];

/// Nobody silences what says that alerting works.
const NEVER_SILENCED: [&str; 1] = ["Watchdog"];

#[test]
fn every_page_has_the_same_sections_and_something_in_each() {
    for page in pages() {
        let mut lines = page.text.lines();
        assert_eq!(
            lines.next(),
            Some(&*format!("# {}", page.name)),
            "{}",
            page.name
        );
        let parts: Vec<&str> = page.text.split("\n## ").skip(1).collect();
        let headings: Vec<&str> = parts
            .iter()
            .filter_map(|part| part.lines().next())
            .collect();
        assert_eq!(headings, SECTIONS, "{}", page.name);
        for part in parts {
            let words = part.split_whitespace().count();
            assert!(words > 3, "{}: nothing is said under {part:?}", page.name);
        }
    }
}

#[test]
fn every_page_can_be_confirmed_and_says_how_to_silence_its_own_alert() {
    for page in pages() {
        let after = |heading: &str| page.text.split_once(heading).expect(heading).1;
        let confirm = after("## Confirm")
            .split("## Mitigate")
            .next()
            .unwrap_or_default();
        assert!(confirm.contains("```"), "{}: nothing to paste", page.name);
        let own = format!("\njust silence {} ", page.name);
        let silence = after("## Silence");
        let silenced = !NEVER_SILENCED.contains(&&*page.name);
        assert_eq!(silence.contains(&own), silenced, "{}", page.name);
    }
}

#[test]
fn every_block_can_be_pasted_as_it_stands() {
    let recipes = recipes();
    for page in pages() {
        for block in page.blocks() {
            let known = ["sh", "promql", "logql"].contains(&&*block.language);
            assert!(known, "{}: a block of {:?}", page.name, block.language);
            let holes = [
                "<service", "<part", "<pid", "<host", "<the ", "…", "docker ",
            ];
            for hole in holes {
                assert!(!block.text.contains(hole), "{}: {hole:?}", page.name);
            }
        }
        for text in page.commands() {
            shell_reads(&page, &text);
            for line in text.lines() {
                is_known(&page, line, &recipes);
            }
        }
    }
}

/// A recipe, a variable that a later line uses, or a program that every machine has.
fn is_known(page: &Page, line: &str, recipes: &BTreeMap<String, String>) {
    let first = line.split_whitespace().next().unwrap_or_default();
    let recipe = line.split_whitespace().nth(1).unwrap_or_default();
    let known = match first {
        "just" => recipes.contains_key(recipe),
        "curl" | "openssl" => true,
        _ => first
            .split_once('=')
            .is_some_and(|(name, _)| page.text.contains(&format!("${name}"))),
    };
    assert!(known, "{}: {line:?}", page.name);
}

fn shell_reads(page: &Page, text: &str) {
    let read = Command::new("bash").args(["-n", "-c", text]).output();
    let read = read.expect("bash");
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{}: {text}\n{said}", page.name);
}

/// Name and body of each recipe.
fn recipes() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository("justfile")).expect("the justfile");
    let mut recipes = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let head = line
            .strip_suffix(':')
            .filter(|_| line.starts_with(|first: char| first.is_ascii_lowercase()));
        let body = lines.peek().map(|body| body.trim().to_owned());
        if let (Some(head), Some(body)) = (head, body) {
            let name = head.split_whitespace().next().unwrap_or_default();
            recipes.insert(name.to_owned(), body);
        }
    }
    recipes
}

/// The tests call the script: `just` itself adds nothing but the quotes of its caller.
#[test]
fn the_recipes_of_the_runbooks_hand_everything_to_the_script() {
    let recipes = recipes();
    let names: std::collections::BTreeSet<String> = pages()
        .iter()
        .flat_map(Page::commands)
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            line.strip_prefix("just ")?
                .split_whitespace()
                .next()
                .map(str::to_owned)
        })
        .collect();
    assert!(names.len() > 9, "{names:?}");
    for name in names {
        let plain = format!("deploy/stack.sh {name}");
        let body = &recipes[&name];
        assert!(
            *body == plain || *body == format!("{plain} \"$@\""),
            "{name}: {body}"
        );
    }
}

/// One table on the index page, and every recipe of the pages is in it.
#[test]
fn the_index_names_every_page_and_every_command() {
    let index = std::fs::read_to_string(repository("docs/runbooks/README.md")).expect("the index");
    for page in pages() {
        let link = format!("[{0}]({0}.md)", page.name);
        assert!(index.contains(&link), "{link}");
        for text in page.commands() {
            for line in text.lines().filter(|line| line.starts_with("just ")) {
                let words: Vec<&str> = line.split_whitespace().take(2).collect();
                let command = format!("| `{}", words.join(" "));
                assert!(index.contains(&command), "{}: {command}", page.name);
            }
        }
    }
}
