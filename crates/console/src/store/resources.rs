//! One copy of each resource: every request repeats its senders' resources, and they are large. Users of a copy are counted,
//! so that it is freed with the last item that refers to it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::cost;
use super::senders::Senders;
use crate::model::Resource;

/// A resource that is in use.
#[derive(Debug)]
struct UsedResource {
    resource: Arc<Resource>,
    hash: u64,
    users: usize,
    place: Place,
}

/// Facts about an item's resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The sender that is charged for it.
    pub sender: usize,
    /// A hash of the service's name that nobody outside can foresee.
    pub service: u64,
}

/// Known resources.
#[derive(Debug, Default)]
pub(super) struct Resources {
    by_address: BTreeMap<usize, UsedResource>,
    /// Addresses by a hash of the content.
    by_content: HashMap<u64, usize>,
    hasher: RandomState,
    /// Bytes held.
    pub bytes: usize,
    /// The last answer, since items of one sender come in a row.
    last: Option<(Arc<Resource>, usize)>,
}

impl Resources {
    /// The copy of `resource` that everybody shares, for one more user, and its place.
    pub fn take(
        &mut self,
        resource: &Arc<Resource>,
        senders: &mut Senders,
    ) -> (Arc<Resource>, Place) {
        let address = self.address(resource, senders);
        let held = self.by_address.get_mut(&address);
        let held = held.expect("what `address` answers is there");
        held.users += 1;
        (held.resource.clone(), held.place)
    }

    /// Removes one user. Returns the sender's index.
    pub fn release(&mut self, resource: &Arc<Resource>, senders: &mut Senders) -> usize {
        let address = address(resource);
        let held = self.by_address.get_mut(&address);
        let held = held.expect("whoever releases has taken");
        held.users -= 1;
        let sender = held.place.sender;
        if held.users > 0 {
            return sender;
        }
        self.last.take_if(|(_, last)| *last == address);
        let bytes = cost::resource(resource);
        self.bytes -= bytes;
        senders.by_index(sender).bytes -= bytes;
        if self.by_content.get(&held.hash) == Some(&address) {
            self.by_content.remove(&held.hash);
        }
        self.by_address.remove(&address);
        sender
    }

    fn address(&mut self, resource: &Arc<Resource>, senders: &mut Senders) -> usize {
        if let Some((asked, answer)) = &self.last
            && Arc::ptr_eq(asked, resource)
        {
            return *answer;
        }
        let answer = self.find(resource, senders);
        self.last = Some((resource.clone(), answer));
        answer
    }

    fn find(&mut self, resource: &Arc<Resource>, senders: &mut Senders) -> usize {
        let own = address(resource);
        if self.by_address.contains_key(&own) {
            return own;
        }
        let hash = resource.digest(&self.hasher);
        let known = self.by_content.get(&hash).copied();
        let is_equal = |known: &usize| self.by_address[known].resource == *resource;
        if let Some(known) = known.filter(is_equal) {
            return known;
        }
        self.insert(resource, hash, senders)
    }

    fn insert(&mut self, resource: &Arc<Resource>, hash: u64, senders: &mut Senders) -> usize {
        let sender = senders.place(&resource.service);
        let bytes = cost::resource(resource);
        self.bytes += bytes;
        senders.by_index(sender).bytes += bytes;
        let address = address(resource);
        // If two resources have one hash, the lookup finds the first; the other is just not shared.
        self.by_content.entry(hash).or_insert(address);
        let held = UsedResource {
            resource: resource.clone(),
            hash,
            users: 0,
            place: Place {
                sender,
                service: self.hasher.hash_one(&resource.service),
            },
        };
        self.by_address.insert(address, held);
        address
    }
}

fn address(resource: &Arc<Resource>) -> usize {
    Arc::as_ptr(resource) as usize
}
