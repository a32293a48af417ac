//! The web pages; they are part of the executable and load nothing from elsewhere.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

/// A file below `web`, by its path there.
type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[$(($path, include_str!(concat!("web/", $path)))),*] };
}

/// All files that a page loads. A test compares the list with the directory.
const FILES: &[File] = files![
    "alerts/card.js",
    "alerts/data.js",
    "alerts/diagnosis.js",
    "alerts/evidence.js",
    "alerts/forms.js",
    "alerts/ledger.js",
    "alerts/runbook.js",
    "api.js",
    "app.js",
    "colours.js",
    "dom.js",
    "format.js",
    "header.js",
    "links.js",
    "live.js",
    "logs/list.js",
    "logs/query.js",
    "overview/changes.js",
    "overview/graph.js",
    "overview/topology.js",
    "pages.css",
    "pages/alert.js",
    "pages/alerts.js",
    "pages/faults.js",
    "pages/logs.js",
    "pages/overview.js",
    "pages/service.js",
    "pages/trace.js",
    "pages/traces.js",
    "queries.js",
    "router.js",
    "search.js",
    "service/charts.js",
    "service/panels.js",
    "service/tables.js",
    "style.css",
    "trace/frame.js",
    "trace/groups.js",
    "trace/keys.js",
    "trace/logs.js",
    "trace/row.js",
    "trace/span.js",
    "trace/tree.js",
    "trace/waterfall.js",
    "traces/differs.js",
    "traces/form.js",
    "traces/list.js",
    "traces/open.js",
    "vendor/uplot/uPlot.esm.js",
    "vendor/uplot/uPlot.min.css",
];

/// Adds the routes. Which page an address shows, `web/app.js` says.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    for page in [
        "/",
        "/alerts",
        "/alerts/{id}",
        "/faults",
        "/logs",
        "/services/{name}",
        "/trace/{id}",
        "/traces",
    ] {
        config.route(page, web::get().to(index));
    }
    for (path, text) in FILES {
        let serve = move || async move { file(StatusCode::OK, content_type(path), text) };
        config.route(&format!("/static/{path}"), web::get().to(serve));
    }
}

async fn index() -> HttpResponse {
    index_as(StatusCode::OK)
}

fn index_as(status: StatusCode) -> HttpResponse {
    let html = include_str!("web/index.html");
    file(status, "text/html; charset=utf-8", html)
}

/// The error page for an unknown address, with a link back; only for browsers.
pub(crate) fn nowhere(request: &HttpRequest) -> Option<HttpResponse> {
    let accepted = request.headers().get(ACCEPT)?.to_str().ok()?;
    accepted
        .contains("text/html")
        .then(|| index_as(StatusCode::NOT_FOUND))
}

fn content_type(path: &str) -> &'static str {
    match path.ends_with(".css") {
        true => "text/css; charset=utf-8",
        false => "text/javascript; charset=utf-8",
    }
}

/// Browsers must revalidate a file each time: after an update the old script would not fit the new API.
fn file(status: StatusCode, content_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type(content_type)
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .body(content)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The files below `directory` that a page loads.
    fn loaded(directory: &Path, root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => loaded(&path, root),
                false => vec![path.strip_prefix(root).unwrap().display().to_string()],
            })
            .filter(|path| path.ends_with(".js") || path.ends_with(".css"))
            .collect()
    }

    #[test]
    fn every_file_is_served_and_none_but_the_vendors_is_large() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
        let mut found = loaded(&root, &root);
        found.sort();
        let served: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(served, found);
        for (path, text) in FILES {
            let large = text.lines().count() > 250 && path.ends_with(".js");
            assert!(!large || path.starts_with("vendor/"), "{path}");
        }
    }
}
