//! An HTTP response, read to its end.

use serde_json::Value;

/// What a service answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header names in lower case; repeated ones joined by `, `.
    pub headers: std::collections::BTreeMap<String, String>,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// Reads a response.
    pub async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let mut headers = std::collections::BTreeMap::<String, String>::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.to_string())
                .and_modify(|all| *all = format!("{all}, {value}"))
                .or_insert_with(|| value.into_owned());
        }
        Self {
            status,
            headers,
            body: response.text().await.unwrap_or_default(),
        }
    }

    /// The body as JSON; panics with the whole reply when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Panics with the whole reply unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A header; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Checks that this is an RFC 9457 problem document of this status and type, whose trace id is that of the
    /// response, and returns it.
    #[track_caller]
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(
            problem["type"],
            format!("urn:problem-type:omnitrace:{slug}"),
            "{self:?}"
        );
        assert_eq!(problem["status"], status, "{self:?}");
        for text in ["title", "detail"] {
            assert!(
                problem[text].as_str().is_some_and(|text| !text.is_empty()),
                "{text}: {self:?}"
            );
        }
        assert_eq!(problem["trace_id"], self.trace_id(), "{self:?}");
        let retry_after = self.header("retry-after").parse::<u32>();
        assert_eq!(retry_after.is_ok(), status == 503, "Retry-After: {self:?}");
        problem
    }

    /// The names in the `errors` of a problem document.
    #[track_caller]
    pub fn invalid_fields(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("no errors in {self:?}"));
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The trace id in `Server-Timing: traceparent;desc="00-<trace id>-…"`; panics when there is none.
    #[track_caller]
    pub fn trace_id(&self) -> String {
        let timing = self.header("server-timing");
        let traceparent = timing
            .split("traceparent;desc=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        traceparent
            .and_then(|value| value.split('-').nth(1))
            .unwrap_or_else(|| panic!("no trace id in {self:?}"))
            .to_owned()
    }
}
