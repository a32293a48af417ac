//! Settings of the downstream service.

use service::{Defaults, Env, SettingError};

use crate::model::Model;

/// Everything that the service reads from the environment.
#[derive(Debug)]
pub struct Settings {
    /// What every service has.
    pub service: service::Settings,
    /// Latency and payment decisions.
    pub(crate) model: Model,
}

impl Settings {
    /// Reads the environment; `build` is the `service.version`, unless that says otherwise.
    pub fn from_env(env: &Env, build: &'static str) -> Result<Self, SettingError> {
        let defaults = Defaults {
            name: "downstream",
            version: build,
            http_port: 8082,
            admin_port: 9082,
            public: false,
        };
        Ok(Self {
            service: service::Settings::from_env(env, &defaults)?,
            model: Model {
                // Of the time that a request takes: half of them take less.
                median_ms: env.number("OMNITRACE_LATENCY_MEDIAN_MS", 5.0, 0.0..=500.0)?,
                // Standard deviation of its logarithm: 0.5 puts p99 at 3.2 times the median.
                sigma: env.number("OMNITRACE_LATENCY_SIGMA", 0.5, 0.0..=2.0)?,
                // The same seed gives the same times, prices and decisions.
                seed: env.number("OMNITRACE_SEED", 42, 0..=u64::MAX)?,
                // Of the payments, decided by the order's id.
                decline_share: env.number("OMNITRACE_DECLINE_SHARE", 0.0, 0.0..=1.0)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_above_one_is_refused() {
        let error =
            Settings::from_env(&Env::of([("OMNITRACE_DECLINE_SHARE", "1.5")]), "1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "OMNITRACE_DECLINE_SHARE: got \"1.5\"; allowed: a number from 0 to 1 (default 0)"
        );
    }
}
