//! Filters: is a value one of those that `[?(…)]` means?

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::Segment;
use super::eval::{Evaluation, Node, TooManySteps};
use crate::Json;

/// Bytes of a regular expression at most; a longer one matches nothing.
const PATTERN_LEN_MAX: usize = 4096;
/// Bytes of memory that a compiled one may take, and its caches.
const PATTERN_SIZE_MAX: usize = 1 << 20;
/// Expressions that are kept compiled while a path is evaluated.
const PATTERNS_MAX: usize = 8;
/// What compiling one counts as, in steps.
const PATTERN_STEPS: u64 = 10_000;

#[derive(Debug)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Comparison, Term, Term),
    Exists(Term),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Matches,
}

#[derive(Debug)]
pub(super) enum Term {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Str(Box<str>),
    /// From the value that is tested.
    Current(Subpath),
    /// From the root of the document, or of the value that an outer filter tests.
    Root(Subpath),
    Arithmetic(ArithmeticOp, Box<(Term, Term)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug)]
pub(super) struct Subpath {
    pub segments: Vec<Segment>,
    /// There is one result at most.
    pub singular: bool,
}

/// What a term stands for.
enum Operand<'a> {
    Nothing,
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Str(&'a str),
    Value(&'a Json),
    /// Several: a comparison holds if it does for one of them.
    Values(Vec<&'a Json>),
}

/// Regular expressions compiled so far; `None` for what is none.
#[derive(Default)]
pub(super) struct Patterns(Vec<(Box<str>, Option<Regex>)>);

impl Patterns {
    fn is_match(&mut self, pattern: &str, text: &str) -> bool {
        if let Some((_, regex)) = self.0.iter().find(|(known, _)| **known == *pattern) {
            return regex.as_ref().is_some_and(|regex| regex.is_match(text));
        }
        let regex = (pattern.len() <= PATTERN_LEN_MAX)
            .then(|| {
                RegexBuilder::new(pattern)
                    .size_limit(PATTERN_SIZE_MAX)
                    .dfa_size_limit(PATTERN_SIZE_MAX)
                    .build()
            })
            .and_then(Result::ok);
        let matches = regex.as_ref().is_some_and(|regex| regex.is_match(text));
        if self.0.len() == PATTERNS_MAX {
            self.0.remove(0);
        }
        self.0.push((pattern.into(), regex));
        matches
    }

    fn knows(&self, pattern: &str) -> bool {
        self.0.iter().any(|(known, _)| **known == *pattern)
    }
}

impl<'a> Evaluation<'a, '_> {
    /// Is `value` one that the filter means?
    pub(super) fn passes(&mut self, filter: &Filter, value: &'a Json) -> Result<bool, TooManySteps> {
        self.count(1)?;
        Ok(match filter {
            Filter::Any(filters) => {
                for filter in filters {
                    if self.passes(filter, value)? {
                        return Ok(true);
                    }
                }
                false
            }
            Filter::All(filters) => {
                for filter in filters {
                    if !self.passes(filter, value)? {
                        return Ok(false);
                    }
                }
                true
            }
            Filter::Not(filter) => !self.passes(filter, value)?,
            Filter::Exists(term) => !matches!(self.operand(term, value)?, Operand::Nothing),
            Filter::Compare(comparison, left, right) => {
                let (left, right) = (self.operand(left, value)?, self.operand(right, value)?);
                self.compare(*comparison, &left, &right)?
            }
        })
    }

    fn operand<'p>(&mut self, term: &'p Term, value: &'a Json) -> Result<Operand<'p>, TooManySteps>
    where
        'a: 'p,
    {
        Ok(match term {
            Term::Null => Operand::Null,
            Term::Bool(value) => Operand::Bool(*value),
            Term::Int(value) => Operand::Int(*value),
            Term::Double(value) => Operand::Double(*value),
            Term::Str(text) => Operand::Str(text),
            Term::Current(path) => self.values(path, value, value)?,
            Term::Root(path) => self.values(path, self.root, self.root)?,
            Term::Arithmetic(op, terms) => {
                let (left, right) = (self.operand(&terms.0, value)?, self.operand(&terms.1, value)?);
                left.calculate(*op, &right)
            }
        })
    }

    fn values(
        &mut self,
        path: &Subpath,
        from: &'a Json,
        root: &'a Json,
    ) -> Result<Operand<'a>, TooManySteps> {
        if path.singular {
            self.count(path.segments.len() as u64)?;
            let found = path.segments.iter().try_fold(from, |value, segment| match (value, segment) {
                (Json::Object(object), Segment::Key(name)) => object.get(name),
                (Json::Array(elements), Segment::Indexes(indexes)) => {
                    elements.get(super::absolute(indexes[0], elements.len()))
                }
                _ => None,
            });
            return Ok(found.map_or(Operand::Nothing, Operand::Value));
        }
        // A filter within this path that speaks of `$` means where this path began.
        let outer = std::mem::replace(&mut self.root, root);
        let found = self.select(&path.segments, Node::untracked(from));
        self.root = outer;
        let mut found = found?;
        Ok(match found.len() {
            0 => Operand::Nothing,
            1 => found.pop().map_or(Operand::Nothing, |node| Operand::Value(node.value)),
            _ => Operand::Values(found.into_iter().map(|node| node.value).collect()),
        })
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Operand<'_>,
        right: &Operand<'_>,
    ) -> Result<bool, TooManySteps> {
        match (comparison, left, right) {
            (Comparison::NotEqual, ..) => Ok(!self.compare(Comparison::Equal, left, right)?),
            (_, Operand::Values(values), _) => {
                self.any(values, |this, value| this.compare(comparison, &Operand::Value(value), right))
            }
            (_, _, Operand::Values(values)) => {
                self.any(values, |this, value| this.compare(comparison, left, &Operand::Value(value)))
            }
            (Comparison::Matches, ..) => self.matches(left, right),
            (Comparison::Equal, Operand::Value(a), Operand::Value(b)) => {
                // As much as both may have.
                self.count(a.node_count(1 << 20) as u64)?;
                Ok(a.equals_loosely(b))
            }
            _ => {
                let order = left.order(right);
                Ok(order.is_some_and(|order| match comparison {
                    Comparison::Equal => order.is_eq(),
                    Comparison::Less => order.is_lt(),
                    Comparison::AtMost => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }))
            }
        }
    }

    fn any<'v>(
        &mut self,
        values: &[&'v Json],
        mut test: impl FnMut(&mut Self, &'v Json) -> Result<bool, TooManySteps>,
    ) -> Result<bool, TooManySteps> {
        for value in values {
            self.count(1)?;
            if test(self, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn matches(&mut self, text: &Operand<'_>, pattern: &Operand<'_>) -> Result<bool, TooManySteps> {
        // Only a string of the document is ever matched.
        let (Operand::Value(Json::Str(text)), Some(pattern)) = (text, pattern.as_str()) else {
            return Ok(false);
        };
        self.count(text.len() as u64 / 8)?;
        if !self.patterns.knows(pattern) {
            self.count(PATTERN_STEPS)?;
        }
        Ok(self.patterns.is_match(pattern, text))
    }
}

impl<'a> Operand<'a> {
    /// What the value is, if it is no container.
    fn scalar(&self) -> Operand<'a> {
        match *self {
            Self::Value(value) => match value {
                Json::Null => Self::Null,
                Json::Bool(value) => Self::Bool(*value),
                Json::Int(value) => Self::Int(*value),
                Json::Uint(value) => Self::Double(*value as f64),
                Json::Double(value) => Self::Double(*value),
                Json::Str(text) => Self::Str(text),
                Json::Array(_) | Json::Object(_) => Self::Nothing,
            },
            Self::Null => Self::Null,
            Self::Bool(value) => Self::Bool(value),
            Self::Int(value) => Self::Int(value),
            Self::Double(value) => Self::Double(value),
            Self::Str(text) => Self::Str(text),
            Self::Nothing | Self::Values(_) => Self::Nothing,
        }
    }

    fn as_str(&self) -> Option<&'a str> {
        match self.scalar() {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// `None` where the two cannot be compared.
    fn order(&self, other: &Operand<'_>) -> Option<Ordering> {
        match (self.scalar(), other.scalar()) {
            (Operand::Int(a), Operand::Int(b)) => Some(a.cmp(&b)),
            (Operand::Int(a), Operand::Double(b)) => (a as f64).partial_cmp(&b),
            (Operand::Double(a), Operand::Int(b)) => a.partial_cmp(&(b as f64)),
            (Operand::Double(a), Operand::Double(b)) => a.partial_cmp(&b),
            (Operand::Str(a), Operand::Str(b)) => Some(a.cmp(b)),
            (Operand::Bool(a), Operand::Bool(b)) => Some(a.cmp(&b)),
            (Operand::Null, Operand::Null) => Some(Ordering::Equal),
            _ => None,
        }
    }

    /// Of anything but two numbers, and of what has no finite result: nothing.
    fn calculate(&self, op: ArithmeticOp, other: &Operand<'_>) -> Operand<'a> {
        use ArithmeticOp::{Add, Divide, Multiply, Remainder, Subtract};
        let (left, right) = (self.scalar(), other.scalar());
        if let (Operand::Int(a), Operand::Int(b)) = (&left, &right) {
            let exact = match op {
                Add => a.checked_add(*b),
                Subtract => a.checked_sub(*b),
                Multiply => a.checked_mul(*b),
                Divide if *b != 0 && a.checked_rem(*b) == Some(0) => a.checked_div(*b),
                Divide => None,
                Remainder => a.checked_rem(*b),
            };
            if let Some(value) = exact {
                return Operand::Int(value);
            }
        }
        let number = |operand: &Operand<'_>| match *operand {
            Operand::Int(value) => Some(value as f64),
            Operand::Double(value) => Some(value),
            _ => None,
        };
        let (Some(a), Some(b)) = (number(&left), number(&right)) else { return Operand::Nothing };
        let value = match op {
            Add => a + b,
            Subtract => a - b,
            Multiply => a * b,
            Divide => a / b,
            Remainder => a % b,
        };
        if value.is_finite() { Operand::Double(value) } else { Operand::Nothing }
    }
}
