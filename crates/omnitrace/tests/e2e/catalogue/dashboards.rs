//! `dashboards/*.json`, read as Grafana would: panels, variables, annotations, links, and the expressions in them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::harness::{list, repository};

/// A service that may stand for any.
pub const ANY: &str = "data";

/// What an expression is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Prometheus.
    PromQl,
    /// Loki.
    LogQl,
}

/// An expression and where it stands.
#[derive(Debug, Clone)]
pub struct Expression {
    /// For messages: file, panel, target.
    pub place: String,
    /// What it is written in.
    pub language: Language,
    /// As written, variables included.
    pub text: String,
    /// What is shown beside the value: a legend, the title of an annotation.
    pub legend: String,
    /// Whether it is asked for once, or over a range.
    pub instant: bool,
    /// Whether it stands in a link: what it finds depends on the point that is clicked.
    pub linked: bool,
}

static LABEL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{\s*(\w+)\s*\}\}").expect("a pattern"));
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{?[A-Za-z_]").expect("a pattern"));
/// A label or a column of the point that is clicked.
static CLICKED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\$\{__(?:field\.labels|data\.fields)\.(\w+)\}").expect("a pattern")
});
static LABEL_VALUES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^label_values\((.+), *(\w+)\)$").expect("a pattern"));

impl Expression {
    /// One without a legend.
    pub fn new(place: String, language: Language, text: &str) -> Self {
        Self {
            place,
            language,
            text: text.to_owned(),
            legend: String::new(),
            instant: false,
            linked: false,
        }
    }

    /// With every variable of Grafana's filled in. One that is not known here is an error: nothing would be tested.
    pub fn runnable(&self, service: &str) -> String {
        let mut text = CLICKED.replace_all(&self.text, ANY).into_owned();
        for (variable, value) in [
            ("${service}", service),
            ("$service", service),
            ("$__rate_interval", "20s"),
            ("$__interval", "20s"),
            ("$__auto", "20s"),
            ("$__range", "5m"),
        ] {
            text = text.replace(variable, value);
        }
        assert!(
            self.language == Language::PromQl && self.place.starts_with("alerts/")
                || !VARIABLE.is_match(&text),
            "{}: unknown variable in {text}",
            self.place
        );
        text
    }

    /// Labels that the legend names.
    pub fn shown_labels(&self) -> Vec<String> {
        LABEL
            .captures_iter(&self.legend)
            .map(|found| found[1].to_owned())
            .collect()
    }
}

/// A dashboard.
pub struct Dashboard {
    /// `overview.json`.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The same, parsed.
    pub json: Value,
}

impl Dashboard {
    /// Every dashboard. None is an error: the check would be void.
    pub fn all() -> Vec<Self> {
        let directory = repository("dashboards");
        let mut paths: Vec<_> = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|found| found == "json"))
            .collect();
        paths.sort();
        assert!(
            !paths.is_empty(),
            "no .json file in {}",
            directory.display()
        );
        paths
            .into_iter()
            .map(|path| {
                let file = path.file_name().unwrap().display().to_string();
                let text = std::fs::read_to_string(&path).expect("a dashboard");
                let json = serde_json::from_str(&text)
                    .unwrap_or_else(|error| panic!("dashboards/{file}: {error}"));
                Self { file, text, json }
            })
            .collect()
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        self.json["uid"].as_str().unwrap_or_default()
    }

    /// Its panels, rows included.
    pub fn panels(&self) -> Vec<Value> {
        let panels = list(&self.json["panels"]);
        let folded = panels.iter().flat_map(|panel| list(&panel["panels"]));
        panels.iter().cloned().chain(folded).collect()
    }

    /// What stands for `$service` when it is chosen as it is at first.
    pub fn service(&self) -> String {
        let variable = &self.json["templating"]["list"][0];
        variable["allValue"].as_str().unwrap_or(ANY).to_owned()
    }

    /// Every expression in it.
    pub fn expressions(&self) -> Vec<Expression> {
        let mut found = self.variables();
        for annotation in list(&self.json["annotations"]["list"]) {
            let mut expression = Expression::new(
                format!("{}: annotation {}", self.file, annotation["name"]),
                language(&annotation["datasource"]).expect("annotations read Prometheus"),
                annotation["expr"].as_str().expect("an expression"),
            );
            let text = |key: &str| annotation[key].as_str().unwrap_or_default().to_owned();
            expression.legend = text("titleFormat") + &text("textFormat");
            let keys = text("tagKeys");
            let keys = keys.split(',').map(|key| format!("{{{{{key}}}}}"));
            expression.legend.extend(keys);
            found.push(expression);
        }
        for panel in self.panels() {
            found.extend(self.targets(&panel));
            for url in urls(&panel) {
                found.extend(self.linked(&panel, &url));
            }
        }
        found
    }

    fn variables(&self) -> Vec<Expression> {
        let variables = list(&self.json["templating"]["list"]);
        let one = |variable: &Value| {
            let query = variable["query"]["query"].as_str().expect("a query");
            let parts = LABEL_VALUES
                .captures(query)
                .unwrap_or_else(|| panic!("{}: label_values(…), found {query}", self.file));
            Expression::new(
                format!("{}: variable {}", self.file, variable["name"]),
                Language::PromQl,
                &format!("count by ({}) ({})", &parts[2], &parts[1]),
            )
        };
        variables.iter().map(one).collect()
    }

    /// What a panel asks Prometheus or Loki.
    pub fn targets(&self, panel: &Value) -> Vec<Expression> {
        let Some(language) = language(&panel["datasource"]) else {
            return Vec::new();
        };
        list(&panel["targets"])
            .iter()
            .map(|target| Expression {
                place: format!("{}: {} {}", self.file, panel["title"], target["refId"]),
                language,
                text: target["expr"].as_str().expect("an expression").to_owned(),
                legend: target["legendFormat"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                instant: target["instant"] == true,
                linked: false,
            })
            .collect()
    }

    fn linked(&self, panel: &Value, url: &str) -> Vec<Expression> {
        explored(url)
            .iter()
            .filter_map(|query| {
                let language = language(&query["datasource"])?;
                let place = format!("{}: {}, a link", self.file, panel["title"]);
                let text = query["expr"].as_str().expect("an expression");
                let expression = Expression::new(place, language, text);
                Some(Expression {
                    linked: true,
                    ..expression
                })
            })
            .collect()
    }
}

fn language(datasource: &Value) -> Option<Language> {
    match datasource["uid"].as_str()? {
        "prometheus" => Some(Language::PromQl),
        "loki" => Some(Language::LogQl),
        _ => None,
    }
}

/// Every link below a value.
pub fn urls(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => {
            let own = map.get("url").and_then(Value::as_str).map(str::to_owned);
            map.values().flat_map(urls).chain(own).collect()
        }
        Value::Array(items) => items.iter().flat_map(urls).collect(),
        _ => BTreeSet::new(),
    }
}

/// The queries that a link to Explore opens with.
pub fn explored(url: &str) -> Vec<Value> {
    let Some(query) = url.strip_prefix("/explore?") else {
        return Vec::new();
    };
    let panes = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "panes")
        .unwrap_or_else(|| panic!("no panes in {url}"))
        .1
        .into_owned();
    let panes: Value =
        serde_json::from_str(&panes).unwrap_or_else(|error| panic!("{error} in {panes}"));
    let panes = panes.as_object().expect("panes by name");
    panes
        .values()
        .flat_map(|pane| list(&pane["queries"]))
        .collect()
}
