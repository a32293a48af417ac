//! The vectors of many steps, put together to series.

use std::collections::HashMap;

use crate::line::Line;
use crate::pass::{Element, Pass, same_labels};
use crate::plan::Node;
use crate::{Error, Labels, Sample};

/// Collects the vectors of successive steps as series. They count as held until the end of the pass.
pub(crate) struct Collected<'p, 'a> {
    pass: &'p Pass<'a>,
    known: HashMap<Labels, usize>,
    pub lines: Vec<Line>,
}

impl<'p, 'a> Collected<'p, 'a> {
    pub fn new(pass: &'p Pass<'a>) -> Self {
        Self {
            pass,
            known: HashMap::new(),
            lines: Vec::new(),
        }
    }

    /// Adds what one step of a pass gives, as it is shown.
    pub fn step(
        &mut self,
        pass: &Pass<'_>,
        node: &Node,
        at_ms: i64,
        shown: fn(Element) -> Element,
    ) -> Result<(), Error> {
        pass.step(|| {
            for element in pass.value_at(node, at_ms)?.into_vector() {
                self.pass.hold(1)?;
                self.push(shown(element), at_ms)?;
            }
            Ok(())
        })
    }

    fn push(&mut self, element: Element, at_ms: i64) -> Result<(), Error> {
        let index = match self.known.get(&element.labels) {
            Some(index) => *index,
            None => self.begin(element.labels, element.drop_name)?,
        };
        let samples = &mut self.lines[index].samples;
        if samples.last().is_some_and(|last| last.at_ms == at_ms) {
            return Err(same_labels(&self.lines[index].labels));
        }
        samples.push(Sample {
            at_ms,
            value: element.value,
        });
        Ok(())
    }

    fn begin(&mut self, labels: Labels, drop_name: bool) -> Result<usize, Error> {
        self.pass.hold_labels(&labels)?;
        self.known.insert(labels.clone(), self.lines.len());
        self.lines.push(Line::new(labels, drop_name, Vec::new()));
        Ok(self.lines.len() - 1)
    }
}
