//! FT.SPELLCHECK: words of an index and of dictionaries that a query may have meant.

use crate::index::Index;
use crate::index::pattern::Pattern;
use crate::index::postings::END;
use crate::query::ast::{Kind, Node, PATTERN_LEN_MAX};
use crate::query::{ParseOptions, QueryError, parse_only};
use crate::schema::FieldMask;
use crate::text;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Letters that a word may be away, at most.
pub const DISTANCE_MAX: usize = 4;
/// Suggestions for a word, at most: more than anybody reads.
const SUGGESTIONS_MAX: usize = 1000;

/// FT.DICTADD's words.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    words: BTreeMap<Arc<[u8]>, ()>,
}

impl Dictionary {
    /// True if it was not there.
    pub fn insert(&mut self, word: &[u8]) -> bool {
        self.words.insert(word.into(), ()).is_none()
    }

    pub fn remove(&mut self, word: &[u8]) -> bool {
        self.words.remove(word).is_some()
    }

    pub fn contains(&self, word: &[u8]) -> bool {
        self.words.contains_key(word)
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.words.keys().map(|word| &**word)
    }
}

/// What is said of a word of the query.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub word: Vec<u8>,
    /// The best first; none if the index has the word, which is said only if the full score is asked for.
    pub suggestions: Option<Vec<(f64, Vec<u8>)>>,
}

/// How a query is checked.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// Letters that a suggestion may be away.
    pub distance: usize,
    /// Words of these are suggestions, too.
    pub include: Vec<&'a Dictionary>,
    /// Words of these are right.
    pub exclude: Vec<&'a Dictionary>,
    /// Scores are numbers of documents, not shares of them, and words that the index has are named.
    pub full_score: bool,
}

/// Checks the words of a query. `goes_on` is asked now and then.
pub fn spellcheck(
    index: &Index,
    query: &[u8],
    parse: &ParseOptions,
    options: &Options,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<Checked>, QueryError> {
    let root = parse_only(query, index.schema(), parse)?;
    let fields = parse.in_fields.unwrap_or(FieldMask::MAX);
    let mut words = Vec::new();
    collect(&root, fields, &mut words);
    Ok(words.into_iter().filter_map(|(word, mask)| check(index, word, mask, options, goes_on)).collect())
}

fn collect<'a>(node: &'a Node, fields: FieldMask, words: &mut Vec<(&'a [u8], FieldMask)>) {
    match &node.kind {
        Kind::Term { term, .. } => words.push((term, node.mask & fields)),
        Kind::Tag { .. } => {}
        _ => node.children().iter().for_each(|child| collect(child, fields, words)),
    }
}

fn check(
    index: &Index,
    word: &[u8],
    mask: FieldMask,
    options: &Options,
    goes_on: &mut dyn FnMut() -> bool,
) -> Option<Checked> {
    let word = text::lower(word);
    if index.terms.get(&word).is_some() {
        return options.full_score.then_some(Checked { word, suggestions: None });
    }
    if options.exclude.iter().any(|dictionary| dictionary.contains(&word)) {
        return None;
    }
    // No word of an index or a dictionary is as long.
    if word.len() > PATTERN_LEN_MAX {
        return Some(Checked { word, suggestions: Some(Vec::new()) });
    }
    let pattern = Pattern::Fuzzy(word.clone(), options.distance.min(DISTANCE_MAX));
    let mut found: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    let mut looked_at = 0u32;
    let mut step = move || {
        looked_at += 1;
        !looked_at.is_multiple_of(256) || goes_on()
    };
    index.terms.walk(&pattern, |candidate, postings, matches| {
        if matches && postings.cursor().seek(1, mask) != END {
            found.insert(candidate.to_vec(), f64::from(postings.live()));
        }
        flow(step() && found.len() < SUGGESTIONS_MAX)
    });
    for dictionary in &options.include {
        pattern.walk(&dictionary.words, |candidate, (), matches| {
            let known = index.terms.get(candidate);
            let elsewhere = known.is_some_and(|postings| postings.cursor().seek(1, mask) == END);
            if matches && !elsewhere {
                let score = known.map_or(0.0, |postings| f64::from(postings.live()));
                found.entry(candidate.to_vec()).or_insert(score);
            }
            flow(step() && found.len() < SUGGESTIONS_MAX)
        });
    }
    let docs = if options.full_score { 1.0 } else { index.len().max(1) as f64 };
    let mut suggestions: Vec<(f64, Vec<u8>)> =
        found.into_iter().map(|(candidate, score)| (score / docs, candidate)).collect();
    suggestions.sort_by(|a, b| b.0.total_cmp(&a.0));
    Some(Checked { word, suggestions: Some(suggestions) })
}

fn flow(goes_on: bool) -> ControlFlow<()> {
    if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Document, FieldValue};
    use crate::schema::{Field, FieldKind, Schema};

    fn index() -> Index {
        let schema = Schema::default()
            .with(Field::new("name", FieldKind::TEXT))
            .with(Field::new("body", FieldKind::TEXT));
        let mut index = Index::new(schema, 1);
        for (key, name, body) in [("1", "hello", "held"), ("2", "hello", "halo"), ("3", "help", "world")] {
            let texts = |text: &'static str| FieldValue::Texts(vec![text.as_bytes()]);
            index.upsert(key.as_bytes(), &Document::new(vec![texts(name), texts(body)])).unwrap();
        }
        index
    }

    type Said = (String, Option<Vec<(f64, String)>>);

    fn checked(query: &str, options: &Options) -> Vec<Said> {
        let parse = ParseOptions { dialect: 2, ..ParseOptions::default() };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let checked = spellcheck(&index(), query.as_bytes(), &parse, options, &mut || true).unwrap();
        let of = |c: Checked| {
            let suggestions = c.suggestions.map(|s| s.into_iter().map(|(n, w)| (n, text(w))).collect());
            (text(c.word), suggestions)
        };
        checked.into_iter().map(of).collect()
    }

    #[test]
    fn words_are_suggested_by_how_many_documents_have_them() {
        let options = Options { distance: 1, ..Options::default() };
        let expected = vec![(2.0 / 3.0, "hello".into())];
        assert_eq!(
            checked("hallo wxyz hello", &options)[0],
            ("hallo".into(), Some(vec![(2.0 / 3.0, "hello".into()), (1.0 / 3.0, "halo".into()),]))
        );
        assert_eq!(checked("helllo", &options), [("helllo".into(), Some(expected))]);
        assert_eq!(checked("wxyz", &options), [("wxyz".into(), Some(vec![]))]);
        assert_eq!(checked("hello", &options), []);
    }

    #[test]
    fn a_word_longer_than_any_has_no_suggestions() {
        let long = "a".repeat(PATTERN_LEN_MAX + 1);
        let mut words = Dictionary::default();
        words.insert(&long.as_bytes()[1..]);
        let options = Options { distance: 1, include: vec![&words], ..Options::default() };
        assert_eq!(checked(&long, &options), [(long.clone(), Some(vec![]))]);
        assert_eq!(checked(&long[2..], &options)[0].1.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn fields_dictionaries_and_full_scores_are_heeded() {
        let mut words = Dictionary::default();
        assert!(words.insert(b"hallow") && !words.insert(b"hallow"));
        let options = Options { distance: 1, include: vec![&words], full_score: true, ..Options::default() };
        assert_eq!(
            checked("@body:hallo", &options),
            [("hallo".into(), Some(vec![(1.0, "halo".into()), (0.0, "hallow".into())]))]
        );
        assert_eq!(checked("hello", &options), [("hello".into(), None)]);
        words.insert(b"hallo");
        let options = Options { distance: 1, exclude: vec![&words], ..Options::default() };
        assert_eq!(checked("hallo", &options), []);
    }
}
