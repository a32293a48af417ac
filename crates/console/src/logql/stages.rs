//! Pipelines: line filters, label filters, `json`, `drop`.

use super::ast::{
    Comparison, Condition, LogicalOperator, Matcher, NumberTest, Pattern, Stage, TextTest,
};
use super::cursor::Parser;
use super::lexer::Token;
use super::refusal::Refusal;

/// Stages of the language that are not answered.
const OTHER_STAGES: [&str; 9] = [
    "decolorize",
    "keep",
    "label_format",
    "line_format",
    "logfmt",
    "pattern",
    "regexp",
    "unpack",
    "unwrap",
];

impl Parser<'_> {
    /// All stages, up to the first token that starts none.
    pub fn stages(&mut self) -> Result<Vec<Stage>, Refusal> {
        let mut stages = Vec::new();
        while let Some(stage) = self.stage()? {
            stages.push(stage);
        }
        Ok(stages)
    }

    fn stage(&mut self) -> Result<Option<Stage>, Refusal> {
        let Token::Operator(sign) = *self.peek() else {
            return Ok(None);
        };
        if !["|=", "|~", "!=", "!~", "|>", "!>", "|"].contains(&sign) {
            return Ok(None);
        }
        self.part()?;
        self.advance();
        match sign {
            "|" => self.named_stage().map(Some),
            "|>" | "!>" => Err(self.unsupported(1, format!("the pattern filter \"{sign}\""))),
            _ => self.line_filter(sign).map(Some),
        }
    }

    fn line_filter(&mut self, sign: &str) -> Result<Stage, Refusal> {
        if matches!(self.peek(), Token::Word(word) if word == "ip") {
            return Err(self.unsupported(0, "\"ip\" in a line filter"));
        }
        let text = self.quoted()?;
        let pattern = match sign.ends_with('~') {
            true => Pattern::Regex(self.regex(&text, &text)?),
            false => Pattern::Text(text),
        };
        if self.accept_word("or") {
            return Err(self.unsupported(1, "\"or\" between texts of a line filter"));
        }
        Ok(Stage::Line(TextTest {
            negated: sign.starts_with('!'),
            pattern,
        }))
    }

    fn named_stage(&mut self) -> Result<Stage, Refusal> {
        let word = match self.peek() {
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => return self.condition().map(Stage::Label),
        };
        match word.as_str() {
            "json" => {
                self.advance();
                Ok(Stage::Json)
            }
            "drop" => {
                self.advance();
                self.dropped().map(Stage::Drop)
            }
            other if OTHER_STAGES.contains(&other) => {
                Err(self.unsupported(0, format!("the stage \"{other}\"")))
            }
            _ => self.condition().map(Stage::Label),
        }
    }

    fn dropped(&mut self) -> Result<Vec<String>, Refusal> {
        let mut labels = Vec::new();
        loop {
            labels.push(self.label()?);
            if matches!(self.peek(), Token::Operator("=" | "!=" | "=~" | "!~")) {
                return Err(self.unsupported(0, "\"drop\" with a matcher"));
            }
            if !self.accept(",") {
                return Ok(labels);
            }
            self.part()?;
        }
    }

    /// Conditions joined by `and`, `or` and commas.
    fn condition(&mut self) -> Result<Condition, Refusal> {
        let first = self.single_condition()?;
        let mut rest = Vec::new();
        while let Some(joint) = self.joint() {
            self.part()?;
            rest.push((joint, self.single_condition()?));
        }
        Ok(match rest.is_empty() {
            true => first,
            false => Condition::Chain(Box::new(first), rest),
        })
    }

    fn joint(&mut self) -> Option<LogicalOperator> {
        if self.accept(",") || self.accept_word("and") {
            Some(LogicalOperator::And)
        } else {
            self.accept_word("or").then_some(LogicalOperator::Or)
        }
    }

    fn accept_word(&mut self, joint: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(joint));
        if found {
            self.advance();
        }
        found
    }

    fn single_condition(&mut self) -> Result<Condition, Refusal> {
        if *self.peek() == Token::Operator("(") {
            return self.nested(Self::condition);
        }
        let label = self.label()?;
        let signs = ["=", "==", "!=", "=~", "!~", "<", "<=", ">", ">="];
        let sign = self.expect_any(&signs)?;
        let takes_text = ["=", "!=", "=~", "!~"].contains(&sign);
        let takes_number = !sign.ends_with('~');
        match self.peek().clone() {
            Token::Text(text) if takes_text => {
                self.advance();
                let test = self.label_test(sign, text)?;
                Ok(Condition::Text(Matcher { label, test }))
            }
            Token::Word(word) if takes_text && word == "ip" => {
                Err(self.unsupported(0, "\"ip\" in a label filter"))
            }
            _ if takes_number => self.number_test(label, sign).map(Condition::Number),
            _ => Err(self.unexpected("a string")),
        }
    }

    fn number_test(&mut self, label: String, sign: &str) -> Result<NumberTest, Refusal> {
        let sign_of_value = match self.accept("-") {
            true => -1.0,
            false => {
                self.accept("+");
                1.0
            }
        };
        let (value, is_duration) = match *self.peek() {
            Token::Number(number) => (number, false),
            Token::Duration(nanoseconds) => (nanoseconds as f64, true),
            Token::Bytes(_) => return Err(self.unsupported(0, "a comparison with bytes")),
            _ => return Err(self.unexpected("a string, a number or a duration")),
        };
        self.advance();
        Ok(NumberTest {
            label,
            comparison: comparison(sign),
            value: sign_of_value * value,
            is_duration,
        })
    }
}

fn comparison(sign: &str) -> Comparison {
    match sign {
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Greater,
        ">=" => Comparison::AtLeast,
        _ => Comparison::Equal,
    }
}
