//! Links that a person can follow from a notification.

use chrono::{DateTime, Utc};
use serde_json::json;
use url::Url;

use crate::settings::LinkBases;

/// The time before and after the subject of a link, in milliseconds.
const MINUTE: i64 = 60_000;

/// Builds links. There is no link to a site that is not configured.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    sites: LinkBases,
}

impl Links {
    pub(crate) fn new(sites: LinkBases) -> Self {
        Self { sites }
    }

    /// A link to a trace: in Jaeger, else in Grafana.
    pub(crate) fn trace(
        &self,
        trace_id: &str,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Option<String> {
        match &self.sites.jaeger {
            Some(jaeger) => Some(below(jaeger, &format!("/trace/{trace_id}")).into()),
            None => self.explore(
                "jaeger",
                &json!({"refId": "A", "query": trace_id}),
                (start, end),
            ),
        }
    }

    /// The log lines of a trace, or the errors of all services, in Grafana.
    pub(crate) fn logs(
        &self,
        trace_id: Option<&str>,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Option<String> {
        let filter = match trace_id {
            Some(id) => format!("trace_id=\"{id}\""),
            None => "severity_text=\"ERROR\"".to_owned(),
        };
        let expression = format!("{{service_name=~\".+\"}} | {filter}");
        self.explore(
            "loki",
            &json!({"refId": "A", "expr": expression}),
            (start, end),
        )
    }

    fn explore(
        &self,
        datasource: &str,
        query: &serde_json::Value,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Option<String> {
        let mut url = below(self.sites.grafana.as_ref()?, "/explore");
        // Milliseconds, since no sum of them is beyond the calendar.
        let (from, to) = (
            start.timestamp_millis() - MINUTE,
            end.timestamp_millis() + MINUTE,
        );
        let range = json!({"from": from.to_string(), "to": to.to_string()});
        let panes = json!({"a": {"datasource": datasource, "queries": [query], "range": range}});
        url.query_pairs_mut()
            .append_pair("schemaVersion", "1")
            .append_pair("panes", &panes.to_string());
        Some(url.into())
    }
}

fn below(site: &Url, path: &str) -> Url {
    let mut url = site.clone();
    url.set_path(&format!("{}{path}", site.path().trim_end_matches('/')));
    url
}

/// A link from an alert, if it is valid: `javascript:` and the like are not.
pub(crate) fn safe(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_site = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_site.then(|| without_login(url).into())
}

/// Removes the login, because people log in as themselves.
pub(crate) fn without_login(mut url: Url) -> Url {
    // Fails only where there can be none.
    let _ = (url.set_username(""), url.set_password(None));
    url
}

/// A path such as `docs/runbooks/ServiceDown.md`.
pub(crate) fn path(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    (text.len() <= 200 && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_what_is_set_and_nowhere_else() {
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        let nowhere = Links::new(LinkBases::default());
        assert_eq!(
            (
                nowhere.trace("ab", (now, now)),
                nowhere.logs(None, (now, now))
            ),
            (None, None)
        );
        let sites = LinkBases {
            grafana: Url::parse("https://g.example/grafana/").ok(),
            jaeger: Url::parse("http://j.example:16686").ok(),
        };
        let links = Links::new(sites);
        assert_eq!(
            links.trace("ab", (now, now)).unwrap(),
            "http://j.example:16686/trace/ab"
        );
        let logs = links.logs(Some("ab"), (now, now)).unwrap();
        assert!(
            logs.starts_with("https://g.example/grafana/explore?schemaVersion=1&panes=%7B"),
            "{logs}"
        );
        assert_eq!(safe("javascript:alert(1)"), None);
        assert_eq!(
            safe("https://ada:hunter2@p.example/graph").unwrap(),
            "https://p.example/graph"
        );
        assert_eq!(path("javascript:alert(1)"), None);
        assert_eq!(
            path("docs/runbooks/A.md").as_deref(),
            Some("docs/runbooks/A.md")
        );
        assert_eq!(
            safe("https://r.example/a b>|").unwrap(),
            "https://r.example/a%20b%3E|"
        );
    }
}
