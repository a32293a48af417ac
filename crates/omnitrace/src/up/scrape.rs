//! `--scrape NAME=URL`: services of others that the console scrapes, too. `scrape.json` remembers them for the next start.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::{Host, Url};

use super::probe::SERVICES;
use super::replicas::service_of;
use crate::files;
use crate::terminal::quoted;
use crate::values::base_url;

/// Services to scrape in addition to the stack's own.
#[derive(Debug, Args)]
pub struct ScrapeArgs {
    /// Scrape your own service too: its name and its address (the path is /metrics unless given); remembered; may be repeated
    #[arg(long, value_name = "NAME=URL", value_parser = named, conflicts_with = "no_console")]
    pub scrape: Vec<Scraped>,
    /// Forget a service that --scrape has named before; may be repeated
    #[arg(long, value_name = "NAME")]
    pub no_scrape: Vec<String>,
}

/// One metrics page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scraped {
    /// `service.name`.
    pub name: String,
    /// The URL of the page.
    pub url: Url,
}

impl TryFrom<String> for Scraped {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        named(&text)
    }
}

impl From<Scraped> for String {
    fn from(scraped: Scraped) -> Self {
        format!("{}={}", scraped.name, scraped.url)
    }
}

impl Scraped {
    /// In the format of `file_sd`.
    pub fn target(&self) -> Value {
        let port = self.url.port_or_known_default().unwrap_or(80);
        let address = format!("{}:{port}", self.url.host_str().unwrap_or_default());
        json!({"targets": [address], "labels": {"service_name": self.name, "__metrics_path__": self.url.path()}})
    }
}

/// The parts of `up` beside the services.
const OTHER_PARTS: [&str; 11] = [
    "postgres",
    "console",
    "herald",
    "probe",
    "loki",
    "jaeger",
    "collector",
    "postgres-exporter",
    "blackbox",
    "alertmanager",
    "prometheus",
];

/// A name that no part of `up` has.
pub fn free(name: &str) -> Result<&str, String> {
    match SERVICES.contains(&service_of(name)) || OTHER_PARTS.contains(&name) {
        true => Err(format!(
            "{name} is a part of `omnitrace up`: choose another name"
        )),
        false => Ok(name),
    }
}

fn named(text: &str) -> Result<Scraped, String> {
    let example = "allowed: NAME=URL, such as shop=http://127.0.0.1:8090";
    let (name, url) = text.split_once('=').ok_or(example)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || name.len() > 64 || !name.chars().all(allowed) {
        return Err(format!(
            "the name {:?}: allowed are up to 64 letters, digits, `.`, `-` and `_`, of which a letter or digit is the first",
            quoted(name)
        ));
    }
    let mut url = Url::parse(&base_url(url)?).map_err(|_| example)?;
    if url.scheme() != "http" || !url.username().is_empty() || url.password().is_some() {
        return Err("the console scrapes http:// only, without a user".to_owned());
    }
    if url.path() == "/" {
        url.set_path("/metrics");
    }
    Ok(Scraped {
        name: free(name)?.to_owned(),
        url,
    })
}

/// The services to scrape: remembered and given ones. A given name or address replaces a remembered one.
pub fn remember(args: &ScrapeArgs, data_dir: &Path) -> Result<Vec<Scraped>> {
    let path = data_dir.join("scrape.json");
    let mut all: Vec<Scraped> = match path.symlink_metadata() {
        Err(why) if why.kind() == ErrorKind::NotFound => Vec::new(),
        // Another error is one of reading, too, and is said there.
        _ => serde_json::from_str(&files::read(&path)?)
            .with_context(|| format!("{}: mend or remove it", path.display()))?,
    };
    given_once(&args.scrape)?;
    let given = |old: &Scraped| {
        args.scrape
            .iter()
            .any(|new| new.name == old.name || new.url == old.url)
    };
    all.retain(|old| !given(old));
    all.extend(args.scrape.iter().cloned());
    for name in &args.no_scrape {
        if !all.iter().any(|one| one.name == *name) {
            let known: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            bail!(
                "--no-scrape: {} is not scraped; those that are: {known:?}",
                quoted(name)
            );
        }
        all.retain(|one| one.name != *name);
    }
    if !args.scrape.is_empty() || !args.no_scrape.is_empty() {
        files::write_private(&path, &serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(all)
}

fn given_once(all: &[Scraped]) -> Result<()> {
    for (count, one) in all.iter().enumerate() {
        let same = |other: &&Scraped| other.name == one.name || other.url == one.url;
        if let Some(other) = all[..count].iter().find(same) {
            let (one, other) = (String::from(one.clone()), String::from(other.clone()));
            bail!(
                "--scrape: {other} and {one}: one service has one name and one address; leave one of the two out"
            );
        }
    }
    Ok(())
}

/// Refuses the address of a part of `up`, which is scraped under its own name.
pub fn refuse_own(scraped: &[Scraped], part: &str, own: SocketAddr) -> Result<()> {
    let is_own = |one: &&Scraped| {
        let here = match one.url.host() {
            Some(Host::Ipv4(ip)) => own.ip() == ip || ip.is_unspecified(),
            Some(Host::Domain(name)) => name == "localhost",
            _ => false,
        };
        here && one.url.port_or_known_default() == Some(own.port())
    };
    if let Some(Scraped { name, url }) = scraped.iter().find(is_own) {
        bail!(
            "--scrape: {url} of {name} is {part}'s address, a part of `omnitrace up`, which the console needs not be told of: \
             name another address with --scrape {name}=URL, or forget it with --no-scrape {name}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_an_address_are_read() {
        for (text, address, path) in [
            ("shop=http://127.0.0.1:8090", "127.0.0.1:8090", "/metrics"),
            ("a.b-c_1=http://[::1]:1/", "[::1]:1", "/metrics"),
            (
                "shop=http://h/stats/prometheus",
                "h:80",
                "/stats/prometheus",
            ),
        ] {
            let target = named(text).unwrap().target();
            assert_eq!(target["targets"], json!([address]), "{text}");
            assert_eq!(target["labels"]["__metrics_path__"], path, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_or_no_address_is_explained() {
        for (text, why) in [
            ("", "NAME=URL"),
            ("shop", "NAME=URL"),
            ("=http://h", "the name"),
            ("a b=http://h", "the name"),
            ("-a=http://h", "the name"),
            ("a\u{202e}=http://h", "the name"),
            ("shop=h:1", "a URL such as"),
            ("shop=ftp://h", "a URL such as"),
            ("shop=http://h?x=1", "a URL such as"),
            ("shop=https://h", "http:// only"),
            ("shop=http://ada:secret@h", "without a user"),
            ("data=http://h", "is a part of"),
            ("data-2=http://h", "is a part of"),
        ] {
            let said = named(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    fn args(given: &[&str]) -> ScrapeArgs {
        ScrapeArgs {
            scrape: given.iter().map(|text| named(text).unwrap()).collect(),
            no_scrape: Vec::new(),
        }
    }

    #[test]
    fn only_an_absent_list_is_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().canonicalize().unwrap();
        assert_eq!(remember(&args(&[]), &directory).unwrap(), []);
        let all = remember(&args(&["shop=http://h"]), &directory).unwrap();
        assert_eq!(remember(&args(&[]), &directory).unwrap(), all);
        let why = remember(&args(&[]), &directory.join("scrape.json")).unwrap_err();
        assert!(format!("{why:#}").contains("scrape.json"), "{why:#}");
    }

    #[test]
    fn a_name_or_an_address_is_given_once() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().canonicalize().unwrap();
        for given in [
            ["shop=http://a", "shop=http://b"],
            ["shop=http://a", "orders=http://a/metrics"],
        ] {
            let why = remember(&args(&given), &directory).unwrap_err().to_string();
            for part in ["--scrape: shop=http://a/metrics and ", "leave one"] {
                assert!(why.contains(part), "{why}");
            }
            assert!(!directory.join("scrape.json").exists());
        }
        remember(&args(&["shop=http://a", "orders=http://b"]), &directory).unwrap();
    }

    #[test]
    fn the_address_of_a_part_is_refused() {
        let own = "127.0.0.1:8080".parse().unwrap();
        for (text, refused) in [
            ("shop=http://127.0.0.1:8080", true),
            ("shop=http://localhost:8080/other", true),
            ("shop=http://0.0.0.0:8080", true),
            ("shop=http://127.0.0.1:8081", false),
            ("shop=http://192.0.2.1:8080", false),
            ("shop=http://shop:8080", false),
        ] {
            let result = refuse_own(&args(&[text]).scrape, "gateway", own);
            assert_eq!(result.is_err(), refused, "{text}");
            if let Err(why) = result {
                let why = why.to_string();
                assert!(
                    why.contains("gateway's address") && why.contains("--no-scrape shop"),
                    "{why}"
                );
            }
        }
    }
}
