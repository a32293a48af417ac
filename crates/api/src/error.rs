//! How a call to another service fails.

use ::problem::{Problem, ProblemType, chain};

use crate::problems::{DEPENDENCY_TIMEOUT, DEPENDENCY_UNAVAILABLE, recognise};

/// A call that gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No process listens there; the request was not sent.
    #[error("{peer} cannot be reached: {source}")]
    Unreachable {
        /// The called service.
        peer: &'static str,
        /// The failure with its causes.
        source: Cause,
    },
    /// The connection broke before the answer was complete; the request may have been carried out.
    #[error("the connection to {peer} broke: {source}")]
    Broken {
        /// The called service.
        peer: &'static str,
        /// The failure with its causes.
        source: Cause,
    },
    /// No complete answer in time; the request may have been carried out.
    #[error("{peer} did not answer in time")]
    TimedOut {
        /// The called service.
        peer: &'static str,
    },
    /// An answer with an error status.
    #[error("{peer} answered {status}: {}", problem.as_ref().map_or("no problem document", |problem| &problem.detail))]
    Status {
        /// The called service.
        peer: &'static str,
        /// HTTP status.
        status: u16,
        /// The problem document, if there was one.
        problem: Option<Box<Problem>>,
    },
    /// A success with an invalid body.
    #[error("{peer} sent a body that cannot be read: {problem}")]
    Malformed {
        /// The called service.
        peer: &'static str,
        /// The problem of the body.
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
    /// True if another attempt may succeed. False if a dependency of the peer is unavailable: the peer has retried already,
    /// and retries at every level multiply.
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

    /// True if the called service understood the request and refuses it: another request may succeed. Other statuses below
    /// 500 come from a setting (an unknown name or route, a closed listener) or from time (408, 429).
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 400 | 402 | 409 | 410 | 413 | 415 | 422,
                ..
            }
        )
    }

    /// The called service.
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
