//! Hostile texts of every length, in every field that others write: Slack refuses a message with a block that it cannot
//! parse.

use serde_json::Value;

use super::message;
use crate::evidence::Evidence;
use crate::evidence::traces::Trace;
use crate::links::Links;
use crate::notification::Notification;
use crate::payload::tests::{example, read};
use crate::queue::Stored;
use crate::settings::LinkBases;

/// Slack's own limit.
const LONGEST: usize = 3000;

fn blocks_with(text: &str) -> Vec<Value> {
    let stored = Stored {
        key: "key".to_owned(),
        accepted: chrono::Utc::now(),
        held_until: None,
        payload: read(&example()).expect("it can be read"),
    };
    let trace = Trace {
        trace_id: text.to_owned(),
        operation: text.to_owned(),
        failed_at: text.to_owned(),
        ..Trace::default()
    };
    let mut evidence = Evidence::none(text);
    evidence.traces = vec![trace.clone(), trace];
    let mut notification = Notification::new(&stored, &evidence, &Links::new(LinkBases::default()));
    notification.title = text.to_owned();
    notification.summary = text.to_owned();
    let url = format!("https://a.example/{text}");
    let links = &mut notification.links;
    // The second trace has none.
    links.traces = vec![url.clone()];
    // Two are too long to be links, and leave little room for the others.
    let long = format!("https://a.example/{}", text.repeat(20));
    (links.dashboard, links.runbook) = (Some(long.clone()), Some(long));
    (links.logs, links.alertmanager) = (Some(url.clone()), Some(url));
    let mut message = message(&notification);
    let blocks = message["blocks"].take();
    serde_json::from_value(blocks).expect("a list")
}

/// Each link ends before the next begins, and each `&` begins an escape.
fn is_well_formed(text: &str) -> bool {
    let mut inside = false;
    let links = text.chars().all(|c| match c {
        '<' => !std::mem::replace(&mut inside, true),
        '>' => std::mem::replace(&mut inside, false),
        _ => true,
    });
    let mut escapes = text.split('&').skip(1);
    let known = |rest: &str| {
        ["amp;", "lt;", "gt;"]
            .iter()
            .any(|end| rest.starts_with(end))
    };
    links && !inside && escapes.all(known)
}

#[test]
fn whatever_others_wrote_slack_can_read_every_block() {
    for piece in ["&", "<", ">", "|", "> <!channel>", "a&b", "🙂&", "\n<", "x"] {
        for length in [1, 100, 145, 200, 300, 500, 570, 582, 600, 1500, 4000] {
            let text: String = piece.chars().cycle().take(length).collect();
            for block in blocks_with(&text) {
                let shown = block["text"]["text"].as_str().unwrap_or_default();
                let length_shown = shown.encode_utf16().count();
                assert!(length_shown <= LONGEST, "{length} of {piece:?}: {shown}");
                let formatted = block["text"]["type"] == "mrkdwn";
                assert!(
                    !formatted || is_well_formed(shown),
                    "{length} of {piece:?}: {shown}"
                );
            }
        }
    }
}
