//! Why an expression is not answered.

use std::fmt;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is no LogQL.
    Syntax,
    /// It is LogQL, but has a part that the console does not answer, or that means nothing.
    Unsupported,
    /// It would cost too much.
    TooMuch,
    /// There is no memory for it now.
    NoRoom,
}

/// The reason, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub kind: Kind,
    message: String,
    place: Option<(usize, usize)>,
}

impl Refusal {
    /// At byte `at` of `text`.
    pub(super) fn at_byte(kind: Kind, text: &str, at: usize, message: String) -> Self {
        let before = &text[..text.floor_char_boundary(at)];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Self {
            kind,
            message,
            place: Some((line, column)),
        }
    }

    /// About the whole of it.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            place: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Syntax => "parse error",
            Kind::Unsupported => "not answered by the console",
            Kind::TooMuch => "too much",
            Kind::NoRoom => "not now",
        })?;
        if let Some((line, column)) = self.place {
            write!(f, " at line {line}, col {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}
