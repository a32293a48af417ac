//! Standard variables that this crate does not support. They are errors, since ignoring them would export something else than the
//! user asked for.

use super::{SettingError, Vars, error};

/// Why, and which.
const UNSUPPORTED: [(&str, &[&str]); 7] = [
    (
        "metrics are pulled from /metrics and never pushed",
        &[
            "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
            "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
            "OTEL_EXPORTER_PROMETHEUS_HOST",
            "OTEL_EXPORTER_PROMETHEUS_PORT",
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "OTEL_METRIC_EXPORT_INTERVAL",
            "OTEL_METRIC_EXPORT_TIMEOUT",
        ],
    ),
    (
        "limits are fixed",
        &[
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
        ],
    ),
    (
        "settings come from the environment alone",
        &["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"],
    ),
    (
        "the endpoint's scheme says whether there is TLS",
        &[
            "OTEL_EXPORTER_OTLP_INSECURE",
            "OTEL_EXPORTER_OTLP_LOGS_INSECURE",
            "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        ],
    ),
    (
        "only OTLP is spoken",
        &[
            "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
            "OTEL_EXPORTER_ZIPKIN_PROTOCOL",
            "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
        ],
    ),
    ("RUST_LOG sets all levels", &["OTEL_LOG_LEVEL"]),
    (
        "OTEL_RESOURCE_ATTRIBUTES describes the resource",
        &["OTEL_ENTITIES"],
    ),
];

pub(super) fn check(vars: &Vars<'_>) -> Result<(), SettingError> {
    for (reason, names) in UNSUPPORTED {
        if let Some(name) = names.iter().find(|name| vars.get(name).is_some()) {
            return error(name, format!("is not supported, {reason}; unset it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::Settings;

    /// Every variable that the specification names (open-telemetry/opentelemetry-specification 1377f53b, August 2026), those of one language left out.
    const SPECIFIED: &str = "
        OTEL_ATTRIBUTE_COUNT_LIMIT OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_BLRP_EXPORT_TIMEOUT OTEL_BLRP_MAX_EXPORT_BATCH_SIZE
        OTEL_BLRP_MAX_QUEUE_SIZE OTEL_BLRP_SCHEDULE_DELAY OTEL_BSP_EXPORT_TIMEOUT OTEL_BSP_MAX_EXPORT_BATCH_SIZE OTEL_BSP_MAX_QUEUE_SIZE
        OTEL_BSP_SCHEDULE_DELAY OTEL_CONFIG_FILE OTEL_ENTITIES OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT OTEL_EXPERIMENTAL_CONFIG_FILE
        OTEL_EXPORTER_OTLP_CERTIFICATE OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_CLIENT_KEY OTEL_EXPORTER_OTLP_COMPRESSION
        OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_INSECURE OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE
        OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY OTEL_EXPORTER_OTLP_LOGS_COMPRESSION
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT OTEL_EXPORTER_OTLP_LOGS_HEADERS OTEL_EXPORTER_OTLP_LOGS_INSECURE OTEL_EXPORTER_OTLP_LOGS_PROTOCOL
        OTEL_EXPORTER_OTLP_LOGS_TIMEOUT OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE
        OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY OTEL_EXPORTER_OTLP_METRICS_COMPRESSION OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_METRICS_HEADERS OTEL_EXPORTER_OTLP_METRICS_INSECURE
        OTEL_EXPORTER_OTLP_METRICS_PROTOCOL OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE OTEL_EXPORTER_OTLP_METRICS_TIMEOUT
        OTEL_EXPORTER_OTLP_METRIC_INSECURE OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_SPAN_INSECURE OTEL_EXPORTER_OTLP_TIMEOUT
        OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY
        OTEL_EXPORTER_OTLP_TRACES_COMPRESSION OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_EXPORTER_OTLP_TRACES_HEADERS
        OTEL_EXPORTER_OTLP_TRACES_INSECURE OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_EXPORTER_OTLP_TRACES_TIMEOUT OTEL_EXPORTER_PROMETHEUS_HOST
        OTEL_EXPORTER_PROMETHEUS_PORT OTEL_EXPORTER_ZIPKIN_ENDPOINT OTEL_EXPORTER_ZIPKIN_PROTOCOL OTEL_EXPORTER_ZIPKIN_TIMEOUT
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_LOGS_EXPORTER
        OTEL_LOG_LEVEL OTEL_METRICS_EXEMPLAR_FILTER OTEL_METRICS_EXPORTER OTEL_METRIC_EXPORT_INTERVAL OTEL_METRIC_EXPORT_TIMEOUT
        OTEL_PROPAGATORS OTEL_RESOURCE_ATTRIBUTES OTEL_SDK_DISABLED OTEL_SERVICE_NAME OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT
        OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_SPAN_EVENT_COUNT_LIMIT OTEL_SPAN_LINK_COUNT_LIMIT OTEL_TRACES_EXPORTER
        OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG";

    #[test]
    fn no_specified_variable_is_ignored() {
        let asked = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            None
        };
        Settings::from_lookup(&lookup).expect("the defaults");
        let asked: BTreeSet<String> = asked.into_inner();
        let specified: BTreeSet<String> = SPECIFIED.split_whitespace().map(str::to_owned).collect();
        let ignored: Vec<&String> = specified.difference(&asked).collect();
        assert_eq!(ignored, [""; 0]);
        let asked = asked.into_iter().filter(|name| name.starts_with("OTEL_"));
        let invented: Vec<String> = asked.filter(|name| !specified.contains(name)).collect();
        assert_eq!(invented, [""; 0]);
    }

    #[test]
    fn what_is_not_supported_is_an_error_that_says_why() {
        for (reason, names) in UNSUPPORTED {
            for name in names {
                let lookup = |asked: &str| (asked == *name).then(|| "1".to_owned());
                let why = Settings::from_lookup(&lookup).expect_err(name).to_string();
                assert_eq!(why, format!("{name}: is not supported, {reason}; unset it"));
            }
        }
    }
}
