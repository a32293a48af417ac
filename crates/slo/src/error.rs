//! Errors in a definition, with file, line and key.

use std::ops::Range;

/// A definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {why}")]
pub struct Error {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Which key, what was found, what is allowed.
    pub why: String,
}

/// A file being read: turns places into lines.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name, for errors.
    pub file: &'a str,
    /// Its contents.
    pub text: &'a str,
}

impl Source<'_> {
    /// Parses the file.
    ///
    /// # Errors
    /// An unknown or missing key, or a value of the wrong kind; the text says what is allowed.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        toml::from_str(self.text).map_err(|error| {
            let key = error.span().map_or("", |span| self.line_text(span.start));
            let why = match key {
                "" => error.message().to_owned(),
                line => format!("`{line}`: {}", error.message()),
            };
            self.error(error.span().unwrap_or_default(), why)
        })
    }

    /// An error at a place.
    pub fn error(&self, at: Range<usize>, why: impl Into<String>) -> Error {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        Error {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            why: why.into(),
        }
    }

    fn line_text(&self, at: usize) -> &str {
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        self.text[start..].lines().next().unwrap_or_default().trim()
    }
}
