//! Suggestions: FT.SUGADD, FT.SUGGET, FT.SUGDEL, FT.SUGLEN.
//!
//! A trie whose nodes know the best score below them, so that the best completions are found without looking at all. A
//! clone shares all nodes; a write copies those on its way.

use crate::text;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Letters of a suggestion; longer ones are not kept, as in Redis.
pub const LETTERS_MAX: usize = 255;
/// Bytes of one: what is longer is not even looked at, as in Redis.
pub const BYTES_MAX: usize = 512;
/// Letters of what is to be completed.
pub const PREFIX_MAX: usize = 100;
/// Letters that a fuzzy completion may be wrong by.
const DISTANCE: usize = 1;
/// Completions that score less than this share of the best are unlikely: TRIM drops them.
const UNLIKELY: f32 = 0.1;
/// The score of the suggestion that is what was asked for, letter by letter: none can be better.
const EXACT: f32 = i32::MAX as f32;

/// Suggestions with their scores and payloads.
#[derive(Debug, Clone, Default)]
pub struct Suggestions {
    root: Arc<Node>,
    len: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    letters: Box<[char]>,
    entry: Option<Entry>,
    /// In the order of their first letters.
    children: Vec<Arc<Node>>,
    /// No entry here or below scores more.
    best: f32,
}

#[derive(Debug, Clone)]
struct Entry {
    score: f32,
    payload: Option<Arc<[u8]>>,
}

/// A completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    pub text: String,
    pub score: f64,
    pub payload: Option<Arc<[u8]>>,
}

/// How completions are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub fuzzy: bool,
    pub max: usize,
    pub trim: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { fuzzy: false, max: 5, trim: false }
    }
}

impl Suggestions {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a suggestion or changes it: its score is replaced, or added to with `increment`; its payload is replaced if
    /// there is one. What is not UTF-8 is made such. An empty or too long text is ignored: false.
    pub fn add(&mut self, text: &[u8], score: f64, increment: bool, payload: Option<&[u8]>) -> bool {
        if text.len() > BYTES_MAX {
            return false;
        }
        let letters: Vec<char> = String::from_utf8_lossy(text).chars().collect();
        if letters.is_empty() || letters.len() > LETTERS_MAX {
            return false;
        }
        let entry = Entry { score: score as f32, payload: payload.filter(|p| !p.is_empty()).map(Arc::from) };
        if Arc::make_mut(&mut self.root).add(&letters, entry, increment) {
            self.len += 1;
        }
        true
    }

    /// True if it was there.
    pub fn remove(&mut self, text: &[u8]) -> bool {
        let letters: Vec<char> = String::from_utf8_lossy(text).chars().collect();
        // Nodes are not copied for nothing.
        if self.root.find(&letters).is_none() {
            return false;
        }
        Arc::make_mut(&mut self.root).remove(&letters);
        self.len -= 1;
        true
    }

    /// Score and payload of a suggestion.
    pub fn get(&self, text: &[u8]) -> Option<(f64, Option<&[u8]>)> {
        let letters: Vec<char> = String::from_utf8_lossy(text).chars().collect();
        let entry = self.root.find(&letters)?;
        Some((f64::from(entry.score), entry.payload.as_deref()))
    }

    /// Calls `each` with every suggestion, its score and payload, in the order of their letters.
    pub fn for_each(&self, mut each: impl FnMut(&str, f64, Option<&[u8]>)) {
        self.root.for_each(&mut String::new(), &mut each);
    }

    /// The best completions of a text, the best first. None if the text is too long.
    pub fn complete(&self, text: &[u8], options: &Options) -> Option<Vec<Suggestion>> {
        let folded = text::lower(String::from_utf8_lossy(text).as_bytes());
        let query: Vec<char> = String::from_utf8_lossy(&folded).chars().collect();
        if query.len() > PREFIX_MAX {
            return None;
        }
        let mut search = Search {
            query: &query,
            query_bytes: text.len(),
            fuzzy: options.fuzzy,
            max: options.max,
            found: BTreeSet::new(),
        };
        if options.max > 0 {
            let row: Vec<usize> = (0..=query.len()).collect();
            search.descend(&self.root, &mut Vec::new(), &row, usize::MAX);
        }
        let mut found: Vec<Suggestion> = search.found.into_iter().map(|found| found.suggestion).collect();
        if options.trim {
            let best = found.first().map_or(0.0, |s| s.score as f32);
            let likely = found.iter().position(|s| (s.score as f32) < best * UNLIKELY);
            found.truncate(likely.unwrap_or(found.len()));
        }
        Some(found)
    }

    /// Bytes on the heap, near enough. `samples` suggestions stand for the rest (0: all).
    pub fn memory(&self, samples: usize) -> usize {
        let counted = if samples == 0 { usize::MAX } else { samples };
        let (mut bytes, mut left) = (0, counted);
        self.root.memory(&mut bytes, &mut left);
        match counted - left {
            seen if seen > 0 && seen < self.len => bytes.saturating_mul(self.len) / seen,
            _ => bytes,
        }
    }
}

/// Infinities of both signs are nothing together, as in a sorted set: no order has a place for what is not a number.
fn sum(a: f32, b: f32) -> f32 {
    let sum = a + b;
    if sum.is_nan() { 0.0 } else { sum }
}

fn shared_len(a: &[char], b: &[char]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Node {
    fn child(&self, letter: char) -> Result<usize, usize> {
        self.children.binary_search_by_key(&letter, |child| child.letters[0])
    }

    /// `letters` are those behind this node's own. True if the entry is new.
    fn add(&mut self, letters: &[char], entry: Entry, increment: bool) -> bool {
        let new = if letters.is_empty() {
            let new = self.entry.is_none();
            match &mut self.entry {
                Some(known) => {
                    known.score = if increment { sum(known.score, entry.score) } else { entry.score };
                    if entry.payload.is_some() {
                        known.payload = entry.payload;
                    }
                }
                None => self.entry = Some(entry),
            }
            new
        } else {
            match self.child(letters[0]) {
                Err(at) => {
                    let best = entry.score;
                    let leaf =
                        Self { letters: letters.into(), entry: Some(entry), children: Vec::new(), best };
                    self.children.insert(at, Arc::new(leaf));
                    true
                }
                Ok(at) => {
                    let child = Arc::make_mut(&mut self.children[at]);
                    let shared = shared_len(&child.letters, letters);
                    if shared < child.letters.len() {
                        child.split(shared);
                    }
                    child.add(&letters[shared..], entry, increment)
                }
            }
        };
        self.update_best();
        new
    }

    /// Keeps the first letters; the rest becomes its only child.
    fn split(&mut self, at: usize) {
        let rest = Self {
            letters: self.letters[at..].into(),
            entry: self.entry.take(),
            children: std::mem::take(&mut self.children),
            best: self.best,
        };
        self.letters = self.letters[..at].into();
        self.children = vec![Arc::new(rest)];
    }

    fn find(&self, letters: &[char]) -> Option<&Entry> {
        let Some(&first) = letters.first() else { return self.entry.as_ref() };
        let child = &self.children[self.child(first).ok()?];
        child.find(letters.strip_prefix(&*child.letters)?)
    }

    /// What is removed is there.
    fn remove(&mut self, letters: &[char]) {
        if letters.is_empty() {
            self.entry = None;
        } else {
            let at = self.child(letters[0]).expect("the caller has found it");
            let child = Arc::make_mut(&mut self.children[at]);
            let own = child.letters.len();
            child.remove(&letters[own..]);
            if child.entry.is_none() {
                match child.children.len() {
                    0 => drop(self.children.remove(at)),
                    1 => child.swallow(),
                    _ => {}
                }
            }
        }
        self.update_best();
    }

    /// Becomes one with its only child.
    fn swallow(&mut self) {
        let child = self.children.pop().expect("there is one");
        self.letters = [&*self.letters, &*child.letters].concat().into();
        self.entry.clone_from(&child.entry);
        self.children.clone_from(&child.children);
        self.best = child.best;
    }

    fn update_best(&mut self) {
        let own = self.entry.as_ref().map_or(f32::NEG_INFINITY, |entry| entry.score);
        self.best = self.children.iter().fold(own, |best, child| best.max(child.best));
    }

    fn for_each(&self, text: &mut String, each: &mut impl FnMut(&str, f64, Option<&[u8]>)) {
        let before = text.len();
        text.extend(&*self.letters);
        if let Some(entry) = &self.entry {
            each(text, f64::from(entry.score), entry.payload.as_deref());
        }
        self.children.iter().for_each(|child| child.for_each(text, each));
        text.truncate(before);
    }

    /// Adds up nodes until so many suggestions were met.
    fn memory(&self, bytes: &mut usize, left: &mut usize) {
        let payload = self.entry.as_ref().and_then(|e| e.payload.as_ref()).map_or(0, |p| p.len() + 16);
        let own = size_of::<Self>() + 16 + self.letters.len() * 4 + self.children.capacity() * 8 + payload;
        *bytes += own;
        *left -= usize::from(self.entry.is_some());
        for child in &self.children {
            if *left == 0 {
                break;
            }
            child.memory(bytes, left);
        }
    }
}

/// A completion in its place: better ones first, of equals in the order of their letters.
struct Found {
    suggestion: Suggestion,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (&self.suggestion, &other.suggestion);
        b.score.total_cmp(&a.score).then_with(|| a.text.cmp(&b.text))
    }
}

struct Search<'a> {
    /// In lower case.
    query: &'a [char],
    query_bytes: usize,
    fuzzy: bool,
    max: usize,
    found: BTreeSet<Found>,
}

impl Search<'_> {
    /// `row` is the last of Levenshtein's table for what was read, `nearest` the least distance of any beginning of it.
    fn descend(&mut self, node: &Node, read: &mut Vec<char>, row: &[usize], nearest: usize) {
        let before = read.len();
        let mut row = row.to_vec();
        let mut nearest = nearest.min(self.reached(&row));
        for &letter in &*node.letters {
            if !self.goes_on(&row, nearest) {
                break;
            }
            row = self.next_row(&row, letter);
            read.push(letter);
            nearest = nearest.min(self.reached(&row));
        }
        let whole = read.len() == before + node.letters.len();
        if whole && self.goes_on(&row, nearest) {
            if let Some(entry) = &node.entry
                && nearest <= self.allowed()
            {
                self.offer(read, entry, nearest);
            }
            // Better ones first, so that others need not be looked at.
            let mut order: Vec<&Arc<Node>> = node.children.iter().collect();
            order.sort_by(|a, b| b.best.total_cmp(&a.best));
            for child in order {
                // What is as long as the query may be the very same, which beats every score.
                let may_be_exact = read.len() < self.query.len() + self.allowed();
                if may_be_exact || self.may_enter(child.best) {
                    self.descend(child, read, &row, nearest);
                }
            }
        }
        read.truncate(before);
    }

    fn allowed(&self) -> usize {
        if self.fuzzy { DISTANCE } else { 0 }
    }

    /// The distance of what was read to the whole query.
    fn reached(&self, row: &[usize]) -> usize {
        let distance = row[self.query.len()];
        if distance <= self.allowed() { distance } else { usize::MAX }
    }

    fn goes_on(&self, row: &[usize], nearest: usize) -> bool {
        nearest <= self.allowed() || row.iter().any(|&distance| distance <= self.allowed())
    }

    fn next_row(&self, row: &[usize], letter: char) -> Vec<usize> {
        let folded = letter.to_lowercase().next().unwrap_or(letter);
        let mut next = Vec::with_capacity(row.len());
        next.push(row[0].saturating_add(1));
        for (at, &own) in self.query.iter().enumerate() {
            let substituted = row[at].saturating_add(usize::from(own != folded));
            next.push(substituted.min(row[at + 1].saturating_add(1)).min(next[at] + 1));
        }
        next
    }

    /// Whether a suggestion of this score, at best, could be among the found.
    fn may_enter(&self, score: f32) -> bool {
        self.found.len() < self.max
            || self.found.last().is_some_and(|last| f64::from(score) >= last.suggestion.score)
    }

    fn offer(&mut self, read: &[char], entry: &Entry, distance: usize) {
        let mut score = if read == self.query && !read.is_empty() { EXACT } else { entry.score };
        if self.fuzzy {
            score = (f64::from(score) * (-2.0 * distance as f64).exp()) as f32;
        }
        // Letters here and bytes there: so it is in Redis.
        let longer = read.len().abs_diff(self.query_bytes);
        score = (f64::from(score) / (1.0 + longer as f64).sqrt()) as f32;
        let text = read.iter().collect();
        let suggestion = Suggestion { text, score: f64::from(score), payload: entry.payload.clone() };
        self.found.insert(Found { suggestion });
        if self.found.len() > self.max {
            self.found.pop_last();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::pattern;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn with(entries: &[(&str, f64)]) -> Suggestions {
        let mut suggestions = Suggestions::default();
        for (text, score) in entries {
            suggestions.add(text.as_bytes(), *score, false, None);
        }
        suggestions
    }

    fn completed(suggestions: &Suggestions, text: &str, options: &Options) -> Vec<String> {
        suggestions.complete(text.as_bytes(), options).unwrap().into_iter().map(|s| s.text).collect()
    }

    #[test]
    fn completions_are_ordered_by_score_and_length() {
        let s = with(&[("hello", 1.0), ("help", 1.0), ("hell", 0.5), ("helicopter", 4.0), ("other", 9.0)]);
        assert_eq!(completed(&s, "hel", &Options::default()), ["helicopter", "help", "hello", "hell"]);
        assert_eq!(completed(&s, "hel", &Options { max: 2, ..Options::default() }), ["helicopter", "help"]);
        assert_eq!(completed(&s, "HELL", &Options::default()), ["hell", "hello"]);
        assert_eq!(
            completed(&s, "hell", &Options::default()),
            ["hell", "hello"],
            "what was typed comes first"
        );
        assert_eq!(completed(&s, "x", &Options::default()), [""; 0]);
        let scores: Vec<f64> =
            s.complete(b"hel", &Options::default()).unwrap().into_iter().map(|s| s.score).collect();
        assert!((scores[0] - 4.0 / 8f64.sqrt()).abs() < 1e-6);
        assert_eq!(s.complete(b"help", &Options::default()).unwrap()[0].score, f64::from(EXACT));
    }

    #[test]
    fn fuzzy_completions_forgive_one_letter() {
        let s = with(&[("hello", 1.0), ("jello", 1.0), ("yellow", 1.0)]);
        let fuzzy = Options { fuzzy: true, ..Options::default() };
        assert_eq!(completed(&s, "hallo", &fuzzy), ["hello"]);
        assert_eq!(completed(&s, "bell", &fuzzy), ["hello", "jello", "yellow"]);
        assert_eq!(completed(&s, "hello", &fuzzy), ["hello", "jello", "yellow"]);
    }

    #[test]
    fn scores_are_replaced_or_added_to_and_payloads_kept() {
        let mut s = Suggestions::default();
        s.add(b"a", 1.0, false, Some(b"p"));
        s.add(b"a", 2.0, true, None);
        assert_eq!(s.get(b"a"), Some((3.0, Some(&b"p"[..]))));
        s.add(b"a", 1.0, false, Some(b"q"));
        assert_eq!(s.get(b"a"), Some((1.0, Some(&b"q"[..]))));
        assert_eq!((s.len(), s.get(b"b")), (1, None));
        assert!(!s.add(b"", 1.0, false, None) && !s.add("x".repeat(256).as_bytes(), 1.0, false, None));
        assert!(!s.add("ż".repeat(257).as_bytes(), 1.0, false, None));
        assert_eq!(s.len(), 1);
        s.add(b"a", f64::INFINITY, false, None);
        s.add(b"a", f64::NEG_INFINITY, true, None);
        assert_eq!(s.get(b"a").map(|(score, _)| score), Some(0.0));
    }

    #[test]
    fn some_suggestions_stand_for_the_rest() {
        let mut s = Suggestions::default();
        for n in 0..1000 {
            s.add(format!("suggestion {n}").as_bytes(), 1.0, false, None);
        }
        let (all, some) = (s.memory(0), s.memory(5));
        assert!(all > 1000 * size_of::<Node>() && (all / 3..all * 3).contains(&some), "{all} {some}");
        assert_eq!(Suggestions::default().memory(5), size_of::<Node>() + 16);
    }

    #[test]
    fn trimming_drops_what_is_unlikely() {
        let s = with(&[("aa", 100.0), ("ab", 50.0), ("ac", 1.0)]);
        assert_eq!(completed(&s, "a", &Options { trim: true, ..Options::default() }), ["aa", "ab"]);
    }

    #[test]
    fn a_clone_does_not_see_what_is_written_after_it() {
        let mut s = with(&[("hello", 1.0), ("help", 2.0)]);
        let clone = s.clone();
        s.add(b"helm", 3.0, false, None);
        assert!(s.remove(b"hello"));
        let all = |s: &Suggestions| {
            let mut all = Vec::new();
            s.for_each(|text, score, _| all.push((text.to_string(), score)));
            all
        };
        assert_eq!(all(&clone), [("hello".into(), 1.0), ("help".into(), 2.0)]);
        assert_eq!(all(&s), [("helm".into(), 3.0), ("help".into(), 2.0)]);
    }

    #[test]
    fn a_long_text_is_refused() {
        assert!(with(&[("a", 1.0)]).complete("a".repeat(101).as_bytes(), &Options::default()).is_none());
    }

    /// What the completions are, looking at every suggestion.
    fn looked_at_all(
        model: &BTreeMap<String, f32>,
        query: &str,
        fuzzy: bool,
        max: usize,
    ) -> Vec<(String, f32)> {
        let mut all = Vec::new();
        for (text, &score) in model {
            let letters: Vec<char> = text.chars().collect();
            let beginnings = (0..=letters.len()).map(|len| letters[..len].iter().collect::<String>());
            let near = beginnings
                .filter_map(|b| pattern::distance(b.as_bytes(), query.as_bytes(), usize::from(fuzzy)))
                .min();
            let Some(near) = near else { continue };
            let mut score = if text == query && !text.is_empty() { EXACT } else { score };
            if fuzzy {
                score = (f64::from(score) * (-2.0 * near as f64).exp()) as f32;
            }
            let longer = letters.len().abs_diff(query.len());
            all.push((text.clone(), (f64::from(score) / (1.0 + longer as f64).sqrt()) as f32));
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(max);
        all
    }

    proptest! {
        #[test]
        fn the_best_completions_are_those_of_a_look_at_all(
            steps in prop::collection::vec((0u8..5, "[ab]{1,5}", 0u8..20), 1..80),
            query in "[ab]{0,4}", fuzzy in any::<bool>(), max in 1usize..6,
        ) {
            let mut suggestions = Suggestions::default();
            let mut model: BTreeMap<String, f32> = BTreeMap::new();
            for (step, text, score) in steps {
                let score = f32::from(score);
                match step {
                    0 => prop_assert_eq!(suggestions.remove(text.as_bytes()), model.remove(&text).is_some()),
                    1 => {
                        suggestions.add(text.as_bytes(), f64::from(score), true, None);
                        *model.entry(text).or_insert(0.0) += score;
                    }
                    _ => {
                        suggestions.add(text.as_bytes(), f64::from(score), false, None);
                        model.insert(text, score);
                    }
                }
            }
            let mut all = Vec::new();
            suggestions.for_each(|text, score, _| all.push((text.to_string(), score as f32)));
            prop_assert_eq!(&all, &model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(suggestions.len(), model.len());
            let found = suggestions.complete(query.as_bytes(), &Options { fuzzy, max, trim: false }).unwrap();
            let found: Vec<_> = found.into_iter().map(|s| (s.text, s.score as f32)).collect();
            prop_assert_eq!(found, looked_at_all(&model, &query, fuzzy, max));
        }
    }
}
