//! A walk by clicks alone, which are counted: from the overview to the cause of a trouble, and to its end.

use std::cell::Cell;

use fantoccini::Client;
use serde_json::Value;

use super::{Watched, all, by, find, picture, says};
use crate::harness::{Directory, eventually, http, until_there_is};
use crate::restarts::{kill_pid, restarted};

/// What goes wrong, what the pages have to say of it, and where the clicks lead.
pub struct Path {
    /// The name in docs/CONSOLE.md.
    pub name: &'static str,
    /// What is done to the stack.
    pub trouble: Trouble,
    /// The alert on the overview,
    pub alert: &'static str,
    /// and what it is about.
    pub service: &'static str,
    /// Places on the alert's page, and what they say.
    pub evidence: &'static [(&'static str, &'static str)],
    /// The way on from the alert's page.
    pub hops: &'static [Hop],
}

pub enum Trouble {
    /// Of the switchboard of a service.
    Fault(&'static str, Value),
    /// A service is killed, again and again.
    Killed(&'static str),
}

/// One click, and what it shows.
pub struct Hop {
    /// What is clicked.
    pub click: &'static str,
    /// Where the page then says something,
    pub place: &'static str,
    /// and what.
    pub words: &'static str,
}

/// The rules that ship, with shorter windows: an alert takes seconds.
fn quick_rules(directory: &Directory) -> String {
    const QUICK: &str = r#"
[profile.quick]
compression = 60
scrape_interval = "1s"
min_bad_events = 5
outage_for = "10s"
startup = "1m"
cause_window = "15s"
cause_for = "5s"
low_disk_gb = 2
"#;
    let objectives = include_str!("../../../../../alerts/slo.toml").to_owned() + QUICK;
    let causes = include_str!("../../../../../alerts/causes.toml");
    let read = slo::Definition::parse(("slo.toml", &objectives), ("causes.toml", causes));
    let definition = read.expect("definitions");
    let profile = definition.profile("quick").expect("a profile");
    let file = directory.path().join("quick.yml");
    std::fs::write(&file, slo::rules(&definition, profile)).expect("a file");
    file.display().to_string()
}

/// The first requests of a stack are slow: their alert, and its evidence, would be taken for those of the trouble.
async fn until_nothing_fires(console: &str) {
    eventually("nothing fires", async || {
        for list in ["/api/alerts", "/api/herald/alerts?state=firing"] {
            let answer = http().get(format!("{console}{list}")).send().await.ok()?;
            let answer: Value = answer.json().await.ok()?;
            let alerts = answer.pointer("/data/alerts").unwrap_or(&answer["alerts"]);
            alerts.as_array()?.is_empty().then_some(())?;
        }
        Some(())
    })
    .await;
}

/// A browser whose clicks are counted.
struct Counted {
    browser: Client,
    clicks: Cell<u32>,
}

impl Counted {
    async fn click(&self, css: &str) {
        super::click(&self.browser, css).await;
        self.clicks.set(self.clicks.get() + 1);
    }

    async fn goes(&self, hop: &Hop) {
        self.click(hop.click).await;
        says(&self.browser, hop.place, hop.words).await;
    }
}

impl Path {
    /// Brings the trouble about, and goes from the overview to its cause and on to its end.
    pub async fn walk(self) {
        let directory = Directory::new();
        let rules = quick_rules(&directory);
        let args = ["--rules", &rules, "--load", "5"];
        let mut watched = Watched::start_in(directory, |command| command.args(args)).await;
        let person = Counted {
            browser: watched.browser.clone(),
            clicks: Cell::new(0),
        };
        until_nothing_fires(&watched.console).await;
        self.begin(&mut watched).await;
        self.open_alert(&person).await;
        says(&person.browser, &by("alert-title"), self.service).await;
        for (place, words) in self.evidence {
            says(&person.browser, place, words).await;
        }
        let heading = format!("{} h1", by("runbook"));
        says(&person.browser, &heading, self.alert).await;
        for hop in self.hops {
            person.goes(hop).await;
        }
        self.picture(&person, "console-trace-log").await;
        let there = person.clicks.take();

        self.end(&person).await;
        self.is_over(&person).await;
        assert_eq!(
            (there, person.clicks.take()),
            self.documented(),
            "clicks of {} in docs/CONSOLE.md",
            self.name
        );
        watched.end().await;
    }

    /// Of one incident, for the documentation.
    async fn picture(&self, person: &Counted, name: &str) {
        if self.name == "errors" {
            picture(&person.browser, name).await;
        }
    }

    async fn begin(&self, watched: &mut Watched) {
        match &self.trouble {
            Trouble::Fault(service, parameters) => {
                if self.name == "bad_release" {
                    // The rules need this time to see the version before.
                    let seen = "build_info{service_name=\"data\"} offset 20s";
                    until_there_is(&watched.console, seen).await;
                }
                let mut parameters = parameters.clone();
                parameters["expires_in_s"] = 900.into();
                watched.up.fault(service, self.name, parameters).await;
            }
            Trouble::Killed(service) => {
                let mut started = watched.up.started(service).await;
                // As often as `up` restarts it, after longer and longer pauses.
                for restarts in 1..=5 {
                    kill_pid(&started["pid"]);
                    started = restarted(&mut watched.up, service, restarts).await;
                }
            }
        }
    }

    /// From the overview to herald's page of the alert.
    async fn open_alert(&self, person: &Counted) {
        let alert = self.row();
        let folded = format!("details:not([open]):has({alert}) > summary");
        let link = format!("{alert} [data-testid=alert-link][href^='/alerts/']");
        find(&person.browser, &link).await;
        // A page that fires beside it, as on a slow machine, folds the tickets.
        if !all(&person.browser, &folded).await.is_empty() {
            super::click(&person.browser, &folded).await;
        }
        person.click(&link).await;
    }

    fn row(&self) -> String {
        let [alert, service] = [self.alert, self.service];
        format!("[data-testid=firing-alert][data-alert={alert}][data-service={service}]")
    }

    async fn end(&self, person: &Counted) {
        if let Trouble::Fault(service, _) = self.trouble {
            person.click("#nav a[href='/faults']").await;
            let fault = format!("[data-board={service}] [data-fault={}]", self.name);
            find(&person.browser, &format!("{fault}.active")).await;
            self.picture(person, "console-faults").await;
            person.click(&format!("{fault} .on button")).await;
            eventually("it is off", async || {
                let on = all(&person.browser, &format!("{fault}.active")).await;
                on.is_empty().then_some(())
            })
            .await;
        }
    }

    /// It leaves the overview, and is in the history with its times.
    async fn is_over(&self, person: &Counted) {
        person.click("#nav a[href='/']").await;
        says(&person.browser, &by("status"), "fire").await;
        eventually("the alert has left the overview", async || {
            let fires = all(&person.browser, &self.row()).await;
            fires.is_empty().then_some(())
        })
        .await;
        person.click("#nav a[href='/alerts']").await;
        let over = "[data-testid=episode][data-state=resolved]";
        let row = says(
            &person.browser,
            over,
            &format!("{}: {}", self.alert, self.service),
        )
        .await;
        let is_time = |word: &&str| word.len() == 8 && word.matches(':').count() == 2;
        let times = row.split_whitespace().filter(is_time).count();
        assert_eq!(times, 2, "when it began and when it was over: {row}");
    }

    /// The clicks that docs/CONSOLE.md promises: to what is wrong, and until it is seen to be over.
    fn documented(&self) -> (u32, u32) {
        let table = include_str!("../../../../../docs/CONSOLE.md");
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", self.name)))
            .unwrap_or_else(|| panic!("{} is not in the table of docs/CONSOLE.md", self.name));
        let numbers: Vec<u32> = row
            .split('|')
            .filter_map(|cell| cell.trim().parse().ok())
            .collect();
        match numbers[..] {
            [there, over] => (there, over),
            _ => panic!("two numbers of clicks in {row}"),
        }
    }
}
