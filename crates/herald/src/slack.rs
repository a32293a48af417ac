//! A notification as Slack's blocks. Foreign texts are neutralised: they cannot format, link, mention or show an emoji.
//!
//! What needs no formatting is a `plain_text`. The rest is `mrkdwn` with `verbatim`, so that Slack turns no address and no name
//! into a link by itself, and has its marks replaced or broken.

use serde_json::{Value, json};

use crate::diagnosis::Diagnosis;
use crate::evidence::Evidence;
use crate::evidence::dependencies::Edge;
use crate::evidence::releases::Release;
use crate::evidence::rollback::RollBack;
use crate::notification::Notification;
use crate::payload::Status;
use crate::text::{one_line, percent, seconds, shortened};

/// Slack refuses longer texts in a block (3,000 characters). Escapes count, and so do both halves of a surrogate pair.
const BLOCK_LIMIT: usize = 2900;

/// Slack refuses longer headers.
const HEADER_LIMIT: usize = 150;

/// Four of them fit into a block, as they are sent.
const LINK_LIMIT: usize = 600;

/// The message.
pub(crate) fn message(notification: &Notification<'_>) -> Value {
    let evidence = notification.evidence;
    let title = plain_text(&notification.title, HEADER_LIMIT);
    let mut blocks = vec![json!({"type": "header", "text": title})];
    if !notification.summary.is_empty() {
        let summary = plain_text(&shortened(&notification.summary, 1000), BLOCK_LIMIT);
        blocks.push(json!({"type": "section", "text": summary}));
    }
    let mut add = |text: String| {
        if !text.is_empty() {
            let text = json!({"type": "mrkdwn", "text": fitting(text), "verbatim": true});
            blocks.push(json!({"type": "section", "text": text}));
        }
    };
    if let Some(diagnosis) = &notification.diagnosis {
        add(diagnosed(diagnosis));
    }
    if notification.status == Status::Firing {
        add(releases(evidence));
        add(dependencies(evidence));
        add(locks(evidence));
        add(traces(notification));
        add(log_lines(evidence));
        add(missing(evidence));
    }
    add(links(notification));
    let left_out = match notification.alerts_left_out {
        0 => String::new(),
        more => format!(" · {more} more alerts not listed"),
    };
    let context = format!(
        "{} · since {} · {} alerts{left_out} · {}",
        shortened(notification.team, 60),
        notification.started.format("%Y-%m-%d %H:%M:%S UTC"),
        notification.alerts.len(),
        notification.key
    );
    let context = plain_text(&context, BLOCK_LIMIT);
    blocks.push(json!({"type": "context", "elements": [context]}));
    // Slack's clients use it for their notifications; the message shows the blocks.
    let text = escaped(&notification.title);
    json!({
        "text": text, "mrkdwn": false, "parse": "none", "link_names": false,
        "blocks": blocks, "unfurl_links": false, "unfurl_media": false
    })
}

fn plain_text(text: &str, limit: usize) -> Value {
    json!({"type": "plain_text", "text": within(&plain(text), limit), "emoji": false})
}

/// For `mrkdwn`, where `&`, `<` and `>` have escapes.
fn escaped(text: &str) -> String {
    unmarked(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// For `plain_text`, which has no escapes; no client may interpret the text as anything else.
fn plain(text: &str) -> String {
    unmarked(text).replace('<', "‹").replace('>', "›")
}

/// Replaces emphasis marks with look-alikes that format nothing. It breaks the start of mentions, channels, emojis and
/// addresses with a zero-width space, and removes other zero-width characters.
fn unmarked(text: &str) -> String {
    const BREAK: char = '\u{200b}';
    let chars: Vec<char> = one_line(text).chars().collect();
    let is_word = |at: Option<usize>| {
        let c = at.and_then(|at| chars.get(at));
        c.is_some_and(char::is_ascii_alphanumeric)
    };
    let mut out = String::with_capacity(text.len());
    for (at, c) in chars.iter().enumerate() {
        match c {
            '`' => out.push('\''),
            '*' => out.push('∗'),
            '~' => out.push('∼'),
            // Inside a word, as in `http_server`, it marks nothing.
            '_' if !is_word(at.checked_sub(1)) || !is_word(Some(at + 1)) => out.push('ˍ'),
            '@' | '#' => out.extend([*c, BREAK]),
            ':' if begins_emoji_or_address(&chars[at + 1..]) => out.extend([*c, BREAK]),
            c => out.push(*c),
        }
    }
    out
}

/// Recognises `fire:` and `//evil.example` behind a colon. Only one emoji has a name of digits; other digits are times such
/// as `10:30:45`.
fn begins_emoji_or_address(rest: &[char]) -> bool {
    let in_name = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '\'');
    let name: String = rest.iter().take_while(in_name).collect();
    let closed = rest.get(name.chars().count()) == Some(&':');
    let is_number = name != "100" && name.chars().all(|c| c.is_ascii_digit());
    rest.starts_with(&['/', '/']) || (closed && !is_number)
}

/// At most `limit` characters, as Slack counts them, with a mark at the cut.
fn within(text: &str, limit: usize) -> String {
    if text.encode_utf16().count() <= limit {
        return text.to_owned();
    }
    let mut left = limit - 1;
    let fits = |c: &char| {
        let fits = left >= c.len_utf16();
        left = left.saturating_sub(c.len_utf16());
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Cuts neither an escape nor a link in two.
fn fitting(text: String) -> String {
    let cut = within(&text, BLOCK_LIMIT);
    if cut == text {
        return text;
    }
    if let Some(line) = cut.rfind('\n').filter(|line| *line > 0) {
        return format!("{}\n…", &cut[..line]);
    }
    let open = |start, end| cut.rfind(start).filter(|at| !cut[*at..].contains(end));
    let whole = [open('<', '>'), open('&', ';')].into_iter().flatten().min();
    whole.map_or_else(|| cut.clone(), |end| format!("{}…", &cut[..end]))
}

/// An address that is too long for a block, or is only a path, is no link.
fn link(url: &str, text: &str) -> String {
    let address = address(url);
    if !url.starts_with("http") || address.len() > LINK_LIMIT {
        return format!("{}: {}", escaped(text), escaped(&shortened(url, 200)));
    }
    format!("<{address}|{}>", escaped(text))
}

/// Without what would end the address, or the link.
fn address(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            c @ ('<' | '>' | '|' | '\0'..=' ' | '\u{7f}') => {
                out.push_str(&format!("%{:02X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

fn diagnosed(diagnosis: &Diagnosis) -> String {
    let first = &diagnosis.first_action;
    // An address in a text is broken, so the page is a link of its own.
    let (text, page) = match &first.page {
        Some(page) => {
            let text = first.text.replacen(&format!(" ({page})"), "", 1);
            (text, format!(" {}", link(page, "Page")))
        }
        None => (first.text.clone(), String::new()),
    };
    let mut lines = vec![format!("*First* {}{page}", escaped(&text))];
    lines.extend(diagnosis.causes.iter().map(|cause| {
        let part = escaped(&cause.place());
        format!("• {part}: {}, {}", cause.kind, escaped(&cause.why))
    }));
    lines.join("\n")
}

fn releases(evidence: &Evidence) -> String {
    let Some(releases) = &evidence.releases else {
        return String::new();
    };
    if releases.running.is_empty() {
        return String::new();
    }
    if releases.changes.is_empty() {
        return "*Releases*: none in the last 6 h, nothing to roll back".to_owned();
    }
    let lines: Vec<String> = releases.changes.iter().map(release).collect();
    lines.join("\n")
}

fn release(release: &Release) -> String {
    let advice = match release.roll_back {
        RollBack::Advised => "*rolling back is advised*",
        RollBack::NotAdvised => "rolling back is not advised",
        RollBack::Unclear => "whether to roll back is unclear",
    };
    let figures = |figures: &crate::evidence::releases::Figures| {
        let p95 = figures.p95_s.map_or_else(
            || "no p95".to_owned(),
            |p95| format!("p95 {}", seconds(p95)),
        );
        format!(
            "{}: {} errors, {p95}",
            escaped(&figures.version),
            percent(figures.error_share)
        )
    };
    format!(
        "*Release* of {} {} → {} at {}: {advice}, {}\n{}; {}",
        escaped(&release.service),
        escaped(&release.before.version),
        escaped(&release.now.version),
        release.at.format("%H:%M:%S"),
        escaped(&release.reason),
        figures(&release.before),
        figures(&release.now),
    )
}

fn dependencies(evidence: &Evidence) -> String {
    let mut lines = Vec::new();
    let hop = |edge: &Edge| {
        let p95 = edge
            .p95_s
            .map_or_else(String::new, |p95| format!(", p95 {}", seconds(p95)));
        let before = edge
            .p95_before_s
            .map_or_else(String::new, |p95| format!(" (before {})", seconds(p95)));
        format!("{} of calls fail{p95}{before}", percent(edge.error_share))
    };
    let trails = [
        ("Fails", &evidence.dependencies.failing),
        ("Slowest", &evidence.dependencies.slowest),
    ];
    for (name, trail) in trails {
        if let Some((trail, last)) = trail
            .as_ref()
            .and_then(|trail| Some((trail, trail.last()?)))
        {
            lines.push(format!(
                "*{name}*: {}: {}",
                escaped(&trail.path()),
                hop(last)
            ));
        }
    }
    lines.join("\n")
}

fn locks(evidence: &Evidence) -> String {
    let lines = evidence.locks.iter().map(|lock| {
        let statement = match lock.statement.as_str() {
            "" => "statements in the background",
            statement => statement,
        };
        format!(
            "• {} × {} of {} waited for {}",
            lock.waiting,
            escaped(statement),
            escaped(&lock.service),
            escaped(&lock.holder)
        )
    });
    titled("*Locks in the database*", lines.collect())
}

fn traces(notification: &Notification<'_>) -> String {
    let mut lines = Vec::new();
    let urls = notification
        .links
        .traces
        .iter()
        .map(Some)
        .chain(std::iter::repeat(None));
    for (trace, url) in notification.evidence.traces.iter().zip(urls) {
        let id = match url {
            Some(url) => link(url, &trace.trace_id),
            None => escaped(&trace.trace_id),
        };
        let failed = if trace.failed_at.is_empty() {
            String::new()
        } else {
            format!(", {}", escaped(&trace.failed_at))
        };
        lines.push(format!(
            "• {id} {} {}{failed}",
            escaped(&trace.operation),
            seconds(trace.duration_s)
        ));
    }
    titled("*Worst traces*", lines)
}

fn log_lines(evidence: &Evidence) -> String {
    let lines = evidence.log_lines.iter().map(|line| {
        format!(
            "{} {}: {}",
            line.time.format("%H:%M:%S%.3f"),
            escaped(&line.service),
            escaped(&line.text)
        )
    });
    titled("*First errors*", lines.collect())
}

fn missing(evidence: &Evidence) -> String {
    let lines = evidence
        .missing
        .iter()
        .map(|missing| format!("• {}: {}", missing.backend, escaped(&missing.reason)));
    titled("*Evidence that is missing*", lines.collect())
}

fn titled(title: &str, lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{title}\n{}", lines.join("\n"))
}

fn links(notification: &Notification<'_>) -> String {
    let links = &notification.links;
    let named = [
        ("Dashboard", &links.dashboard),
        ("Runbook", &links.runbook),
        ("Error logs", &links.logs),
        ("Alertmanager", &links.alertmanager),
    ];
    let shown = named
        .iter()
        .filter_map(|(name, url)| Some(link(url.as_deref()?, name)));
    shown.collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_formats_links_mentions_or_hides() {
        for (text, neutral) in [
            (
                "<!channel> <!here|x> <@U1> <#C1>",
                "&lt;!channel&gt; &lt;!here|x&gt; &lt;@\u{200b}U1&gt; &lt;#\u{200b}C1&gt;",
            ),
            (
                "@here @channel a@b",
                "@\u{200b}here @\u{200b}channel a@\u{200b}b",
            ),
            ("#general", "#\u{200b}general"),
            (
                "<https://evil.example|click>",
                "&lt;https:\u{200b}//evil.example|click&gt;",
            ),
            (
                "see http://evil.example/x",
                "see http:\u{200b}//evil.example/x",
            ),
            ("*b* ~s~ `c` ```d```", "∗b∗ ∼s∼ 'c' \'\'\'d\'\'\'"),
            ("_i_ __i__ (_i_) é_i_é", "ˍiˍ ˍˍiˍˍ (ˍiˍ) éˍiˍé"),
            ("http_server_requests", "http_server_requests"),
            (
                ":fire: :+1: :flag-de::100:",
                ":\u{200b}fire: :\u{200b}+1: :\u{200b}flag-de::\u{200b}100:",
            ),
            ("GET /x: 503, a::b, 10:30", "GET /x: 503, a::b, 10:30"),
            ("2026-01-01T10:30:45", "2026-01-01T10:30:45"),
            ("&amp; & &lt;", "&amp;amp; &amp; &amp;lt;"),
            (
                "a\nb\u{2028}> c\u{202e}\u{e0041}\u{200b}\u{1b}[1m",
                "a b &gt; c [1m",
            ),
        ] {
            assert_eq!(escaped(text), neutral, "{text}");
        }
        assert_eq!(plain("<!here> :x: & _a_"), "‹!here› :\u{200b}x: & ˍaˍ");
        assert_eq!(
            link("https://a.example/?x=1&y=a|b", "a>b"),
            "<https://a.example/?x=1&amp;y=a%7Cb|a&gt;b>"
        );
        assert_eq!(
            link("https://x.example/> <!channel>\n", "A"),
            "<https://x.example/%3E%20%3C!channel%3E%0A|A>"
        );
    }

    #[test]
    fn what_is_no_address_is_no_link() {
        assert_eq!(
            link("docs/runbooks/A.md", "Runbook"),
            "Runbook: docs/runbooks/A.md"
        );
        for long in ["x".repeat(900), "&".repeat(500)] {
            assert!(!link(&format!("https://a.example/{long}"), "Logs").contains('<'));
        }
    }

    #[test]
    fn a_text_that_is_too_long_ends_at_a_line_or_before_an_escape() {
        let long = format!("{}\n{}", "a".repeat(2000), "b".repeat(2000));
        assert_eq!(fitting(long), format!("{}\n…", "a".repeat(2000)));
        assert_eq!(within("a🙂b", 4), "a🙂b");
        assert_eq!(within("a🙂bc", 4), "a🙂…");
        assert_eq!(within("🙂🙂", 3), "🙂…");
        for text in ["🙂".repeat(2000), "<".repeat(2000), "@🙂&".repeat(2000)] {
            let cut = fitting(escaped(&text));
            assert!(cut.encode_utf16().count() <= BLOCK_LIMIT);
            assert!(
                !cut.trim_end_matches('…')
                    .ends_with(['&', 'a', 'm', 'p', 'l', 't'])
            );
        }
        let cut = fitting(escaped(&"<".repeat(2000)));
        assert!(
            cut.chars().count() <= BLOCK_LIMIT && cut.ends_with("&lt;…"),
            "{}",
            &cut[cut.len() - 12..]
        );
    }
}
