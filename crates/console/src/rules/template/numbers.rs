//! Numbers as Go writes them, and in words as Prometheus's functions do.

/// `%.2f`.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    special(value).unwrap_or_else(|| format!("{value:.digits$}"))
}

/// `%v`: the shortest digits that stand for the same number.
pub(super) fn shortest(value: f64) -> String {
    let plain = value == 0.0 || (1e-4..1e21).contains(&value.abs());
    special(value).unwrap_or_else(|| match plain {
        true => value.to_string(),
        false => with_exponent(&format!("{value:e}")),
    })
}

/// Always with an exponent, as Prometheus's API writes the value of an alert.
pub(crate) fn exponential(value: f64) -> String {
    special(value).unwrap_or_else(|| with_exponent(&format!("{value:e}")))
}

/// `%.4g`: four significant digits.
fn four(value: f64) -> String {
    let scientific = || {
        let written = format!("{value:.3e}");
        let (digits, exponent) = written.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let text = match usize::try_from(3 - exponent) {
            Ok(digits) if exponent >= -4 => without_zeros(&format!("{value:.digits$}")),
            _ => with_exponent(&format!("{}e{exponent}", without_zeros(digits))),
        };
        Some(text)
    };
    special(value).or_else(scientific).unwrap_or_default()
}

fn special(value: f64) -> Option<String> {
    match value {
        f64::INFINITY => Some("+Inf".to_owned()),
        f64::NEG_INFINITY => Some("-Inf".to_owned()),
        _ => value.is_nan().then(|| "NaN".to_owned()),
    }
}

fn without_zeros(digits: &str) -> String {
    match digits.contains('.') {
        true => digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        false => digits.to_owned(),
    }
}

/// `1e5` as `1e+05`.
fn with_exponent(written: &str) -> String {
    let (digits, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Divides while the number is large; returns it with the prefix for the number of divisions.
fn scaled(mut value: f64, by: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        value /= by;
        prefix = next;
    }
    (value, prefix)
}

/// Multiplies as long as it is small.
fn raised(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        value *= 1_000.0;
        prefix = next;
    }
    (value, prefix)
}

pub(super) fn humanize(value: f64) -> String {
    let (value, prefix) = match value {
        _ if value == 0.0 || !value.is_finite() => (value, ""),
        _ if value.abs() >= 1.0 => {
            scaled(value, 1_000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"])
        }
        _ => raised(value),
    };
    four(value) + prefix
}

pub(super) fn humanize_1024(value: f64) -> String {
    let prefixes = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    let (value, prefix) = match value.is_finite() {
        true => scaled(value, 1_024.0, &prefixes),
        false => (value, ""),
    };
    four(value) + prefix
}

pub(super) fn humanize_percentage(value: f64) -> String {
    four(value * 100.0) + "%"
}

pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value.abs() < 1.0 {
        let (value, prefix) = if value == 0.0 {
            (value, "")
        } else {
            raised(value)
        };
        return format!("{}{prefix}s", four(value));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let whole = value.abs() as i64;
    let (days, hours) = (whole / 86_400, whole / 3_600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(value.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}
