use crate::plan::{Node, Shift, Windows, WindowsOf};
use crate::query::Expression;
use crate::{Limits, Matcher};

/// What one selector of an expression reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads<'a> {
    /// Which series.
    pub matchers: &'a [Matcher],
    /// How far before the time of evaluation: range or look-back (of [`Limits::default`]), offset, and subqueries around it
    /// together, in milliseconds. `@` is not among it.
    pub back_ms: i64,
}

impl Expression {
    /// Every selector of the expression, for instance to know what must be kept for it.
    pub fn reads(&self) -> Vec<Reads<'_>> {
        let mut found = Vec::new();
        of(&self.root, 0, &mut found);
        found
    }
}

fn of<'a>(node: &'a Node, back_ms: i64, found: &mut Vec<Reads<'a>>) {
    match node {
        Node::Number(_) | Node::Text(_) => {}
        Node::Selector(selector) => found.push(Reads {
            matchers: &selector.matchers,
            back_ms: further(back_ms, &selector.shift, Limits::default().look_back_ms),
        }),
        Node::Windows(windows) => of_windows(windows, back_ms, found),
        Node::OverWindow(call) => {
            of_windows(&call.windows, back_ms, found);
            call.numbers
                .iter()
                .for_each(|number| of(number, back_ms, found));
        }
        Node::Each(_, inner) | Node::Absent(_, inner) | Node::Relabel(_, inner) => {
            of(inner, back_ms, found)
        }
        Node::Call(_, arguments) => arguments
            .iter()
            .for_each(|argument| of(argument, back_ms, found)),
        Node::Binary(binary) => [&binary.left, &binary.right]
            .into_iter()
            .for_each(|side| of(side, back_ms, found)),
        Node::Aggregate(aggregate) => {
            of(&aggregate.of, back_ms, found);
            aggregate
                .parameter
                .iter()
                .for_each(|parameter| of(parameter, back_ms, found));
        }
    }
}

fn of_windows<'a>(windows: &'a Windows, back_ms: i64, found: &mut Vec<Reads<'a>>) {
    let back_ms = further(back_ms, &windows.shift, windows.range_ms);
    match &windows.of {
        WindowsOf::Selector(matchers) => found.push(Reads { matchers, back_ms }),
        WindowsOf::Subquery(inner, _) => of(inner, back_ms, found),
    }
}

fn further(back_ms: i64, shift: &Shift, by_ms: i64) -> i64 {
    back_ms
        .saturating_add(shift.offset_ms)
        .saturating_add(by_ms)
}
