//! How a call to another service fails.

use ::problem::{Problem, ProblemType, chain};

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
        Self(chain(error))
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

    /// Who was called.
    #[cfg(feature = "server")]
    pub(crate) fn peer(&self) -> &'static str {
        match self {
            Self::Unreachable { peer, .. }
            | Self::Broken { peer, .. }
            | Self::TimedOut { peer }
            | Self::Status { peer, .. }
            | Self::Malformed { peer, .. } => peer,
        }
    }
}

/// The peer's own dependency is what failed.
pub(crate) fn dependency(problem: &Problem) -> Option<ProblemType> {
    recognise(problem).filter(|kind| [DEPENDENCY_UNAVAILABLE, DEPENDENCY_TIMEOUT].contains(kind))
}

#[cfg(test)]
pub(crate) mod tests {
    use ::problem::TYPE_PREFIX;

    use super::*;

    pub(crate) fn problem(status: u16, slug: &str) -> Problem {
        Problem {
            kind: format!("{TYPE_PREFIX}{slug}"),
            title: String::new(),
            status,
            detail: "why".to_owned(),
            trace_id: None,
            errors: Vec::new(),
        }
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
}
