//! Fills a template in.

use promql::Labels;

use super::numbers::shortest;
use super::{Branch, Command, Kind, Operand, Part, Pipeline, Query, QuerySample};

/// The longest text that one template gives.
const MAX_TEXT: usize = 16 << 10;

/// The most parts of a template that are filled in, with all rounds of its ranges, and series that are looked at.
const MAX_STEPS: usize = 100_000;

/// The value of an operand or a function.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(f64),
    Index(usize),
    Flag(bool),
    Labels(Labels),
    Sample(QuerySample),
    Samples(Vec<QuerySample>),
}

impl Value {
    /// As in Go: an empty value and zero are false.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(value) => *value != 0.0,
            Self::Index(index) => *index != 0,
            Self::Flag(flag) => *flag,
            Self::Labels(labels) => !labels.is_empty(),
            Self::Sample(_) => true,
            Self::Samples(all) => !all.is_empty(),
        }
    }

    /// The text that is written.
    pub fn shown(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Number(value) => Ok(shortest(*value)),
            Self::Index(index) => Ok(index.to_string()),
            Self::Flag(flag) => Ok(flag.to_string()),
            Self::Labels(_) | Self::Sample(_) | Self::Samples(_) => {
                Err("a series is no text: take its value or one of its labels".to_owned())
            }
        }
    }

    fn field(self, name: &str) -> Result<Self, String> {
        match (self, name) {
            (Self::Sample((labels, _)), "Labels") => Ok(Self::Labels(labels)),
            (Self::Sample((_, value)), "Value") => Ok(Self::Number(value)),
            (Self::Labels(labels), name) => Ok(Self::Text(labels.get(name).to_owned())),
            (_, name) => Err(format!("there is no field .{name}")),
        }
    }
}

/// The text of a template for an alert.
pub(super) fn filled(
    parts: &[Part],
    alert: QuerySample,
    query: Query<'_>,
) -> Result<String, String> {
    let variables = vec![
        ("labels", Value::Labels(alert.0.clone())),
        ("value", Value::Number(alert.1)),
    ];
    let mut run = Run {
        text: String::new(),
        steps: 0,
        variables,
        query,
    };
    run.parts(parts, &Value::Sample(alert))?;
    Ok(run.text)
}

struct Run<'a> {
    text: String,
    steps: usize,
    variables: Vec<(&'a str, Value)>,
    query: Query<'a>,
}

impl<'a> Run<'a> {
    fn parts(&mut self, parts: &'a [Part], dot: &Value) -> Result<(), String> {
        for part in parts {
            self.takes(1)?;
            match part {
                Part::Text(text) => self.text.push_str(text),
                Part::Show(pipeline) => {
                    let shown = self.value(pipeline, dot)?.shown()?;
                    self.text.push_str(&shown);
                }
                Part::Branch(branch) => self.branch(branch, dot)?,
            }
            if self.text.len() > MAX_TEXT {
                return Err(format!("the text is longer than {MAX_TEXT} bytes"));
            }
        }
        Ok(())
    }

    /// A range within a range soon goes on for longer than anybody waits, and writes nothing.
    fn takes(&mut self, steps: usize) -> Result<(), String> {
        self.steps += steps;
        match self.steps > MAX_STEPS {
            true => Err(format!(
                "more than {MAX_STEPS} steps: a range within a range goes through too many series"
            )),
            false => Ok(()),
        }
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value) -> Result<(), String> {
        let of = self.value(&branch.of, dot)?;
        if let Value::Samples(all) = &of {
            self.takes(all.len())?;
        }
        match (branch.kind, of) {
            (_, of) if !of.is_true() => self.parts(&branch.otherwise, dot),
            (Kind::If, _) => self.parts(&branch.then, dot),
            (Kind::With, of) => self.parts(&branch.then, &of),
            (Kind::Range, Value::Samples(all)) => self.each(branch, all),
            (Kind::Range, _) => Err("range over something that is no list".to_owned()),
        }
    }

    fn each(&mut self, branch: &'a Branch, all: Vec<QuerySample>) -> Result<(), String> {
        let known = self.variables.len();
        for (index, one) in all.into_iter().enumerate() {
            let dot = Value::Sample(one);
            if let Some((number, element)) = &branch.names {
                self.variables.push((number, Value::Index(index)));
                self.variables.push((element, dot.clone()));
            }
            self.parts(&branch.then, &dot)?;
            self.variables.truncate(known);
        }
        Ok(())
    }

    fn value(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut piped = None;
        for command in &pipeline.0 {
            piped = Some(match command {
                Command::Is(operand) => self.operand(operand, dot)?,
                Command::Call(function, operands) => {
                    let operands = operands.iter().map(|operand| self.operand(operand, dot));
                    let mut arguments = operands.collect::<Result<Vec<_>, _>>()?;
                    arguments.extend(piped.take());
                    function.call(arguments, self.query)?
                }
            });
        }
        piped.ok_or_else(|| "an action without anything in it".to_owned())
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Number(number) => Ok(Value::Number(*number)),
            Operand::Group(pipeline) => self.value(pipeline, dot),
            Operand::Path(variable, fields) => {
                let root = match variable {
                    None => dot.clone(),
                    Some(name) => self.variable(name)?,
                };
                fields
                    .iter()
                    .try_fold(root, |value, name| value.field(name))
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Value, String> {
        let mut found = self.variables.iter().rev();
        let found = found.find(|(known, _)| *known == name);
        let value = found.map(|(_, value)| value.clone());
        value.ok_or_else(|| format!("there is no variable ${name}"))
    }
}
