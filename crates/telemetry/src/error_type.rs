//! Values of `error.type` that more than one kind of operation has.

/// Its caller went away.
pub const CANCELLED: &str = "cancelled";
/// Its handler panicked.
pub const PANIC: &str = "panic";
/// Its time was up.
pub const TIMEOUT: &str = "timeout";
/// The body of the response failed half-way.
pub const BODY: &str = "body";
/// A failure that has no name, as the semantic conventions call it.
pub const OTHER: &str = "_OTHER";
