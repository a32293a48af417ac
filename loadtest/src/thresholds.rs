//! What is demanded of a test.

use serde::Serialize;

use crate::args::Args;
use crate::summary::Summary;

/// One demand, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The flag that sets it.
    pub name: &'static str,
    /// The limit.
    pub limit: f64,
    /// What was measured.
    pub measured: f64,
    /// The limit held.
    pub held: bool,
}

/// Judges each demand. Times are judged with coordinated omission corrected: else a server that stalls passes, because its users
/// were kept from asking.
pub fn judge(args: &Args, summary: &Summary) -> Vec<Verdict> {
    let corrected = summary.times.corrected;
    let at_most = |name, limit: f64, measured: f64| Verdict {
        name,
        limit,
        measured,
        held: measured <= limit,
    };
    let minimum = args.min_requests as f64;
    let mut verdicts = vec![
        Verdict {
            name: "min-requests",
            limit: minimum,
            measured: summary.requests as f64,
            held: summary.requests >= args.min_requests,
        },
        at_most("max-error-share", args.max_error_share, summary.error_share),
    ];
    verdicts.extend(
        args.max_p95_ms
            .map(|limit| at_most("max-p95-ms", limit, corrected.p95_ms)),
    );
    verdicts.extend(
        args.max_p99_ms
            .map(|limit| at_most("max-p99-ms", limit, corrected.p99_ms)),
    );
    verdicts
}

/// All held.
pub fn all_held(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|verdict| verdict.held)
}
