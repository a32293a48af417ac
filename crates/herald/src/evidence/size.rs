//! Evidence that is too large for a notification loses what matters least.

use super::Evidence;
use super::store::Weigh;

/// Largest evidence of a notification, as JSON.
const LARGEST: usize = 64 << 10;

/// Removes one item; `false` if no more may go.
type Cut = fn(&mut Evidence) -> bool;

/// What is removed first is the least important. Lists in order of importance keep one item.
const CUTS: [(&str, Cut); 6] = [
    ("services in `releases.running`", |evidence| {
        let releases = evidence.releases.as_mut();
        releases.is_some_and(|releases| releases.running.pop_last().is_some())
    }),
    ("of `services`", |evidence| shorten(&mut evidence.services)),
    ("of `locks`", |evidence| shorten(&mut evidence.locks)),
    ("of `traces`", |evidence| shorten(&mut evidence.traces)),
    ("of `log_lines`", |evidence| {
        shorten(&mut evidence.log_lines)
    }),
    ("hops above the last of `dependencies`", |evidence| {
        let trails = &mut evidence.dependencies;
        let longest = [&mut trails.slowest, &mut trails.failing]
            .into_iter()
            .flatten();
        longest
            .max_by_key(|trail| trail.hops.len())
            .is_some_and(|trail| trail.shorten())
    }),
];

fn shorten<T>(list: &mut Vec<T>) -> bool {
    list.len() > 1 && list.pop().is_some()
}

impl Evidence {
    /// Cuts the evidence to the size of a notification, and names what was removed.
    pub(super) fn fit(mut self) -> Self {
        self.bytes = self.size();
        for (what, cut) in CUTS {
            let mut gone = 0;
            while self.bytes > LARGEST && cut(&mut self) {
                gone += 1;
                self.bytes = self.size();
            }
            if gone > 0 {
                self.left_out.push(format!("{gone} {what}"));
                self.bytes = self.size();
            }
        }
        self
    }

    fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |json| json.len())
    }
}

impl Weigh for Evidence {
    fn bytes(&self) -> usize {
        // It needs a little more in memory.
        size_of::<Self>() + self.bytes * 2
    }
}

#[cfg(test)]
mod tests {
    use super::super::dependencies::tests::edge;
    use super::super::locks::Lock;
    use super::super::logs::Line;
    use super::super::releases::Releases;
    use super::super::traces::Trace;
    use super::super::trail::Trail;
    use super::*;

    fn large(length: usize) -> Evidence {
        // Four bytes a character, and as many lists as there may be.
        let text = "𝄞".repeat(length);
        let line = Line {
            time: Default::default(),
            service: text.clone(),
            text: text.clone(),
            trace_id: String::new(),
        };
        let lock = Lock {
            service: text.clone(),
            statement: text.clone(),
            holder: text.clone(),
            waiting: 1,
        };
        let trace = Trace {
            operation: text.clone(),
            failed_at: text.clone(),
            ..Trace::default()
        };
        let trail = Trail {
            hops: vec![edge(&text, &text, 0.5, 0.1); 16],
            hops_left_out: 0,
        };
        let running = (0..100).map(|index| (format!("{index}{text}"), vec![text.clone(); 5]));
        let mut evidence = Evidence::none("no answer within 4700 ms");
        evidence.log_lines = vec![line; 5];
        evidence.locks = vec![lock; 5];
        evidence.traces = vec![trace; 5];
        evidence.dependencies.failing = Some(trail.clone());
        evidence.dependencies.slowest = Some(trail);
        evidence.releases = Some(Releases {
            running: running.collect(),
            ..Releases::default()
        });
        evidence
    }

    #[test]
    fn the_least_important_goes_first_and_is_named() {
        let fits = large(1).fit();
        assert_eq!((fits.log_lines.len(), fits.left_out.len()), (5, 0));

        let cut = large(100).fit();
        let json = serde_json::to_vec(&cut).unwrap();
        assert!(json.len() <= LARGEST, "{}", json.len());
        assert_eq!(
            (cut.log_lines.len(), cut.locks.len(), cut.traces.len()),
            (5, 5, 5)
        );
        let [gone] = &cut.left_out[..] else {
            panic!("{:?}", cut.left_out)
        };
        let left = cut.releases.unwrap().running.len();
        assert_eq!(
            *gone,
            format!("{} services in `releases.running`", 100 - left)
        );
    }

    #[test]
    fn whatever_is_gathered_it_fits() {
        let cut = large(300).fit();
        let json = serde_json::to_vec(&cut).unwrap();
        assert!(json.len() <= LARGEST, "{}", json.len());
        assert_eq!((cut.log_lines.len(), cut.traces.len()), (1, 1));
        assert_eq!(cut.left_out.len(), 5, "{:?}", cut.left_out);
        assert_eq!(cut.missing.len(), 3);
    }
}
