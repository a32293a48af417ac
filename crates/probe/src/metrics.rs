//! Metrics of each probe, with the names that the blackbox exporter uses.

use crate::checks::Check;

telemetry::metrics! {
    /// Whether the last request of a probe got what users are promised (1) or not (0).
    pub(crate) PROBE_SUCCESS: Gauge { probe: Check } = "probe_success", unit "1";
    /// How long the last request of a probe took, in seconds.
    pub(crate) PROBE_DURATION: Gauge { probe: Check } = "probe_duration_seconds", unit "s";
    /// Status that the last request of a probe was answered with; 0 is no answer.
    pub(crate) PROBE_STATUS: Gauge { probe: Check } = "probe_http_status_code", unit "1";
}
