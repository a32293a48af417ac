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
