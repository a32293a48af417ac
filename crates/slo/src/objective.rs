//! Objectives, flattened: each with the services and routes that it holds for.

use toml::Spanned;

use crate::definition::{self, File, Latency, Service, Severity};
use crate::error::{Error, Source};

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Indicator {
    /// Requests do not fail.
    Availability,
    /// Requests that do not fail are served within so many seconds.
    Latency {
        /// A bucket bound.
        seconds: f64,
    },
}

impl Indicator {
    /// Value of the label `slo`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Latency { .. } => "latency",
        }
    }
}

/// Some names, or all but some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// This one.
    Only(String),
    /// Any but these.
    AllBut(Vec<String>),
}

impl Names {
    /// Whether this name is one of them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Only(only) => only == name,
            Self::AllBut(others) => !others.iter().any(|other| other == name),
        }
    }
}

/// For whom an objective holds. Requests without a route (no such page) count for nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Services.
    pub services: Names,
    /// Routes of them.
    pub routes: Names,
}

impl Scope {
    /// Whether it holds for this route.
    pub fn has(&self, service: &str, route: &str) -> bool {
        !route.is_empty() && self.services.has(service) && self.routes.has(route)
    }
}

/// One objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// What is promised.
    pub indicator: Indicator,
    /// For whom.
    pub scope: Scope,
    /// Share of good requests, 0 to 1.
    pub target: f64,
    /// Who is told at most.
    pub severity: Severity,
    /// Who is responsible.
    pub team: String,
}

impl Objective {
    /// Share of requests that may be bad. Rounded, so that rules show `0.001`.
    pub fn budget(&self) -> f64 {
        rounded(1.0 - self.target)
    }
}

/// Without the noise of binary fractions, so that rules show what people wrote.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// What a table says, with what it leaves to the one above.
struct Level<'a> {
    severity: Severity,
    team: &'a str,
    availability: &'a Spanned<f64>,
    latency: &'a Latency,
}

impl<'a> Level<'a> {
    fn below(
        &self,
        severity: Option<Severity>,
        team: Option<&'a Spanned<String>>,
        availability: Option<&'a Spanned<f64>>,
        latency: Option<&'a Latency>,
    ) -> Level<'a> {
        Level {
            severity: severity.unwrap_or(self.severity),
            team: team.map_or(self.team, |team| team.get_ref()),
            availability: availability.unwrap_or(self.availability),
            latency: latency.unwrap_or(self.latency),
        }
    }

    fn objectives(&self, source: Source<'_>, scope: &Scope) -> Result<[Objective; 2], Error> {
        let objective = |indicator, target| Objective {
            indicator,
            scope: scope.clone(),
            target: rounded(target),
            severity: self.severity,
            team: self.team.to_owned(),
        };
        let seconds = definition::bound(source, &self.latency.seconds)?;
        let available = definition::share(source, "availability", self.availability)?;
        let fast = definition::share(source, "latency.percent", &self.latency.percent)?;
        Ok([
            objective(Indicator::Availability, available),
            objective(Indicator::Latency { seconds }, fast),
        ])
    }
}

/// Every objective of the file, so that each route of each service has exactly one of each indicator.
pub(crate) fn all(source: Source<'_>, file: &File) -> Result<Vec<Objective>, Error> {
    let default = Level {
        severity: file.default.severity,
        team: file.default.team.get_ref(),
        availability: &file.default.availability,
        latency: &file.default.latency,
    };
    let mut objectives = Vec::new();
    let mut named: Vec<String> = Vec::new();
    for service in &file.services {
        new_name(source, "service.name", &service.name, &named)?;
        named.push(service.name.get_ref().clone());
        of_service(source, service, &default, &mut objectives)?;
    }
    let others = Scope {
        services: Names::AllBut(named),
        routes: Names::AllBut(Vec::new()),
    };
    objectives.extend(default.objectives(source, &others)?);
    Ok(objectives)
}

fn of_service(
    source: Source<'_>,
    service: &Service,
    default: &Level<'_>,
    objectives: &mut Vec<Objective>,
) -> Result<(), Error> {
    let level = default.below(
        service.severity,
        service.team.as_ref(),
        service.availability.as_ref(),
        service.latency.as_ref(),
    );
    let services = || Names::Only(service.name.get_ref().clone());
    let mut named = Vec::new();
    for route in &service.routes {
        new_name(source, "service.route.path", &route.path, &named)?;
        named.push(route.path.get_ref().clone());
        let scope = Scope {
            services: services(),
            routes: Names::Only(route.path.get_ref().clone()),
        };
        let own = level.below(
            route.severity,
            route.team.as_ref(),
            route.availability.as_ref(),
            route.latency.as_ref(),
        );
        objectives.extend(own.objectives(source, &scope)?);
    }
    let others = Scope {
        services: services(),
        routes: Names::AllBut(named),
    };
    objectives.extend(level.objectives(source, &others)?);
    Ok(())
}

fn new_name(
    source: Source<'_>,
    key: &str,
    name: &Spanned<String>,
    before: &[String],
) -> Result<(), Error> {
    let text = name.get_ref();
    let why = match () {
        () if text.is_empty() => format!("`{key}` is empty: allowed is the value of a label"),
        () if before.contains(text) => format!("`{key}` {text:?} is there twice: allowed is once"),
        () => return Ok(()),
    };
    Err(source.error(name.span(), why))
}
