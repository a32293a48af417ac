//! A scenario file: what goes wrong, how it is started and stopped, and the truth about it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slo::{Error, Source, Time};
use toml::Spanned;

use crate::truth::Truth;

/// How the stack is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `omnitrace up`: the console stands for collector, Prometheus, Alertmanager, Jaeger and Loki.
    Embedded,
    /// `omnitrace up --standard`: those programs themselves.
    Standard,
}

impl Mode {
    /// All, in the order of the reports.
    pub const ALL: [Self; 2] = [Self::Embedded, Self::Standard];

    /// As files and options name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Standard => "standard",
        }
    }
}

/// A scenario that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The name of its file without `.toml`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Requests per second from before the fault until the end.
    pub load: u32,
    /// No other scenario disturbs it from its start until its fault is taken back: it needs the machine's processors.
    pub alone: bool,
    /// Services with several instances.
    pub replicas: BTreeMap<String, u32>,
    /// Variables of the whole stack.
    pub environment: BTreeMap<String, String>,
    /// How long the stack runs undisturbed before the first action.
    pub baseline: Duration,
    /// How long to wait for the first right notification.
    pub patience: Duration,
    /// How long the fault goes on after that, so that its consequences are notified, too. Of a control: how long it lasts.
    pub hold: Duration,
    /// How long to wait, after all was taken back, until everything is resolved.
    pub resolve: Duration,
    /// Why the scenario does not apply to a mode.
    pub not_in: BTreeMap<Mode, String>,
    /// What is done, in this order.
    pub inject: Vec<Inject>,
    /// What is true; `None` for a control, in which nothing is wrong.
    pub truth: Option<Truth>,
}

/// One action.
#[derive(Debug, Clone, PartialEq)]
pub struct Inject {
    /// After the one before, or the baseline.
    pub after: Duration,
    /// What it does.
    pub action: Action,
}

/// What is done to the stack.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A fault of a service's switchboard, on until the end.
    Fault {
        /// The service, or one instance of it.
        service: String,
        /// As `omnitrace fault list` names it.
        fault: String,
        /// Those not given have defaults.
        parameters: serde_json::Map<String, serde_json::Value>,
    },
    /// Shell commands: `start` now, and `stop` at the end.
    Commands {
        /// Ends by itself, with success.
        start: String,
        /// The same.
        stop: Option<String>,
    },
    /// A shell command that goes on until the end, when it is stopped.
    Process(String),
    /// So many requests per second more, until the end.
    Load(u32),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    title: Spanned<String>,
    load: Option<Spanned<u32>>,
    #[serde(default)]
    alone: bool,
    #[serde(default)]
    replicas: BTreeMap<String, Spanned<u32>>,
    #[serde(default)]
    environment: BTreeMap<Spanned<String>, String>,
    baseline: Option<Time>,
    patience: Option<Time>,
    hold: Option<Time>,
    resolve: Option<Time>,
    #[serde(default)]
    not_in: BTreeMap<Mode, Spanned<String>>,
    #[serde(default)]
    control: bool,
    #[serde(default)]
    inject: Vec<Spanned<InjectFile>>,
    truth: Option<Spanned<Truth>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InjectFile {
    after: Option<Time>,
    fault: Option<String>,
    service: Option<String>,
    #[serde(default)]
    parameters: toml::Table,
    start: Option<String>,
    stop: Option<String>,
    process: Option<String>,
    load: Option<u32>,
}

const LOAD: u32 = 10;
/// More than `omnitrace up --load` takes.
const MOST_LOAD: u32 = 1000;
/// Herald compares with the minute before, and needs a whole one.
const BASELINE: Duration = Duration::from_secs(75);
const PATIENCE: Duration = Duration::from_secs(180);
/// The tickets of the demo profile look back 5 min.
const RESOLVE: Duration = Duration::from_secs(480);
const HOLD: Duration = Duration::from_secs(20);
/// What every scenario may take at most, per time.
const LONGEST: Duration = Duration::from_secs(900);
const REPLICATED: [&str; 3] = ["gateway", "data", "downstream"];

impl Scenario {
    /// Reads a file; `name` is that of the file.
    ///
    /// # Errors
    /// With file, line and key.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Error> {
        let source = Source { file, text };
        let read: ScenarioFile = source.parse()?;
        let top = |why: &str| source.error(0..0, why);
        if read.title.get_ref().trim().is_empty() {
            return Err(source.error(
                read.title.span(),
                "`title`: one line that says what goes wrong",
            ));
        }
        let load = read.load.map_or(Ok(LOAD), |load| {
            let allowed = *load.get_ref() <= MOST_LOAD;
            let why = format!(
                "`load`: {} is not between 0 and {MOST_LOAD} requests per second",
                load.get_ref()
            );
            allowed
                .then_some(*load.get_ref())
                .ok_or_else(|| source.error(load.span(), why))
        })?;
        let truth = match (read.control, read.truth) {
            (true, None) => None,
            (false, Some(truth)) => {
                let at = truth.span();
                let truth = truth.into_inner();
                truth.check().map_err(|why| source.error(at, why))?;
                Some(truth)
            }
            (true, Some(truth)) => {
                return Err(source.error(
                    truth.span(),
                    "`truth`: a control has none, because nothing is wrong in it",
                ));
            }
            (false, None) => {
                return Err(top(
                    "`truth` is missing: what is wrong, or `control = true` if nothing is",
                ));
            }
        };
        let inject = read
            .inject
            .into_iter()
            .map(|inject| {
                let at = inject.span();
                inject
                    .into_inner()
                    .checked()
                    .map_err(|why| source.error(at, why))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if truth.is_some() && inject.is_empty() {
            return Err(top("`[[inject]]` is missing: what is done to the stack"));
        }
        let time = |key: &str, given: Option<Time>, default| {
            let time = given.map_or(default, |time| Duration::from_secs(time.seconds()));
            let too_long = || top(&format!("`{key}`: at most {} min", LONGEST.as_secs() / 60));
            (time <= LONGEST).then_some(time).ok_or_else(too_long)
        };
        Ok(Self {
            name: name.to_owned(),
            title: read.title.into_inner(),
            load,
            alone: read.alone,
            replicas: replicas(&source, read.replicas)?,
            environment: environment(&source, read.environment)?,
            baseline: time("baseline", read.baseline, BASELINE)?,
            patience: time("patience", read.patience, PATIENCE)?,
            hold: time("hold", read.hold, HOLD)?,
            resolve: time("resolve", read.resolve, RESOLVE)?,
            not_in: reasons(&source, read.not_in)?,
            inject,
            truth,
        })
    }

    /// True if nothing is wrong in it.
    pub fn is_control(&self) -> bool {
        self.truth.is_none()
    }

    /// How long it takes at most, without the start and the end of the stack and without waiting for the end of alerts.
    pub fn longest(&self) -> Duration {
        let injecting: Duration = self.inject.iter().map(|inject| inject.after).sum();
        let waiting = match self.truth {
            Some(_) => self.patience,
            None => Duration::ZERO,
        };
        self.baseline + injecting + waiting + self.hold
    }
}

impl InjectFile {
    fn checked(self) -> Result<Inject, String> {
        let one = "`[[inject]]`: exactly one of `fault`, `start`, `process` and `load`";
        if self.fault.is_none() && (self.service.is_some() || !self.parameters.is_empty()) {
            return Err("`service` and `parameters` belong to a `fault`".to_owned());
        }
        if self.start.is_none() && self.stop.is_some() {
            return Err("`stop` belongs to a `start`".to_owned());
        }
        let action = match (self.fault, self.start, self.process, self.load) {
            (Some(fault), None, None, None) => Action::Fault {
                service: self
                    .service
                    .ok_or("`service` is missing: the one whose `fault` is switched on")?,
                fault,
                parameters: parameters(self.parameters)?,
            },
            (None, Some(start), None, None) => Action::Commands {
                start,
                stop: self.stop,
            },
            (None, None, Some(process), None) => Action::Process(process),
            (None, None, None, Some(load)) if (1..=MOST_LOAD).contains(&load) => Action::Load(load),
            (None, None, None, Some(load)) => {
                return Err(format!(
                    "`load`: {load} is not between 1 and {MOST_LOAD} requests per second"
                ));
            }
            _ => return Err(one.to_owned()),
        };
        let after = self
            .after
            .map_or(Duration::ZERO, |time| Duration::from_secs(time.seconds()));
        if after > LONGEST {
            return Err(format!("`after`: at most {} min", LONGEST.as_secs() / 60));
        }
        Ok(Inject { after, action })
    }
}

fn parameters(given: toml::Table) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    given
        .into_iter()
        .map(|(name, value)| match value {
            toml::Value::Integer(number) => Ok((name, number.into())),
            toml::Value::Float(number) => Ok((name, number.into())),
            other => Err(format!(
                "`parameters`: {name} is {}, allowed is a number",
                other.type_str()
            )),
        })
        .collect()
}

fn replicas(
    source: &Source<'_>,
    given: BTreeMap<String, Spanned<u32>>,
) -> Result<BTreeMap<String, u32>, Error> {
    given
        .into_iter()
        .map(|(service, count)| {
            let at = count.span();
            if !REPLICATED.contains(&service.as_str()) {
                return Err(source.error(
                    at,
                    format!(
                        "`replicas`: {service} cannot have several instances; allowed: {}",
                        REPLICATED.join(", ")
                    ),
                ));
            }
            match *count.get_ref() {
                count @ 1..=8 => Ok((service, count)),
                count => Err(source.error(
                    at,
                    format!("`replicas`: {service} = {count}; allowed: 1 to 8"),
                )),
            }
        })
        .collect()
}

fn environment(
    source: &Source<'_>,
    given: BTreeMap<Spanned<String>, String>,
) -> Result<BTreeMap<String, String>, Error> {
    given
        .into_iter()
        .map(|(name, value)| {
            let usable = !name.get_ref().is_empty()
                && !name.get_ref().contains(['=', '\0'])
                && !value.contains('\0');
            let at = name.span();
            let name = name.into_inner();
            match usable {
                true => Ok((name, value)),
                false => Err(source.error(at, format!("`environment`: {name:?} is no variable"))),
            }
        })
        .collect()
}

fn reasons(
    source: &Source<'_>,
    given: BTreeMap<Mode, Spanned<String>>,
) -> Result<BTreeMap<Mode, String>, Error> {
    given
        .into_iter()
        .map(|(mode, why)| match why.get_ref().trim() {
            "" => Err(source.error(
                why.span(),
                format!(
                    "`not_in.{}`: say why the scenario does not apply",
                    mode.as_str()
                ),
            )),
            _ => Ok((mode, why.into_inner())),
        })
        .collect()
}
