//! One copy of each resource: every request brings its senders' resources anew, and they are large.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use super::cost;
use crate::model::Resource;

/// Sweeping starts at so many.
const FIRST_SWEEP: usize = 64;

/// Known resources by a hash of their content.
#[derive(Debug)]
pub(super) struct Resources {
    known: HashMap<u64, Arc<Resource>>,
    hasher: RandomState,
    sweep_at: usize,
    /// Bytes held.
    pub bytes: usize,
    /// The last answer, since items of one sender come in a row.
    last: Option<(Arc<Resource>, Arc<Resource>)>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            hasher: RandomState::new(),
            sweep_at: FIRST_SWEEP,
            bytes: 0,
            last: None,
        }
    }
}

impl Resources {
    /// The copy of `resource` that everybody shares.
    pub fn shared(&mut self, resource: &Arc<Resource>) -> Arc<Resource> {
        if let Some((asked, answer)) = &self.last
            && Arc::ptr_eq(asked, resource)
        {
            return answer.clone();
        }
        let answer = self.look_up(resource);
        self.last = Some((resource.clone(), answer.clone()));
        answer
    }

    fn look_up(&mut self, resource: &Arc<Resource>) -> Arc<Resource> {
        let key = self.hash(resource);
        if let Some(known) = self.known.get(&key)
            && known == resource
        {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = FIRST_SWEEP.max(self.known.len() * 2);
        }
        self.bytes += cost::resource(resource);
        if let Some(collided) = self.known.insert(key, resource.clone()) {
            self.bytes -= cost::resource(&collided);
        }
        resource.clone()
    }

    /// Forgets what nothing refers to any more.
    pub fn sweep(&mut self) {
        self.last = None;
        let bytes = &mut self.bytes;
        self.known.retain(|_, resource| {
            let used = Arc::strong_count(resource) > 1;
            if !used {
                *bytes -= cost::resource(resource);
            }
            used
        });
    }

    fn hash(&self, resource: &Resource) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        resource.service.hash(&mut hasher);
        for (key, value) in &resource.attributes {
            key.hash(&mut hasher);
            value.to_string().hash(&mut hasher);
        }
        hasher.finish()
    }
}
