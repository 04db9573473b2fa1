//! Readers: each goes through the documents that a part of a query finds, in the order of their ids, forward only.

use crate::index::Index;
use crate::index::postings::{Cursor, END};
use crate::schema::FieldMask;
use roaring::RoaringBitmap;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

/// Steps between two looks at the clock.
const STEPS: u32 = 256;
/// Positions that are looked at in a document for one phrase, at most: past that its words are not near.
const POSITIONS_MAX: usize = 1 << 24;
/// Positions of a document that do without a look at the clock of their own.
const POSITIONS_UNASKED: usize = 1 << 16;

/// What readers need while they read.
pub struct Context<'a> {
    pub index: &'a Index,
    goes_on: RefCell<&'a mut dyn FnMut() -> bool>,
    steps: Cell<u32>,
    stopped: Cell<bool>,
}

impl<'a> Context<'a> {
    pub fn new(index: &'a Index, goes_on: &'a mut dyn FnMut() -> bool) -> Self {
        Self { index, goes_on: RefCell::new(goes_on), steps: Cell::new(0), stopped: Cell::new(false) }
    }

    /// Counts a step. False once the caller wants no more.
    pub fn step(&self) -> bool {
        let steps = self.steps.get() + 1;
        self.steps.set(steps % STEPS);
        if steps == STEPS { self.ask() } else { !self.stopped.get() }
    }

    /// Asks the caller at once.
    pub fn ask(&self) -> bool {
        if !self.stopped.get() && !(self.goes_on.borrow_mut())() {
            self.stopped.set(true);
        }
        !self.stopped.get()
    }

    pub fn stopped(&self) -> bool {
        self.stopped.get()
    }
}

/// A set of documents, borrowed or made for the query.
pub enum Set<'a> {
    Borrowed(roaring::bitmap::Iter<'a>),
    Owned(roaring::bitmap::IntoIter),
}

impl Set<'_> {
    fn seek(&mut self, target: u32) -> u32 {
        let next = match self {
            Self::Borrowed(iter) => {
                iter.advance_to(target);
                iter.next()
            }
            Self::Owned(iter) => {
                iter.advance_to(target);
                iter.next()
            }
        };
        next.unwrap_or(END)
    }
}

pub struct Reader<'a> {
    /// The current document; 0 before the first.
    pub doc: u32,
    pub weight: f64,
    pub kind: ReaderKind<'a>,
    /// Documents at most.
    pub estimate: usize,
}

pub enum ReaderKind<'a> {
    Empty,
    Term {
        cursor: Cursor<'a>,
        mask: FieldMask,
        term: &'a [u8],
        idf: Idf,
    },
    /// A tag: a word that is there once.
    Tag {
        docs: Set<'a>,
        idf: Idf,
    },
    /// Numbers, places, keys, missing fields: nothing that adds to a BM25 score.
    Filter {
        docs: Set<'a>,
        frequency: f64,
    },
    All(Set<'a>),
    Union {
        children: Vec<Reader<'a>>,
        heap: BinaryHeap<Reverse<(u32, u32)>>,
        first_only: bool,
    },
    Intersection {
        children: Vec<Reader<'a>>,
        order: Vec<usize>,
        nearness: Option<Nearness>,
    },
    Not {
        child: Box<Reader<'a>>,
        alive: Set<'a>,
    },
    Optional {
        child: Box<Reader<'a>>,
        alive: Set<'a>,
    },
    /// Documents with their distances, in the order of their ids; the filter's reader, for its scores.
    Vector {
        near: Vec<(u32, f64)>,
        at: usize,
        name: Option<Vec<u8>>,
        filter: Option<Box<Reader<'a>>>,
    },
}

/// How rare a term is, to the scorers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Idf {
    pub tfidf: f64,
    pub bm25: f64,
}

impl Idf {
    pub fn new(docs: usize, with_term: usize) -> Self {
        let (docs, with_term) = (docs.max(with_term) as f64, with_term as f64);
        // The whole part of the binary logarithm, exactly.
        let ratio = 1.0 + (docs + 1.0) / with_term.max(1.0);
        let tfidf = f64::from((ratio.to_bits() >> 52) as i32 - 1023);
        Self { tfidf, bm25: (1.0 + (docs - with_term + 0.5) / (with_term + 0.5)).ln() }
    }
}

/// How near to each other the words of a phrase have to be.
#[derive(Debug, Clone, Copy)]
pub struct Nearness {
    /// Words that may stand between them.
    pub slop: u32,
    pub in_order: bool,
}

impl<'a> Reader<'a> {
    pub fn new(kind: ReaderKind<'a>, estimate: usize) -> Self {
        Self { doc: 0, weight: 1.0, kind, estimate }
    }

    pub fn empty() -> Self {
        Self::new(ReaderKind::Empty, 0)
    }

    pub fn weighing(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.kind, ReaderKind::Empty)
    }

    /// Any of the children; where one is as good as another only the first of them counts.
    pub fn union(children: Vec<Self>, first_only: bool) -> Self {
        let estimate = children.iter().map(|child| child.estimate).sum();
        let heap = (0..children.len() as u32).map(|at| Reverse((0, at))).collect();
        Self::new(ReaderKind::Union { children, heap, first_only }, estimate)
    }

    pub fn intersection(children: Vec<Self>, nearness: Option<Nearness>) -> Self {
        let mut order: Vec<usize> = (0..children.len()).collect();
        order.sort_by_key(|&at| children[at].estimate);
        let estimate = children.iter().map(|child| child.estimate).min().unwrap_or(0);
        Self::new(ReaderKind::Intersection { children, order, nearness }, estimate)
    }

    /// To the first document from `target` on, which is at least 1. Documents that are gone may be found.
    pub fn seek(&mut self, target: u32, cx: &Context) -> u32 {
        if self.doc < target {
            self.doc = if cx.step() { self.find(target, cx) } else { END };
        }
        self.doc
    }

    fn find(&mut self, target: u32, cx: &Context) -> u32 {
        match &mut self.kind {
            ReaderKind::Empty => END,
            ReaderKind::Term { cursor, mask, .. } => cursor.seek(target, *mask),
            ReaderKind::Tag { docs, .. } | ReaderKind::Filter { docs, .. } | ReaderKind::All(docs) => {
                docs.seek(target)
            }
            ReaderKind::Union { children, heap, .. } => {
                while let Some(mut top) = heap.peek_mut() {
                    let Reverse((doc, at)) = *top;
                    if doc >= target {
                        break;
                    }
                    // Children that have come to their end stay, behind all others.
                    *top = Reverse((children[at as usize].seek(target, cx), at));
                }
                heap.peek().map_or(END, |Reverse((doc, _))| *doc)
            }
            ReaderKind::Intersection { children, order, nearness } => {
                let mut candidate = target;
                'candidates: loop {
                    for &at in &*order {
                        let found = children[at].seek(candidate, cx);
                        if found == END {
                            return END;
                        }
                        if found > candidate {
                            candidate = found;
                            continue 'candidates;
                        }
                    }
                    if nearness.is_none_or(|near| is_near(children, near, cx)) {
                        return candidate;
                    }
                    candidate += 1;
                }
            }
            ReaderKind::Not { child, alive } => {
                let mut target = target;
                loop {
                    let found = alive.seek(target);
                    if found == END {
                        return END;
                    }
                    let has_it = child.seek(found, cx) == found;
                    // One that has been told to stop says nothing about the document.
                    if !cx.step() {
                        return END;
                    }
                    if !has_it {
                        return found;
                    }
                    target = found + 1;
                }
            }
            ReaderKind::Optional { child, alive } => {
                let found = alive.seek(target);
                if found != END {
                    child.seek(found, cx);
                }
                found
            }
            ReaderKind::Vector { near, at, filter, .. } => {
                *at += near[*at..].partition_point(|&(doc, _)| doc < target);
                let Some(&(doc, _)) = near.get(*at) else { return END };
                if let Some(filter) = filter {
                    filter.seek(doc, cx);
                }
                doc
            }
        }
    }

    /// The next document that is there.
    pub fn next(&mut self, cx: &Context) -> u32 {
        loop {
            let doc = self.seek(self.doc + 1, cx);
            if doc == END || cx.index.alive.contains(doc) {
                return doc;
            }
        }
    }

    /// All documents, as a set.
    pub fn collect(mut self, cx: &Context) -> RoaringBitmap {
        let mut found = RoaringBitmap::new();
        loop {
            let doc = self.next(cx);
            if doc == END {
                return found;
            }
            found.insert(doc);
        }
    }

    /// The children of a union that are at its document.
    pub fn matching(children: &[Self], doc: u32) -> impl Iterator<Item = &Self> {
        children.iter().filter(move |child| child.doc == doc)
    }

    /// The words that the current document has of it, each with its list.
    fn add_words<'r>(&'r self, found: &mut Vec<(&'a [u8], &'r Cursor<'a>)>) {
        match &self.kind {
            ReaderKind::Term { cursor, term, .. } => found.push((term, cursor)),
            ReaderKind::Union { children, .. } => {
                Self::matching(children, self.doc).for_each(|child| child.add_words(found));
            }
            ReaderKind::Intersection { children, .. } => {
                children.iter().for_each(|child| child.add_words(found));
            }
            ReaderKind::Optional { child, .. } if child.doc == self.doc => child.add_words(found),
            _ => {}
        }
    }

    /// The terms that the current document has.
    pub fn terms(&self, found: &mut Vec<&'a [u8]>) {
        match &self.kind {
            ReaderKind::Term { term, .. } => found.push(term),
            ReaderKind::Union { children, .. } => {
                Self::matching(children, self.doc).for_each(|child| child.terms(found));
            }
            ReaderKind::Intersection { children, .. } => children.iter().for_each(|child| child.terms(found)),
            ReaderKind::Optional { child, .. } if child.doc == self.doc => child.terms(found),
            ReaderKind::Vector { filter: Some(filter), .. } if filter.doc == self.doc => filter.terms(found),
            _ => {}
        }
    }

    /// The distances that the current document has, by name.
    pub fn distances(&self, found: &mut Vec<(Vec<u8>, f64)>) {
        match &self.kind {
            ReaderKind::Vector { near, at, name, filter } => {
                if let Some(name) = name {
                    found.push((name.clone(), near[*at].1));
                }
                filter
                    .iter()
                    .filter(|filter| filter.doc == self.doc)
                    .for_each(|filter| filter.distances(found));
            }
            ReaderKind::Union { children, .. } => {
                Self::matching(children, self.doc).for_each(|child| child.distances(found));
            }
            ReaderKind::Intersection { children, .. } => {
                children.iter().for_each(|child| child.distances(found))
            }
            ReaderKind::Optional { child, .. } if child.doc == self.doc => child.distances(found),
            _ => {}
        }
    }

    /// How far apart the words stand in the current document: what TFIDF and the old BM25 divide by.
    pub fn spread(&self) -> f64 {
        let children: Vec<&Self> = match &self.kind {
            ReaderKind::Union { children, .. } => Self::matching(children, self.doc).collect(),
            ReaderKind::Intersection { children, .. } => children.iter().collect(),
            _ => return 1.0,
        };
        if children.len() <= 1 {
            return 1.0;
        }
        let mut left = POSITIONS_MAX;
        let lists = positions_of(children.iter().copied(), &mut left).unwrap_or_default();
        let squares: u64 = lists.windows(2).map(|pair| least_gap(&pair[0], &pair[1], &mut left).pow(2)).sum();
        // A whole number there, and so it is here.
        if squares > 0 { (squares as f64).sqrt().floor() } else { (children.len() - 1) as f64 }
    }
}

/// Where the words of each stand in the current document, in order; those without any are left out. What is made of the
/// same words has the same list. `None` if that is more than is left to look at.
fn positions_of<'r, 'a: 'r>(
    readers: impl Iterator<Item = &'r Reader<'a>>,
    left: &mut usize,
) -> Option<Vec<Rc<[u32]>>> {
    let mut known: BTreeMap<Vec<&[u8]>, Rc<[u32]>> = BTreeMap::new();
    let mut lists = Vec::new();
    for reader in readers {
        let mut words = Vec::new();
        reader.add_words(&mut words);
        let names: Vec<&[u8]> = words.iter().map(|&(name, _)| name).collect();
        let list = match known.get(&names) {
            Some(list) => list.clone(),
            None => {
                let mut found = Vec::new();
                for (_, cursor) in words {
                    let before = found.len();
                    found.extend(cursor.positions().take(*left + 1));
                    spend(left, found.len() - before)?;
                }
                found.sort_unstable();
                found.dedup();
                let list: Rc<[u32]> = found.into();
                known.insert(names, list.clone());
                list
            }
        };
        if !list.is_empty() {
            lists.push(list);
        }
    }
    Some(lists)
}

/// Takes from what is left to look at; `None` if it is not enough.
fn spend(left: &mut usize, positions: usize) -> Option<()> {
    let rest = left.checked_sub(positions);
    *left = rest.unwrap_or(0);
    rest.map(|_| ())
}

/// The least gap between a position of one and a position of the other, or what it is of those that are looked at.
fn least_gap(a: &[u32], b: &[u32], left: &mut usize) -> u64 {
    let (mut i, mut j) = (0, 0);
    let mut least = u32::MAX;
    while let (Some(&x), Some(&y)) = (a.get(i), b.get(j)) {
        least = least.min(x.abs_diff(y));
        if least <= 1 || spend(left, 1).is_none() {
            break;
        }
        if y > x {
            i += 1;
        } else {
            j += 1;
        }
    }
    u64::from(least)
}

/// Whether the children's words are as near to each other as asked, at some place of the document.
fn is_near(children: &[Reader], near: Nearness, cx: &Context) -> bool {
    let mut left = POSITIONS_MAX;
    let found = positions_of(children.iter(), &mut left).and_then(|all| match near {
        _ if all.len() <= 1 => Some(true),
        Nearness { slop, in_order: true } => near_in_order(&all, slop, &mut left),
        Nearness { slop, in_order: false } => near_in_any_order(&all, slop, &mut left),
    });
    if POSITIONS_MAX - left > POSITIONS_UNASKED {
        cx.ask();
    }
    found.unwrap_or(false)
}

/// One position of each, each behind the one of its predecessor, with at most `slop` words between them all. (RediSearch
/// takes one word for two here: `"hello hello"` finds a single one there.) `None` if it took too long to find out.
fn near_in_order(all: &[Rc<[u32]>], slop: u32, left: &mut usize) -> Option<bool> {
    let mut at = vec![0; all.len()];
    for &first in &*all[0] {
        let mut last = first;
        let mut between = 0i64;
        let mut fits = true;
        for (list, at) in all.iter().zip(&mut at).skip(1) {
            let before = *at;
            while list.get(*at).is_some_and(|&position| position <= last) {
                *at += 1;
            }
            spend(left, 1 + *at - before)?;
            let Some(&position) = list.get(*at) else { return Some(false) };
            between += i64::from(position) - i64::from(last) - 1;
            last = position;
            if between > i64::from(slop) {
                fits = false;
                break;
            }
        }
        if fits {
            return Some(true);
        }
    }
    Some(false)
}

fn near_in_any_order(all: &[Rc<[u32]>], slop: u32, left: &mut usize) -> Option<bool> {
    let mut at = vec![0; all.len()];
    loop {
        spend(left, all.len())?;
        let positions = all.iter().zip(&at).map(|(list, &at)| list[at]);
        let (least, min) = positions.clone().enumerate().min_by_key(|&(_, position)| position)?;
        let max = positions.max().unwrap_or(min);
        let between = i64::from(max) - i64::from(min) - (all.len() as i64 - 1);
        // All at one place: it is one word, met in several ways.
        if max != min && between <= i64::from(slop) {
            return Some(true);
        }
        at[least] += 1;
        if at[least] == all[least].len() {
            return Some(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::build::Builder;
    use crate::index::{Document, FieldValue};
    use crate::query::{ParseOptions, Query};
    use crate::schema::{Field, FieldKind, Schema};

    fn shared(lists: &[&[u32]]) -> Vec<Rc<[u32]>> {
        lists.iter().map(|&list| list.into()).collect()
    }

    #[test]
    fn the_same_words_of_a_phrase_have_one_list() {
        let mut index = Index::new(Schema::default().with(Field::new("t", FieldKind::TEXT)), 1);
        let document = Document::new(vec![FieldValue::Texts(vec![b"foo foo bar foo"])]);
        let doc = index.upsert(b"k", &document).unwrap();
        for (text, options) in [("\"foo bar foo\"", ParseOptions::default()), ("foo bar foo", in_order())] {
            let query = Query::parse(text.as_bytes(), &index, &options).unwrap();
            let mut goes_on = || true;
            let cx = Context::new(&index, &mut goes_on);
            let mut reader = Builder::new(&query, &cx).build(&query.root);
            assert_eq!(reader.seek(doc, &cx), doc, "{text}");
            let ReaderKind::Intersection { children, .. } = &reader.kind else { panic!("{text}") };
            let lists = positions_of(children.iter(), &mut 100).unwrap();
            assert_eq!(
                lists.iter().map(|list| list.to_vec()).collect::<Vec<_>>(),
                [vec![1, 2, 4], vec![3], vec![1, 2, 4]]
            );
            assert!(Rc::ptr_eq(&lists[0], &lists[2]), "{text}");
            assert!(positions_of(children.iter(), &mut 2).is_none());
        }
    }

    fn in_order() -> ParseOptions<'static> {
        ParseOptions { in_order: true, ..ParseOptions::default() }
    }

    #[test]
    fn words_are_looked_at_only_for_so_long() {
        let lists = shared(&[&[1, 5, 9], &[3, 7, 11], &[40, 60]]);
        assert_eq!(near_in_order(&lists, 0, &mut 3), None);
        assert_eq!(near_in_order(&lists, 0, &mut 30), Some(false));
        assert_eq!(near_in_any_order(&lists, 0, &mut 6), None);
        assert_eq!(near_in_any_order(&lists, 0, &mut 60), Some(false));
    }

    #[test]
    fn words_of_a_phrase_follow_each_other() {
        let near = |lists: &[&[u32]], slop| near_in_order(&shared(lists), slop, &mut 1000).unwrap();
        assert!(near(&[&[1, 5], &[6]], 0));
        assert!(!near(&[&[1, 5], &[3, 7]], 0));
        assert!(near(&[&[1, 5], &[3, 7]], 1));
        assert!(!near(&[&[5], &[4]], 10));
        assert!(near(&[&[1, 10], &[3, 11], &[12]], 0));
        assert!(!near(&[&[5], &[5]], 0) && near(&[&[5, 6], &[5, 6]], 0));
    }

    #[test]
    fn words_are_near_in_any_order() {
        let near = |lists: &[&[u32]], slop| near_in_any_order(&shared(lists), slop, &mut 1000).unwrap();
        assert!(near(&[&[5], &[4]], 0));
        assert!(near(&[&[1, 20], &[9], &[22]], 11));
        assert!(!near(&[&[1, 20], &[9], &[22]], 10));
        assert!(!near(&[&[1], &[1]], 10), "one word is not two");
    }

    #[test]
    fn the_least_gap_is_found() {
        assert_eq!(least_gap(&[2, 4, 8], &[0, 5, 12], &mut 100), 1);
        assert_eq!(least_gap(&[1], &[100], &mut 100), 99);
        assert_eq!(least_gap(&[1, 90], &[100], &mut 1), 10);
    }

    #[test]
    fn rare_terms_weigh_more() {
        let (rare, common) = (Idf::new(1000, 1), Idf::new(1000, 500));
        assert!(rare.tfidf > common.tfidf && rare.bm25 > common.bm25);
        assert_eq!(Idf::new(3, 3).tfidf, 1.0);
        assert!((Idf::new(2, 1).bm25 - 2f64.ln()).abs() < 1e-12);
    }
}
