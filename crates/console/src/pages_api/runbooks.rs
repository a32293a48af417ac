//! `GET /api/runbooks/{alertname}`: the runbook of an alert, as a part of a page. The path of its file, which alerts name,
//! leads to the same.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use crate::answer::problem;

/// Names and texts of `docs/runbooks`, sorted by name. They stay in the executable's file until they are asked for.
const RUNBOOKS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runbooks.rs"));

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for address in ["/api/runbooks/{alertname}", "/docs/runbooks/{alertname}.md"] {
        config.route(address, web::get().to(runbook));
    }
}

async fn runbook(alert: web::Path<String>) -> HttpResponse {
    match text(&alert) {
        Some(text) => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(rendered(text)),
        None => problem(StatusCode::NOT_FOUND, "no alert of this name has a runbook"),
    }
}

fn text(alert: &str) -> Option<&'static str> {
    let at = RUNBOOKS.binary_search_by_key(&alert, |(name, _)| name);
    at.ok().map(|at| RUNBOOKS[at].1)
}

/// HTML for display only: no markup from the text itself, no style, and links only to the web and to other runbooks.
fn rendered(text: &str) -> String {
    let mut is_dead = false;
    let shown = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link {
            dest_url,
            link_type,
            title,
            id,
        }) => {
            let target = target(&dest_url);
            is_dead = target.is_none();
            let dest_url = target?.into();
            Some(Event::Start(Tag::Link {
                dest_url,
                link_type,
                title,
                id,
            }))
        }
        Event::End(TagEnd::Link) if is_dead => None,
        // Else each cell would have a style of its own, which the page forbids.
        Event::Start(Tag::Table(_)) => Some(Event::Start(Tag::Table(Vec::new()))),
        event => Some(event),
    });
    let mut page = String::with_capacity(2 * text.len());
    html::push_html(&mut page, shown);
    page
}

/// The target of a link; `None` if the console has no such page.
fn target(link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return Some(link.to_owned());
    }
    let file = link.split('#').next()?;
    let name = file
        .strip_suffix(".md")
        .filter(|name| text(name).is_some())?;
    Some(format!("/api/runbooks/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_its_own_is_shown_as_text_and_links_lead_nowhere_else() {
        let page = rendered(
            "# A <b>bold</b> title\n\n<script>alert(1)</script>\n\n[a](ServiceDown.md#x) [b](../SLO.md) [c](javascript:alert(1)) \
             [d](https://a.example/?x=\"y) ![e](https://a.example/e.png) <http://localhost:9090>\n\n| h |\n|--:|\n| `<i>` |\n",
        );
        let parts = [
            "<h1>A &lt;b&gt;bold&lt;/b&gt; title</h1>",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "<a href=\"/api/runbooks/ServiceDown\">a</a> b c <a href=\"https://a.example/?x=%22y\">d</a> e <a href=\"http://localhost:9090\">",
            "<code>&lt;i&gt;</code>",
        ];
        for part in parts {
            assert!(page.contains(part), "{part} in {page}");
        }
        for part in ["<script", "<b>", "<img", "style=", "javascript:"] {
            assert!(!page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn all_of_the_directory_are_here_and_can_be_shown() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runbooks");
        let files = std::fs::read_dir(directory).expect("runbooks").flatten();
        let names = files.map(|file| file.file_name().into_string().expect("UTF-8"));
        let names = names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()));
        let mut names: Vec<String> = names.filter(|name| name != "README").collect();
        names.sort();
        let known: Vec<&str> = RUNBOOKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(known, names);
        for (name, text) in RUNBOOKS {
            assert!(rendered(text).starts_with("<h1>"), "{name}");
        }
    }
}
