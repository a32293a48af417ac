//! Expressions that are nearly right.

use promql::Steps;

use crate::own::{expressions, loaded, small};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "\\",
    "-",
    "+",
    "^",
    "/",
    "%",
    "=~",
    "!~",
    "==",
    " bool ",
    "[5m]",
    "[1h:1m]",
    "[:]",
    " offset 1h",
    " @ end()",
    " @ 1e18",
    " by (x) ",
    " without () ",
    " on () group_left (x) ",
    "sum",
    "topk",
    "rate",
    "absent",
    "NaN",
    "Inf",
    "1e999",
    "-0",
    "0x7fffffffffffffff",
    "\u{1F980}",
    "#",
    "\n",
    " and ",
    " or ",
    " unless ",
    "label_replace(",
    "count_values(\"x\",",
    "histogram_quantile(",
    "time()",
    "[NaN]",
    " offset Inf",
    "[1e99:2e99]",
    "vector(1)",
    "temperature",
    "requests_total",
    "{__name__=~\".+\"}",
];

#[test]
fn mutated_expressions_are_no_panic() {
    let (corpus, store) = (expressions(), loaded());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut text = corpus[dice.below(corpus.len())].clone();
        for _ in 0..=dice.below(3) {
            let mut cut = || {
                let at = dice.below(text.len() + 1);
                (0..=at)
                    .rev()
                    .find(|at| text.is_char_boundary(*at))
                    .unwrap_or(0)
            };
            let (from, to) = (cut(), cut());
            let other = &corpus[dice.below(corpus.len())];
            match dice.below(4) {
                0 => text.replace_range(from.min(to)..from.max(to), ""),
                1 => text.insert_str(from, PIECES[dice.below(PIECES.len())]),
                2 => text.insert_str(from, other),
                _ => {
                    text.replace_range(from.min(to)..from.max(to), PIECES[dice.below(PIECES.len())])
                }
            }
        }
        let Ok(expression) = promql::parse(&text) else {
            continue;
        };
        read += 1;
        let _ = promql::instant(&expression, &store, 300_000, &small());
        let steps = Steps {
            start_ms: 0,
            end_ms: 300_000,
            step_ms: 60_000,
        };
        let _ = promql::range(&expression, &store, steps, &small());
    }
    assert!(read > 1_500, "only {read} of them are expressions");
}
