//! How many users there are when.

use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;

/// Shape of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// All users after a tenth of the time (30 s at most), then held: is it fast, does it stay so
    Steady,
    /// Users rise evenly to the end: where does it break
    Ramp,
    /// A quarter of the users, all of them for the middle fifth, a quarter again: does it recover
    Spike,
}

/// Of a steady load, in seconds.
const LONGEST_RISE: u64 = 30;

/// A number of users, and how long it takes to get there from the number before.
type Step = (usize, u64);

impl Profile {
    /// Name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Ramp => "ramp",
            Self::Spike => "spike",
        }
    }

    /// Shorter than this, its steps would have no length.
    pub fn shortest(self) -> Duration {
        Duration::from_secs(if self == Self::Spike { 10 } else { 1 })
    }

    fn steps(self, users: usize, seconds: u64) -> Vec<Step> {
        let low = users.div_ceil(4);
        let tenth = seconds / 10;
        let mut steps = match self {
            Self::Steady => {
                let rise = tenth.min(LONGEST_RISE);
                vec![(users, rise), (users, seconds - rise)]
            }
            Self::Ramp => vec![(users, seconds)],
            Self::Spike => vec![
                (low, tenth),
                (low, 2 * tenth),
                (users, tenth),
                (users, 2 * tenth),
                (low, tenth),
                (low, seconds - 7 * tenth),
            ],
        };
        steps.push((0, 0));
        steps
    }

    /// In goose's words: `users,time;…`.
    pub fn test_plan(self, users: usize, duration: Duration) -> String {
        let mut plan = String::new();
        for (count, seconds) in self.steps(users, duration.as_secs()) {
            let separator = if plan.is_empty() { "" } else { ";" };
            let _ = write!(plan, "{separator}{count},{seconds}s");
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans() {
        let plan = |profile: Profile| profile.test_plan(10, Duration::from_secs(60));
        assert_eq!(plan(Profile::Steady), "10,6s;10,54s;0,0s");
        assert_eq!(plan(Profile::Ramp), "10,60s;0,0s");
        assert_eq!(
            plan(Profile::Spike),
            "3,6s;3,12s;10,6s;10,12s;3,6s;3,18s;0,0s"
        );
    }

    #[test]
    fn each_takes_as_long_as_told() {
        for profile in Profile::value_variants() {
            for seconds in [10, 17, 59, 3600] {
                let steps = profile.steps(7, seconds);
                assert_eq!(
                    steps.iter().map(|(_, seconds)| seconds).sum::<u64>(),
                    seconds
                );
                assert_eq!(steps.iter().map(|(users, _)| *users).max(), Some(7));
            }
        }
    }
}
