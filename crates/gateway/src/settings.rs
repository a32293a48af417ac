//! Settings of the gateway.

use service::{Defaults, Env, SettingError};

/// Everything that the service reads from the environment.
#[derive(Debug)]
pub struct Settings {
    /// What every service has.
    pub service: service::Settings,
    /// `DATA_URL`.
    pub data_url: String,
}

impl Settings {
    /// Reads the environment; `build` is the `service.version`, unless that says otherwise.
    pub fn from_env(env: &Env, build: &'static str) -> Result<Self, SettingError> {
        let defaults = Defaults {
            name: "gateway",
            version: build,
            http_port: 8080,
            admin_port: 9080,
            public: true,
        };
        Ok(Self {
            service: service::Settings::from_env(env, &defaults)?,
            data_url: env.base_url("DATA_URL", "http://127.0.0.1:8081")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_names_the_variable() {
        let error = Settings::from_env(&Env::of([("DATA_URL", "data:8081")]), "1").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("DATA_URL: got \"data:8081\"; allowed: http://host[:port]")
        );
    }
}
