//! Prometheus's test language: `load` series, `eval` an expression, expect what comes out.

pub mod notation;
pub mod run;
pub mod store;

use notation::{Item, duration_ms, series};
use promql::Steps;

#[derive(Clone, Debug)]
pub enum Command {
    Clear,
    Load {
        step_ms: i64,
        /// Also as native histograms, of which the series of each classic one are made.
        with_native: bool,
        lines: Vec<String>,
    },
    Eval(Eval),
}

#[derive(Clone, Debug)]
pub struct Eval {
    /// Where it is in the file.
    pub line: usize,
    pub expression: String,
    pub steps: Steps,
    pub is_range: bool,
    pub fails: bool,
    pub ordered: bool,
    pub string: Option<String>,
    pub scalar: Option<f64>,
    pub series: Vec<(promql::Labels, Vec<Item>)>,
}

/// Reads a file. What is not understood is an error: a skipped line would be a test that cannot fail.
pub fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> = text.lines().map(without_comment).collect();
    let mut commands = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let first = index;
        index += 1;
        while !lines[first].is_empty()
            && index < lines.len()
            && !lines[index].is_empty()
            && is_inside(lines[first])
        {
            index += 1;
        }
        let block = &lines[first + 1..index];
        let command = match lines[first] {
            "" => continue,
            line if line.split_whitespace().next() == Some("clear") => Command::Clear,
            line if line.starts_with("load") => load(line, block)?,
            line => Command::Eval(
                eval(line, block, first + 1).map_err(|why| format!("line {}: {why}", first + 1))?,
            ),
        };
        commands.push(command);
    }
    Ok(commands)
}

fn is_inside(command: &str) -> bool {
    command.starts_with("load") || command.starts_with("eval")
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

fn load(line: &str, block: &[&str]) -> Result<Command, String> {
    let (command, step) = line
        .split_once(char::is_whitespace)
        .ok_or("load without a step")?;
    Ok(Command::Load {
        step_ms: duration_ms(step)?,
        with_native: command == "load_with_nhcb",
        lines: block.iter().map(ToString::to_string).collect(),
    })
}

fn eval(line: &str, block: &[&str], number: usize) -> Result<Eval, String> {
    let (command, rest) = line.split_once(char::is_whitespace).ok_or("no command")?;
    let mut eval = match rest.split_once(char::is_whitespace) {
        Some(("instant", rest)) => instant(rest)?,
        Some(("range", rest)) => range(rest)?,
        _ => return Err(format!("{line:?} is no command")),
    };
    eval.line = number;
    eval.fails = command == "eval_fail";
    eval.ordered = command == "eval_ordered";
    block
        .iter()
        .try_for_each(|line| expectation(&mut eval, line))?;
    Ok(eval)
}

fn instant(rest: &str) -> Result<Eval, String> {
    let (at, expression) = match rest.trim_start().strip_prefix("at ") {
        Some(rest) => word(rest)?,
        None => ("0", rest),
    };
    let at_ms = duration_ms(at)?;
    Ok(Eval {
        line: 0,
        expression: expression.to_owned(),
        steps: Steps {
            start_ms: at_ms,
            end_ms: at_ms,
            step_ms: 1,
        },
        is_range: false,
        fails: false,
        ordered: false,
        string: None,
        scalar: None,
        series: Vec::new(),
    })
}

fn range(rest: &str) -> Result<Eval, String> {
    let (start, rest) = word(
        rest.trim_start()
            .strip_prefix("from ")
            .ok_or("a range without from")?,
    )?;
    let (end, rest) = word(rest.strip_prefix("to ").ok_or("a range without to")?)?;
    let (step, expression) = word(rest.strip_prefix("step ").ok_or("a range without step")?)?;
    let steps = Steps {
        start_ms: duration_ms(start)?,
        end_ms: duration_ms(end)?,
        step_ms: duration_ms(step)?,
    };
    Ok(Eval {
        steps,
        is_range: true,
        ..instant(expression)?
    })
}

fn word(text: &str) -> Result<(&str, &str), String> {
    let (word, rest) = text
        .trim_start()
        .split_once(char::is_whitespace)
        .ok_or("too few words")?;
    Ok((word, rest.trim_start()))
}

fn expectation(eval: &mut Eval, line: &str) -> Result<(), String> {
    if let Some(text) = line.strip_prefix("expect string ") {
        eval.string = Some(promql_parser::util::unquote_string(text)?);
    } else if let Some(times) = line.strip_prefix("expect range vector ") {
        eval.steps = range(&format!("{times} -"))?.steps;
    } else if let Some(what) = line.strip_prefix("expect ") {
        // Annotations are not covered: what is said about them is not asked.
        match what.split_whitespace().next() {
            Some("fail") => eval.fails = true,
            Some("ordered") => eval.ordered = true,
            Some("warn" | "no_warn" | "info" | "no_info") => {}
            _ => return Err(format!("{line:?} expects something unknown")),
        }
    } else if line.starts_with("expected_fail_") {
        // The words of a failure are not compared.
    } else if let Some(number) = notation::number(line) {
        eval.scalar = Some(number);
    } else {
        eval.series.push(series(line)?);
    }
    Ok(())
}
