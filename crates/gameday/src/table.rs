//! Reports for a terminal.

use std::fmt::Write;

use crate::scenario::{Mode, Scenario};
use crate::score::Score;
use crate::summary::Summary;

/// Which scenario applies to which mode, and why not.
pub fn matrix(scenarios: &[Scenario]) -> String {
    let width = width(scenarios.iter().map(|scenario| scenario.name.as_str()));
    let mut out = format!("{:width$}  embedded  standard  what happens\n", "scenario");
    for scenario in scenarios {
        let cell = |mode| {
            if scenario.not_in.contains_key(&mode) {
                "-"
            } else {
                "yes"
            }
        };
        let kind = if scenario.is_control() {
            "control: "
        } else {
            ""
        };
        let [embedded, standard] = Mode::ALL.map(cell);
        writeln!(
            out,
            "{:width$}  {embedded:8}  {standard:8}  {kind}{}",
            scenario.name, scenario.title
        )
        .ok();
        for (mode, why) in &scenario.not_in {
            writeln!(out, "{:width$}  not {}: {why}", "", mode.as_str()).ok();
        }
    }
    out
}

/// A line per run, then the summary of each mode.
pub fn table(scores: &[Score], summaries: &[Summary]) -> String {
    let width = width(scores.iter().map(|score| score.scenario.as_str()));
    let mut out = format!(
        "{:width$}  mode      run  first    right    over     cause  action  links  notified\n",
        "scenario"
    );
    for score in scores {
        writeln!(out, "{}", line(score, width)).ok();
    }
    for summary in summaries {
        out.push('\n');
        out.push_str(&in_words(summary));
    }
    out
}

fn width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names
        .map(str::len)
        .max()
        .unwrap_or_default()
        .max("scenario".len())
}

/// The line of one run.
pub fn line(score: &Score, width: usize) -> String {
    let mut line = format!(
        "{:width$}  {:8}  {:<3}  ",
        score.scenario,
        score.mode.as_str(),
        score.repeat
    );
    if let Some(why) = &score.broken {
        write!(line, "broken: {why}").ok();
        return line;
    }
    let time =
        |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"));
    let (cause, action) = match &score.diagnosis {
        None if score.control => ("", ""),
        None => ("-", "-"),
        Some(diagnosis) => {
            let cause = match (diagnosis.top1, diagnosis.top3, diagnosis.place) {
                (true, ..) => "first",
                (_, true, _) => "top 3",
                (.., true) => "place",
                _ => "wrong",
            };
            (cause, if diagnosis.action { "right" } else { "wrong" })
        }
    };
    let wrong = score.episodes.iter().filter(|episode| !episode.right);
    let notified = match wrong
        .map(|episode| episode.title.as_str())
        .collect::<Vec<_>>()
    {
        wrong if wrong.is_empty() => score.episodes.len().to_string(),
        wrong => format!("{}, false: {}", score.episodes.len(), wrong.join("; ")),
    };
    let links = format!("{}/{}", score.links_whole, score.links);
    let [first, right, over] = [score.first_s, score.first_right_s, score.resolved_s].map(time);
    write!(
        line,
        "{first:7}  {right:7}  {over:7}  {cause:5}  {action:6}  {links:5}  {notified}"
    )
    .ok();
    line
}

fn in_words(summary: &Summary) -> String {
    let mut out = format!(
        "{}: {} runs with a fault, {} controls, {} broken\n",
        summary.mode.as_str(),
        summary.faults,
        summary.controls,
        summary.broken
    );
    for (name, value) in summary.beside_goals() {
        writeln!(out, "  {name}: {value}").ok();
    }
    for goal in &summary.goals {
        let met = goal.verdict();
        writeln!(
            out,
            "  {met:6} {:18} {} (goal: {})",
            goal.name, goal.reached, goal.goal
        )
        .ok();
    }
    out
}
