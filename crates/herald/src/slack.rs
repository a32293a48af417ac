//! A notification as Slack's blocks. Whatever others wrote is escaped: it can neither format, link nor mention.

use serde_json::{Value, json};

use crate::evidence::Evidence;
use crate::evidence::dependencies::Edge;
use crate::evidence::releases::Release;
use crate::evidence::rollback::RollBack;
use crate::notification::Notification;
use crate::payload::Status;
use crate::text::{one_line, percent, seconds, shortened};

/// Slack refuses longer texts in a block (3,000 characters); escapes count.
const BLOCK_LIMIT: usize = 2900;

/// Four of them fit into a block.
const LINK_LIMIT: usize = 600;

/// The message.
pub(crate) fn message(notification: &Notification<'_>) -> Value {
    let evidence = notification.evidence;
    let mut blocks = vec![json!({
        "type": "header", "text": {"type": "plain_text", "text": shortened(&plain(&notification.title), 150), "emoji": false}
    })];
    let mut add = |text: String| {
        if !text.is_empty() {
            blocks.push(
                json!({"type": "section", "text": {"type": "mrkdwn", "text": fitting(text)}}),
            );
        }
    };
    add(escaped(&shortened(&notification.summary, 1000)));
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
        escaped(&shortened(notification.team, 60)),
        notification.started.format("%Y-%m-%d %H:%M:%S UTC"),
        notification.alerts.len(),
        notification.key
    );
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]}));
    json!({"text": escaped(&notification.title), "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

/// `&`, `<` and `>` are all that Slack asks to escape; a mention needs `<!…>`, or a client that links names: broken too.
/// Emphasis marks become look-alikes that format nothing.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("@\u{200b}"),
            '`' => out.push('\''),
            '*' => out.push('∗'),
            '~' => out.push('∼'),
            c => out.push(c),
        }
    }
    out
}

/// For a plain text, which knows no escapes but must not be taken for more by any client.
fn plain(text: &str) -> String {
    text.replace('<', "‹")
        .replace('>', "›")
        .replace('@', "@\u{200b}")
}

/// Never cuts an escape in two.
fn fitting(text: String) -> String {
    if text.chars().count() <= BLOCK_LIMIT {
        return text;
    }
    let cut = shortened(&text, BLOCK_LIMIT);
    match cut.rfind('\n') {
        Some(line) if line > 0 => format!("{}\n…", &cut[..line]),
        _ => match cut.rfind('&') {
            Some(start) if cut.len() - start < 8 => format!("{}…", &cut[..start]),
            _ => cut,
        },
    }
}

/// An address that is too long for a block, or is only a path, is no link.
fn link(url: &str, text: &str) -> String {
    if !url.starts_with("http") || url.len() > LINK_LIMIT {
        return format!("{}: {}", escaped(text), escaped(&shortened(url, 200)));
    }
    // The bar would end the address.
    format!(
        "<{}|{}>",
        url.replace('|', "%7C").replace('&', "&amp;"),
        escaped(text)
    )
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
            None => trace.trace_id.clone(),
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
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_formats_links_or_mentions() {
        assert_eq!(
            escaped("<!channel> @here <https://evil.example|click> *b* `c` &amp;\n~"),
            "&lt;!channel&gt; @\u{200b}here &lt;https://evil.example|click&gt; ∗b∗ 'c' &amp;amp; ∼"
        );
        assert_eq!(
            link("https://a.example/?x=1&y=a|b", "a>b"),
            "<https://a.example/?x=1&amp;y=a%7Cb|a&gt;b>"
        );
    }

    #[test]
    fn what_is_no_address_is_no_link() {
        assert_eq!(
            link("docs/runbooks/A.md", "Runbook"),
            "Runbook: docs/runbooks/A.md"
        );
        assert!(!link(&format!("https://a.example/{}", "x".repeat(900)), "Logs").contains('<'));
    }

    #[test]
    fn a_text_that_is_too_long_ends_at_a_line_or_before_an_escape() {
        let long = format!("{}\n{}", "a".repeat(2000), "b".repeat(2000));
        assert_eq!(fitting(long), format!("{}\n…", "a".repeat(2000)));
        let cut = fitting(escaped(&"<".repeat(2000)));
        assert!(
            cut.chars().count() <= BLOCK_LIMIT && cut.ends_with("&lt;…"),
            "{}",
            &cut[cut.len() - 12..]
        );
    }
}
