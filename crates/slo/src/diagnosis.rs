//! The vocabulary of a diagnosis: what kind of cause an alert has, and what to do first. Alerts carry both as annotations, and herald decides
//! with them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The annotation with a [`CauseKind`].
pub const KIND: &str = "kind";
/// The annotation with an [`Action`].
pub const FIRST_ACTION: &str = "first_action";

/// An enum whose variants have names in files and JSON.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// What is wrong.
    #[derive(Default)]
    CauseKind {
        /// It answers with failures.
        Errors = "errors",
        /// It answers late.
        Latency = "latency",
        /// No process runs.
        Down = "down",
        /// A process runs and does not answer.
        Unresponsive = "unresponsive",
        /// A statement takes long.
        SlowStatement = "slow_statement",
        /// Statements wait for a lock.
        Lock = "lock",
        /// Its own requests use all connections of its pool.
        Pool = "pool",
        /// Others have taken the connections of the database.
        Connections = "connections",
        /// Memory runs out.
        Memory = "memory",
        /// Its process uses the processors.
        Cpu = "cpu",
        /// A disk is almost full.
        Disk = "disk",
        /// It floods its log.
        LogVolume = "log_volume",
        /// It gets more requests than it can serve.
        Traffic = "traffic",
        /// One of several instances is worse than the others.
        Instance = "instance",
        /// It keeps restarting.
        Restarts = "restarts",
        /// It says that it is not ready.
        Readiness = "readiness",
        /// The new version is worse, and nothing more exact is known.
        Release = "release",
        /// Its answers cannot be read.
        BadAnswer = "bad_answer",
        /// Connections break or are refused.
        Connection = "connection",
        /// Telemetry is lost, or nobody watches.
        Telemetry = "telemetry",
        /// A certificate expires.
        Certificate = "certificate",
        /// A clock is wrong.
        Clock = "clock",
        /// Events wait, or were set aside.
        Queue = "queue",
        /// Not known.
        #[default]
        Unknown = "unknown",
    }
}

named! {
    /// What to do first.
    Action {
        /// Go back to the version before.
        RollBack = "roll_back",
        /// Restart a process.
        Restart = "restart",
        /// End a session of the database.
        EndSession = "end_session",
        /// Make room on a disk.
        FreeSpace = "free_space",
        /// Renew a certificate.
        Renew = "renew",
        /// Set a clock.
        SetClock = "set_clock",
        /// Let fewer requests in.
        LimitLoad = "limit_load",
        /// Look closer.
        LookAt = "look_at",
    }
}

impl CauseKind {
    /// Whether something else may be behind it, in the same service or in one that it calls.
    pub fn is_symptom(self) -> bool {
        matches!(
            self,
            Self::Errors
                | Self::Latency
                | Self::SlowStatement
                | Self::Pool
                | Self::Readiness
                | Self::Queue
                | Self::Release
                | Self::Unknown
        )
    }
}
