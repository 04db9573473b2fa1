//! How well a document fits.

use super::reader::{Idf, Reader, ReaderKind};
use crate::index::docs::Weight;
use std::cmp::Reverse;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scorer {
    /// Okapi BM25: Redis 8's default.
    #[default]
    Bm25Std,
    /// The same, brought between 0 and 1.
    Bm25StdTanh {
        factor: u32,
    },
    /// RediSearch's own BM25, from before.
    Bm25,
    Tfidf,
    /// By the words of the document, not by its most frequent one.
    TfidfDocNorm,
    DisMax,
    /// The document's own score.
    DocScore,
}

/// The share of BM25STD.TANH that Redis has if none is given.
pub const TANH_FACTOR: u32 = 4;

impl Scorer {
    pub fn parse(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_slice() {
            b"BM25STD" => Self::Bm25Std,
            b"BM25STD.TANH" => Self::Bm25StdTanh { factor: TANH_FACTOR },
            b"BM25" => Self::Bm25,
            b"TFIDF" => Self::Tfidf,
            b"TFIDF.DOCNORM" => Self::TfidfDocNorm,
            b"DISMAX" => Self::DisMax,
            b"DOCSCORE" => Self::DocScore,
            _ => return None,
        })
    }

    /// The score of the document that a reader is at.
    pub fn score(self, reader: &Reader, doc: &Weight, words_per_doc: f64) -> f64 {
        let own = f64::from(doc.score);
        match self {
            Self::Bm25Std => own * bm25_std(reader, doc, words_per_doc),
            Self::Bm25StdTanh { factor } => {
                (own * bm25_std(reader, doc, words_per_doc) / f64::from(factor.max(1))).tanh()
            }
            Self::Bm25 => own * bm25(reader, words_per_doc) / reader.spread(),
            Self::Tfidf => tfidf(reader, doc.max_frequency, own),
            Self::TfidfDocNorm => tfidf(reader, doc.words, own),
            Self::DisMax => dismax(reader),
            Self::DocScore => own,
        }
    }
}

/// What a reader has of the current document, to all scorers alike.
enum Matched<'r, 'a> {
    Term {
        frequency: f64,
        idf: Idf,
    },
    /// Found, and there is nothing more to say about it.
    Plain {
        frequency: f64,
    },
    All,
    Either(Children<'r, 'a>),
    Both(Children<'r, 'a>),
    One(&'r Reader<'a>),
    Nothing,
}

/// Those of the children that are at the document, or all.
struct Children<'r, 'a> {
    all: &'r [Reader<'a>],
    at: Option<u32>,
}

impl<'r, 'a> Children<'r, 'a> {
    fn iter(&self) -> impl Iterator<Item = &'r Reader<'a>> {
        let at = self.at;
        self.all.iter().filter(move |child| at.is_none_or(|doc| child.doc == doc))
    }
}

fn matched<'r, 'a>(reader: &'r Reader<'a>) -> Matched<'r, 'a> {
    match &reader.kind {
        ReaderKind::Empty | ReaderKind::Not { .. } => Matched::Nothing,
        ReaderKind::Term { cursor, idf, .. } => {
            Matched::Term { frequency: f64::from(cursor.frequency()), idf: *idf }
        }
        ReaderKind::Tag { idf, .. } => Matched::Term { frequency: 1.0, idf: *idf },
        ReaderKind::Filter { frequency, .. } => Matched::Plain { frequency: *frequency },
        ReaderKind::All(_) => Matched::All,
        ReaderKind::Union { children, heap, first_only } => Matched::Either(match heap.peek() {
            Some(Reverse((_, first))) if *first_only => {
                let first = *first as usize;
                Children { all: &children[first..=first], at: None }
            }
            _ => Children { all: children, at: Some(reader.doc) },
        }),
        ReaderKind::Intersection { children, .. } => Matched::Both(Children { all: children, at: None }),
        ReaderKind::Optional { child, .. } if child.doc == reader.doc => Matched::One(child),
        ReaderKind::Vector { filter: Some(filter), .. } if filter.doc == reader.doc => Matched::One(filter),
        ReaderKind::Optional { .. } | ReaderKind::Vector { .. } => Matched::Nothing,
    }
}

fn bm25_std(reader: &Reader, doc: &Weight, words_per_doc: f64) -> f64 {
    // Single precision, as Redis has them.
    const B: f32 = 0.75;
    const K1: f32 = 1.2;
    let of_term = |weight: f64, idf: f64, frequency: f64| {
        // An index without words has documents of no length: none is longer than another.
        let length = if words_per_doc > 0.0 { f64::from(B * doc.words as f32) / words_per_doc } else { 0.0 };
        let norm = f64::from(K1) * (f64::from(1.0 - B) + length);
        weight * idf * frequency * f64::from(K1 + 1.0) / (frequency + norm)
    };
    match matched(reader) {
        Matched::Term { frequency, idf } => of_term(reader.weight, idf.bm25, frequency),
        Matched::All if reader.weight != 0.0 => of_term(reader.weight, 1.0, 1.0),
        Matched::Either(children) | Matched::Both(children) => {
            reader.weight * children.iter().map(|child| bm25_std(child, doc, words_per_doc)).sum::<f64>()
        }
        Matched::One(child) => bm25_std(child, doc, words_per_doc),
        Matched::All | Matched::Plain { .. } | Matched::Nothing => 0.0,
    }
}

fn bm25(reader: &Reader, words_per_doc: f64) -> f64 {
    const B: f32 = 0.5;
    const K1: f32 = 1.2;
    // Not the document's length but the mean: so it is there.
    let norm = f64::from(K1) * (f64::from(1.0 - B) + f64::from(B) * words_per_doc);
    let of = |frequency: f64| if frequency > 0.0 { frequency / (frequency + norm) } else { 0.0 };
    match matched(reader) {
        Matched::Term { frequency, idf } => reader.weight * idf.tfidf * of(frequency),
        Matched::Plain { frequency } => reader.weight * of(frequency),
        Matched::All => reader.weight * of(1.0),
        Matched::Either(children) | Matched::Both(children) => {
            reader.weight * children.iter().map(|child| bm25(child, words_per_doc)).sum::<f64>()
        }
        Matched::One(child) => bm25(child, words_per_doc),
        Matched::Nothing => 0.0,
    }
}

fn tfidf(reader: &Reader, norm: u32, own: f64) -> f64 {
    if norm == 0 || own == 0.0 {
        return 0.0;
    }
    own * raw_tfidf(reader) / f64::from(norm) / reader.spread()
}

fn raw_tfidf(reader: &Reader) -> f64 {
    match matched(reader) {
        Matched::Term { frequency, idf } => reader.weight * frequency * idf.tfidf,
        Matched::Plain { frequency } => reader.weight * frequency,
        Matched::All => reader.weight,
        Matched::Either(children) | Matched::Both(children) => {
            reader.weight * children.iter().map(raw_tfidf).sum::<f64>()
        }
        Matched::One(child) => raw_tfidf(child),
        Matched::Nothing => 0.0,
    }
}

fn dismax(reader: &Reader) -> f64 {
    match matched(reader) {
        Matched::Term { frequency, .. } | Matched::Plain { frequency } => reader.weight * frequency,
        Matched::All => reader.weight,
        Matched::Either(children) => reader.weight * children.iter().map(dismax).fold(0.0, f64::max),
        Matched::Both(children) => reader.weight * children.iter().map(dismax).sum::<f64>(),
        Matched::One(child) => dismax(child),
        Matched::Nothing => 0.0,
    }
}
