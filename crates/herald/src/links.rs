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

    /// All log lines of a service, or else the errors of all services, in Grafana.
    pub(crate) fn logs(
        &self,
        service: Option<&str>,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
    ) -> Option<String> {
        let expression = match service {
            // LogQL's texts have JSON's escapes.
            Some(service) => format!("{{service_name={}}}", json!(service)),
            None => "{service_name=~\".+\"} | severity_text=\"ERROR\"".to_owned(),
        };
        self.explore(
            "loki",
            &json!({"refId": "A", "expr": expression}),
            (start, end),
        )
    }

    /// An alert's dashboard. Its rules may have been rendered for another address of Grafana than people have.
    pub(crate) fn dashboard(&self, text: &str) -> Option<String> {
        let url = site(text)?;
        let grafana = self.sites.grafana.as_ref();
        let Some(grafana) = grafana.filter(|_| url.path().starts_with("/d/")) else {
            return Some(url.into());
        };
        let mut here = below(grafana, url.path());
        here.set_query(url.query());
        here.set_fragment(url.fragment());
        Some(here.into())
    }

    /// An alert's runbook. Rules may name a path such as `docs/runbooks/ServiceDown.md` instead of an address.
    pub(crate) fn runbook(&self, text: &str) -> Option<String> {
        if let Some(address) = safe(text) {
            return Some(address);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        let is_path = text.len() <= 200 && text.bytes().all(plain);
        is_path.then(|| match &self.sites.runbooks {
            Some(site) => below(site, &format!("/{}", text.trim_start_matches('/'))).into(),
            None => text.to_owned(),
        })
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
    site(text).map(String::from)
}

fn site(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_site = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_site.then(|| without_login(url))
}

/// Removes the login, because people log in as themselves.
pub(crate) fn without_login(mut url: Url) -> Url {
    // Fails only where there can be none.
    let _ = (url.set_username(""), url.set_password(None));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_of_grafanas_is_opened_where_people_reach_it() {
        let grafana = Url::parse("https://g.example/grafana").ok();
        let [here, nowhere] = [grafana, None].map(|grafana| {
            let sites = LinkBases {
                grafana,
                ..LinkBases::default()
            };
            Links::new(sites)
        });
        let rendered = "http://localhost:3000/d/omnitrace-slo?var-service=a%26b&from=1&to=now";
        assert_eq!(
            here.dashboard(rendered).unwrap(),
            "https://g.example/grafana/d/omnitrace-slo?var-service=a%26b&from=1&to=now"
        );
        assert_eq!(nowhere.dashboard(rendered).unwrap(), rendered);
        let elsewhere = "https://dash.example/service/d/a";
        assert_eq!(here.dashboard(elsewhere).unwrap(), elsewhere);
        assert_eq!(here.dashboard("javascript:alert(1)"), None);
    }

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
            runbooks: Url::parse("https://r.example/b/").ok(),
        };
        let links = Links::new(sites);
        assert_eq!(
            links.trace("ab", (now, now)).unwrap(),
            "http://j.example:16686/trace/ab"
        );
        let logs = links.logs(Some("a\"b"), (now, now)).unwrap();
        assert!(
            logs.starts_with("https://g.example/grafana/explore?schemaVersion=1&panes=%7B"),
            "{logs}"
        );
        let panes = Url::parse(&logs)
            .unwrap()
            .query_pairs()
            .nth(1)
            .unwrap()
            .1
            .into_owned();
        let panes: serde_json::Value = serde_json::from_str(&panes).unwrap();
        let expression = panes["a"]["queries"][0]["expr"].as_str().unwrap();
        assert!(expression.ends_with(r#"="a\"b"}"#), "{expression}");
        assert_eq!(safe("javascript:alert(1)"), None);
        assert_eq!(
            safe("https://ada:hunter2@p.example/graph").unwrap(),
            "https://p.example/graph"
        );
        assert_eq!(links.runbook("javascript:alert(1)"), None);
        assert_eq!(
            nowhere.runbook("docs/runbooks/A.md").as_deref(),
            Some("docs/runbooks/A.md")
        );
        assert_eq!(
            links.runbook("docs/runbooks/A.md").unwrap(),
            "https://r.example/b/docs/runbooks/A.md"
        );
        assert_eq!(
            safe("https://r.example/a b>|").unwrap(),
            "https://r.example/a%20b%3E|"
        );
    }
}
