//! The language of the catalogue: what a command may look like, as text.
//!
//! | written | meaning |
//! |---|---|
//! | `WORD` | the word itself, now and then in lower case |
//! | `$name` | a random argument of this kind ([`super::values`]) |
//! | `( a \| b c )` | one of the sequences |
//! | `[ a \| b c ]` | one of the sequences, or nothing |
//! | `< a \| b c >` | any of the sequences in any order, now and then one twice |
//! | `{ a b }` | the sequence, once or more often |
//! | `#{ a b }` | the same with the number of repetitions in front, now and then a wrong one |

use super::values::{Kind, Values};

/// A part of a command.
#[derive(Debug)]
enum Node {
    Word(String),
    Value(Kind),
    OneOf(Vec<Sequence>),
    Maybe(Vec<Sequence>),
    AnyOf(Vec<Sequence>),
    Repeat { body: Sequence, counted: bool },
}

type Sequence = Vec<Node>;

/// What one line of the catalogue says.
#[derive(Debug)]
pub struct Pattern(Sequence);

impl Pattern {
    /// Reads a line of the catalogue, which is part of the program: what is wrong with it is a panic.
    pub fn parse(text: &str) -> Pattern {
        let mut words = text.split_whitespace();
        let mut alternatives = parse_until(&mut words, None, text);
        assert_eq!(alternatives.len(), 1, "a choice without parentheses: {text}");
        Pattern(alternatives.remove(0))
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        match &self.0[0] {
            Node::Word(word) => word,
            other => panic!("a command begins with its name, not {other:?}"),
        }
    }

    /// One command of this pattern.
    pub fn draw(&self, values: &Values) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        draw(&self.0, values, &mut args);
        args
    }
}

/// Alternatives up to the closing bracket.
fn parse_until<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    close: Option<&str>,
    text: &str,
) -> Vec<Sequence> {
    let mut alternatives = vec![Sequence::new()];
    while let Some(word) = words.next() {
        if Some(word) == close {
            return alternatives;
        }
        let node = match word {
            "|" => {
                alternatives.push(Sequence::new());
                continue;
            }
            "(" => Node::OneOf(parse_until(words, Some(")"), text)),
            "[" => Node::Maybe(parse_until(words, Some("]"), text)),
            "<" => Node::AnyOf(parse_until(words, Some(">"), text)),
            "{" | "#{" => {
                let mut body = parse_until(words, Some("}"), text);
                assert_eq!(body.len(), 1, "a choice in braces: {text}");
                Node::Repeat { body: body.remove(0), counted: word == "#{" }
            }
            word => match word.strip_prefix('$') {
                Some(kind) => Node::Value(Kind::named(kind).unwrap_or_else(|| panic!("${kind}: {text}"))),
                None => Node::Word(word.to_owned()),
            },
        };
        alternatives.last_mut().expect("there is one from the start").push(node);
    }
    assert!(close.is_none(), "{close:?} is missing: {text}");
    alternatives
}

fn draw(sequence: &[Node], values: &Values, args: &mut Vec<Vec<u8>>) {
    for node in sequence {
        match node {
            Node::Word(word) => args.push(values.cased(word)),
            Node::Value(kind) => args.push(values.draw(*kind)),
            Node::OneOf(choices) => draw(values.pick::<Sequence>(choices), values, args),
            Node::Maybe(choices) => {
                if values.chance(2, 5) {
                    draw(values.pick::<Sequence>(choices), values, args);
                }
            }
            Node::AnyOf(choices) => {
                let mut order: Vec<usize> = (0..choices.len()).filter(|_| values.chance(1, 3)).collect();
                for at in (1..order.len()).rev() {
                    order.swap(at, values.below(at + 1));
                }
                if values.chance(1, 50) {
                    order.push(values.below(choices.len()));
                }
                for choice in order {
                    draw(&choices[choice], values, args);
                }
            }
            Node::Repeat { body, counted } => {
                let times = values.times();
                if *counted {
                    args.push(values.count_of(times));
                }
                for _ in 0..times {
                    draw(body, values, args);
                }
            }
        }
    }
}
