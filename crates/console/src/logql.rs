//! LogQL: the part of Loki's query language that this project's own tools and Grafana's Explore send.
//!
//! A hand-written lexer and parser make an `ast::Query`; `streams` and `counts` evaluate it over the store, record by record.
//! What the language has and this does not is refused by name, see [`Refusal`].

mod ast;
mod counts;
mod cursor;
mod lexer;
mod parser;
mod pipeline;
mod record;
mod refusal;
mod scan;
mod stages;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use ast::{Matcher, Query};
pub(crate) use counts::{Series, Steps, counts};
pub(crate) use parser::{parse, parse_selector};
pub(crate) use record::index_labels;
pub use refusal::{Kind, Refusal};
pub(crate) use scan::{Scan, senders};
pub(crate) use streams::{Direction, Stream, streams};

/// Whether an expression can be answered.
///
/// # Errors
/// Why not, see [`Refusal`].
pub fn check(expression: &str) -> Result<(), Refusal> {
    parse(expression, &mut |_| Ok(())).map(drop)
}
