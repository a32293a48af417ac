//! Values that several options take: times and URLs.

use std::time::Duration;

/// `500ms`, `60s`, `5m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|character: char| character != '.' && !character.is_ascii_digit())
        .unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = text[..digits].parse().unwrap_or(f64::NAN) * factor;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "allowed: a time such as 500ms, 60s, 5m or 1h".to_owned())
}

/// `http://host:port`, without a slash at the end.
pub fn base_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok().filter(|url| {
        let is_base = url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_base
    });
    let url = url.ok_or("allowed: a URL such as http://127.0.0.1:9080")?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "s", "5 weeks", "-1s", "0", "1e400"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
