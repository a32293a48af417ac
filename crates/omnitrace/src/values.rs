//! Values that several options take: times, URLs and ids.

use std::time::Duration;

use uuid::Uuid;

/// `500ms`, `60s`, `5m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bare = text
        .bytes()
        .all(|byte| byte == b'.' || byte.is_ascii_digit());
    let unit = if bare { "s" } else { "" };
    slo::duration::parse_long(&format!("{text}{unit}"))
        .ok()
        .filter(|nanoseconds| *nanoseconds > 0)
        .map(Duration::from_nanos)
        .ok_or_else(|| "allowed: a time such as 500ms, 60s, 5m or 1h30m".to_owned())
}

/// `http://host:port`, without a slash at the end.
pub fn base_url(text: &str) -> Result<String, String> {
    let url = service::settings::base_url(text);
    let url = url.ok_or("allowed: a URL such as http://127.0.0.1:9080")?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The id of an alert, a silence or an event.
pub fn id(text: &str) -> Result<Uuid, String> {
    let id = text.parse();
    id.map_err(|_| "allowed: a whole id, such as 0198c5f1-6d3a-7cc2-8f0e-5a0f6f0b7c11".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for bad in ["", "s", "5 weeks", "-1s", "0", "1e400"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
