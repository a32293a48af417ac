//! Renders the rules of a profile.

mod alerts;
mod indicators;
mod measure;
mod notification;
mod outages;
pub mod release;

pub use indicators::{number_name, ratio_name};

use crate::yaml::{self, Group, Rule};
use crate::{Definition, Profile, Severity};

/// The rules file of a profile, as Prometheus reads it.
pub fn rules(definition: &Definition, profile: &Profile) -> String {
    let group = |name: &str, severity, rules: Vec<Rule>| Group {
        name: name.to_owned(),
        interval: profile.interval(severity).to_string(),
        rules,
    };
    let slo = |severity| {
        let mut rules = indicators::rules(definition, profile, severity);
        rules.extend(alerts::rules(definition, profile, severity));
        rules
    };
    let causes = |watches| alerts::causes(definition, profile, watches);
    let groups = [
        group("slo", Severity::Page, slo(Severity::Page)),
        group("slo-slow", Severity::Ticket, slo(Severity::Ticket)),
        group("releases", Severity::Page, release::rules(profile)),
        group(
            "outages",
            Severity::Page,
            outages::rules(definition, profile),
        ),
        group("causes", Severity::Page, causes(false)),
        group("watchers", Severity::Page, causes(true)),
    ];
    yaml::file(&comment(profile), &groups)
}

fn comment(profile: &Profile) -> String {
    format!(
        "Rendered by `omnitrace rules` from alerts/slo.toml and alerts/causes.toml: change those, not this file.\n\
         Profile {}: windows {} times shorter than written, scraped every {}, an error budget for {}.",
        profile.name, profile.compression, profile.scrape_interval, profile.period
    )
}
