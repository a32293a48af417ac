//! The release that runs: the one that was started, or the newer and slower one that the fault `bad_release` has it start. See
//! docs/adr/0010.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use listen::StopSignals;
use serde::{Deserialize, Serialize};
use service::faults::{Fault, Switchboard};
use service::settings::wrong;
use service::{Env, Handover, SettingError, Sockets};

use crate::faults;
use crate::successor::{self, End};

/// How the one tells the other.
const VARIABLE: &str = "OMNITRACE_BAD_RELEASE";

/// Between the answer to whoever switches the fault and its effect, so that the answer is out. A fault that is cleared
/// within it has none.
const GRACE: Duration = Duration::from_millis(100);

/// What the bad release knows of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BadRelease {
    /// `service.version` that it reports.
    pub(crate) version: String,
    /// Parameters of the fault.
    parameters: serde_json::Value,
    /// When it ends, in milliseconds since 1970.
    until_ms: u64,
}

impl BadRelease {
    /// Reads what the process that has started this one says.
    pub(crate) fn from_env(env: &Env) -> Result<Option<Self>, SettingError> {
        let Some(text) = env.text(VARIABLE)? else {
            return Ok(None);
        };
        let problem = |error| {
            wrong(
                VARIABLE,
                format!("{error}; do not set it: use the fault bad_release"),
            )
        };
        serde_json::from_str(&text).map(Some).map_err(problem)
    }

    /// The time that is left, at least the shortest duration of a fault.
    fn seconds_left(&self) -> f64 {
        let left = Duration::from_millis(self.until_ms).saturating_sub(since_1970());
        left.as_secs_f64().clamp(0.1, 3600.0)
    }
}

/// The release that runs.
pub(crate) struct Running {
    /// That of the bad release, which stays the same when this is it.
    next_version: String,
    bad: Option<BadRelease>,
    handover: Handover,
    /// The settings for the bad release; `None` when the fault is over.
    newer: Arc<Mutex<Option<String>>>,
}

impl Running {
    /// The release with this version, or the bad one.
    pub(crate) fn new(version: &str, bad: Option<BadRelease>) -> Self {
        let next_version = match &bad {
            Some(release) => release.version.clone(),
            None => next_minor(version),
        };
        Self {
            next_version,
            bad,
            handover: Handover::default(),
            newer: Arc::default(),
        }
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.bad.is_some()
    }

    /// For the runner, which ends the service.
    pub(crate) fn handover(&self) -> Handover {
        self.handover.clone()
    }

    /// Hands over to the other release: to the bad one when the fault is switched on, to the good one when it is over.
    pub(crate) fn start(
        &self,
        fault: &Arc<Fault<faults::BadRelease>>,
        board: &Switchboard,
    ) -> anyhow::Result<()> {
        match &self.bad {
            None => {
                let give_way = self.give_way(fault.clone());
                actix_web::rt::spawn(fault.clone().drive(async move |_| {
                    tokio::time::sleep(GRACE).await;
                    give_way();
                }));
            }
            Some(release) => {
                let mut parameters = release.parameters.clone();
                parameters["expires_in_s"] = release.seconds_left().into();
                board
                    .switch_on("bad_release", &parameters)
                    .map_err(|error| anyhow::anyhow!("{VARIABLE}: {error}"))?;
                actix_web::rt::spawn(end_with(fault.clone(), self.handover()));
            }
        }
        Ok(())
    }

    fn give_way(&self, fault: Arc<Fault<faults::BadRelease>>) -> impl Fn() + use<> {
        let (handover, newer) = (self.handover(), self.newer.clone());
        let version = self.next_version.clone();
        move || {
            let (fault, newer, version) = (fault.clone(), newer.clone(), version.clone());
            // Looked at as late as can be: the fault may be switched while requests are finished.
            handover.request(move || *lock(&newer) = told(&fault, version));
        }
    }

    /// After the service has ended: lets the bad release have its time, and comes back. That one just ends, and who has started it
    /// comes back.
    pub(crate) fn hand_over(
        &self,
        sockets: &Sockets,
        mut signals: StopSignals,
    ) -> anyhow::Result<()> {
        if self.is_bad() {
            return Ok(());
        }
        let newer = lock(&self.newer).take();
        // While telemetry was flushed.
        let mut asked = successor::asked(&mut signals)?;
        if let (Some(newer), false) = (newer, asked) {
            let end = successor::supervise(sockets, (VARIABLE, newer), &mut signals)?;
            asked = matches!(end, End::Asked) || successor::asked(&mut signals)?;
        }
        if asked {
            return Ok(());
        }
        match successor::start_again(sockets)? {}
    }
}

/// Ends the bad release when the fault is over.
async fn end_with(fault: Arc<Fault<faults::BadRelease>>, handover: Handover) {
    loop {
        fault.over().await;
        tokio::time::sleep(GRACE).await;
        if fault.active().is_none() {
            return handover.request(|| ());
        }
    }
}

/// The settings for the process of the bad release.
fn told(fault: &Fault<faults::BadRelease>, version: String) -> Option<String> {
    let (parameters, left) = (fault.active()?, fault.time_left()?);
    let release = BadRelease {
        version,
        parameters: parameters.parameters(),
        until_ms: u64::try_from((since_1970() + left).as_millis()).ok()?,
    };
    serde_json::to_string(&release).ok()
}

fn lock(newer: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    newer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// `0.1.0` becomes `0.2.0`; what has no such form gets a suffix.
fn next_minor(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').collect();
    match parts[..] {
        [major, minor, _] if major.parse::<u32>().is_ok() => match minor.parse::<u32>() {
            Ok(minor) => format!("{major}.{}.0", minor.saturating_add(1)),
            Err(_) => format!("{version}-next"),
        },
        _ => format!("{version}-next"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bad_release_is_the_next_minor_version() {
        for (version, next) in [
            ("0.1.0", "0.2.0"),
            ("2.9.7", "2.10.0"),
            ("main", "main-next"),
            ("1.x.0", "1.x.0-next"),
        ] {
            assert_eq!(next_minor(version), next);
        }
    }

    #[test]
    fn what_one_process_says_the_other_understands() {
        let said = serde_json::json!({"version": "0.2.0", "parameters": {"ms": 5}, "until_ms": 0})
            .to_string();
        let release: BadRelease = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (release.version.as_str(), release.seconds_left()),
            ("0.2.0", 0.1)
        );
        let error = BadRelease::from_env(&Env::of([(VARIABLE, "1")]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(VARIABLE) && error.contains("use the fault bad_release"),
            "{error}"
        );
    }
}
