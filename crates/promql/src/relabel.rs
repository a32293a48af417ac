//! `label_replace` and `label_join`.

use std::collections::HashSet;

use regex::Regex;

use crate::matcher::anchored;
use crate::pass::{Element, Pass, same_labels};
use crate::{Error, Labels, NAME};

/// The maximum size of a new label value, because values can be built from values repeatedly.
const MAX_VALUE: usize = 4 << 10;

#[derive(Clone, Debug)]
pub(crate) struct Relabel {
    to: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Replace {
        from: String,
        regex: Regex,
        by: String,
    },
    Join {
        from: Vec<String>,
        separator: String,
    },
}

/// The texts are the arguments after the first; `regexes` is the number of regular expressions in the whole expression.
pub(crate) fn compile(function: &str, texts: &[&str], regexes: usize) -> Result<Relabel, Error> {
    let (to, rule) = match (function, texts) {
        ("label_replace", [to, by, from, regex]) => {
            let regex = anchored(regex, regexes)?;
            (
                to,
                Rule::Replace {
                    from: from.to_string(),
                    regex,
                    by: by.to_string(),
                },
            )
        }
        ("label_join", [to, separator, from @ ..]) => {
            from.iter().try_for_each(|name| valid(name, function))?;
            let from = from.iter().map(ToString::to_string).collect();
            (
                to,
                Rule::Join {
                    from,
                    separator: separator.to_string(),
                },
            )
        }
        _ => return Err(Error::Syntax(format!("{function} needs more arguments"))),
    };
    valid(to, function)?;
    Ok(Relabel {
        to: to.to_string(),
        rule,
    })
}

/// Prometheus 3 takes any name in UTF-8.
fn valid(name: &str, function: &str) -> Result<(), Error> {
    match name.is_empty() {
        true => Err(Error::Evaluation(format!(
            "invalid label name in {function}(): {name:?}"
        ))),
        false => Ok(()),
    }
}

impl Relabel {
    pub fn apply(
        &self,
        mut elements: Vec<Element>,
        pass: &Pass<'_>,
    ) -> Result<Vec<Element>, Error> {
        let mut seen = HashSet::new();
        for element in &mut elements {
            if let Some(value) = self.value(&element.labels)? {
                pass.make(&self.to, &value)?;
                element.labels = element.labels.with(&self.to, &value);
                element.drop_name &= self.to != NAME;
            }
            if !seen.insert(element.labels.clone()) {
                return Err(same_labels(&element.labels));
            }
        }
        Ok(elements)
    }

    fn value(&self, labels: &Labels) -> Result<Option<String>, Error> {
        match &self.rule {
            Rule::Join { from, separator } => {
                let values: Vec<&str> = from.iter().map(|name| labels.get(name)).collect();
                let length = values
                    .iter()
                    .map(|value| value.len() + separator.len())
                    .sum();
                self.bounded(length)?;
                Ok(Some(values.join(separator)))
            }
            Rule::Replace { from, regex, by } => {
                let value = labels.get(from);
                let Some(found) = regex.captures(value) else {
                    return Ok(None);
                };
                self.bounded(by.len() + by.matches('$').count() * value.len())?;
                let mut replaced = String::new();
                found.expand(by, &mut replaced);
                Ok(Some(replaced))
            }
        }
    }

    fn bounded(&self, length: usize) -> Result<(), Error> {
        match length > MAX_VALUE {
            true => Err(Error::TooLarge(format!(
                "the label {:?} could get {length} bytes; {MAX_VALUE} are allowed",
                self.to
            ))),
            false => Ok(()),
        }
    }
}
