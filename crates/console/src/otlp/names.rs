//! Names of metrics as the OpenTelemetry specification "Prometheus and OpenMetrics Compatibility" makes them.

use crate::samples::sanitized;

/// Units that Prometheus writes out; others stay unchanged.
const UNITS: [(&str, &str); 26] = [
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("min", "minutes"),
    ("h", "hours"),
    ("d", "days"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
];

/// Units behind a `/`.
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// The form of a metric, as far as its name depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A monotonic sum: its name ends in `_total`.
    Counter,
    /// A gauge: without a unit it is a ratio.
    Gauge,
    /// Anything else.
    Other,
}

/// The name in Prometheus's form, with its unit and what its form asks for, each once.
pub(super) fn metric_name(name: &str, unit: &str, form: Form) -> String {
    let mut name = joined(&sanitized(name));
    let is_counter = form == Form::Counter;
    if is_counter {
        name = name.trim_end_matches("_total").to_owned();
    }
    for word in words(unit, form) {
        let last = word.rsplit('_').next().unwrap_or_default();
        if !name.split('_').any(|part| part == last) {
            name = format!("{name}_{word}");
        }
    }
    if is_counter {
        name.push_str("_total");
    }
    name
}

/// The words that a unit adds to a name: `By/s` adds `bytes` and `per_second`.
fn words(unit: &str, form: Form) -> Vec<String> {
    let unit = without_annotations(unit);
    if unit == "1" && form == Form::Gauge {
        return vec!["ratio".to_owned()];
    }
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main, spelled(&PER, per)),
        None => (unit.as_str(), String::new()),
    };
    let per = match per.is_empty() {
        true => per,
        false => format!("per_{per}"),
    };
    let words = [spelled(&UNITS, main), per];
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// `{request}` names the counted thing and is not a unit.
fn without_annotations(unit: &str) -> String {
    let mut inside = false;
    let outside = unit.chars().filter(|c| {
        inside = inside && *c != '}' || *c == '{';
        !inside && *c != '}'
    });
    outside.filter(|c| !c.is_whitespace()).collect()
}

fn spelled(table: &[(&str, &str)], unit: &str) -> String {
    match table.iter().find(|(short, _)| *short == unit) {
        Some((_, word)) => (*word).to_owned(),
        None if unit.is_empty() => String::new(),
        None => {
            let clean = joined(&sanitized(unit));
            clean.trim_matches('_').to_owned()
        }
    }
}

/// Runs of `_` become one.
fn joined(name: &str) -> String {
    let mut before = ' ';
    let is_first = |c: &char| !(std::mem::replace(&mut before, *c) == '_' && *c == '_');
    name.chars().filter(is_first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_spelled_out_once() {
        for (name, unit, expected) in [
            (
                "http.server.request.duration",
                "s",
                "http_server_request_duration_seconds",
            ),
            ("process_cpu_seconds", "s", "process_cpu_seconds"),
            ("seconds.of.day", "s", "seconds_of_day"),
            ("queue.length", "{request}", "queue_length"),
            ("queue.length", "{request}/s", "queue_length_per_second"),
            ("util", "1", "util_ratio"),
            ("cache.ratio", "1", "cache_ratio"),
            ("speed", "m/s", "speed_meters_per_second"),
            ("io", "By/s", "io_bytes_per_second"),
            ("io.bytes", "By/s", "io_bytes_per_second"),
            ("flow", "By{payload}/min", "flow_bytes_per_min"),
            ("disk", "TiBy", "disk_tibibytes"),
            ("force", "N.m", "force_N_m"),
            ("odd", "/", "odd"),
            ("odd", "{", "odd"),
            ("odd", "°", "odd"),
            ("a--b", "", "a_b"),
            ("a.-_b", "", "a_b"),
            ("io_total", "By", "io_total_bytes"),
        ] {
            assert_eq!(
                metric_name(name, unit, Form::Gauge),
                expected,
                "{name} {unit}"
            );
        }
    }

    #[test]
    fn counters_end_in_total_once() {
        for (name, unit, expected) in [
            ("calls", "", "calls_total"),
            ("calls", "1", "calls_total"),
            ("calls_total", "", "calls_total"),
            (
                "process.cpu_seconds_total",
                "s",
                "process_cpu_seconds_total",
            ),
            ("io_total", "By", "io_bytes_total"),
        ] {
            assert_eq!(
                metric_name(name, unit, Form::Counter),
                expected,
                "{name} {unit}"
            );
        }
        assert_eq!(metric_name("calls", "1", Form::Other), "calls");
    }
}
