//! The report as one page of HTML without scripts and without anything to load.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use redact::plain::html as escaped;

use crate::record::{Hop, Record};
use crate::score::{Diagnosis, Score};
use crate::summary::Summary;

const STYLE: &str = include_str!("report.css");

/// Pixels of a time line.
const WIDTH: f64 = 760.0;
const ROW: f64 = 18.0;

/// The page. `about` says where and when, one fact per line; each score comes with its record.
pub fn html(
    about: &[(&str, String)],
    partial: bool,
    runs: &[(Score, Record)],
    summaries: &[Summary],
) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Game day</title><style>{STYLE}</style></head><body><main><h1>Game day</h1>\n"
    );
    if partial {
        out.push_str("<p class=\"missed\">Partial: not every scenario was run.</p>\n");
    }
    out.push_str("<dl>");
    for (name, value) in about {
        write!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value)).ok();
    }
    out.push_str("</dl>\n");
    for summary in summaries {
        summary_section(&mut out, summary);
    }
    overview(&mut out, runs);
    for (index, (score, record)) in runs.iter().enumerate() {
        run_section(&mut out, index, score, record);
    }
    out.push_str("</main></body></html>\n");
    out
}

fn summary_section(out: &mut String, summary: &Summary) {
    let mode = summary.mode.as_str();
    let (faults, controls, broken) = (summary.faults, summary.controls, summary.broken);
    write!(out, "<h2>Mode {mode}</h2><p>{faults} runs with a fault, {controls} controls, {broken} broken. Intervals are 95 %.</p>").ok();
    out.push_str("<table><tr><th>goal<th>number<th>reached<th></tr>");
    for goal in &summary.goals {
        let met = goal.verdict();
        write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td class=\"{met}\">{met}</tr>",
            goal.name,
            goal.goal,
            escaped(&goal.reached)
        )
        .ok();
    }
    out.push_str("</table><table><tr><th>also measured<th></tr>");
    for (name, value) in summary.beside_goals() {
        write!(out, "<tr><td>{}<td>{}</tr>", escaped(name), escaped(&value)).ok();
    }
    out.push_str("</table>\n");
}

fn overview(out: &mut String, runs: &[(Score, Record)]) {
    out.push_str("<h2>Runs</h2><table><tr><th>scenario<th>mode<th>run<th>first<th>right<th>over<th>cause<th>action<th>links<th>false</tr>");
    for (index, (score, _)) in runs.iter().enumerate() {
        let time = |seconds: Option<f64>| {
            seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.1} s"))
        };
        let verdict = |judge: fn(&Diagnosis) -> bool| match &score.diagnosis {
            Some(diagnosis) if judge(diagnosis) => "<td class=\"met\">right",
            Some(_) => "<td class=\"missed\">wrong",
            None if score.control => "<td>",
            None => "<td class=\"missed\">–",
        };
        let wrong = score
            .episodes
            .iter()
            .filter(|episode| !episode.right)
            .count();
        write!(
            out,
            "<tr><td><a href=\"#run-{index}\">{}</a><td>{}<td>{}<td>{}<td>{}<td>{}{}{}<td>{} of {}<td>{}</tr>",
            escaped(&score.scenario),
            score.mode.as_str(),
            score.repeat,
            time(score.first_s),
            time(score.first_right_s),
            time(score.resolved_s),
            verdict(|diagnosis| diagnosis.top1),
            verdict(|diagnosis| diagnosis.action),
            score.links_whole,
            score.links,
            if wrong == 0 { String::new() } else { wrong.to_string() },
        )
        .ok();
    }
    out.push_str("</table>\n");
}

/// Found by its place among all, so that no name can be an address of something else.
fn run_section(out: &mut String, index: usize, score: &Score, record: &Record) {
    let kind = if score.control { "control, " } else { "" };
    let head = format!(
        "{} ({kind}{}, run {})",
        score.scenario,
        score.mode.as_str(),
        score.repeat
    );
    write!(
        out,
        "<section id=\"run-{index}\"><h3>{}</h3><p>{}</p>",
        escaped(&head),
        escaped(&score.title)
    )
    .ok();
    if let Some(why) = &score.broken {
        write!(out, "<p class=\"missed\">Broken: {}</p>", escaped(why)).ok();
    }
    timeline(out, score, record);
    if let Some(diagnosis) = &score.diagnosis {
        out.push_str("<p>The first notification named:</p><ol>");
        for cause in &diagnosis.causes {
            let of = cause
                .dependency
                .as_ref()
                .map_or(String::new(), |dependency| format!(" ({dependency})"));
            write!(
                out,
                "<li>{}{}: {}</li>",
                escaped(&cause.service),
                escaped(&of),
                escaped(&cause.kind)
            )
            .ok();
        }
        write!(
            out,
            "</ol><p>Its advice: {}</p>",
            escaped(&diagnosis.advice)
        )
        .ok();
    }
    let broken: Vec<&Hop> = record.hops.iter().filter(|hop| !hop.whole).collect();
    if !broken.is_empty() {
        out.push_str("<p class=\"missed\">Links that lead nowhere:</p><ul>");
        for hop in broken {
            let text = format!(
                "{}: {} of {}: {}",
                hop.link, hop.url, hop.notification, hop.found
            );
            write!(out, "<li>{}</li>", escaped(&text)).ok();
        }
        out.push_str("</ul>");
    }
    out.push_str("</section>\n");
}

/// The fault as a bar, and each group of alerts below it from firing to resolved.
fn timeline(out: &mut String, score: &Score, record: &Record) {
    let (Some(start), Some(end)) = (record.times.ready, record.times.stopped) else {
        return;
    };
    let whole = (end - start).num_milliseconds().max(1) as f64;
    let x = |at: DateTime<Utc>| {
        ((at - start).num_milliseconds() as f64 / whole).clamp(0.0, 1.0) * WIDTH
    };
    let height = ROW * (score.episodes.len() + 2) as f64;
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"Time line\">").ok();
    if let Some(injected) = record.times.injected {
        let cleared = record.times.cleared.unwrap_or(end);
        let label = if score.control { "no fault" } else { "fault" };
        bar(out, 0, "fault", x(injected), x(cleared), label);
    }
    for (index, episode) in score.episodes.iter().enumerate() {
        let class = match (episode.right, episode.page) {
            (false, _) => "false",
            (true, true) => "page",
            (true, false) => "ticket",
        };
        bar(
            out,
            index + 1,
            class,
            x(episode.at),
            x(episode.over.unwrap_or(end)),
            &episode.title,
        );
    }
    let seconds = whole / 1000.0;
    write!(out, "<text x=\"0\" y=\"{height}\">0 s</text><text x=\"{WIDTH}\" y=\"{height}\" text-anchor=\"end\">{seconds:.0} s</text></svg>").ok();
}

fn bar(out: &mut String, row: usize, class: &str, from: f64, to: f64, label: &str) {
    let y = row as f64 * ROW;
    let width = (to - from).max(2.0);
    // A label that begins in the right half ends where the bar ends.
    let (at, anchor) = if from < WIDTH / 2.0 {
        (from + 3.0, "start")
    } else {
        (to.max(from + width) - 3.0, "end")
    };
    let (height, base) = (ROW - 4.0, y + ROW - 7.0);
    write!(
        out,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"/>\
         <text x=\"{at:.1}\" y=\"{base}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(label)
    )
    .ok();
}
