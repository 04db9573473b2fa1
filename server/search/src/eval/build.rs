//! Readers for the parts of a query.

use super::reader::{Context, Idf, Nearness, Reader, ReaderKind, Set};
use crate::index::geo::Circle;
use crate::index::numbers::key_of;
use crate::index::pattern::Pattern;
use crate::index::{Index, Part};
use crate::query::Query;
use crate::query::ast::{Kind, Node, VectorQuery, VectorSearch};
use crate::schema::FieldKind;
use crate::text;
use roaring::RoaringBitmap;
use std::cell::Cell;
use std::ops::ControlFlow;

pub struct Builder<'q, 'a> {
    query: &'q Query,
    cx: &'q Context<'a>,
    index: &'a Index,
    /// A pattern stood for more words than were looked at.
    pub truncated: Cell<bool>,
}

impl<'q, 'a> Builder<'q, 'a> {
    pub fn new(query: &'q Query, cx: &'q Context<'a>) -> Self {
        Self { query, cx, index: cx.index, truncated: Cell::new(false) }
    }

    pub fn build(&self, node: &Node) -> Reader<'a> {
        // Nothing is found any more, so that nothing need be read.
        if !self.cx.step() {
            return Reader::empty();
        }
        let weight = node.weight;
        match &node.kind {
            Kind::Term { term, .. } => self.term(term, node).weighing(weight),
            Kind::Prefix(text) => self.affix(Pattern::Prefix(text::lower(text)), text, node),
            Kind::Suffix(text) => self.affix(Pattern::Suffix(text::lower(text)), text, node),
            Kind::Infix(text) => self.affix(Pattern::Infix(text::lower(text)), text, node),
            Kind::Wildcard(text) => self.pattern(&Pattern::Wildcard(text::lower(text)), node),
            Kind::Fuzzy { term, distance } => self.pattern(&Pattern::Fuzzy(term.clone(), *distance), node),
            Kind::Phrase { children, exact } => self.phrase(node, children, *exact),
            Kind::Union(children) => {
                let children =
                    children.iter().map(|child| self.build(child)).filter(|r| !r.is_empty()).collect();
                either(children, weight)
            }
            Kind::Not(child) => self.not(child, weight),
            Kind::Optional(child) => self.optional(child, weight),
            Kind::Numeric { field, min, max, min_inclusive, max_inclusive } => {
                let Part::Numbers(numbers) = &self.index.parts[*field] else { return Reader::empty() };
                let (min, max) = (key_of(*min), key_of(*max));
                let min = if *min_inclusive { Some(min) } else { min.checked_add(1) };
                let max = if *max_inclusive { Some(max) } else { max.checked_sub(1) };
                let (Some(min), Some(max)) = (min, max) else { return Reader::empty() };
                let mut goes_on = || self.cx.ask();
                if !goes_on() {
                    return Reader::empty();
                }
                filter(numbers.range(min, max, &mut goes_on), 1.0).weighing(weight)
            }
            Kind::Geo { field, longitude, latitude, radius, unit } => {
                let Part::Places(places) = &self.index.parts[*field] else { return Reader::empty() };
                let circle =
                    Circle { longitude: *longitude, latitude: *latitude, radius: radius * unit.metres() };
                let mut goes_on = || self.cx.ask();
                if !goes_on() {
                    return Reader::empty();
                }
                let mut found = RoaringBitmap::new();
                for (from, to) in circle.cover() {
                    let inside = |cell| circle.contains(cell);
                    places.range_into(from, to, Some(&inside), &mut found, &mut goes_on);
                }
                filter(found, 1.0).weighing(weight)
            }
            Kind::Tag { field, values } => self.tags(*field, values, weight),
            Kind::Missing(field) => match &self.index.missing[*field] {
                Some(missing) => borrowed_filter(missing).weighing(weight),
                None => Reader::empty(),
            },
            Kind::All => self.all().weighing(weight),
            Kind::Nothing => Reader::empty(),
            Kind::Keys(keys) => filter(keys.iter().filter_map(|key| self.index.id_of(key)).collect(), 0.0),
            Kind::Vector(query) => self.vector(query),
        }
    }

    fn alive(&self) -> Set<'a> {
        Set::Borrowed(self.index.alive.iter())
    }

    fn all(&self) -> Reader<'a> {
        Reader::new(ReaderKind::All(self.alive()), self.index.len())
    }

    fn term(&self, term: &[u8], node: &Node) -> Reader<'a> {
        let mask = node.mask & self.query.fields;
        let terms = &self.index.terms;
        let (Some(postings), Some(name)) = (terms.get(term), terms.name_of(term)) else {
            return Reader::empty();
        };
        if mask == 0 {
            return Reader::empty();
        }
        let cursor = postings.cursor();
        let idf = Idf::new(self.index.len(), postings.live() as usize);
        let estimate = cursor.estimate();
        Reader::new(ReaderKind::Term { cursor, mask, term: name, idf }, estimate)
    }

    fn affix(&self, pattern: Pattern, text: &[u8], node: &Node) -> Reader<'a> {
        if text.len() < self.query.affix_len_min {
            return Reader::empty();
        }
        self.pattern(&pattern, node)
    }

    fn pattern(&self, pattern: &Pattern, node: &Node) -> Reader<'a> {
        let mut children = Vec::new();
        self.index.terms.walk(pattern, |word, _, matches| {
            if !self.cx.step() {
                return ControlFlow::Break(());
            }
            if matches {
                if children.len() >= self.query.expansions_max {
                    self.truncated.set(true);
                    return ControlFlow::Break(());
                }
                children.push(self.term(word, node));
            }
            ControlFlow::Continue(())
        });
        first_of(children, node.weight)
    }

    fn phrase(&self, node: &Node, children: &[Node], exact: bool) -> Reader<'a> {
        if let [child] = children {
            return self.build(child);
        }
        let nearness = if exact {
            Some(Nearness { slop: 0, in_order: true })
        } else {
            let slop = node.slop.or(self.query.slop);
            let in_order = node.in_order == Some(true) || self.query.in_order;
            (slop.is_some() || in_order).then(|| Nearness { slop: slop.unwrap_or(u32::MAX), in_order })
        };
        let mut readers = Vec::with_capacity(children.len());
        for child in children {
            let reader = self.build(child);
            if reader.is_empty() {
                return reader;
            }
            readers.push(reader);
        }
        // All documents are no condition.
        if readers.iter().any(|reader| !matches!(reader.kind, ReaderKind::All(_))) {
            readers.retain(|reader| !matches!(reader.kind, ReaderKind::All(_)));
        } else {
            readers.truncate(1);
        }
        match readers.len() {
            0 => Reader::empty(),
            1 => readers.remove(0),
            _ => Reader::intersection(readers, nearness).weighing(node.weight),
        }
    }

    fn not(&self, child: &Node, weight: f64) -> Reader<'a> {
        let child = self.build(child);
        match child.kind {
            ReaderKind::Empty => self.all().weighing(weight),
            ReaderKind::All(_) => Reader::empty(),
            _ => {
                let kind = ReaderKind::Not { child: Box::new(child), alive: self.alive() };
                Reader::new(kind, self.index.len()).weighing(weight)
            }
        }
    }

    fn optional(&self, child: &Node, weight: f64) -> Reader<'a> {
        // What is optional weighs as much as that it is optional: so it is in Redis.
        let child = self.build(child).weighing(weight);
        let kind = ReaderKind::Optional { child: Box::new(child), alive: self.alive() };
        Reader::new(kind, self.index.len()).weighing(weight)
    }

    fn tags(&self, field: usize, values: &[Node], weight: f64) -> Reader<'a> {
        let Part::Tags(tags) = &self.index.parts[field] else { return Reader::empty() };
        let FieldKind::Tag { case_sensitive, .. } = self.index.schema().fields()[field].kind else {
            return Reader::empty();
        };
        let kept = |tag: &[u8]| if case_sensitive { tag.to_vec() } else { text::lower(tag) };
        let of_docs = |docs: &'a RoaringBitmap, weight: f64| {
            let idf = Idf::new(self.index.len(), docs.len() as usize);
            let kind = ReaderKind::Tag { docs: Set::Borrowed(docs.iter()), idf };
            Reader::new(kind, docs.len() as usize).weighing(weight)
        };
        let shortest = self.query.affix_len_min;
        let of_pattern = |pattern: Pattern, len: usize, min: usize| {
            let mut children = Vec::new();
            if len >= min {
                tags.walk(&pattern, |_, docs, matches| {
                    if !self.cx.step() {
                        return ControlFlow::Break(());
                    }
                    if matches {
                        if children.len() >= self.query.expansions_max {
                            self.truncated.set(true);
                            return ControlFlow::Break(());
                        }
                        children.push(of_docs(docs, 1.0));
                    }
                    ControlFlow::Continue(())
                });
            }
            first_of(children, weight)
        };
        let of_value = |node: &Node| match &node.kind {
            Kind::Prefix(text) => of_pattern(Pattern::Prefix(kept(text)), text.len(), shortest),
            Kind::Suffix(text) => of_pattern(Pattern::Suffix(kept(text)), text.len(), shortest),
            Kind::Infix(text) => of_pattern(Pattern::Infix(kept(text)), text.len(), shortest),
            Kind::Wildcard(text) => of_pattern(Pattern::Wildcard(kept(text)), text.len(), 0),
            _ => tags.get(&kept(&tag_of(node))).map_or_else(Reader::empty, |docs| of_docs(docs, weight)),
        };
        let mut readers: Vec<Reader> = values.iter().map(of_value).filter(|r| !r.is_empty()).collect();
        if values.len() == 1 {
            return readers.pop().unwrap_or_else(Reader::empty);
        }
        either(readers, weight)
    }

    fn vector(&self, query: &VectorQuery) -> Reader<'a> {
        let Part::Vectors(vectors) = &self.index.parts[query.field] else { return Reader::empty() };
        let mut goes_on = || self.cx.ask();
        let (found, filter) = match &query.search {
            VectorSearch::Within { radius } => {
                (vectors.within(&query.vector, *radius, query.epsilon, &mut goes_on), None)
            }
            VectorSearch::Nearest { k, filter: None } => {
                (vectors.nearest(&query.vector, *k, query.ef_runtime, None, &mut goes_on), None)
            }
            VectorSearch::Nearest { k, filter: Some(filter) } => {
                let docs = self.build(filter).collect(self.cx);
                let found = vectors.nearest(&query.vector, *k, query.ef_runtime, Some(&docs), &mut goes_on);
                (found, Some(Box::new(self.build(filter))))
            }
        };
        let mut near: Vec<(u32, f64)> = found.into_iter().map(|n| (n.doc, n.distance)).collect();
        near.sort_unstable_by_key(|&(doc, _)| doc);
        let estimate = near.len();
        Reader::new(ReaderKind::Vector { near, at: 0, name: query.score_field.clone(), filter }, estimate)
    }
}

/// The text of a tag: words with single spaces between.
fn tag_of(node: &Node) -> Vec<u8> {
    match &node.kind {
        Kind::Term { term, .. } => term.clone(),
        Kind::Phrase { children, .. } => children.iter().map(tag_of).collect::<Vec<_>>().join(&b' '),
        _ => Vec::new(),
    }
}

fn filter<'a>(docs: RoaringBitmap, frequency: f64) -> Reader<'a> {
    let estimate = docs.len() as usize;
    if estimate == 0 {
        return Reader::empty();
    }
    Reader::new(ReaderKind::Filter { docs: Set::Owned(docs.into_iter()), frequency }, estimate)
}

fn borrowed_filter(docs: &RoaringBitmap) -> Reader<'_> {
    let docs_len = docs.len() as usize;
    Reader::new(ReaderKind::Filter { docs: Set::Borrowed(docs.iter()), frequency: 0.0 }, docs_len)
}

fn either(children: Vec<Reader>, weight: f64) -> Reader {
    if children.is_empty() {
        Reader::empty()
    } else {
        Reader::union(children, weight == 0.0).weighing(weight)
    }
}

/// The words of a pattern: which of them a document has does not matter.
fn first_of(mut children: Vec<Reader>, weight: f64) -> Reader {
    children.retain(|child| !child.is_empty());
    if children.is_empty() { Reader::empty() } else { Reader::union(children, true).weighing(weight) }
}
