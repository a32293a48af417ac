//! The game day's own part: scenario files, what a run has recorded, how it is scored, and the reports.
//!
//! Nothing here starts a process or sends a request; `omnitrace gameday` does. `docs/GAMEDAY.md` is the documentation of the
//! files and of every score.

mod html;
mod notification;
mod pattern;
mod record;
mod scenario;
mod score;
mod statistics;
mod summary;
mod table;
mod truth;

pub use html::html;
pub use notification::{Diagnosed, Notification};
pub use pattern::fits;
pub use record::{Hop, Record, Times};
pub use scenario::{Action, Inject, Mode, Scenario};
pub use score::{Score, score};
pub use summary::{Goal, Summary, summary};
pub use table::{line, matrix, table};
pub use truth::Truth;
