//! A notification as it is kept on disk.

use std::{fmt, io};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::payload::Payload;
use crate::spool::Spool;
use crate::text::one_line;

/// The content of a file of the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The idempotency key: the same at every attempt, also after a restart. It is the file's name, whatever the file
    /// contains.
    #[serde(skip_deserializing)]
    pub(crate) key: String,
    /// When it was accepted.
    pub(crate) accepted: DateTime<Utc>,
    /// When the silence ends, or ended, that held it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_until: Option<DateTime<Utc>>,
    /// Alertmanager's notification.
    pub(crate) payload: Payload,
}

/// Why a file is no notification.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The file no longer exists.
    Gone,
    /// The disk or its permissions refuse it; that may change.
    Unread(io::Error),
    /// The file is not a notification, and never will be.
    Wrong(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it is gone"),
            Self::Unread(error) => error.fmt(f),
            // The error may quote the file's content.
            Self::Wrong(why) => f.write_str(&one_line(why)),
        }
    }
}

impl Stored {
    /// Reads a file; returns its size in bytes, too.
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

    /// Since when it could have been delivered; the time until herald gives it up starts here.
    pub(crate) fn since(&self) -> DateTime<Utc> {
        self.held_until.unwrap_or(self.accepted).max(self.accepted)
    }

    fn parse(key: Uuid, content: &[u8]) -> Result<Self, String> {
        let mut stored: Self =
            serde_json::from_slice(content).map_err(|error| error.to_string())?;
        let held_until = stored.held_until.unwrap_or(stored.accepted);
        let dates = [stored.accepted, held_until];
        stored.payload.reread("accepted, held_until", dates)?;
        stored.key = key.to_string();
        Ok(stored)
    }
}
