//! `alerts/slo.toml` as typed data, checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

use crate::error::{Error, Source};
use crate::objective::Objective;
use crate::profile::{self, Profile};
use crate::{BOUNDS, Time, cause, cause::Cause, name, objective};

/// Who is told: a page wakes somebody, a ticket waits for the morning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Waits for the morning.
    Ticket,
    /// Wakes somebody.
    Page,
}

impl Severity {
    /// Value of the label `severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// Where the links of a notification lead.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// Base URL of Grafana.
    pub grafana: Spanned<String>,
    /// Directory of the runbooks, in the repository or on the web.
    pub runbooks: Spanned<String>,
}

/// A probe from outside, and whose users it stands for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its label `probe`.
    pub name: Spanned<String>,
    /// The service it asks.
    pub service: Spanned<String>,
    /// The route it asks.
    pub route: Spanned<String>,
    /// Who is told.
    pub severity: Severity,
    /// Who is responsible.
    pub team: Spanned<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    pub percent: Spanned<f64>,
    pub seconds: Spanned<f64>,
}

/// What holds for services that have no table of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Default {
    pub severity: Severity,
    pub team: Spanned<String>,
    pub availability: Spanned<f64>,
    pub latency: Latency,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub name: Spanned<String>,
    pub severity: Option<Severity>,
    pub team: Option<Spanned<String>>,
    pub availability: Option<Spanned<f64>>,
    pub latency: Option<Latency>,
    #[serde(default, rename = "route")]
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub path: Spanned<String>,
    pub severity: Option<Severity>,
    pub team: Option<Spanned<String>>,
    pub availability: Option<Spanned<f64>>,
    pub latency: Option<Latency>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub burn_rate: Spanned<f64>,
    pub long: Spanned<Time>,
    pub short: Spanned<Time>,
    pub severity: Severity,
    pub min_bad_events: Option<Spanned<u32>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    pub compression: Spanned<u64>,
    pub scrape_interval: Spanned<Time>,
    pub min_bad_events: Spanned<u32>,
    pub outage_for: Time,
    pub startup: Time,
    pub cause_window: Time,
    pub cause_for: Time,
    pub low_disk_gb: NonZeroU32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub period: Time,
    #[serde(default)]
    pub removed: Vec<Spanned<String>>,
    #[serde(default)]
    pub instances: BTreeMap<Spanned<String>, Spanned<u32>>,
    pub links: Links,
    pub default: Default,
    #[serde(default, rename = "service")]
    pub services: Vec<Service>,
    #[serde(default, rename = "probe")]
    pub probes: Vec<Probe>,
    #[serde(rename = "window")]
    pub windows: Vec<Window>,
    #[serde(rename = "profile")]
    pub profiles: BTreeMap<Spanned<String>, RawProfile>,
}

/// Everything that rules and evaluation need.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Where links lead.
    pub links: Links,
    /// Every objective; exactly one of each indicator holds for any route of any service.
    pub objectives: Vec<Objective>,
    /// Public services: those that page. Their names, with their team.
    pub public: BTreeMap<String, String>,
    /// Team of every other service.
    pub default_team: String,
    /// Services that were taken away on purpose: nobody expects them any more.
    pub removed: Vec<String>,
    /// How many instances of a service are expected, where that is not as many as there were.
    pub instances: BTreeMap<String, u32>,
    /// Probes from outside.
    pub probes: Vec<Probe>,
    /// What else is wrong, beside the objectives.
    pub causes: Vec<Cause>,
    /// Windows and gates, by name.
    pub profiles: BTreeMap<String, Profile>,
}

impl Definition {
    /// The definitions of this repository.
    ///
    /// # Errors
    /// They cannot be used; a test says that they can.
    pub fn embedded() -> Result<Self, Error> {
        let (objectives, causes) = (crate::embedded::OBJECTIVES, crate::embedded::CAUSES);
        Self::parse(
            ("alerts/slo.toml", objectives),
            ("alerts/causes.toml", causes),
        )
    }

    /// Reads both files, each given as name and text.
    ///
    /// # Errors
    /// The first thing that is wrong: file, line, key and what is allowed.
    pub fn parse(objectives: (&str, &str), causes: (&str, &str)) -> Result<Self, Error> {
        let [slo, causes] = [objectives, causes].map(|(file, text)| Source { file, text });
        let file: File = slo.parse()?;
        check_names(slo, &file)?;
        Ok(Self {
            objectives: objective::all(slo, &file)?,
            profiles: profile::all(slo, &file)?,
            causes: cause::all(causes)?,
            public: public(&file),
            default_team: file.default.team.get_ref().clone(),
            removed: removed(slo, &file)?,
            instances: instances(slo, &file)?,
            links: file.links,
            probes: file.probes,
        })
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// There is none; names those that there are.
    pub fn profile(&self, name: &str) -> Result<&Profile, String> {
        let known = || {
            let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            format!("no profile {name:?}: allowed is {}", names.join(", "))
        };
        self.profiles.get(name).ok_or_else(known)
    }
}

fn check_names(source: Source<'_>, file: &File) -> Result<(), Error> {
    name::check_link(source, "links.grafana", &file.links.grafana)?;
    name::check_link(source, "links.runbooks", &file.links.runbooks)?;
    let mut names = vec![("default.team", &file.default.team)];
    names.extend(file.removed.iter().map(|name| ("removed", name)));
    names.extend(file.instances.keys().map(|name| ("instances", name)));
    for service in &file.services {
        names.push(("service.name", &service.name));
        names.extend(service.team.iter().map(|team| ("service.team", team)));
        for route in &service.routes {
            names.push(("service.route.path", &route.path));
            names.extend(route.team.iter().map(|team| ("service.route.team", team)));
        }
    }
    for Probe {
        name,
        service,
        route,
        team,
        ..
    } in &file.probes
    {
        names.extend([("probe.name", name), ("probe.service", service)]);
        names.extend([("probe.route", route), ("probe.team", team)]);
    }
    for (key, text) in names {
        name::check(source, key, text)?;
    }
    let mut profiles = file.profiles.keys();
    profiles.try_for_each(|profile| name::check_profile(source, profile))
}

/// Nothing is promised for what is not there.
fn removed(source: Source<'_>, file: &File) -> Result<Vec<String>, Error> {
    let is_promised = |name: &&Spanned<String>| {
        let mut services = file.services.iter();
        services.any(|service| service.name.get_ref() == name.get_ref())
    };
    if let Some(name) = file.removed.iter().find(is_promised) {
        let why = format!(
            "`removed` names {:?}, which has a table [[service]] too: allowed is one of both",
            name.get_ref()
        );
        return Err(source.error(name.span(), why));
    }
    let names = file.removed.iter();
    Ok(names.map(|name| name.get_ref().clone()).collect())
}

/// One of which none is expected is removed.
fn instances(source: Source<'_>, file: &File) -> Result<BTreeMap<String, u32>, Error> {
    let one = |(name, count): (&Spanned<String>, &Spanned<u32>)| match count.get_ref() {
        0 => {
            let why = format!(
                "`instances` of {:?} is 0: allowed is 1 or more; if the service is gone, name it in `removed`",
                name.get_ref()
            );
            Err(source.error(count.span(), why))
        }
        count => Ok((name.get_ref().clone(), *count)),
    };
    file.instances.iter().map(one).collect()
}

fn public(file: &File) -> BTreeMap<String, String> {
    file.services
        .iter()
        .filter(|service| service.severity == Some(Severity::Page))
        .map(|service| {
            let team = service.team.as_ref().unwrap_or(&file.default.team);
            (service.name.get_ref().clone(), team.get_ref().clone())
        })
        .collect()
}

/// A share from a percentage that can be missed.
pub(crate) fn share(source: Source<'_>, key: &str, percent: &Spanned<f64>) -> Result<f64, Error> {
    let value = *percent.get_ref();
    let kept = objective::rounded(value / 100.0);
    if kept > 0.0 && kept < 1.0 {
        return Ok(value / 100.0);
    }
    let why =
        format!("`{key}` is {value}: allowed is a percentage above 0 and below 100, such as 99.9");
    Err(source.error(percent.span(), why))
}

/// A latency that is counted, not interpolated.
pub(crate) fn bound(source: Source<'_>, seconds: &Spanned<f64>) -> Result<f64, Error> {
    let value = *seconds.get_ref();
    if BOUNDS.contains(&value) {
        return Ok(value);
    }
    let allowed: Vec<String> = BOUNDS.iter().map(f64::to_string).collect();
    let why = format!(
        "`latency.seconds` is {value}: allowed is a bucket bound of {}: {}",
        crate::REQUESTS,
        allowed.join(", ")
    );
    Err(source.error(seconds.span(), why))
}
