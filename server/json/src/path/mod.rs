//! Paths: which values of a document somebody means.
//!
//! The dialect is RedisJSON's. `parse.rs` has its grammar, `eval.rs` walks documents, `filter.rs` decides `[?(…)]`.

mod eval;
mod filter;
mod parse;

use filter::Filter;

use crate::location::Step;
use crate::text::Text;
pub use eval::{STEPS_MAX, Steps, TooManySteps};
pub use parse::PathError;

/// Parts of a path at most; a document is not that deep.
pub const SEGMENTS_MAX: usize = 1024;
/// Filters, parentheses and operators within each other at most: they are evaluated by recursion.
const NESTING_MAX: usize = 32;

/// A path, ready to be looked for in documents.
#[derive(Debug)]
pub struct Path {
    segments: Vec<Segment>,
    legacy: bool,
}

/// One part of a path: from a value to some of those in it.
#[derive(Debug)]
enum Segment {
    /// `.name`, `['name']`
    Key(Text),
    /// `['a','b']`
    Keys(Vec<Text>),
    /// `[3]`, `[-1]`, `[0,2]`
    Indexes(Vec<i64>),
    /// `[1:5:2]`
    Slice { start: Option<i64>, end: Option<i64>, step: usize },
    /// `.*`, `[*]`
    All,
    /// `..`: the value itself and all within it, each to be gone on from.
    Descend,
    /// `[?(…)]`
    Filter(Filter),
}

/// The last step of a path that can have one result at most.
#[derive(Debug, PartialEq, Eq)]
pub enum Last<'a> {
    Key(&'a Text),
    Index,
}

impl Path {
    /// Parses a path. One that does not begin with `$` is a legacy path, as old clients send it: `.`, `.a.b`, `a[0]`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let legacy = Self::is_legacy_text(text);
        let fixed = match text {
            _ if !legacy => std::borrow::Cow::Borrowed(text),
            "." => "$".into(),
            _ if text.starts_with('.') => format!("${text}").into(),
            _ => format!("$.{text}").into(),
        };
        Ok(Self { segments: parse::path(&fixed)?, legacy })
    }

    /// Does the text mean one value, in the older notation? Then replies are not lists.
    pub fn is_legacy_text(text: &str) -> bool {
        !matches!(text.as_bytes(), [b'$'] | [b'$', b'.' | b'[', ..])
    }

    /// The whole document, in the older notation: what commands take when no path is given.
    pub fn legacy_root() -> Self {
        Self { segments: Vec::new(), legacy: true }
    }

    pub fn is_legacy(&self) -> bool {
        self.legacy
    }

    /// Is it the whole document?
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// Does each step name a single field or element? Then there is one result at most.
    pub fn is_static(&self) -> bool {
        is_singular(&self.segments)
    }

    /// The last step, if each one names a single field or element. `None` for the root.
    pub fn last_if_static(&self) -> Option<Last<'_>> {
        if !is_singular(&self.segments) {
            return None;
        }
        Some(match self.segments.last()? {
            Segment::Key(name) => Last::Key(name),
            _ => Last::Index,
        })
    }
}

/// Can there be one result at most?
fn is_singular(segments: &[Segment]) -> bool {
    let single = |segment: &Segment| match segment {
        Segment::Key(_) => true,
        Segment::Indexes(indexes) => indexes.len() == 1,
        _ => false,
    };
    segments.iter().all(single)
}

/// The place that an index means in an array of this length. A negative one counts from the end, and means the first
/// element when it goes beyond it.
fn absolute(index: i64, len: usize) -> usize {
    match usize::try_from(index) {
        Ok(index) => index.min(len),
        Err(_) => len.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

/// A step that borrows the name from the document.
#[derive(Clone, Copy, Debug)]
enum StepRef<'a> {
    Key(&'a Text),
    Index(usize),
}

impl StepRef<'_> {
    fn to_step(self) -> Step {
        match self {
            Self::Key(name) => Step::Key(name.clone()),
            Self::Index(index) => Step::Index(index),
        }
    }
}

#[cfg(test)]
mod tests;
