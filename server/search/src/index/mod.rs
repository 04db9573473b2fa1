//! The index: documents in, and what the parts hold of them.

pub(crate) mod docs;
pub mod geo;
pub(crate) mod numbers;
pub(crate) mod pattern;
pub(crate) mod postings;
pub(crate) mod tags;
pub(crate) mod terms;
mod varint;

pub use docs::SortValue;

use crate::schema::{Field, FieldKind, Schema};
use crate::synonyms::Synonyms;
use crate::text::{self, Language, Words};
use crate::vector::Vectors;
use docs::{Doc, Docs, Forward, Weight};
use numbers::{Numbers, key_of};
use postings::Entry;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use tags::Tags;
use terms::Terms;

/// Values of an array are so far apart that no phrase goes from one to the next.
const VALUES_GAP: u32 = 100;
/// Blocks of postings that each write cleans: more than it can make unclean, so that cleaning keeps up.
const CLEAN_PER_WRITE: usize = 8;
/// The weight of a stem to that of its word.
const STEM_FACTOR: f64 = 0.2;
/// Values of an array that are indexed.
const VALUES_MAX: usize = 1 << 16;
/// Lists of a kind that are looked at for their sizes, and blocks of each.
const SAMPLES_MAX: usize = 4096;
const BLOCK_SAMPLES_MAX: usize = 16;
/// An index whose ids are this much sparser than its documents asks to be built anew.
const SPARSE_FACTOR: u64 = 16;
const SPARSE_SLACK: u64 = 1 << 24;

/// What a document has in a field. Strings of hashes come by [`FieldValue::of_string`].
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    Missing,
    /// Texts, or texts to be cut into tags.
    Texts(Vec<&'a [u8]>),
    /// Tags that are not cut.
    Tags(Vec<&'a [u8]>),
    Numbers(Vec<f64>),
    /// Longitude and latitude.
    Places(Vec<(f64, f64)>),
    /// Each as many little-endian numbers as the field has dimensions.
    Vectors(Vec<&'a [u8]>),
}

/// Why a document is not indexed. The caller counts it as a failure and removes what it had of the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("Invalid numeric value: '{0}'")]
    Number(String),
    #[error("Invalid geo string")]
    Place,
    #[error("Could not add vector with blob size {found} (expected size {expected})")]
    VectorLen { found: usize, expected: usize },
    #[error("A value of another type than the field's")]
    Type,
    #[error("More than {VALUES_MAX} values in a field")]
    TooManyValues,
    #[error("The index has no ids left and has to be built anew")]
    Ids,
}

impl<'a> FieldValue<'a> {
    /// A string as a value of a field: parsed as a number or a place, or taken as the bytes of a vector.
    pub fn of_string(field: &Field, string: &'a [u8]) -> Result<Self, IndexError> {
        Ok(match &field.kind {
            FieldKind::Text { .. } | FieldKind::Tag { .. } => Self::Texts(vec![string]),
            FieldKind::Numeric => {
                let text = std::str::from_utf8(string).ok().map(|text| text.trim_matches(' '));
                let number = text.and_then(parse_number);
                let shown = || IndexError::Number(String::from_utf8_lossy(string).into_owned());
                Self::Numbers(vec![number.ok_or_else(shown)?])
            }
            FieldKind::Geo => Self::Places(vec![parse_place(string).ok_or(IndexError::Place)?]),
            FieldKind::Vector(_) => Self::Vectors(vec![string]),
        })
    }

    /// Would [`Index::upsert`] take this as the field's value?
    pub fn check(&self, field: &Field) -> Result<(), IndexError> {
        let len = match (&field.kind, self) {
            (_, FieldValue::Missing) => 0,
            (FieldKind::Text { .. } | FieldKind::Tag { .. }, FieldValue::Texts(texts)) => texts.len(),
            (FieldKind::Tag { .. }, FieldValue::Tags(tags)) => tags.len(),
            (FieldKind::Numeric, FieldValue::Numbers(numbers)) => numbers.len(),
            (FieldKind::Geo, FieldValue::Places(places)) => {
                let known = |&(longitude, latitude): &(f64, f64)| geo::encode(longitude, latitude).is_some();
                if !places.iter().all(known) {
                    return Err(IndexError::Place);
                }
                places.len()
            }
            (FieldKind::Vector(spec), FieldValue::Vectors(vectors)) => {
                let expected = spec.blob_len();
                if let Some(wrong) = vectors.iter().find(|vector| vector.len() != expected) {
                    return Err(IndexError::VectorLen { found: wrong.len(), expected });
                }
                vectors.len()
            }
            _ => return Err(IndexError::Type),
        };
        if len > VALUES_MAX { Err(IndexError::TooManyValues) } else { Ok(()) }
    }
}

/// Decimal, hexadecimal is not known; infinities are numbers, NaN is none.
pub fn parse_number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|n| !n.is_nan())
}

/// `longitude,latitude` or with a space between.
pub fn parse_place(string: &[u8]) -> Option<(f64, f64)> {
    let text = std::str::from_utf8(string).ok()?;
    let (longitude, latitude) = text.trim().split_once([',', ' '])?;
    Some((parse_number(longitude.trim())?, parse_number(latitude.trim())?))
}

/// A document to be indexed: a value for each field of the schema, in its order.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    pub fields: Vec<FieldValue<'a>>,
    /// What all its scores are multiplied with, 0 to 1.
    pub score: f32,
    /// Other than the index's.
    pub language: Option<Language>,
}

impl<'a> Document<'a> {
    pub fn new(fields: Vec<FieldValue<'a>>) -> Self {
        Self { fields, score: 1.0, language: None }
    }
}

/// What a field of the schema has.
#[derive(Debug)]
pub(crate) enum Part {
    /// All TEXT fields share the terms.
    Text,
    Tags(Tags),
    Numbers(Numbers),
    Places(Numbers),
    Vectors(Box<Vectors>),
}

/// An index over documents. See the crate.
#[derive(Debug)]
pub struct Index {
    schema: Schema,
    pub(crate) docs: Docs,
    /// The ids of all documents.
    pub(crate) alive: RoaringBitmap,
    pub(crate) terms: Terms,
    /// One for each field.
    pub(crate) parts: Vec<Part>,
    /// Documents without the field, for fields that want to know.
    pub(crate) missing: Vec<Option<RoaringBitmap>>,
    pub synonyms: Synonyms,
    words: u64,
    seed: u64,
}

/// Figures of FT.INFO. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub docs: u64,
    /// Ids given out.
    pub max_doc_id: u32,
    pub terms: u64,
    /// Pairs of a term and a document.
    pub records: u64,
    /// Of those, entries of documents that are gone.
    pub records_dead: u64,
    pub words: u64,
    pub text_bytes: usize,
    pub dictionary_bytes: usize,
    pub tag_bytes: usize,
    pub number_bytes: usize,
    pub geo_bytes: usize,
    pub vector_bytes: usize,
    pub doc_bytes: usize,
    pub sort_bytes: usize,
}

impl Stats {
    pub fn bytes(&self) -> usize {
        self.text_bytes
            + self.dictionary_bytes
            + self.tag_bytes
            + self.number_bytes
            + self.geo_bytes
            + self.vector_bytes
            + self.doc_bytes
            + self.sort_bytes
    }
}

impl Index {
    /// An empty index. `seed` decides the layers of HNSW graphs.
    pub fn new(schema: Schema, seed: u64) -> Self {
        let mut index = Self {
            schema: Schema::new(schema.options.clone()),
            docs: Docs::default(),
            alive: RoaringBitmap::new(),
            terms: Terms::default(),
            parts: Vec::new(),
            missing: Vec::new(),
            synonyms: Synonyms::default(),
            words: 0,
            seed,
        };
        for field in schema.fields() {
            index.add_field(field.clone()).expect("the fields were in a schema");
        }
        index
    }

    /// Adds a field at the end of the schema. Documents that are there have it after they are indexed again.
    pub fn add_field(&mut self, field: Field) -> Result<(), crate::schema::SchemaError> {
        self.schema.add(field)?;
        let field = self.schema.fields().last().expect("one was added");
        let seed = self.seed.wrapping_add(self.parts.len() as u64);
        self.parts.push(match &field.kind {
            FieldKind::Text { .. } => Part::Text,
            FieldKind::Tag { .. } => Part::Tags(Tags::default()),
            FieldKind::Numeric => Part::Numbers(Numbers::default()),
            FieldKind::Geo => Part::Places(Numbers::default()),
            FieldKind::Vector(spec) => Part::Vectors(Box::new(Vectors::new(spec, seed))),
        });
        self.missing.push(field.index_missing.then(|| self.alive.clone()));
        Ok(())
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn len(&self) -> usize {
        self.docs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.docs.id_of(key).is_some()
    }

    /// The id of a document, which the next `upsert` of its key changes.
    pub fn id_of(&self, key: &[u8]) -> Option<u32> {
        self.docs.id_of(key)
    }

    /// The key of a document.
    pub fn key_of(&self, doc: u32) -> Option<&[u8]> {
        self.docs.get(doc).map(|doc| &*doc.key)
    }

    /// The keys of all documents, in order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.docs.keys()
    }

    /// What a sortable field of a document sorts by.
    pub fn sort_value(&self, doc: u32, field: usize) -> Option<&SortValue> {
        let place = self.sort_place(field)?;
        self.docs.get(doc)?.sort.get(place)
    }

    fn sort_place(&self, field: usize) -> Option<usize> {
        let fields = self.schema.fields();
        fields.get(field)?.sortable.then(|| fields[..field].iter().filter(|f| f.sortable).count())
    }

    /// Words of a document in the mean.
    pub(crate) fn words_per_doc(&self) -> f64 {
        if self.docs.len() == 0 { 0.0 } else { self.words as f64 / self.docs.len() as f64 }
    }

    /// Indexes a document, in place of what was indexed of its key before. If the document cannot be, nothing of its key
    /// is indexed any more. Its id is greater than all before.
    pub fn upsert(&mut self, key: &[u8], document: &Document) -> Result<u32, IndexError> {
        let fields = self.schema.fields();
        assert_eq!(document.fields.len(), fields.len(), "a value for each field");
        let checked = fields.iter().zip(&document.fields).try_for_each(|(field, value)| value.check(field));
        let id = checked.and_then(|()| self.docs.next_id().ok_or(IndexError::Ids));
        let id = match id {
            Ok(id) => id,
            Err(error) => {
                self.remove(key);
                return Err(error);
            }
        };
        let before = self.docs.id_of(key);
        let kept = before.map_or(Vec::new(), |before| self.same_vectors(before, document));
        self.remove_but(key, &kept);
        let mut forward = Forward::default();
        let mut sort = Vec::new();
        let text = self.index_text(id, document, &mut forward);
        for at in 0..self.parts.len() {
            let (field, value) = (&self.schema.fields()[at], &document.fields[at]);
            if field.sortable {
                sort.push(sort_value(field, value));
            }
            if *value == FieldValue::Missing
                && let Some(missing) = &mut self.missing[at]
            {
                missing.insert(id);
            }
            if let (Part::Vectors(vectors), Some(before)) = (&mut self.parts[at], before)
                && kept.contains(&at)
            {
                vectors.rename(before, id);
            } else if !field.noindex {
                index_value(id, field, value, &mut self.parts[at], at, &mut forward);
            }
        }
        self.words += u64::from(text.words);
        let doc = Doc { key: key.into(), forward: forward.finish(), sort: sort.into_boxed_slice() };
        let weight = Weight { score: document.score, words: text.words, max_frequency: text.max_frequency };
        self.docs.insert(id, doc, weight);
        self.alive.insert(id);
        self.terms.clean(CLEAN_PER_WRITE, &self.alive);
        Ok(id)
    }

    fn index_text(&mut self, id: u32, document: &Document, forward: &mut Forward) -> TextOf {
        let language = document.language.unwrap_or(self.schema.options.language);
        let mut text = TextOf::default();
        for (at, field) in self.schema.fields().iter().enumerate() {
            let FieldKind::Text { weight, nostem, .. } = field.kind else { continue };
            if field.noindex {
                continue;
            }
            let FieldValue::Texts(values) = &document.fields[at] else { continue };
            let mask = self.schema.mask_of(at);
            // Of a frequency only whole numbers are kept, and at least one.
            let word_weight = (weight as u32).max(1);
            let stem_weight = ((weight * STEM_FACTOR) as u32).max(1);
            for (nth, value) in values.iter().enumerate() {
                if nth > 0 {
                    text.position = text.position.saturating_add(VALUES_GAP);
                }
                if value.is_empty() && !field.index_empty {
                    continue;
                }
                for word in Words::new(value, &self.schema.options.stop_words, text.position) {
                    text.position = word.position;
                    text.words = text.words.saturating_add(word_weight);
                    let stem = if nostem { None } else { text::stem_term(language, &word.term) };
                    for group in self.synonyms.terms_of(&word.term) {
                        text.add(group, mask, word_weight, word.position);
                    }
                    text.add(word.term, mask, word_weight, word.position);
                    if let Some(stem) = stem {
                        text.add(stem, mask, stem_weight, word.position);
                    }
                }
            }
        }
        let mut ids = Vec::with_capacity(text.terms.len());
        for (term, mut entry) in std::mem::take(&mut text.terms) {
            text.max_frequency = text.max_frequency.max(entry.frequency);
            if !self.schema.options.offsets {
                entry.positions = Vec::new();
            }
            ids.push(self.terms.push(&term, id, &entry));
        }
        forward.terms(ids);
        text
    }

    /// The fields whose vector is the same in `document` as in the one with this id: to take it out of the graph and put it in
    /// again would cost far more than the rest of a write.
    fn same_vectors(&self, id: u32, document: &Document) -> Vec<usize> {
        let same = |at: &usize| match (&self.parts[*at], &document.fields[*at]) {
            (Part::Vectors(vectors), FieldValue::Vectors(blobs)) => {
                blobs.len() == 1 && !self.schema.fields()[*at].noindex && vectors.holds(id, blobs[0])
            }
            _ => false,
        };
        (0..self.parts.len()).filter(same).collect()
    }

    /// Removes a document. False if there is none with this key.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.remove_but(key, &[])
    }

    /// [`Index::remove`] without the vectors of the fields `kept`.
    fn remove_but(&mut self, key: &[u8], kept: &[usize]) -> bool {
        let Some(id) = self.docs.id_of(key) else { return false };
        let (doc, weight) = self.docs.remove(id).expect("the key has this document");
        self.alive.remove(id);
        self.words -= u64::from(weight.words);
        for missing in self.missing.iter_mut().flatten() {
            missing.remove(id);
        }
        let Self { terms, parts, .. } = self;
        docs::read_forward(
            &doc.forward,
            |term| terms.bury(term),
            |field, value| match &mut parts[field] {
                Part::Tags(tags) => tags.remove(value as u32, id),
                Part::Numbers(numbers) | Part::Places(numbers) => numbers.remove(value, id),
                Part::Text | Part::Vectors(_) => unreachable!("neither puts values down"),
            },
        );
        for (at, part) in parts.iter_mut().enumerate() {
            if let Part::Vectors(vectors) = part
                && !kept.contains(&at)
            {
                vectors.remove(id);
            }
        }
        self.terms.clean(CLEAN_PER_WRITE, &self.alive);
        true
    }

    /// A document has another key; one that had this key before is gone. False if there is no document to rename.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        if from == to {
            return self.contains(from);
        }
        let Some(id) = self.docs.id_of(from) else { return false };
        self.remove(to);
        self.docs.rename(id, to);
        true
    }

    /// Cleans so many blocks of postings. True if there is nothing left to clean. Writes do it, too.
    pub fn clean(&mut self, blocks: usize) -> bool {
        self.terms.clean(blocks, &self.alive)
    }

    /// Whether the ids have got so sparse, by writes to the same keys, that the index should be built anew.
    pub fn wants_rebuild(&self) -> bool {
        u64::from(self.docs.max_id()) > SPARSE_SLACK + SPARSE_FACTOR * self.docs.len() as u64
    }

    /// The values of a TAG field, in order, each with the number of its documents.
    pub fn tag_values(&self, field: usize) -> Option<impl Iterator<Item = (&[u8], u64)>> {
        match self.parts.get(field)? {
            Part::Tags(tags) => Some(tags.iter().map(|(tag, docs)| (tag, docs.len()))),
            _ => None,
        }
    }

    /// Bytes of a VECTOR field's vectors; `None` of another field.
    pub fn vector_memory(&self, field: usize) -> Option<usize> {
        match self.parts.get(field)? {
            Part::Vectors(vectors) => Some(vectors.memory()),
            _ => None,
        }
    }

    /// Counts are exact; sizes of what there are many of are estimates.
    pub fn stats(&self) -> Stats {
        let (records, records_dead) = self.terms.entries();
        let (text_bytes, dictionary_bytes) = self.terms.memory();
        let (doc_bytes, sort_bytes) = self.docs.memory();
        let mut stats = Stats {
            docs: self.docs.len() as u64,
            max_doc_id: self.docs.max_id(),
            terms: self.terms.len() as u64,
            records,
            records_dead,
            words: self.words,
            text_bytes,
            dictionary_bytes,
            doc_bytes: doc_bytes + self.alive.serialized_size(),
            sort_bytes,
            ..Stats::default()
        };
        for part in &self.parts {
            match part {
                Part::Text => {}
                Part::Tags(tags) => stats.tag_bytes += tags.memory(),
                Part::Numbers(numbers) => stats.number_bytes += numbers.memory(),
                Part::Places(places) => stats.geo_bytes += places.memory(),
                Part::Vectors(vectors) => stats.vector_bytes += vectors.memory(),
            }
        }
        stats
    }
}

/// How much `len` of something come to, if they are more than `samples_max` by every so-manieth.
pub(crate) fn sampled(len: usize, samples_max: usize, of: impl Fn(usize) -> usize) -> usize {
    let step = len.div_ceil(samples_max).max(1);
    let taken: usize = (0..len).step_by(step).map(of).sum();
    let samples = len.div_ceil(step);
    if samples == 0 { 0 } else { (taken as u128 * len as u128 / samples as u128) as usize }
}

/// The terms of a document.
#[derive(Default)]
struct TextOf {
    terms: BTreeMap<Vec<u8>, Entry>,
    position: u32,
    words: u32,
    max_frequency: u32,
}

impl TextOf {
    fn add(&mut self, term: Vec<u8>, mask: crate::schema::FieldMask, frequency: u32, position: u32) {
        let entry = self.terms.entry(term).or_insert(Entry { frequency: 0, mask: 0, positions: Vec::new() });
        entry.frequency = entry.frequency.saturating_add(frequency);
        entry.mask |= mask;
        entry.positions.push(position);
    }
}

fn index_value(
    id: u32,
    field: &Field,
    value: &FieldValue,
    part: &mut Part,
    at: usize,
    forward: &mut Forward,
) {
    match (part, value) {
        (Part::Tags(tags), FieldValue::Texts(texts)) => {
            let FieldKind::Tag { separator, case_sensitive, .. } = field.kind else { return };
            let cut = |text: &&[u8]| tags::split(text, separator, case_sensitive, field.index_empty);
            index_tags(id, texts.iter().flat_map(cut), tags, at, forward);
        }
        (Part::Tags(tags), FieldValue::Tags(values)) => {
            let FieldKind::Tag { case_sensitive, .. } = field.kind else { return };
            let kept = |tag: &&[u8]| tags::split(tag, None, case_sensitive, field.index_empty);
            let values = values.iter().filter(|tag| field.index_empty || !tag.is_empty());
            index_tags(id, values.flat_map(kept), tags, at, forward);
        }
        (Part::Numbers(numbers), FieldValue::Numbers(values)) => {
            let mut keys: Vec<u64> = values.iter().map(|&n| key_of(n)).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.iter().for_each(|&key| numbers.insert(key, id));
            forward.values(at, &keys);
        }
        (Part::Places(cells), FieldValue::Places(places)) => {
            let cell = |&(longitude, latitude): &(f64, f64)| geo::encode(longitude, latitude);
            let mut keys: Vec<u64> = places.iter().filter_map(cell).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.iter().for_each(|&key| cells.insert(key, id));
            forward.values(at, &keys);
        }
        (Part::Vectors(vectors), FieldValue::Vectors(blobs)) => {
            blobs.iter().for_each(|blob| vectors.insert(id, blob));
        }
        _ => {}
    }
}

fn index_tags(
    id: u32,
    values: impl Iterator<Item = Vec<u8>>,
    tags: &mut Tags,
    at: usize,
    forward: &mut Forward,
) {
    let mut ids: Vec<u64> = values.map(|tag| u64::from(tags.insert(&tag, id))).collect();
    ids.sort_unstable();
    ids.dedup();
    forward.values(at, &ids);
}

/// Texts sort in lower case unless the field is UNF; of several values the first counts.
fn sort_value(field: &Field, value: &FieldValue) -> SortValue {
    match value {
        FieldValue::Texts(texts) | FieldValue::Tags(texts) => match texts.first() {
            Some(text) if field.unf => SortValue::Text((*text).into()),
            Some(text) => SortValue::Text(text::lower(text).into()),
            None => SortValue::Missing,
        },
        FieldValue::Numbers(numbers) => numbers.first().map_or(SortValue::Missing, |&n| SortValue::Number(n)),
        FieldValue::Places(places) => match places.first() {
            Some(&(longitude, latitude)) => {
                SortValue::Number(geo::encode(longitude, latitude).map_or(0.0, |cell| cell as f64))
            }
            None => SortValue::Missing,
        },
        FieldValue::Missing | FieldValue::Vectors(_) => SortValue::Missing,
    }
}

#[cfg(test)]
mod tests;
