//! Parses tokens into a template.

use super::functions::Function;
use super::lexer::{Item, Token, items};
use super::{Branch, Command, Kind, Names, Operand, Part, Pipeline};

/// Branches and parentheses within one another.
const MAX_DEPTH: usize = 16;

/// Reads a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parser = Parser {
        items: items(text)?.into_iter(),
        variables: vec!["labels".to_owned(), "value".to_owned()],
        depth: 0,
    };
    match parser.parts()? {
        (parts, Ending::Whole) => Ok(parts),
        (_, Ending::Else) => Err("{{ else }} without a beginning".to_owned()),
        (_, Ending::End) => Err("{{ end }} without a beginning".to_owned()),
    }
}

struct Parser {
    items: std::vec::IntoIter<Item>,
    variables: Vec<String>,
    depth: usize,
}

/// The token that ends a list of parts.
enum Ending {
    Whole,
    Else,
    End,
}

impl Parser {
    fn parts(&mut self) -> Result<(Vec<Part>, Ending), String> {
        let mut parts = Vec::new();
        while let Some(item) = self.items.next() {
            let tokens = match item {
                Item::Text(text) => {
                    parts.push(Part::Text(text));
                    continue;
                }
                Item::Action(tokens) => tokens,
            };
            let kind = match tokens.as_slice() {
                [Token::Word(word)] if word == "end" => return Ok((parts, Ending::End)),
                [Token::Word(word)] if word == "else" => return Ok((parts, Ending::Else)),
                [Token::Word(word), ..] => kind(word),
                _ => None,
            };
            parts.push(match kind {
                Some(kind) => Part::Branch(self.branch(kind, &tokens[1..])?),
                None => Part::Show(self.shown(&tokens)?),
            });
        }
        Ok((parts, Ending::Whole))
    }

    fn shown(&mut self, tokens: &[Token]) -> Result<Pipeline, String> {
        let (_, tokens) = self.declared(Kind::If, tokens)?;
        self.pipeline(tokens)
    }

    fn branch(&mut self, kind: Kind, tokens: &[Token]) -> Result<Branch, String> {
        self.deeper()?;
        let known = self.variables.len();
        let (names, of) = self.declared(kind, tokens)?;
        let of = self.pipeline(of)?;
        if let Some((index, element)) = &names {
            self.variables.extend([index.clone(), element.clone()]);
        }
        let (then, mut ending) = self.parts()?;
        self.variables.truncate(known);
        let mut otherwise = Vec::new();
        if let Ending::Else = ending {
            (otherwise, ending) = self.parts()?;
        }
        self.depth -= 1;
        match ending {
            Ending::End => Ok(Branch {
                kind,
                names,
                of,
                then,
                otherwise,
            }),
            Ending::Else => Err("a second {{ else }}".to_owned()),
            Ending::Whole => Err("{{ end }} is missing".to_owned()),
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(format!("more than {MAX_DEPTH} actions within one another")),
            false => Ok(()),
        }
    }

    /// `$i, $x :=` and what follows.
    fn declared<'a>(
        &self,
        kind: Kind,
        tokens: &'a [Token],
    ) -> Result<(Option<Names>, &'a [Token]), String> {
        match tokens {
            [
                Token::Path(Some(index), no_fields),
                Token::Comma,
                Token::Path(Some(element), none),
                Token::Declare,
                rest @ ..,
            ] if kind == Kind::Range && no_fields.is_empty() && none.is_empty() => {
                Ok((Some((index.clone(), element.clone())), rest))
            }
            _ if tokens.contains(&Token::Declare) => {
                Err("variables are covered only as {{ range $i, $x := … }}".to_owned())
            }
            _ => Ok((None, tokens)),
        }
    }

    fn pipeline(&mut self, tokens: &[Token]) -> Result<Pipeline, String> {
        let mut rest = tokens;
        let pipeline = self.commands(&mut rest)?;
        match rest.first() {
            None => Ok(pipeline),
            Some(token) => Err(format!("{token:?} is out of place")),
        }
    }

    /// Until a parenthesis closes, or the end.
    fn commands(&mut self, rest: &mut &[Token]) -> Result<Pipeline, String> {
        let mut commands: Vec<Command> = Vec::new();
        loop {
            let is_piped = !commands.is_empty();
            let function = match rest.first() {
                Some(Token::Word(word)) => {
                    *rest = &rest[1..];
                    Some(Function::of(word)?)
                }
                _ => None,
            };
            let mut operands = Vec::new();
            while let Some(operand) = self.operand(rest)? {
                operands.push(operand);
            }
            commands.push(match (function, operands.pop()) {
                (Some(function), last) => {
                    operands.extend(last);
                    function.check(&operands, is_piped)?;
                    Command::Call(function, operands)
                }
                (None, Some(one)) if operands.is_empty() && !is_piped => Command::Is(one),
                (None, None) => return Err("an action without anything in it".to_owned()),
                _ => return Err("only functions take arguments".to_owned()),
            });
            match rest.first() {
                Some(Token::Pipe) => *rest = &rest[1..],
                _ => return Ok(Pipeline(commands)),
            }
        }
    }

    fn operand(&mut self, rest: &mut &[Token]) -> Result<Option<Operand>, String> {
        let operand = match rest.first() {
            Some(Token::Text(text)) => Operand::Text(text.clone()),
            Some(Token::Number(number)) => Operand::Number(*number),
            Some(Token::Path(variable, fields)) => {
                self.check(variable.as_deref(), fields)?;
                Operand::Path(variable.clone(), fields.clone())
            }
            Some(Token::Open) => {
                self.deeper()?;
                *rest = &rest[1..];
                let inner = self.commands(rest)?;
                self.depth -= 1;
                if rest.first() != Some(&Token::Close) {
                    return Err("a parenthesis does not close".to_owned());
                }
                Operand::Group(inner)
            }
            Some(Token::Word(word)) => {
                return Err(format!("{word} as an argument is not covered"));
            }
            _ => return Ok(None),
        };
        *rest = &rest[1..];
        Ok(Some(operand))
    }

    /// The fields of an alert or a series: labels and a value.
    fn check(&self, variable: Option<&str>, fields: &[String]) -> Result<(), String> {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let is_known = match variable {
            Some("labels") => fields.len() <= 1,
            Some("value") => fields.is_empty(),
            Some(name) if !self.variables.iter().any(|known| known == name) => {
                return Err(format!(
                    "the variable ${name} is not covered: allowed are $labels and $value"
                ));
            }
            _ => matches!(fields[..], [] | ["Value"] | ["Labels"] | ["Labels", _]),
        };
        match is_known {
            true => Ok(()),
            false => Err(format!(
                "the field .{} is not covered: allowed are .Labels, its names, and .Value",
                fields.join(".")
            )),
        }
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "if" => Some(Kind::If),
        "with" => Some(Kind::With),
        "range" => Some(Kind::Range),
        _ => None,
    }
}
