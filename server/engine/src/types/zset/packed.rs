//! The small form: a listpack of members and scores by turns, in order.
//!
//! Everything here is a walk: the limits keep it short, and it is a walk through one run of bytes.

use std::cmp::Ordering;
use std::ops;

use cairn_proto::{DOUBLE_TEXT_MAX, format_double};

use super::tree::ZsetTree;
use super::{Elem, ZsetError};
use crate::args::parse_f64;
use crate::ds::listpack::{self, Item};
use crate::ds::{HashSeed, Listpack};

/// Whole scores up to this magnitude (2^62) are stored as integers, as Redis does. -0 becomes 0 that way.
const INTEGER_SCORE_MAX: f64 = 4_611_686_018_427_387_904.0;

#[derive(Clone, Debug)]
pub(super) struct Packed(Listpack);

impl Packed {
    pub fn new() -> Self {
        Self(Listpack::new())
    }

    /// Pairs with scores that are numbers; their order and repeated members are the caller's business.
    pub fn from_listpack(listpack: Listpack) -> Result<Self, ZsetError> {
        let mut items = listpack.iter();
        while items.next().is_some() {
            let score = items.next().ok_or(ZsetError::OddLength)?;
            parse_score(score).ok_or(ZsetError::BadScore)?;
        }
        Ok(Self(listpack))
    }

    pub fn listpack(&self) -> &Listpack {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len() / 2
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn is_sorted(&self) -> bool {
        let (mut digits, mut next_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.iter().zip(self.iter().skip(1)).all(|((member, score), (next, next_score))| {
            score < next_score
                || (score == next_score && member.to_bytes(&mut digits) < next.to_bytes(&mut next_digits))
        })
    }

    /// Does a pair with a member of this length surely fit?
    pub fn has_room_for(&self, member_len: usize) -> bool {
        self.0.has_room_for(member_len + DOUBLE_TEXT_MAX, 2)
    }

    /// The position and score of the member.
    pub fn find(&self, member: &[u8]) -> Option<(usize, f64)> {
        let pos = self.0.find(member, 1)?;
        let score = self.0.next(pos).expect("a member has a score");
        Some((pos, score_of(self.0.get(score))))
    }

    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let mut walk = self.iter().enumerate();
        walk.find_map(|(rank, (present, score))| {
            present.with_bytes(|text| text == member).then_some((rank, score))
        })
    }

    /// Takes out the member at this position with its score.
    pub fn delete(&mut self, pos: usize) {
        self.0.delete_from(pos, 2);
    }

    /// Puts in a member that is not there.
    pub fn insert(&mut self, member: &[u8], score: f64) {
        let mut items = self.0.iter();
        let pos = loop {
            let pos = items.pos();
            let Some(present) = items.next() else { return self.append(member, score) };
            let present_score = score_of(items.next().expect("a member has a score"));
            if present_score > score
                || (present_score == score && present.cmp_bytes(member) == Ordering::Greater)
            {
                break pos;
            }
        };
        with_score_item(score, |item| self.0.insert_before(pos, item));
        self.0.insert_before(pos, member);
    }

    /// Puts in a member that belongs at the end.
    pub fn append(&mut self, member: &[u8], score: f64) {
        with_score_item(score, |item| self.0.append_many([Item::Str(member), item]));
    }

    pub fn iter(&self) -> Range<'_> {
        self.range(0..usize::MAX)
    }

    pub fn range(&self, ranks: ops::Range<usize>) -> Range<'_> {
        let ranks = self.cut(ranks);
        let mut items = self.0.iter();
        if ranks.start > 0 {
            items.nth(2 * ranks.start - 1);
        }
        Range { items, left: ranks.len() }
    }

    pub fn range_back(&self, ranks: ops::Range<usize>) -> RangeBack<'_> {
        let ranks = self.cut(ranks);
        let mut items = self.0.iter();
        let beyond = self.len() - ranks.end;
        if beyond > 0 {
            items.nth_back(2 * beyond - 1);
        }
        RangeBack { items, left: ranks.len() }
    }

    pub fn at_rank(&self, rank: usize) -> Option<(Elem<'_>, f64)> {
        self.range(rank..rank.saturating_add(1)).next()
    }

    pub fn remove_range(&mut self, ranks: ops::Range<usize>) -> usize {
        let walk = self.range(ranks);
        let (pos, count) = (walk.items.pos(), walk.left);
        self.0.delete_from(pos, 2 * count);
        count
    }

    pub fn partition_point(&self, mut pred: impl FnMut(f64, Elem<'_>) -> bool) -> usize {
        self.iter().take_while(|&(member, score)| pred(score, member)).count()
    }

    pub fn to_tree(&self, seed: HashSeed) -> ZsetTree {
        let pairs = self.iter().map(|(member, score)| (member.to_member(), score));
        ZsetTree::from_pairs(pairs, seed).expect("members of a listpack are distinct")
    }

    fn cut(&self, ranks: ops::Range<usize>) -> ops::Range<usize> {
        let len = self.len();
        let start = ranks.start.min(len);
        start..ranks.end.clamp(start, len)
    }
}

/// Some pairs, upwards.
pub(super) struct Range<'a> {
    items: listpack::Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Range<'a> {
    type Item = (Elem<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let member = self.items.next()?;
        Some((Elem::from(member), score_of(self.items.next()?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Some pairs, downwards.
pub(super) struct RangeBack<'a> {
    items: listpack::Iter<'a>,
    left: usize,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = (Elem<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let score = score_of(self.items.next_back()?);
        Some((Elem::from(self.items.next_back()?), score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

fn parse_score(item: Item<'_>) -> Option<f64> {
    match item {
        Item::Int(int) => Some(int as f64),
        Item::Str(text) => parse_f64(text),
    }
}

fn score_of(item: Item<'_>) -> f64 {
    parse_score(item).expect("scores were checked when they came in")
}

fn with_score_item<R>(score: f64, store: impl FnOnce(Item<'_>) -> R) -> R {
    if score.abs() <= INTEGER_SCORE_MAX && score.trunc() == score {
        store(Item::Int(score as i64))
    } else {
        store(Item::Str(format_double(score, &mut [0; DOUBLE_TEXT_MAX]).as_bytes()))
    }
}
