use crate::plan::{Node, Shift, WindowSource, Windows};
use crate::query::Expression;
use crate::{Detail, Matcher, Steps};

/// The samples that one selector of an expression reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads<'a> {
    /// Which series.
    pub matchers: &'a [Matcher],
    /// It reads only samples after this time, in milliseconds since 1970.
    pub after_ms: i64,
    /// No sample after this time is read.
    pub until_ms: i64,
    /// Which of them.
    pub detail: Detail,
}

impl Expression {
    /// Every selector of the expression for an evaluation at these times, for example to reserve memory.
    pub fn reads(&self, whole: Steps, look_back_ms: i64) -> Vec<Reads<'_>> {
        let mut reader = Reader {
            whole,
            look_back_ms,
            found: Vec::new(),
        };
        reader.visit(&self.root, (whole.start_ms, whole.end_ms));
        reader.found
    }
}

/// First and last time of an evaluation.
type Span = (i64, i64);

struct Reader<'a> {
    whole: Steps,
    look_back_ms: i64,
    found: Vec<Reads<'a>>,
}

impl<'a> Reader<'a> {
    fn visit(&mut self, node: &'a Node, span: Span) {
        match node {
            Node::Number(_) | Node::Text(_) => {}
            Node::Selector(selector) => {
                let detail = Detail::Last.if_one(span.0 == span.1);
                let span = self.further(span, &selector.shift, self.look_back_ms);
                self.read(&selector.matchers, span, detail);
            }
            Node::Windows(windows) => self.of_windows(windows, span, Detail::All),
            Node::OverWindow(call) => {
                let detail = call.detail.if_one(span.0 == span.1);
                self.of_windows(&call.windows, span, detail);
                call.numbers
                    .iter()
                    .for_each(|number| self.visit(number, span));
            }
            Node::Each(_, inner) | Node::Absent(_, inner) | Node::Relabel(_, inner) => {
                self.visit(inner, span)
            }
            Node::Call(_, arguments) => arguments
                .iter()
                .for_each(|argument| self.visit(argument, span)),
            Node::Binary(binary) => [&binary.left, &binary.right]
                .into_iter()
                .for_each(|side| self.visit(side, span)),
            Node::Aggregate(aggregate) => {
                self.visit(&aggregate.of, span);
                let parameter = aggregate.parameter.iter();
                parameter.for_each(|parameter| self.visit(parameter, span));
            }
        }
    }

    fn of_windows(&mut self, windows: &'a Windows, span: Span, detail: Detail) {
        let span = self.further(span, &windows.shift, windows.range_ms);
        match &windows.of {
            WindowSource::Selector(matchers) => self.read(matchers, span, detail),
            WindowSource::Subquery(inner, _) => self.visit(inner, span),
        }
    }

    /// The times that an expression reads when it is evaluated over a range of time.
    fn further(&self, (first_ms, last_ms): Span, shift: &Shift, back_ms: i64) -> Span {
        let at = |at_ms| shift.apply(at_ms, &self.whole);
        (at(first_ms).saturating_sub(back_ms), at(last_ms))
    }

    fn read(&mut self, matchers: &'a [Matcher], (after_ms, until_ms): Span, detail: Detail) {
        self.found.push(Reads {
            matchers,
            after_ms,
            until_ms,
            detail,
        });
    }
}
