use crate::Error;
use crate::plan::{AtTime, Shift};

/// Times at which a range query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// First time, in milliseconds since 1970.
    pub start_ms: i64,
    /// No time is after it.
    pub end_ms: i64,
    /// At least 1.
    pub step_ms: i64,
}

impl Steps {
    /// One time only.
    pub(crate) fn only(at_ms: i64) -> Self {
        Self {
            start_ms: at_ms,
            end_ms: at_ms,
            step_ms: 1,
        }
    }

    /// How many times there are, or an error that names the bound.
    pub(crate) fn count(&self, most: usize, what: &str) -> Result<usize, Error> {
        if self.step_ms < 1 {
            return Err(Error::Syntax(format!("a step of {} ms", self.step_ms)));
        }
        if self.end_ms < self.start_ms {
            return Ok(0);
        }
        let between = i128::from(self.end_ms) - i128::from(self.start_ms);
        match usize::try_from(between / i128::from(self.step_ms) + 1) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(Error::TooLarge(format!(
                "{what} from {} to {} every {} ms; {most} steps are allowed",
                self.start_ms, self.end_ms, self.step_ms
            ))),
        }
    }

    /// All times. They are bounded only if the caller has checked [`Self::count`].
    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        let next = move |at: &i64| at.checked_add(self.step_ms);
        std::iter::successors(Some(self.start_ms), next).take_while(move |at| *at <= self.end_ms)
    }

    /// The last time that is evaluated.
    pub(crate) fn last_ms(&self) -> i64 {
        let over = (i128::from(self.end_ms) - i128::from(self.start_ms)) % i128::from(self.step_ms);
        (i128::from(self.end_ms) - over) as i64
    }

    /// The times of a subquery whose window ends at `first_ms` in the first step and at `last_ms` in the last: multiples of its step.
    pub(crate) fn of_subquery(first_ms: i64, last_ms: i64, range_ms: i64, step_ms: i64) -> Self {
        let after = first_ms.saturating_sub(range_ms);
        let aligned = after / step_ms * step_ms;
        let start_ms = match aligned <= after {
            true => aligned.saturating_add(step_ms),
            false => aligned,
        };
        Self {
            start_ms,
            end_ms: last_ms,
            step_ms,
        }
    }
}

impl Shift {
    /// The time to read when the evaluation is at `at_ms` and the whole query covers `query`.
    pub fn apply(&self, at_ms: i64, query: &Steps) -> i64 {
        let from = match self.at {
            None => at_ms,
            Some(AtTime::Start) => query.start_ms,
            Some(AtTime::End) => query.end_ms,
            Some(AtTime::Time(at_ms)) => at_ms,
        };
        from.saturating_sub(self.offset_ms)
    }
}
