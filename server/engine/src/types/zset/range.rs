//! Bounds of ranges: scores, and texts.

use std::cmp::Ordering;

use super::Elem;

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    pub score: f64,
    /// The score itself is not part of the range.
    pub exclusive: bool,
}

/// Scores from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: ScoreBound,
    pub max: ScoreBound,
}

impl ScoreBound {
    /// As a minimum: is this score too low?
    pub(super) fn excludes_below(&self, score: f64) -> bool {
        if self.exclusive { score <= self.score } else { score < self.score }
    }

    /// As a maximum: is this score too high?
    pub(super) fn excludes_above(&self, score: f64) -> bool {
        if self.exclusive { score >= self.score } else { score > self.score }
    }
}

/// One end of a range of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before every text.
    Lowest,
    /// `+`: after every text.
    Highest,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

/// Texts from `min` to `max`, byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexBound<'a>,
    pub max: LexBound<'a>,
}

impl LexBound<'_> {
    /// As a minimum: is this member too low?
    pub(super) fn excludes_below(&self, member: Elem<'_>) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Inclusive(text) => compare(member, text) == Ordering::Less,
            Self::Exclusive(text) => compare(member, text) != Ordering::Greater,
        }
    }

    /// As a maximum: is this member too high?
    pub(super) fn excludes_above(&self, member: Elem<'_>) -> bool {
        match self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::Inclusive(text) => compare(member, text) == Ordering::Greater,
            Self::Exclusive(text) => compare(member, text) != Ordering::Less,
        }
    }
}

fn compare(member: Elem<'_>, text: &[u8]) -> Ordering {
    member.to_bytes(&mut itoa::Buffer::new()).cmp(text)
}
