//! Every relative link and every anchor in the repository's Markdown files leads somewhere.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};
use regex::Regex;

use crate::harness::repository;
use crate::repository::{PASSED_OVER, texts};

/// What a page offers and what it asks for.
#[derive(Default)]
struct Page {
    anchors: HashSet<String>,
    /// Line and destination.
    links: Vec<(usize, String)>,
}

/// GitHub's rule: lower case, no punctuation, hyphens for spaces; a repeated heading gets a number.
fn slug(heading: &str, anchors: &HashSet<String>) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let lower = heading.trim().to_lowercase();
    let slug: String = lower
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-");
    let numbered = (1..).map(|number| format!("{slug}-{number}"));
    let mut candidates = std::iter::once(slug.clone()).chain(numbered);
    candidates.find(|one| !anchors.contains(one)).unwrap()
}

fn read(text: &str) -> Page {
    let in_html = Regex::new(r#"\b(id|name|href|src)="([^"]*)""#).unwrap();
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        let line = text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let words = heading.take().unwrap();
                let anchor = slug(&words, &page.anchors);
                page.anchors.insert(anchor);
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                ..
            }) if link_type != LinkType::Email => {
                page.links.push((line, dest_url.to_string()));
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                page.links.push((line, dest_url.to_string()));
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                for found in in_html.captures_iter(&html) {
                    match &found[1] {
                        "id" | "name" => {
                            page.anchors.insert(found[2].to_owned());
                        }
                        _ => page.links.push((line, found[2].to_owned())),
                    }
                }
            }
            _ => {}
        }
    }
    page
}

/// `a/b/../c` without its detour; `None` if it leads out of the repository.
fn without_detours(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop().then_some(())?;
            }
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    Some(plain)
}

/// Why a link of the page `from` leads nowhere, if it does not.
fn fault(pages: &HashMap<PathBuf, Page>, from: &Path, link: &str) -> Option<&'static str> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let beside = match path {
        "" => from.to_owned(),
        _ => from.parent().unwrap().join(path),
    };
    let Some(target) = without_detours(&beside) else {
        return Some("it leads out of the repository");
    };
    if !pages.contains_key(&target) && !repository(&target.display().to_string()).exists() {
        return Some("there is no such file");
    }
    let has_anchor = |page: &Page| page.anchors.contains(anchor);
    match anchor.is_empty() || pages.get(&target).is_some_and(has_anchor) {
        true => None,
        false => Some("the page has no such anchor"),
    }
}

/// `file:line: link: reason`. The paths are relative to the repository.
fn dead_links(texts: &[(PathBuf, String)]) -> Vec<String> {
    let pages: HashMap<PathBuf, Page> = texts
        .iter()
        .map(|(path, text)| (path.clone(), read(text)))
        .collect();
    let elsewhere = Regex::new("^[a-z][a-z0-9+.-]*:").unwrap();
    let mut dead = Vec::new();
    for (path, page) in &pages {
        for (line, link) in page
            .links
            .iter()
            .filter(|(_, link)| !elsewhere.is_match(link))
        {
            if let Some(why) = fault(&pages, path, link) {
                dead.push(format!("{}:{line}: {link}: {why}", path.display()));
            }
        }
    }
    dead.sort();
    dead
}

#[test]
fn dead_links_are_found() {
    let text = "# A `b`, c & d_e\n\n## Twice\n\n## Twice\n\n<a id=\"own\"></a>\n\n\
        [1](#a-b-c--d_e) [2](#twice-1) [3](p.md#own) [4](../README.md) [5](https://example.com/#x)\n\n\
        [6](#twice-2)\n[7](none.md)\n[8](../../out.md)\n[9](p.md#b)\n![10](none.png)\n\n```md\n[code](none.md)\n```\n\n[11]\n\n[11]: ../docs#x";
    assert_eq!(
        dead_links(&[(PathBuf::from("docs/p.md"), text.to_owned())]),
        [
            "docs/p.md:11: #twice-2: the page has no such anchor",
            "docs/p.md:12: none.md: there is no such file",
            "docs/p.md:13: ../../out.md: it leads out of the repository",
            "docs/p.md:14: p.md#b: the page has no such anchor",
            "docs/p.md:15: none.png: there is no such file",
            "docs/p.md:21: ../docs#x: the page has no such anchor",
        ]
    );
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let root = repository("").canonicalize().unwrap();
    let pages: Vec<(PathBuf, String)> = texts(&PASSED_OVER)
        .into_iter()
        .filter(|(path, _)| path.ends_with(".md"))
        .map(|(path, text)| {
            (
                Path::new(&path).strip_prefix(&root).unwrap().to_owned(),
                text,
            )
        })
        .collect();
    assert!(pages.len() > 50, "only {} pages", pages.len());
    assert_eq!(dead_links(&pages), [] as [String; 0]);
}
