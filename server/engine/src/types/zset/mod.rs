//! Sorted sets: members with a score each, in the order of (score, member).
//!
//! ```text
//!  small:  Listpack  m0 s0 m1 s1 …    in order; Redis's layout byte for byte (integers as such, else the text)
//!  large:  Arc ► scores: Dict   member → score      both hold the member: short ones in place, long ones share
//!                order:  CowTree (score, member)    one buffer
//! ```
//!
//! A small set becomes large when it outgrows [`Limits`], never the other way round (as in Redis). A clone is O(1)
//! in both forms, and what is written afterwards copies a listpack, or the way to one leaf of the dict and of the
//! tree.
//!
//! Invariants: no score is NaN; a member is there once; both halves of a large set hold the same pairs. Scores that
//! are equal as numbers (0 and -0) are the same score to the order.

mod packed;
mod range;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::Range;

use packed::Packed;
pub use range::{LexBound, LexRange, ScoreBound, ScoreRange};
use tree::ZsetTree;
use triomphe::Arc;

use super::element::Elem;
use crate::config::Config;
use crate::ds::size_class::size_class;
use crate::ds::{HashSeed, Listpack, Member};

/// How large a set may be in its small form, and what its large form needs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `zset-max-listpack-entries`
    pub entries: usize,
    /// `zset-max-listpack-value`, in bytes of a member.
    pub value: usize,
    pub seed: HashSeed,
}

impl Limits {
    /// The limits of the configuration.
    pub fn new(config: &Config, seed: HashSeed) -> Self {
        Self { entries: config.zset_max_listpack_entries, value: config.zset_max_listpack_value, seed }
    }
}

/// Why elements or bytes from outside do not make a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZsetError {
    #[error("a member stands in the sorted set twice")]
    DuplicateMember,
    #[error("the score of a sorted set's member is not a number")]
    BadScore,
    #[error("the last member of the sorted set has no score")]
    OddLength,
}

/// A sorted set.
#[derive(Clone, Debug)]
pub struct Zset(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Packed(Packed),
    Tree(Arc<ZsetTree>),
}

impl Zset {
    /// An empty set that is expected to get `entries` members of at most `member_len` bytes: it begins in the form
    /// that fits them.
    pub fn new(limits: &Limits, entries: usize, member_len: usize) -> Self {
        if entries <= limits.entries && member_len <= limits.value {
            Self(Repr::Packed(Packed::new()))
        } else {
            Self(Repr::Tree(Arc::new(ZsetTree::new(limits.seed))))
        }
    }

    /// Another `entries` members are about to come: takes the large form at once when they would force it.
    pub fn expect(&mut self, entries: usize, limits: &Limits) {
        if entries > limits.entries {
            self.make_tree(limits.seed);
        }
    }

    /// A set of these pairs, in any order, in the form that fits them. O(n log n), O(n) when they are sorted.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (Member, f64)>,
        limits: &Limits,
    ) -> Result<Self, ZsetError> {
        ZsetTree::from_pairs(pairs, limits.seed).map(|tree| Self::from_tree(tree, limits))
    }

    fn from_tree(tree: ZsetTree, limits: &Limits) -> Self {
        let members = || tree.iter(0..tree.len()).map(|((score, member), ())| (member, score.0));
        if tree.len() <= limits.entries && members().all(|(member, _)| member.len() <= limits.value) {
            let mut packed = Packed::new();
            let fits = members().all(|(member, score)| {
                let fits = packed.has_room_for(member.len());
                if fits {
                    packed.append(member, score);
                }
                fits
            });
            if fits {
                return Self(Repr::Packed(packed));
            }
        }
        Self(Repr::Tree(Arc::new(tree)))
    }

    /// A set of a listpack from outside (members and scores by turns): checked in full, kept as it is when it is in
    /// order and within the limits, otherwise made anew.
    pub fn from_listpack(listpack: Listpack, limits: &Limits) -> Result<Self, ZsetError> {
        let packed = Packed::from_listpack(listpack)?;
        if packed.len() <= limits.entries && packed.is_sorted() {
            let mut members: Vec<Member> = packed.iter().map(|(member, _)| member.to_member()).collect();
            members.sort_unstable();
            if members.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(ZsetError::DuplicateMember);
            }
            return Ok(Self(Repr::Packed(packed)));
        }
        Self::from_pairs(packed.iter().map(|(member, score)| (member.to_member(), score)), limits)
    }

    /// The listpack of a small set, as Redis lays it out.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Repr::Packed(packed) => Some(packed.listpack()),
            Repr::Tree(_) => None,
        }
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Packed(packed) => packed.len(),
            Repr::Tree(tree) => tree.len(),
        }
    }

    /// Has it no members?
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::Packed(packed) => packed.is_empty(),
            Repr::Tree(tree) => tree.len() == 0,
        }
    }

    // ---- by member ----

    /// The member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Repr::Packed(packed) => packed.find(member).map(|(_, score)| score),
            Repr::Tree(tree) => tree.score(member),
        }
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Repr::Packed(packed) => packed.rank(member),
            Repr::Tree(tree) => tree.rank(member),
        }
    }

    /// Gives the member this score; returns the one that it had.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Option<f64> {
        self.update(member, limits, |_| Some(score))
    }

    /// Gives the member the score that `decide` makes of the one that it has, or leaves it alone when that is `None`
    /// or an equal one; returns the score that it had.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: &Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<f64> {
        let packed = match &mut self.0 {
            Repr::Packed(packed) => packed,
            Repr::Tree(tree) => return Arc::make_mut(tree).update(member, decide),
        };
        let found = packed.find(member);
        let old = found.map(|(_, score)| score);
        let Some(new) = decide(old) else { return old };
        debug_assert!(!new.is_nan());
        if let Some((pos, old)) = found {
            if old != new {
                packed.delete(pos);
                packed.insert(member, new);
            }
        } else if packed.len() < limits.entries
            && member.len() <= limits.value
            && packed.has_room_for(member.len())
        {
            packed.insert(member, new);
        } else {
            self.make_tree(limits.seed).update(member, |_| Some(new));
        }
        old
    }

    /// Takes the member out; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Repr::Packed(packed) => {
                let (pos, score) = packed.find(member)?;
                packed.delete(pos);
                Some(score)
            }
            Repr::Tree(tree) => {
                // Asked first, so that nothing shared is copied in vain.
                tree.score(member)?;
                Arc::make_mut(tree).remove(member)
            }
        }
    }

    // ---- by rank ----

    /// The member of this rank.
    pub fn at_rank(&self, rank: usize) -> Option<(Elem<'_>, f64)> {
        match &self.0 {
            Repr::Packed(packed) => packed.at_rank(rank),
            Repr::Tree(tree) => tree.at_rank(rank),
        }
    }

    /// The members of these ranks (cut to those that there are), from the lowest up, or from the highest down.
    pub fn range(&self, ranks: Range<usize>, reverse: bool) -> Iter<'_> {
        match (&self.0, reverse) {
            (Repr::Packed(packed), false) => Iter(Walk::Packed(packed.range(ranks))),
            (Repr::Packed(packed), true) => Iter(Walk::PackedBack(packed.range_back(ranks))),
            (Repr::Tree(tree), false) => Iter(Walk::Tree(tree.iter(ranks))),
            (Repr::Tree(tree), true) => Iter(Walk::TreeBack(tree.iter(ranks).rev())),
        }
    }

    /// All members in order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..usize::MAX, false)
    }

    /// Takes the members of these ranks out; answers how many.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        match &mut self.0 {
            Repr::Packed(packed) => packed.remove_range(ranks),
            Repr::Tree(_) if ranks.is_empty() => 0,
            Repr::Tree(tree) => Arc::make_mut(tree).remove_range(ranks),
        }
    }

    /// How many members stand before the first for which `pred` does not hold. It must hold for none after that.
    fn partition_point(&self, pred: impl FnMut(f64, Elem<'_>) -> bool) -> usize {
        match &self.0 {
            Repr::Packed(packed) => packed.partition_point(pred),
            Repr::Tree(tree) => tree.partition_point(pred),
        }
    }

    /// The ranks of the members with these scores.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.partition_point(|score, _| range.min.excludes_below(score));
        let end = self.partition_point(|score, _| !range.max.excludes_above(score));
        start..end.max(start)
    }

    /// The ranks of the members between these texts. All members must have the same score, or the result makes no
    /// sense (it is within the set nevertheless).
    pub fn ranks_by_lex(&self, range: &LexRange<'_>) -> Range<usize> {
        let start = self.partition_point(|_, member| range.min.excludes_below(member));
        let end = self.partition_point(|_, member| !range.max.excludes_above(member));
        start..end.max(start)
    }

    // ---- the rest ----

    /// Visits about `count` members from `cursor` on (0 at first) and returns the next cursor, 0 at the end. A small
    /// set is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Elem<'_>, f64)) -> u64 {
        match &self.0 {
            Repr::Packed(packed) => {
                packed.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Repr::Tree(tree) => tree.scan(cursor, count, visit),
        }
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Packed(_) => "listpack",
            Repr::Tree(_) => "skiplist",
        }
    }

    /// Elements that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        match &self.0 {
            Repr::Packed(_) => 1,
            // While a snapshot shares it, nothing is dropped.
            Repr::Tree(tree) if !tree.is_unique() => 1,
            Repr::Tree(tree) => tree.len(),
        }
    }

    /// Bytes of heap that the value holds; `samples` elements stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        match &self.0 {
            Repr::Packed(packed) => packed.listpack().as_shared().heap_size(),
            Repr::Tree(tree) => {
                let block = size_class(size_of::<usize>() + size_of::<ZsetTree>());
                block + tree.heap_size(samples)
            }
        }
    }

    fn make_tree(&mut self, seed: HashSeed) -> &mut ZsetTree {
        if let Repr::Packed(packed) = &self.0 {
            self.0 = Repr::Tree(Arc::new(packed.to_tree(seed)));
        }
        match &mut self.0 {
            Repr::Tree(tree) => Arc::make_mut(tree),
            Repr::Packed(_) => unreachable!("just made a tree"),
        }
    }
}

/// A sorted set in the making, whose scores may still change: unions.
pub struct ZsetBuilder(tree::Scores);

impl ZsetBuilder {
    pub fn new(seed: HashSeed) -> Self {
        Self(tree::Scores::new(seed))
    }

    /// The member's score, to be changed; `initial`, and true, when the member is new.
    pub fn score_mut(&mut self, member: Elem<'_>, initial: f64) -> (&mut f64, bool) {
        tree::score_mut(&mut self.0, member, initial)
    }

    /// The set, in the form that fits it. No score may be NaN.
    pub fn finish(self, limits: &Limits) -> Zset {
        let tree = ZsetTree::from_scores(self.0).without_negative_zeros(limits.seed);
        Zset::from_tree(tree, limits)
    }

    /// The set, only to be read from: its scores are just what was put in, whereas a stored zero has no sign.
    pub fn finish_to_read(self) -> Zset {
        Zset(Repr::Tree(Arc::new(ZsetTree::from_scores(self.0))))
    }
}

impl<'a> IntoIterator for &'a Zset {
    type Item = (Elem<'a>, f64);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Members with their scores, one way or the other; see [`Zset::range`].
pub struct Iter<'a>(Walk<'a>);

enum Walk<'a> {
    Packed(packed::Range<'a>),
    PackedBack(packed::RangeBack<'a>),
    Tree(tree::Iter<'a>),
    TreeBack(std::iter::Rev<tree::Iter<'a>>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Elem<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Packed(walk) => walk.next(),
            Walk::PackedBack(walk) => walk.next(),
            Walk::Tree(walk) => walk.next().map(tree::element),
            Walk::TreeBack(walk) => walk.next().map(tree::element),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Walk::Packed(walk) => walk.size_hint(),
            Walk::PackedBack(walk) => walk.size_hint(),
            Walk::Tree(walk) => walk.size_hint(),
            Walk::TreeBack(walk) => walk.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}
