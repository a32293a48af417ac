//! The caller's own telemetry variables, and which of them the parts get.
//!
//! With the console, whatever would keep telemetry from it is not used, and `up` says so at once: otherwise it would wait
//! for a trace that never comes. Without it everything is used as it is.

use anyhow::{Result, bail};
use service::Env;

use super::report::Report;
use crate::cli::UpArgs;
use crate::environment;

/// About the way out of a service, which leads to the console.
const WAY_OUT: [&str; 4] = [
    "OTEL_EXPORTER_",
    "OTEL_BSP_",
    "OTEL_BLRP_",
    "OTEL_SDK_DISABLED",
];
/// Also by the end of the name.
const EXPORTER: &str = "_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const PROPAGATORS: &str = "OTEL_PROPAGATORS";

/// Who takes the services' telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The console of this stack.
    Console,
    /// The collector of this stack.
    Standard,
    /// Whom the caller's variables name.
    Callers,
}

impl Backend {
    /// As the options say.
    pub fn of(args: &UpArgs) -> Self {
        match (args.no_console, args.standard.standard) {
            (true, _) => Self::Callers,
            (false, true) => Self::Standard,
            (false, false) => Self::Console,
        }
    }
}

/// A variable that the services do not get, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its name.
    pub name: String,
    why: &'static str,
}

/// The variables that the services do not get from this process.
///
/// # Errors
/// Names a variable that would be used and cannot be.
pub fn unused(backend: Backend) -> Result<Vec<Unused>> {
    let mut unused = vec![];
    let mut without = |name: &str, why| {
        let name = name.to_owned();
        unused.push(Unused { name, why });
    };
    let given = environment::given("OTEL_")?;
    let is_given = |name: &str| given.iter().any(|given| given == name);
    if is_given("OTEL_SERVICE_NAME") {
        without("OTEL_SERVICE_NAME", "each service is named after its role");
    }
    let (tells_herald, goes_to) = match backend {
        Backend::Callers => {
            Env::process().telemetry()?;
            return Ok(unused);
        }
        Backend::Console => (
            "the console tells herald; HERALD_WEBHOOK_URL or HERALD_SLACK_WEBHOOK_URL says whom herald tells",
            "telemetry goes to the console; --no-console sends it elsewhere",
        ),
        Backend::Standard => {
            for name in environment::given("OMNITRACE_WATCHDOG_URL")? {
                without(
                    &name,
                    "HERALD_WATCHDOG_URL gets the alert that always fires",
                );
            }
            for name in environment::given("OMNITRACE_HERALD_URL")? {
                without(&name, "the console stands in for Loki, and asks no herald");
            }
            (
                "Alertmanager tells herald; HERALD_WEBHOOK_URL or HERALD_SLACK_WEBHOOK_URL says whom herald tells",
                "telemetry goes to the collector",
            )
        }
    };
    for name in environment::given("OMNITRACE_NOTIFY_")? {
        without(&name, tells_herald);
    }
    for name in environment::given("OMNITRACE_CONSOLE_TOKEN")? {
        without(
            &name,
            "the console listens on loopback only, and its parts ask it",
        );
    }
    for name in given.iter().filter(|name| is_way_out(name)) {
        without(name, goes_to);
    }
    let settings = Env::process().without(is_way_out).telemetry()?;
    if !settings.propagate_trace {
        without(PROPAGATORS, "a trace would end at each service");
    }
    let sampler = settings.sampler;
    let keeps_the_probe = sampler.parent_based && settings.trust_callers && sampler.ratio > 0.0;
    if sampler.ratio < 1.0 && !keeps_the_probe {
        let why = match settings.trust_callers {
            true => "the trace of the probe could be dropped; parentbased_traceidratio keeps it",
            false => "OMNITRACE_TRUST_CALLERS=none lets the trace of the probe be dropped",
        };
        let names = given.iter().filter(|name| name.starts_with(SAMPLER));
        names.for_each(|name| without(name, why));
    }
    Ok(unused)
}

/// Says which variables are not used.
pub fn explain(unused: &[Unused], report: &Report) {
    for same in unused.chunk_by(|one, other| one.why == other.why) {
        let names: Vec<&str> = same.iter().map(|unused| unused.name.as_str()).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let text = format!("{} {verb} not used: {}", names.join(", "), same[0].why);
        report.progress("up", &text);
    }
}

fn is_way_out(name: &str) -> bool {
    WAY_OUT.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with(EXPORTER)
}

/// The destination of telemetry without a console; `None` if each signal is off or has an address of its own.
///
/// # Errors
/// Says what to set.
pub fn collector() -> Result<Option<String>> {
    if let Some(url) = environment::text("OTEL_EXPORTER_OTLP_ENDPOINT")? {
        return Ok(Some(url));
    }
    let is = |name: &str, value: &str| -> Result<bool> {
        Ok(environment::text(name)?.is_some_and(|text| text.eq_ignore_ascii_case(value)))
    };
    if is("OTEL_SDK_DISABLED", "true")? {
        return Ok(None);
    }
    for signal in ["TRACES", "LOGS"] {
        let own = environment::text(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))?;
        if own.is_none() && !is(&format!("OTEL_{signal}_EXPORTER"), "none")? {
            bail!(
                "--no-console: OTEL_EXPORTER_OTLP_ENDPOINT is not set; set it to your collector, for example \
                 http://localhost:4318, or send nothing with OTEL_SDK_DISABLED=true"
            );
        }
    }
    Ok(None)
}
