//! The part of Go's templates that rules use, with Prometheus's functions. What is not covered is an error that names it, when
//! the rules are loaded.

mod functions;
mod lexer;
pub(super) mod numbers;
mod parser;
mod run;
#[cfg(test)]
mod tests;

use promql::Labels;

use functions::Function;

/// A label or an annotation: text with template actions.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    text: String,
    parts: Vec<Part>,
}

/// One series of a query's answer.
pub(crate) type QuerySample = (Labels, f64);

/// Answers the function `query`.
pub(crate) type Query<'a> = &'a dyn Fn(&str) -> Result<Vec<QuerySample>, String>;

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Show(Pipeline),
    Branch(Branch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    If,
    With,
    Range,
}

/// The names of the variables for index and element.
type Names = (String, String);

#[derive(Debug, Clone)]
struct Branch {
    kind: Kind,
    /// `$i, $x := …` of a range.
    names: Option<Names>,
    of: Pipeline,
    then: Vec<Part>,
    otherwise: Vec<Part>,
}

/// Commands, each with what the one before gives as its last argument.
#[derive(Debug, Clone)]
struct Pipeline(Vec<Command>);

#[derive(Debug, Clone)]
enum Command {
    Call(Function, Vec<Operand>),
    Is(Operand),
}

#[derive(Debug, Clone)]
enum Operand {
    Text(String),
    Number(f64),
    /// A variable (`None`: the dot) and its fields.
    Path(Option<String>, Vec<String>),
    Group(Pipeline),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, or not covered.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.to_owned(),
            parts: parser::parse(text)?,
        })
    }

    /// The source text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills it in for an alert with these labels and this value. What goes wrong is said in its place, as Prometheus does.
    pub fn filled(&self, labels: &Labels, value: f64, query: Query<'_>) -> String {
        run::filled(&self.parts, (labels.clone(), value), query)
            .unwrap_or_else(|why| Self::failed(&why))
    }

    /// The text that replaces a template that fails.
    pub fn failed(why: &str) -> String {
        format!("<error expanding template: {why}>")
    }
}
