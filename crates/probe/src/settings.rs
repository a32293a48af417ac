//! Settings of the probe.

use std::time::Duration;

use service::settings::wrong;
use service::{Defaults, Env, SettingError};

/// Everything that the probe reads from the environment.
#[derive(Debug)]
pub struct Settings {
    /// The settings of every service.
    pub service: service::Settings,
    /// `GATEWAY_URL`.
    pub gateway_url: String,
    /// `OMNITRACE_PROBE_INTERVAL_MS`: the time from one round to the next.
    pub interval: Duration,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn from_env(env: &Env, build: &'static str) -> Result<Self, SettingError> {
        let defaults = Defaults {
            name: "probe",
            version: build,
            http_port: 8083,
            admin_port: 9083,
            public: false,
        };
        let service = service::Settings::from_env(env, &defaults)?;
        if service.telemetry.probe_token.is_none() {
            // Without, every order of the probe would be a user's.
            let why = "is not set; give the value that gateway, data and downstream have";
            return Err(wrong("OMNITRACE_PROBE_TOKEN", why));
        }
        Ok(Self {
            service,
            gateway_url: env.base_url("GATEWAY_URL", "http://127.0.0.1:8080")?,
            interval: env.millis("OMNITRACE_PROBE_INTERVAL_MS", 15_000, 500..=3_600_000)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_it_does_not_start_and_a_bad_one_is_not_repeated() {
        let problem = |token| {
            let env = Env::of([("OMNITRACE_PROBE_TOKEN", token)]);
            Settings::from_env(&env, "1").unwrap_err().to_string()
        };
        assert!(problem("").starts_with("OMNITRACE_PROBE_TOKEN: is not set; give"));
        let short = problem("guess-me");
        assert!(
            short.contains("16 or more visible ASCII") && !short.contains("guess-me"),
            "{short}"
        );
    }
}
