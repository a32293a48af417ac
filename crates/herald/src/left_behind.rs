//! What an earlier process left in the directories, or somebody else did.

use std::io;

use uuid::Uuid;

use crate::index::{Entry, Index};
use crate::spool::Spool;
use crate::stats;
use crate::stored::{Stored, Unusable};

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
                "this is no notification; it is left alone"
            );
        }
    }
    let mut left_alone = queue.foreign.len() + failed.foreign.len();
    for key in queue.keys {
        match Stored::load(spool, target, key) {
            Ok((stored, size)) => {
                let digest = index.digest(&stored.payload);
                index.push(target, Entry::new(key, digest, stored.accepted, size));
            }
            Err(problem) => left_alone += usize::from(!set_aside(spool, target, key, &problem)),
        }
    }
    stats::foreign(target, left_alone);
    Ok(())
}

/// Whether it is out of the way.
fn set_aside(spool: &Spool, target: &'static str, key: Uuid, problem: &Unusable) -> bool {
    let file = format!("queue/{target}/{key}.json");
    let done = match problem {
        Unusable::Gone => return true,
        Unusable::Unread(_) => false,
        Unusable::Wrong(_) => spool.set_aside(target, key).is_ok(),
    };
    if done {
        stats::ended(target, false);
        tracing::error!(
            file,
            %problem,
            "a file of the queue is no notification; it is set aside in failed/"
        );
    } else {
        tracing::error!(
            file,
            %problem,
            "a file of the queue cannot be read; it is left alone"
        );
    }
    done
}
