//! Files that an earlier process, or a person, left in the directories.

use std::io;

use uuid::Uuid;

use crate::index::{Entry, Index};
use crate::key;
use crate::spool::Spool;
use crate::stats::{self, DeliveryOutcome, Storage};
use crate::stored::{Stored, Unusable};
use crate::text::one_line;

/// Adds what waits for a target. Files are read one by one, and only what the order needs is kept.
pub(crate) fn index(spool: &Spool, target: &'static str, index: &mut Index) -> io::Result<()> {
    spool.clean(target)?;
    let queue = spool.list("queue", target)?;
    let failed = spool.list("failed", target)?;
    for (kind, listing) in [("queue", &queue), ("failed", &failed)] {
        for name in &listing.foreign {
            tracing::error!(
                directory = format!("{kind}/{target}"),
                ?name,
                why = key::ALLOWED,
                "this is no notification; it is left alone"
            );
        }
    }
    let mut left_alone = queue.foreign.len() + failed.foreign.len();
    for key in queue.keys {
        match Stored::load(spool, target, key) {
            Ok((stored, size)) => {
                let digest = index.digest(&stored.payload);
                index.push(target, Entry::new(key, digest, stored.since(), size));
            }
            Err(Unusable::Gone) => {}
            Err(Unusable::Unread(error)) => index.push(target, unread(target, key, &error)),
            Err(Unusable::Wrong(why)) => {
                left_alone += usize::from(!set_aside(spool, target, key, &why));
            }
        }
    }
    stats::foreign(target, left_alone);
    Ok(())
}

/// The file was accepted, and may become readable: the disk or its permissions may change.
fn unread(target: &'static str, key: Uuid, error: &io::Error) -> Entry {
    Storage::Read.failed();
    let file = format!("queue/{target}/{key}.json");
    tracing::error!(
        file,
        %error,
        "a file of the queue cannot be read: it is tried again, and what came after it waits for a minute at most"
    );
    Entry::unread(key, key::given(key).unwrap_or_default())
}

/// Whether it is out of the way.
fn set_aside(spool: &Spool, target: &'static str, key: Uuid, why: &str) -> bool {
    let (file, why) = (format!("queue/{target}/{key}.json"), one_line(why));
    match spool.set_aside(target, key) {
        Ok(()) => {
            stats::ended(target, DeliveryOutcome::Failed);
            tracing::error!(
                file,
                why,
                "a file of the queue is no notification; it is set aside in failed/"
            );
            true
        }
        Err(error) => {
            Storage::SetAside.failed();
            tracing::error!(
                file,
                why,
                %error,
                "a file of the queue is no notification and cannot be set aside; it is left alone"
            );
            false
        }
    }
}
