//! A notification as it is kept on disk.

use std::{fmt, io};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::payload::{self, Payload};
use crate::spool::Spool;
use crate::text::one_line;

/// What a file of the queue holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Idempotency key: the same at every attempt, after a restart too. It is the file's name, whatever the file says.
    #[serde(skip_deserializing)]
    pub(crate) key: String,
    /// When it was accepted.
    pub(crate) accepted: DateTime<Utc>,
    /// What Alertmanager sent.
    pub(crate) payload: Payload,
}

/// Why a file is no notification.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Somebody removed it.
    Gone,
    /// The disk or its permissions refuse it; another time they may not.
    Unread(io::Error),
    /// It will never be one.
    Wrong(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it is gone"),
            Self::Unread(error) => error.fmt(f),
            // It may quote what is in the file.
            Self::Wrong(why) => f.write_str(&one_line(why)),
        }
    }
}

impl Stored {
    /// Reads a file; with its size in bytes.
    pub(crate) fn load(spool: &Spool, target: &str, key: Uuid) -> Result<(Self, usize), Unusable> {
        let content = spool
            .read(target, key)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Unusable::Gone,
                io::ErrorKind::InvalidData => Unusable::Wrong(error.to_string()),
                _ => Unusable::Unread(error),
            })?;
        let stored = Self::parse(key, &content).map_err(Unusable::Wrong)?;
        Ok((stored, content.len()))
    }

    /// Nothing may come from a file that would have been refused at the door.
    fn parse(key: Uuid, content: &[u8]) -> Result<Self, String> {
        let mut stored: Self =
            serde_json::from_slice(content).map_err(|error| error.to_string())?;
        if let Some(error) = stored.payload.errors().first() {
            return Err(format!("payload.{}: {}", error.field, error.message));
        }
        if !payload::is_date(&stored.accepted) {
            return Err(format!("accepted: {}", payload::DATES));
        }
        stored.payload.bound();
        stored.key = key.to_string();
        Ok(stored)
    }
}
