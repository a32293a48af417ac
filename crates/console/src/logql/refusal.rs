//! Why an expression is not answered.

use std::fmt;

/// The kind of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text is not LogQL.
    Syntax,
    /// The text is LogQL, but the console does not support a part of it, or a part has no meaning.
    Unsupported,
    /// The query would be too expensive.
    TooMuch,
    /// There is not enough memory now.
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
    /// The error at byte `at` of `text`.
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
