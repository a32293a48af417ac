//! Turns a failed call into the answer to our own caller.

use ::problem::{INTERNAL, Problem, ProblemType};
use service::ApiError;

use crate::CallError;
use crate::error::dependency;
use crate::problems::{DEPENDENCY_TIMEOUT, DEPENDENCY_UNAVAILABLE, recognise};

/// The caller's response: 504 if the dependency is slow, 503 if it is unavailable or broken, and the dependency's own
/// response if it understood the request and refused it.
impl From<CallError> for ApiError {
    #[track_caller]
    fn from(error: CallError) -> Self {
        // The error comes from a dependency of the dependency, which knows the problem and the state of the order better.
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

/// The refusals that are about what our caller asked. Others (no such route, too large) are about how *we* asked.
fn refusal(problem: &Problem) -> Option<ProblemType> {
    recognise(problem).filter(|kind| matches!(kind.status, 402 | 409 | 422) || is_missing(kind))
}

fn is_missing(kind: &ProblemType) -> bool {
    kind.slug.starts_with("unknown-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::problem;

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
