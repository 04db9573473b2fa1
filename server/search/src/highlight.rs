//! HIGHLIGHT and SUMMARIZE: matches in a text marked, and the pieces of a text with matches.

use crate::eval::rarity;
use crate::index::Index;
use crate::query::Query;
use crate::text::{self, Language, Words};
use std::collections::BTreeSet;

/// Words that may stand between two matches of a piece.
const GAP_MAX: u32 = 8;
/// Bytes of a word, to make bytes of words.
const WORD_LEN: usize = 6;

/// What stands around a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    pub open: Vec<u8>,
    pub close: Vec<u8>,
}

impl Default for Tags {
    fn default() -> Self {
        Self { open: b"<b>".to_vec(), close: b"</b>".to_vec() }
    }
}

/// SUMMARIZE's arguments: FRAGS, LEN and SEPARATOR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub pieces: usize,
    /// Words of a piece, about.
    pub words: usize,
    pub separator: Vec<u8>,
}

impl Default for Summary {
    fn default() -> Self {
        Self { pieces: 3, words: 20, separator: b"... ".to_vec() }
    }
}

/// What a document matched, to mark it in its texts.
#[derive(Debug, Clone)]
pub struct Matches {
    /// Terms in order, stems as `+stem`, each with its weight in a piece.
    terms: Vec<(Vec<u8>, f64)>,
    language: Language,
}

/// A match in a text.
struct Match {
    position: u32,
    start: usize,
    end: usize,
}

/// Matches near each other.
struct Piece {
    matches: Vec<Match>,
    score: f64,
    /// Words from the first match to the last.
    words: usize,
    /// The terms of the matches: each adds to the score once.
    terms: BTreeSet<usize>,
}

impl Piece {
    fn start(&self) -> usize {
        self.matches[0].start
    }

    fn end(&self) -> usize {
        self.matches[self.matches.len() - 1].end
    }
}

impl Matches {
    /// What a document has of a query; nothing once `goes_on` says no. `language` is the document's, if it has its own.
    pub fn of(
        index: &Index,
        query: &Query,
        doc: u32,
        language: Option<Language>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Self {
        let terms = index.matched_terms(query, doc, goes_on).into_iter();
        let terms = terms.map(|term| {
            let rarity = rarity(index, &term);
            (term, rarity)
        });
        Self { terms: terms.collect(), language: language.unwrap_or(index.schema().options.language) }
    }

    pub fn terms(&self) -> impl Iterator<Item = &[u8]> {
        self.terms.iter().map(|(term, _)| &term[..])
    }

    fn pieces(&self, index: &Index, text: &[u8]) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut since = 0;
        for word in Words::new(text, &index.schema().options.stop_words, 0) {
            let Some(term) = self.find(index, &word.term) else {
                since += 1;
                continue;
            };
            let found = Match { position: word.position, start: word.start, end: word.start + word.len };
            let near = pieces.last_mut().filter(|piece| {
                let last = piece.matches[piece.matches.len() - 1].position;
                word.position - last <= GAP_MAX
            });
            match near {
                Some(piece) => {
                    if piece.terms.insert(term) {
                        piece.score += self.terms[term].1;
                    }
                    piece.words += since + 1;
                    piece.matches.push(found);
                }
                None => pieces.push(Piece {
                    matches: vec![found],
                    score: self.terms[term].1,
                    words: 1,
                    terms: BTreeSet::from([term]),
                }),
            }
            since = 0;
        }
        pieces
    }

    /// The first of the terms that a word is, by itself, its stem or a synonym.
    fn find(&self, index: &Index, word: &[u8]) -> Option<usize> {
        let at = |term: &[u8]| self.terms.binary_search_by(|(known, _)| known.as_slice().cmp(term)).ok();
        at(word)
            .or_else(|| at(&text::stem_term(self.language, word)?))
            .or_else(|| index.synonyms.terms_of(word).find_map(|group| at(&group)))
    }

    /// The whole text, its matches marked.
    pub fn highlight(&self, index: &Index, text: &[u8], tags: &Tags) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        for found in self.pieces(index, text).iter().flat_map(|piece| &piece.matches) {
            out.extend_from_slice(&text[from..found.start]);
            mark(&mut out, &text[found.start..found.end], Some(tags));
            from = found.end;
        }
        out.extend_from_slice(&text[from..]);
        out
    }

    /// The best pieces of the text in the order in which they stand there, each with words around it and the separator
    /// behind it. Without matches it is the beginning of the text.
    pub fn summarize(&self, index: &Index, text: &[u8], summary: &Summary, tags: Option<&Tags>) -> Vec<u8> {
        let pieces = self.pieces(index, text);
        if pieces.is_empty() {
            return beginning(text, summary);
        }
        let mut best: Vec<usize> = (0..pieces.len()).collect();
        best.sort_by(|&a, &b| pieces[b].score.total_cmp(&pieces[a].score));
        best.truncate(summary.pieces);
        best.sort_unstable();
        let mut out = Vec::new();
        for (nth, &at) in best.iter().enumerate() {
            let piece = &pieces[at];
            let before = if nth > 0 { pieces[best[nth - 1]].end() } else { 0 };
            let behind = best.get(nth + 1).map_or(text.len().saturating_sub(1), |&next| pieces[next].start());
            let (start, end) = with_context(text, piece, before, behind, summary.words);
            let mut written = Vec::new();
            let mut from = start;
            for found in &piece.matches {
                written.extend_from_slice(&text[from..found.start]);
                mark(&mut written, &text[found.start..found.end], tags);
                from = found.end;
            }
            written.extend_from_slice(&text[from..end.max(from)]);
            out.extend(single_spaced(&written));
            out.extend_from_slice(&summary.separator);
        }
        out
    }
}

fn mark(out: &mut Vec<u8>, word: &[u8], tags: Option<&Tags>) {
    if let Some(tags) = tags {
        out.extend_from_slice(&tags.open);
        out.extend_from_slice(word);
        out.extend_from_slice(&tags.close);
    } else {
        out.extend_from_slice(word);
    }
}

/// A piece with whole words before and behind it, as many as it lacks to `words`.
fn with_context(text: &[u8], piece: &Piece, before: usize, behind: usize, words: usize) -> (usize, usize) {
    let (start, end) = (piece.start(), piece.end());
    let own = piece.words - piece.matches.len();
    if words <= own {
        return (start, end);
    }
    let bytes = ((words - own) / 2).saturating_mul(WORD_LEN);
    let separates = |at: usize| text::is_separator(text[at]);
    let mut from = start.saturating_sub(bytes).max(before);
    while from < start && !separates(from) {
        from += 1;
    }
    while from < start && separates(from) {
        from += 1;
    }
    let mut to = end.saturating_add(bytes).min(behind);
    while to > end && !separates(to) {
        to -= 1;
    }
    while to > end && separates(to) {
        to -= 1;
    }
    (from, (to + 1).clamp(end, text.len()))
}

/// The beginning of a text, to its last whole word within what a summary may have.
fn beginning(text: &[u8], summary: &Summary) -> Vec<u8> {
    let max = WORD_LEN.saturating_mul(summary.words).saturating_mul(summary.pieces).saturating_add(WORD_LEN);
    let mut out = single_spaced(&text[..text.len().min(max)]);
    while out.len() > 1 && !text::is_separator(out[out.len() - 1]) {
        out.pop();
    }
    while out.last().is_some_and(|&b| text::is_space(b)) {
        out.pop();
    }
    out
}

fn single_spaced(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut after_space = false;
    for &byte in text {
        let space = text::is_space(byte);
        if !(space && after_space) {
            out.push(if space { b' ' } else { byte });
        }
        after_space = space;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Document, FieldValue};
    use crate::query::ParseOptions;
    use crate::schema::{Field, FieldKind, Schema};

    const TEXT: &str = "The lamp in the hall is a red lamp.  It was made by hand, long ago, by people who knew how to make \
                        such things and whose names nobody remembers today; their reading lamps are still in use.";

    fn matches(query: &str) -> (Index, Matches) {
        let schema = Schema::default().with(Field::new("body", FieldKind::TEXT));
        let mut index = Index::new(schema, 1);
        let doc = index.upsert(b"k", &Document::new(vec![FieldValue::Texts(vec![TEXT.as_bytes()])])).unwrap();
        let options = ParseOptions { dialect: 2, ..ParseOptions::default() };
        let query = Query::parse(query.as_bytes(), &index, &options).unwrap();
        let matches = Matches::of(&index, &query, doc, None, &mut || true);
        (index, matches)
    }

    fn highlighted(query: &str) -> String {
        let (index, matches) = matches(query);
        String::from_utf8(matches.highlight(&index, TEXT.as_bytes(), &Tags::default())).unwrap()
    }

    fn summarized(query: &str, summary: &Summary, tags: Option<&Tags>) -> String {
        let (index, matches) = matches(query);
        String::from_utf8(matches.summarize(&index, TEXT.as_bytes(), summary, tags)).unwrap()
    }

    #[test]
    fn matches_are_marked_with_their_stems_and_prefixes() {
        let expected = TEXT.replace("lamp", "<b>lamp</b>").replace("<b>lamp</b>s", "<b>lamps</b>");
        assert_eq!(highlighted("lamp"), expected);
        assert_eq!(highlighted("lam*"), expected);
        assert_eq!(highlighted("nosuch|hall"), TEXT.replace("hall", "<b>hall</b>"));
        assert_eq!(highlighted("*"), TEXT);
    }

    #[test]
    fn a_summary_is_the_pieces_with_matches() {
        let summary = Summary { pieces: 2, words: 4, separator: b"|".to_vec() };
        assert_eq!(
            summarized("hand|reading", &summary, Some(&Tags::default())),
            "made by <b>hand</b>, long ago|their <b>reading</b> lamps are|"
        );
        assert_eq!(summarized("hand", &Summary { words: 0, ..summary.clone() }, None), "hand|");
    }

    #[test]
    fn without_matches_a_summary_is_the_beginning() {
        let summary = Summary { pieces: 1, words: 3, separator: b"|".to_vec() };
        assert_eq!(summarized("*", &summary, None), "The lamp in the hall is");
    }

    #[test]
    fn a_summary_may_be_as_long_as_it_likes() {
        let summary = Summary { pieces: 1, words: i64::MAX as usize, separator: Vec::new() };
        assert_eq!(summarized("hand", &summary, None), TEXT[4..].replace("  ", " ").trim_end_matches('.'));
    }

    #[test]
    fn many_matches_of_many_terms_are_marked_in_one_piece() {
        let terms: Vec<_> = (0..20_000).map(|n| (format!("w{n:05}").into_bytes(), 1.0)).collect();
        let (index, _) = matches("hand");
        let text = terms.iter().flat_map(|(term, _)| [&term[..], b" "].concat()).collect::<Vec<u8>>();
        let matches = Matches { terms, language: Language::ENGLISH };
        let pieces = matches.pieces(&index, &text);
        assert_eq!((pieces.len(), pieces[0].matches.len(), pieces[0].score), (1, 20_000, 20_000.0));
    }

    #[test]
    fn the_best_piece_has_the_most_terms() {
        let summary = Summary { pieces: 1, words: 1, separator: Vec::new() };
        assert_eq!(
            summarized("hand|names|remembers|reading", &summary, None),
            "names nobody remembers today; their reading"
        );
    }
}
