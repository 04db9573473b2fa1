//! The large form: scores by member, and members by score.

use std::cmp::Ordering;
use std::ops::Range;

use super::{Elem, ZsetError};
use crate::ds::{CowTree, Dict, Entry, HashSeed, Member, tree};

/// A score that is a number, so that it has an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score(pub f64);

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.partial_cmp(&other.0).expect("no score is NaN")
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Score {}

/// What is stored of a score: zero has no sign. Redis keeps one in its large form and not in its small one; which of the two
/// a set has may differ from node to node, what it holds must not.
fn stored(score: f64) -> f64 {
    score + 0.0
}

#[derive(Clone, Debug)]
pub(super) struct ScoredMember {
    member: Member,
    score: f64,
}

impl Entry for ScoredMember {
    fn key(&self) -> &[u8] {
        &self.member
    }
}

pub(super) type Scores = Dict<ScoredMember>;
pub(super) type OrderKey = (Score, Member);
pub(super) type Iter<'a> = tree::Iter<'a, OrderKey, ()>;

const _: () = assert!(size_of::<ScoredMember>() == 24 && size_of::<(OrderKey, ())>() == 24);

#[derive(Clone, Debug)]
pub(super) struct ZsetTree {
    scores: Scores,
    order: CowTree<OrderKey, ()>,
}

impl ZsetTree {
    pub fn new(seed: HashSeed) -> Self {
        Self { scores: Dict::new(seed), order: CowTree::new() }
    }

    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (Member, f64)>,
        seed: HashSeed,
    ) -> Result<Self, ZsetError> {
        let mut scores = Dict::new(seed);
        let pairs = pairs.into_iter();
        let mut order = Vec::with_capacity(pairs.size_hint().0);
        for (member, score) in pairs {
            if score.is_nan() {
                return Err(ZsetError::BadScore);
            }
            let score = stored(score);
            if scores.insert(ScoredMember { member: member.clone(), score }).is_some() {
                return Err(ZsetError::DuplicateMember);
            }
            order.push((Score(score), member));
        }
        Ok(Self::from_parts(scores, order))
    }

    pub fn from_scores(scores: Scores) -> Self {
        let order = scores.iter().map(|entry| (Score(entry.score), entry.member.clone())).collect();
        Self::from_parts(scores, order)
    }

    /// The same, as it is to be stored.
    pub fn without_negative_zeros(self, seed: HashSeed) -> Self {
        let pairs = || self.iter(0..self.len()).map(|((score, member), ())| (member, score.0));
        if pairs().all(|(_, score)| score != 0.0 || score.is_sign_positive()) {
            return self;
        }
        let pairs = pairs().map(|(member, score)| (member.clone(), score));
        Self::from_pairs(pairs, seed).expect("the pairs of a set are distinct and numbers")
    }

    /// The same pairs twice, `order` in any order.
    fn from_parts(scores: Scores, mut order: Vec<OrderKey>) -> Self {
        // Notices runs: O(n) for what was sorted either way.
        order.sort();
        Self { scores, order: CowTree::from_sorted(order.into_iter().map(|key| (key, ()))) }
    }

    pub fn len(&self) -> usize {
        self.scores.len()
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).map(|entry| entry.score)
    }

    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        let rank = self.order.rank_by(to(score, member)).expect("scores and order hold the same pairs");
        Some((rank, score))
    }

    /// See [`super::Zset::update`].
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Option<f64> {
        let hash = self.scores.hash(member);
        let old = self.scores.get_hashed(hash, member).map(|entry| entry.score);
        let Some(new) = decide(old).map(stored).filter(|&new| old != Some(new)) else { return old };
        debug_assert!(!new.is_nan());
        let make = || ScoredMember { member: Member::from(member), score: new };
        let (entry, made) = self.scores.get_or_insert_with_hashed(hash, member, make);
        if made {
            self.order.insert((Score(new), entry.member.clone()), ());
        } else {
            let old = std::mem::replace(&mut entry.score, new);
            let ((_, stored), ()) =
                self.order.remove_by(to(old, member)).expect("scores and order hold the same pairs");
            self.order.insert((Score(new), stored), ());
        }
        old
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.scores.remove(member)?.score;
        self.order.remove_by(to(score, member)).expect("scores and order hold the same pairs");
        Some(score)
    }

    pub fn at_rank(&self, rank: usize) -> Option<(Elem<'_>, f64)> {
        self.order.at_rank(rank).map(element)
    }

    pub fn iter(&self, ranks: Range<usize>) -> Iter<'_> {
        self.order.range_by_rank(ranks)
    }

    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let Self { scores, order } = self;
        order.remove_range_by_rank(ranks.start, ranks.len(), &mut |(_, member), ()| {
            scores.remove(&member).expect("scores and order hold the same pairs");
        })
    }

    pub fn partition_point(&self, mut pred: impl FnMut(f64, Elem<'_>) -> bool) -> usize {
        self.order.partition_point(|(score, member)| pred(score.0, Elem::Member(member)))
    }

    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Elem<'_>, f64)) -> u64 {
        self.scores.scan(cursor, count, &mut |entry| visit(Elem::Member(&entry.member), entry.score))
    }

    pub fn heap_size(&self, samples: usize) -> usize {
        let len = self.len();
        let sampled = if samples == 0 { len } else { samples.min(len) };
        let members: usize = self.scores.iter().take(sampled).map(|entry| entry.member.heap_size()).sum();
        let members = (members as f64 / sampled.max(1) as f64 * len as f64) as usize;
        self.scores.heap_size() + self.order.heap_size() + members
    }
}

/// See [`super::ZsetBuilder::score_mut`].
pub(super) fn score_mut<'a>(scores: &'a mut Scores, member: Elem<'_>, initial: f64) -> (&'a mut f64, bool) {
    let mut digits = itoa::Buffer::new();
    let text = member.to_bytes(&mut digits);
    let make = || ScoredMember { member: member.to_member(), score: initial };
    let (entry, made) = scores.get_or_insert_with(text, make);
    (&mut entry.score, made)
}

pub(super) fn element<'a>(((score, member), ()): (&'a OrderKey, &'a ())) -> (Elem<'a>, f64) {
    (Elem::Member(member), score.0)
}

/// The way to this pair in the order.
fn to(score: f64, member: &[u8]) -> impl Fn(&OrderKey) -> Ordering {
    move |(present, text)| present.cmp(&Score(score)).then_with(|| (**text).cmp(member))
}
