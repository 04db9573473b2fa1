//! Finds the documents of a query, and the best of them.

mod build;
mod reader;
mod score;

pub use score::{Scorer, TANH_FACTOR};

use crate::index::Index;
use crate::index::docs::SortValue;
use crate::index::postings::END;
use crate::query::Query;
use crate::query::ast::{Kind, VectorSearch};
use build::Builder;
use reader::{Context, Reader};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// How rare a term is: what a match of it weighs.
pub(crate) fn rarity(index: &Index, term: &[u8]) -> f64 {
    let with_term = index.terms.get(term).map_or(0, |postings| postings.live() as usize);
    reader::Idf::new(index.len(), with_term).tfidf
}

/// How results are ordered.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Sort {
    /// The best first; of equals those written earlier.
    #[default]
    Score,
    /// By the value of a sortable field, of [`Index::sort_value`]. Documents without it come last.
    Field { field: usize, descending: bool },
    /// By a distance that the query yields under this name.
    Distance { name: Vec<u8>, descending: bool },
    /// In the order of their ids: what costs least.
    Id,
}

/// What of the results is wanted.
#[derive(Debug, Clone, Default)]
pub struct SearchOptions {
    pub sort: Sort,
    pub scorer: Scorer,
    /// Scores are wanted although the order is another.
    pub with_scores: bool,
    pub offset: usize,
    pub limit: usize,
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub doc: u32,
    /// 0 if scores were not asked for.
    pub score: f64,
    /// Distances by the names that the query gives them.
    pub distances: Vec<(Vec<u8>, f64)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Documents, with those that are not among the hits.
    pub total: usize,
    pub hits: Vec<Hit>,
    /// The caller wanted it to stop: there may be more.
    pub stopped: bool,
    /// A pattern stood for more words than [`crate::query::ParseOptions::expansions_max`].
    pub truncated: bool,
}

impl Index {
    /// Finds the documents of a query, in order, from `offset` on and at most `limit` of them. `goes_on` is asked every
    /// few hundred steps; when it says no, what was found so far is the result.
    pub fn search(&self, query: &Query, options: &SearchOptions, goes_on: &mut dyn FnMut() -> bool) -> Found {
        let cx = Context::new(self, goes_on);
        let builder = Builder::new(query, &cx);
        let mut reader = builder.build(&query.root);
        let wanted = options.offset.saturating_add(options.limit);
        let mut best = Best { wanted, heap: BinaryHeap::new() };
        let mut total = 0;
        let scored = options.with_scores || options.sort == Sort::Score;
        let words_per_doc = self.words_per_doc();
        loop {
            let doc = reader.next(&cx);
            // Not every reader counts its steps.
            if doc == END || !cx.step() {
                break;
            }
            total += 1;
            if wanted == 0 {
                continue;
            }
            let score = if scored {
                options.scorer.score(&reader, &self.docs.weight(doc), words_per_doc)
            } else {
                0.0
            };
            let rank = self.rank(&options.sort, doc, score, &reader);
            if best.takes(&rank, doc) {
                let mut distances = Vec::new();
                reader.distances(&mut distances);
                best.push(Ranked { rank, hit: Hit { doc, score, distances } });
            }
        }
        Found {
            total,
            hits: best.into_hits(options.offset),
            stopped: cx.stopped(),
            truncated: builder.truncated.get(),
        }
    }

    fn rank<'a>(&'a self, sort: &Sort, doc: u32, score: f64, reader: &Reader) -> Rank<'a> {
        match sort {
            Sort::Id => Rank::Id,
            Sort::Score => Rank::Score(score),
            Sort::Field { field, descending } => {
                Rank::Field(self.sort_value(doc, *field).unwrap_or(&SortValue::Missing), *descending)
            }
            Sort::Distance { name, descending } => {
                let mut distances = Vec::new();
                reader.distances(&mut distances);
                let distance = distances.into_iter().find(|(known, _)| known == name).map(|(_, d)| d);
                Rank::Distance(distance, *descending)
            }
        }
    }

    /// The documents of a query in the order of their ids, each handed to `visit`, which may break off. False if the
    /// caller's clock made it stop.
    pub fn visit(
        &self,
        query: &Query,
        scorer: Option<Scorer>,
        goes_on: &mut dyn FnMut() -> bool,
        visit: impl FnMut(Hit) -> std::ops::ControlFlow<()>,
    ) -> bool {
        self.visit_from(0, query, scorer, goes_on, visit).is_none()
    }

    /// [`Index::visit`] of the documents whose ids are not less than `first`. If the caller's clock made it stop: the id
    /// to go on from.
    pub fn visit_from(
        &self,
        first: u32,
        query: &Query,
        scorer: Option<Scorer>,
        goes_on: &mut dyn FnMut() -> bool,
        mut visit: impl FnMut(Hit) -> std::ops::ControlFlow<()>,
    ) -> Option<u32> {
        let cx = Context::new(self, goes_on);
        let mut reader = Builder::new(query, &cx).build(&query.root);
        let words_per_doc = self.words_per_doc();
        let mut doc = if first == 0 { reader.next(&cx) } else { reader.seek(first, &cx) };
        let mut reached = first;
        loop {
            if doc == END {
                return cx.stopped().then_some(reached);
            }
            reached = doc + 1;
            let weight = self.docs.weight(doc);
            let score = scorer.map_or(0.0, |scorer| scorer.score(&reader, &weight, words_per_doc));
            let mut distances = Vec::new();
            reader.distances(&mut distances);
            if visit(Hit { doc, score, distances }).is_break() {
                return None;
            }
            doc = reader.next(&cx);
        }
    }

    /// The terms of a query that a document has, stems as `+stem`: what HIGHLIGHT marks. `goes_on` is asked at once and
    /// then now and then, for to put the readers together may cost as much as the search; when it says no, there are none.
    pub fn matched_terms(&self, query: &Query, doc: u32, goes_on: &mut dyn FnMut() -> bool) -> Vec<Vec<u8>> {
        let cx = Context::new(self, goes_on);
        if !cx.ask() {
            return Vec::new();
        }
        // Of a search for the nearest only its filter has words.
        let words = match &query.root.kind {
            Kind::Vector(vector) => match &vector.search {
                VectorSearch::Nearest { filter: Some(filter), .. } => filter,
                _ => return Vec::new(),
            },
            _ => &query.root,
        };
        let mut reader = Builder::new(query, &cx).build(words);
        let mut terms = Vec::new();
        if reader.seek(doc, &cx) == doc {
            reader.terms(&mut terms);
        }
        let mut terms: Vec<Vec<u8>> = terms.into_iter().map(<[u8]>::to_vec).collect();
        terms.sort_unstable();
        terms.dedup();
        terms
    }
}

/// What a hit is ordered by.
#[derive(Debug, Clone, Copy)]
enum Rank<'a> {
    Id,
    Score(f64),
    Field(&'a SortValue, bool),
    Distance(Option<f64>, bool),
}

impl Rank<'_> {
    /// Which of two comes first.
    fn order(&self, other: &Self, doc: u32, other_doc: u32) -> Ordering {
        let directed = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
        match (self, other) {
            // In a total order, for weights without end make scores that are no numbers. Both zeros are one.
            (Self::Score(a), Self::Score(b)) => (b + 0.0).total_cmp(&(a + 0.0)).then(doc.cmp(&other_doc)),
            (Self::Field(a, descending), Self::Field(b, _)) => match (a, b) {
                (SortValue::Missing, SortValue::Missing) => directed(doc.cmp(&other_doc), *descending),
                (SortValue::Missing, _) => Ordering::Greater,
                (_, SortValue::Missing) => Ordering::Less,
                _ => directed(a.order(b).then(doc.cmp(&other_doc)), *descending),
            },
            (Self::Distance(a, descending), Self::Distance(b, _)) => match (a, b) {
                (Some(a), Some(b)) => directed(a.total_cmp(b).then(doc.cmp(&other_doc)), *descending),
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (None, None) => directed(doc.cmp(&other_doc), *descending),
            },
            _ => doc.cmp(&other_doc),
        }
    }
}

struct Ranked<'a> {
    rank: Rank<'a>,
    hit: Hit,
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked<'_> {}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.order(&other.rank, self.hit.doc, other.hit.doc)
    }
}

/// The first so many in order.
struct Best<'a> {
    wanted: usize,
    /// The last of them is at the top.
    heap: BinaryHeap<Ranked<'a>>,
}

impl<'a> Best<'a> {
    fn takes(&self, rank: &Rank, doc: u32) -> bool {
        self.heap.len() < self.wanted
            || self.heap.peek().is_some_and(|last| rank.order(&last.rank, doc, last.hit.doc).is_lt())
    }

    fn push(&mut self, ranked: Ranked<'a>) {
        if self.heap.len() == self.wanted {
            self.heap.pop();
        }
        self.heap.push(ranked);
    }

    fn into_hits(self, offset: usize) -> Vec<Hit> {
        self.heap.into_sorted_vec().into_iter().skip(offset).map(|ranked| ranked.hit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Document, FieldValue};
    use crate::query::ParseOptions;
    use crate::schema::{Field, FieldKind, Schema};

    #[test]
    fn terms_are_looked_for_only_while_there_is_time() {
        let mut index = Index::new(Schema::default().with(Field::new("t", FieldKind::TEXT)), 1);
        let document = Document::new(vec![FieldValue::Texts(vec![b"word"])]);
        let doc = index.upsert(b"k", &document).unwrap();
        let query = Query::parse(b"wor*", &index, &ParseOptions::default()).unwrap();
        assert_eq!(index.matched_terms(&query, doc, &mut || true), [b"word"]);
        assert!(index.matched_terms(&query, doc, &mut || false).is_empty());
    }

    #[test]
    fn scores_that_are_no_numbers_have_a_place() {
        let scores = [f64::NAN, f64::INFINITY, 1.0, 0.0, -0.0, -1.0, f64::NEG_INFINITY];
        let order =
            |a: usize, b: usize| Rank::Score(scores[a]).order(&Rank::Score(scores[b]), a as u32, b as u32);
        for (a, b) in (0..scores.len()).flat_map(|a| (0..scores.len()).map(move |b| (a, b))) {
            assert_eq!(order(a, b), a.cmp(&b), "{} and {}", scores[a], scores[b]);
        }
    }
}
