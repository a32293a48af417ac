//! How a call to another service fails, and what that means to our own caller.

use service::problem::{INTERNAL, Problem};
use service::{ApiError, ProblemType};

use crate::problems::{DEPENDENCY_TIMEOUT, DEPENDENCY_UNAVAILABLE, recognise};

/// A call that gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens there; the request was not sent.
    #[error("{peer} cannot be reached: {source}")]
    Unreachable {
        /// Who was called.
        peer: &'static str,
        /// What happened, with its causes.
        source: Cause,
    },
    /// The connection broke before the answer was complete; the request may have been carried out.
    #[error("the connection to {peer} broke: {source}")]
    Broken {
        /// Who was called.
        peer: &'static str,
        /// What happened, with its causes.
        source: Cause,
    },
    /// No complete answer in time; the request may have been carried out.
    #[error("{peer} did not answer in time")]
    TimedOut {
        /// Who was called.
        peer: &'static str,
    },
    /// An answer with an error status.
    #[error("{peer} answered {status}: {}", problem.as_ref().map_or("no problem document", |problem| &problem.detail))]
    Status {
        /// Who was called.
        peer: &'static str,
        /// HTTP status.
        status: u16,
        /// The problem document, if there was one.
        problem: Option<Box<Problem>>,
    },
    /// A success whose body is not what it should be.
    #[error("{peer} sent a body that cannot be read: {problem}")]
    Malformed {
        /// Who was called.
        peer: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// An error and its causes in one line.
#[derive(Debug)]
pub struct Cause(String);

impl Cause {
    /// Collects the causes.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(service::error::chain(error))
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

impl CallError {
    /// True when another attempt may succeed where this one failed. Not when it is a dependency of the peer that
    /// is away: the peer has tried again already, and retries at every level multiply.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Status {
                status: 502 | 503,
                problem,
                ..
            } => problem
                .as_deref()
                .is_none_or(|problem| dependency(problem).is_none()),
            Self::Status { .. } | Self::TimedOut { .. } | Self::Malformed { .. } => false,
        }
    }

    /// True when the called service understood the request and refuses this very one: others may do better. Of other statuses
    /// below 500 a setting is the cause (a name or route that is not known, a door that is closed), or time (408, 429).
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 400 | 402 | 409 | 410 | 413 | 415 | 422,
                ..
            }
        )
    }

    fn peer(&self) -> &'static str {
        match self {
            Self::Unreachable { peer, .. }
            | Self::Broken { peer, .. }
            | Self::TimedOut { peer }
            | Self::Status { peer, .. }
            | Self::Malformed { peer, .. } => peer,
        }
    }
}

/// What the caller is told: 504 when the dependency is slow, 503 when it is away or broken, and its own answer
/// when it understood the request and refused it.
impl From<CallError> for ApiError {
    #[track_caller]
    fn from(error: CallError) -> Self {
        // A dependency of our dependency: it knows better than we do what is wrong, and what became of the order.
        if let CallError::Status {
            status: 503 | 504,
            problem: Some(problem),
            ..
        } = &error
            && let Some(kind) = dependency(problem)
        {
            let detail = problem.detail.clone();
            return Self::new(kind, detail).with_source(error);
        }
        let peer = error.peer();
        let (kind, detail) = match &error {
            CallError::TimedOut { .. } | CallError::Status { status: 504, .. } => {
                (DEPENDENCY_TIMEOUT, format!("{peer} did not answer in time"))
            }
            CallError::Status {
                status: 400..=499,
                problem: Some(problem),
                ..
            } => match refusal(problem) {
                Some(kind) => {
                    return Self::new(kind, problem.detail.clone())
                        .with_errors(problem.errors.clone());
                }
                None => (INTERNAL, format!("{peer} did not understand the request")),
            },
            CallError::Status {
                status: 400..=499, ..
            } => (INTERNAL, format!("{peer} did not understand the request")),
            _ => (
                DEPENDENCY_UNAVAILABLE,
                format!("{peer} is unavailable, try again"),
            ),
        };
        Self::new(kind, detail).with_source(error)
    }
}

/// The peer's own dependency is what failed.
fn dependency(problem: &Problem) -> Option<ProblemType> {
    recognise(problem).filter(|kind| [DEPENDENCY_UNAVAILABLE, DEPENDENCY_TIMEOUT].contains(kind))
}

/// The refusals that are about what our caller asked. Others (no such route, too large) are about how *we* asked.
fn refusal(problem: &Problem) -> Option<ProblemType> {
    recognise(problem).filter(|kind| matches!(kind.status, 402 | 409 | 422) || is_missing(kind))
}

fn is_missing(kind: &ProblemType) -> bool {
    kind.slug.starts_with("unknown-")
}

#[cfg(test)]
mod tests {
    use service::problem::TYPE_PREFIX;

    use super::*;

    fn problem(status: u16, slug: &str) -> Problem {
        Problem {
            kind: format!("{TYPE_PREFIX}{slug}"),
            title: String::new(),
            status,
            detail: "why".to_owned(),
            trace_id: None,
            errors: Vec::new(),
        }
    }

    fn answered(status: u16, slug: &str) -> ApiError {
        let problem = Some(Box::new(problem(status, slug)));
        CallError::Status {
            peer: "data",
            status,
            problem,
        }
        .into()
    }

    #[test]
    fn retries_do_not_multiply() {
        let answered = |slug: &str| CallError::Status {
            peer: "data",
            status: 503,
            problem: (!slug.is_empty()).then(|| Box::new(problem(503, slug))),
        };
        assert!(answered("").is_transient() && answered("unavailable").is_transient());
        assert!(!answered("dependency-unavailable").is_transient());
    }

    #[test]
    fn a_closed_door_a_wrong_route_and_a_slow_client_refuse_no_request_in_particular() {
        let answered = |status| CallError::Status {
            peer: "downstream",
            status,
            problem: None,
        };
        for status in [301, 401, 403, 404, 405, 408, 421, 429, 500, 503] {
            assert!(!answered(status).is_refusal(), "{status}");
        }
        for status in [400, 402, 409, 413, 422] {
            assert!(answered(status).is_refusal(), "{status}");
        }
    }

    #[test]
    fn refusals_pass_through_and_failures_do_not() {
        for (status, slug, expected) in [
            (402, "payment-declined", 402),
            (404, "unknown-sku", 404),
            (404, "not-found", 500),
            (409, "out-of-stock", 409),
            (422, "idempotency-key-reused", 422),
            (400, "bad-request", 500),
            (500, "internal", 503),
            (503, "dependency-unavailable", 503),
            (504, "timeout", 504),
        ] {
            assert_eq!(
                answered(status, slug).kind().status,
                expected,
                "{status} {slug}"
            );
        }
        assert_eq!(
            ApiError::from(CallError::TimedOut { peer: "data" }).kind(),
            DEPENDENCY_TIMEOUT
        );
    }
}
