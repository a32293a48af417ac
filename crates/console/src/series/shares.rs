//! How much of the budget each source uses, and what may be evicted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::index::Id;

/// The share of the budget for all senders together, three quarters, and half for a single one, so that scraped targets and
/// other senders find room.
const SENT_SHARE: (usize, usize) = (3, 4);
const SENDER_SHARE: usize = 2;

/// Senders that are told apart, as those of traces are. Those that come when there are so many share what one may take.
const SENDERS: usize = 32;

/// The index of a share: that of all targets, or that of a sender.
pub(super) type Share = usize;

/// The share of all targets together.
pub(super) const TARGETS: Share = 0;

/// The share of senders that come when there are many.
const OTHERS: Share = 1;

/// The share of recorded series that rules read for longer than other samples are kept: one in this many bytes. Its content
/// is never dropped for others.
pub(super) const LASTING: Share = SENDERS + 2;
const LASTING_SHARE: usize = 8;

/// A chunk that was closed, and when.
pub(super) type Closed = (Instant, Id);

/// All shares.
#[derive(Debug)]
pub(super) struct Shares {
    limit: usize,
    list: Vec<Taken>,
    /// How much longer chunks of [`LASTING`] are kept.
    pub longer: Duration,
}

#[derive(Debug, Default)]
struct Taken {
    /// Empty if nobody has it.
    sender: String,
    bytes: usize,
    /// The part of `bytes` in closed chunks, which can be dropped.
    closed_bytes: usize,
    /// Closed chunks, the first that was closed in front. In this order each series has its own.
    closed: VecDeque<Closed>,
}

impl Shares {
    pub fn new(limit: usize) -> Self {
        let list = (0..=LASTING).map(|_| Taken::default()).collect();
        let longer = Duration::ZERO;
        Self {
            limit,
            list,
            longer,
        }
    }

    /// The share of a sender; that of all targets if there is none.
    pub fn share_of(&mut self, sender: Option<&str>) -> Share {
        let Some(sender) = sender else {
            return TARGETS;
        };
        let own = &self.list[OTHERS + 1..LASTING];
        let known = own
            .iter()
            .position(|taken| taken.bytes > 0 && taken.sender == sender);
        let place = known.or_else(|| own.iter().position(|taken| taken.bytes == 0));
        let Some(share) = place.map(|place| OTHERS + 1 + place) else {
            return OTHERS;
        };
        if known.is_none() {
            self.list[share].sender = sender.to_owned();
        }
        share
    }

    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.list.iter().map(|taken| taken.bytes).sum()
    }

    pub fn charge(&mut self, share: Share, bytes: usize) {
        self.list[share].bytes += bytes;
    }

    pub fn give_back(&mut self, share: Share, bytes: usize) {
        self.list[share].bytes -= bytes;
    }

    /// A chunk was closed and is charged.
    pub fn closed(&mut self, share: Share, id: Id, bytes: usize) {
        let taken = &mut self.list[share];
        taken.bytes += bytes;
        taken.closed_bytes += bytes;
        taken.closed.push_back((Instant::now(), id));
    }

    /// The series whose oldest chunk must go: the first that this share closed. The caller passes its bytes to
    /// [`Self::remove_closed`].
    pub fn first_closed(&mut self, share: Share) -> Option<Id> {
        let closed = &mut self.list[share].closed;
        let first = closed.pop_front();
        if closed.capacity() > 2 * closed.len() + 64 {
            closed.shrink_to(closed.len() + closed.len() / 2);
        }
        first.map(|(_, id)| id)
    }

    /// A closed chunk is gone.
    pub fn remove_closed(&mut self, share: Share, bytes: usize) {
        self.list[share].closed_bytes -= bytes;
        self.give_back(share, bytes);
    }

    /// Shares with a chunk that was closed so long ago, each as often as it has one.
    pub fn any_closed_before(&self, time: Instant) -> Option<Share> {
        let is_old = |taken: &Taken, time| taken.closed.front().is_some_and(|(at, _)| *at < time);
        let old = self.list[..LASTING]
            .iter()
            .position(|taken| is_old(taken, time));
        let earlier = time.checked_sub(self.longer);
        old.or_else(|| is_old(&self.list[LASTING], earlier?).then_some(LASTING))
    }

    /// Which share must give up its oldest chunk so that this one finds room for so many bytes.
    pub fn room(&self, share: Share, cost: usize) -> Room {
        let sent = TARGETS + 1..LASTING;
        let (of_four, four) = SENT_SHARE;
        let bounds = match share {
            TARGETS => [None, None],
            LASTING => [
                Some((LASTING..LASTING + 1, self.limit / LASTING_SHARE)),
                None,
            ],
            sender => [
                Some((sender..sender + 1, self.limit / SENDER_SHARE)),
                Some((sent, self.limit / four * of_four)),
            ],
        };
        let all = Some((0..self.list.len(), self.limit));
        let mut room = Room::Enough;
        for (shares, limit) in bounds.into_iter().chain([all]).flatten() {
            let list = &self.list[shares.clone()];
            let used: usize = list.iter().map(|taken| taken.bytes).sum();
            let closed: usize = list.iter().map(|taken| taken.closed_bytes).sum();
            if used - closed + cost > limit {
                return Room::None;
            }
            if used + cost > limit && room == Room::Enough {
                room = self.oldest(shares).map_or(Room::None, Room::After);
            }
        }
        room
    }

    /// The share among these that closed its oldest chunk first; [`LASTING`] only if it is the only one asked for.
    fn oldest(&self, shares: std::ops::Range<Share>) -> Option<Share> {
        let first = |share: Share| Some((self.list[share].closed.front()?.0, share));
        let gives = |share: &Share| *share != LASTING || shares.len() == 1;
        let oldest = shares.clone().filter(gives).filter_map(first).min();
        oldest.map(|(_, share)| share)
    }
}

/// Whether there is room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is enough memory.
    Enough,
    /// There may be enough once this share has dropped its oldest chunk.
    After(Share),
    /// There is not enough memory, whatever is dropped.
    None,
}
