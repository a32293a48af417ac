//! `--replicas SERVICE=N`: several instances of a service behind its one address ([`super::balancer`]).

use anyhow::{Result, bail};
use clap::Args;

use super::probe::SERVICES;
use crate::terminal::quoted;

/// The most instances of a service.
const MOST: u32 = 8;

/// How many instances the services have.
#[derive(Debug, Args)]
pub struct ReplicasArgs {
    /// Start N instances (1 to 8) of gateway, data or downstream behind its one address; may be repeated
    #[arg(long, value_name = "SERVICE=N", value_parser = parsed)]
    pub replicas: Vec<Replicas>,
}

/// How many instances a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    service: &'static str,
    count: u32,
}

impl ReplicasArgs {
    /// Refuses two numbers for one service.
    pub fn check(&self) -> Result<()> {
        for (index, one) in self.replicas.iter().enumerate() {
            let service = one.service;
            if self.replicas[..index]
                .iter()
                .any(|other| other.service == service)
            {
                bail!("--replicas: {service} is given twice; leave one out");
            }
        }
        Ok(())
    }

    /// How many instances a service has; 1 unless the user asks for more.
    pub fn count(&self, service: &str) -> u32 {
        let given = self.replicas.iter().find(|one| one.service == service);
        given.map_or(1, |one| one.count)
    }
}

fn parsed(text: &str) -> Result<Replicas, String> {
    let allowed = format!(
        "allowed: SERVICE=N, such as data=2; SERVICE is one of {}, N is 1 to {MOST}",
        SERVICES.join(", ")
    );
    let (name, count) = text.split_once('=').ok_or(&allowed)?;
    let service = SERVICES.into_iter().find(|service| *service == name);
    let service = service.ok_or_else(|| format!("no service {:?}; {allowed}", quoted(name)))?;
    let count = count
        .parse()
        .ok()
        .filter(|count| (1..=MOST).contains(count));
    let count = count.ok_or(allowed)?;
    Ok(Replicas { service, count })
}

/// The name of an instance as a part of `up`: the first one has the service's name, the second one of data is `data-2`.
pub fn part_name(service: &'static str, number: u32) -> &'static str {
    match number {
        1 => service,
        // A few names, which all live as long as `up`.
        _ => format!("{service}-{number}").leak(),
    }
}

/// The service of which a part of `up` is an instance; other parts are their own.
pub fn service_of(part: &str) -> &str {
    let numbered = part
        .rsplit_once('-')
        .filter(|(service, number)| SERVICES.contains(service) && number.parse::<u32>().is_ok());
    numbered.map_or(part, |(service, _)| service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_and_a_number_are_read() {
        let data = parsed("data=2").unwrap();
        assert_eq!((data.service, data.count), ("data", 2));
        for bad in [
            "", "data", "data=", "data=0", "data=9", "data=-1", "data=2x", "probe=2",
        ] {
            let why = parsed(bad).unwrap_err();
            assert!(
                why.contains("such as data=2") && why.contains("1 to 8"),
                "{bad}: {why}"
            );
        }
    }

    #[test]
    fn the_name_of_a_part_tells_its_service() {
        for service in SERVICES {
            for number in 1..=MOST {
                assert_eq!(service_of(part_name(service, number)), service);
            }
        }
        for other in ["console", "data-x", "shop-2", "data-2-2"] {
            assert_eq!(service_of(other), other);
        }
    }
}
