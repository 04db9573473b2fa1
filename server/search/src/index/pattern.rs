//! Which words a pattern means: prefixes, suffixes, infixes, wildcards, and words with typing errors.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// A pattern over words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Infix(Vec<u8>),
    /// `?` is one letter, `*` any number of them, a backslash takes the next one as it is.
    Wildcard(Vec<u8>),
    /// Words at most so many insertions, deletions and substitutions of letters away.
    Fuzzy(Vec<u8>, usize),
}

impl Pattern {
    pub fn matches(&self, word: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => word.starts_with(prefix),
            Self::Suffix(suffix) => word.ends_with(suffix),
            Self::Infix(infix) => contains(word, infix),
            Self::Wildcard(pattern) => wildcard(pattern, word),
            Self::Fuzzy(word2, distance) => within(&letters(word2), &letters(word), *distance),
        }
    }

    /// What every word that matches begins with.
    fn literal_prefix(&self) -> &[u8] {
        match self {
            Self::Prefix(prefix) => prefix,
            Self::Wildcard(pattern) => {
                let special = |b: &u8| matches!(b, b'*' | b'?' | b'\\');
                &pattern[..pattern.iter().position(special).unwrap_or(pattern.len())]
            }
            _ => &[],
        }
    }

    /// Visits the words of a dictionary that match, in their order. `visit` is asked of every word looked at, with
    /// whether it matches, and may break off.
    pub fn walk<'a, T>(
        &self,
        words: &'a BTreeMap<std::sync::Arc<[u8]>, T>,
        mut visit: impl FnMut(&'a [u8], &'a T, bool) -> ControlFlow<()>,
    ) {
        if let Self::Fuzzy(word, distance) = self {
            walk_fuzzy(words, word, *distance, visit);
            return;
        }
        let prefix = self.literal_prefix();
        for (word, value) in words.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)) {
            if !word.starts_with(prefix) || visit(word, value, self.matches(word)).is_break() {
                return;
            }
        }
    }
}

/// Letters of a word; bytes if it is not UTF-8.
fn letters(word: &[u8]) -> Vec<u32> {
    match std::str::from_utf8(word) {
        Ok(text) => text.chars().map(u32::from).collect(),
        Err(_) => word.iter().map(|&b| u32::from(b)).collect(),
    }
}

fn contains(word: &[u8], infix: &[u8]) -> bool {
    infix.is_empty() || word.windows(infix.len()).any(|window| window == infix)
}

fn wildcard(pattern: &[u8], word: &[u8]) -> bool {
    let (mut p, mut w) = (0, 0);
    // Where to go on when what follows the last star did not fit: after the star, one letter further on.
    let mut retry = None;
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, w));
                continue;
            }
            Some(b'?') if w < word.len() => {
                p += 1;
                w += letter_len(&word[w..]);
                continue;
            }
            Some(b'\\') if p + 1 < pattern.len() && word.get(w) == Some(&pattern[p + 1]) => {
                p += 2;
                w += 1;
                continue;
            }
            Some(&byte) if !matches!(byte, b'?' | b'\\') && word.get(w) == Some(&byte) => {
                p += 1;
                w += 1;
                continue;
            }
            None if w == word.len() => return true,
            _ => {}
        }
        let Some((after_star, from)) = retry else { return false };
        if from >= word.len() {
            return false;
        }
        let from = from + letter_len(&word[from..]);
        retry = Some((after_star, from));
        (p, w) = (after_star, from);
    }
}

fn letter_len(bytes: &[u8]) -> usize {
    let len = match bytes[0] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    };
    len.min(bytes.len())
}

/// A row of Levenshtein's table after so many letters of the other word: how far they are from the first `i` letters of
/// `word`, for the `i` that are at most `distance` more or less than these. All others are too far away, and what is too
/// far away is `distance + 1`, so that a row is small however long the words are.
fn first_row(word: &[u32], distance: usize) -> Vec<usize> {
    (0..=2 * distance)
        .map(|at| at.checked_sub(distance).filter(|&i| i <= word.len()).unwrap_or(distance + 1))
        .collect()
}

/// The row behind `row`, which is that after `read` letters.
fn next_row(word: &[u32], row: &[usize], read: usize, letter: u32, distance: usize) -> Vec<usize> {
    let mut next = vec![distance + 1; row.len()];
    for at in 0..row.len() {
        let Some(i) = (read + 1 + at).checked_sub(distance) else { continue };
        if i > word.len() {
            break;
        }
        let deleted = row.get(at + 1).map_or(distance, |&d| d) + 1;
        let inserted = if at > 0 { next[at - 1] + 1 } else { deleted };
        let substituted = if i > 0 { row[at] + usize::from(word[i - 1] != letter) } else { deleted };
        next[at] = deleted.min(inserted).min(substituted).min(distance + 1);
    }
    next
}

/// Whether a row, that after `read` letters, says that these are `word` itself.
fn arrived(word: &[u32], row: &[usize], read: usize, distance: usize) -> bool {
    (word.len() + distance).checked_sub(read).and_then(|at| row.get(at)).is_some_and(|&d| d <= distance)
}

fn within(word: &[u32], other: &[u32], distance: usize) -> bool {
    if word.len().abs_diff(other.len()) > distance {
        return false;
    }
    let mut row = first_row(word, distance);
    for (read, &letter) in other.iter().enumerate() {
        row = next_row(word, &row, read, letter, distance);
        if row.iter().all(|&d| d > distance) {
            return false;
        }
    }
    arrived(word, &row, other.len(), distance)
}

/// Words share their beginnings with their neighbours, and so do their rows of the table; where all of a row is too far
/// away, every word with this beginning is, and the walk goes on behind them.
fn walk_fuzzy<'a, T>(
    words: &'a BTreeMap<std::sync::Arc<[u8]>, T>,
    word: &[u8],
    distance: usize,
    mut visit: impl FnMut(&'a [u8], &'a T, bool) -> ControlFlow<()>,
) {
    let own = letters(word);
    let mut rows: Vec<Vec<usize>> = vec![first_row(&own, distance)];
    let mut read: Vec<u32> = Vec::new();
    let mut range = words.range::<[u8], _>((Bound::Included(&[][..]), Bound::Unbounded));
    while let Some((candidate, value)) = range.next() {
        let their = letters(candidate);
        let shared = their.iter().zip(&read).take_while(|(a, b)| a == b).count();
        rows.truncate(shared + 1);
        read.truncate(shared);
        let mut dead = false;
        for &letter in &their[shared..] {
            let last = rows.last().expect("the first row stays");
            let row = next_row(&own, last, read.len(), letter, distance);
            read.push(letter);
            dead = row.iter().all(|&d| d > distance);
            rows.push(row);
            if dead {
                break;
            }
        }
        let last = rows.last().expect("the first row stays");
        let matches = !dead && arrived(&own, last, read.len(), distance);
        if visit(candidate, value, matches).is_break() {
            return;
        }
        if dead && let Some(behind) = behind(candidate, read.len()) {
            range = words.range::<[u8], _>((Bound::Included(&behind[..]), Bound::Unbounded));
        }
    }
}

/// The least word behind all that begin with the first `letters` letters of `word`; none if it is not known.
fn behind(word: &[u8], letters: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(word).ok()?;
    let len = text.char_indices().nth(letters).map_or(word.len(), |(at, _)| at);
    let mut behind = word[..len].to_vec();
    while let Some(last) = behind.pop() {
        if last < 0xff {
            behind.push(last + 1);
            return Some(behind);
        }
    }
    None
}

/// Levenshtein's distance in letters, if it is at most `max`.
#[cfg(test)]
pub fn distance(a: &[u8], b: &[u8], max: usize) -> Option<usize> {
    let (a, b) = (letters(a), letters(b));
    (0..=max).find(|&d| within(&a, &b, d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn found(pattern: &Pattern, words: &[&str]) -> Vec<String> {
        let dictionary: BTreeMap<Arc<[u8]>, ()> =
            words.iter().map(|w| (Arc::from(w.as_bytes()), ())).collect();
        let mut found = Vec::new();
        pattern.walk(&dictionary, |word, (), matches| {
            if matches {
                found.push(String::from_utf8(word.to_vec()).unwrap());
            }
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn each_pattern_finds_its_words() {
        let words = ["apple", "apply", "banana", "grape", "grapefruit", "pineapple"];
        assert_eq!(found(&Pattern::Prefix(b"appl".into()), &words), ["apple", "apply"]);
        assert_eq!(found(&Pattern::Suffix(b"apple".into()), &words), ["apple", "pineapple"]);
        assert_eq!(found(&Pattern::Infix(b"rap".into()), &words), ["grape", "grapefruit"]);
        assert_eq!(found(&Pattern::Wildcard(b"?p*e".into()), &words), ["apple"]);
        assert_eq!(found(&Pattern::Fuzzy(b"aple".into(), 1), &words), ["apple"]);
        assert_eq!(found(&Pattern::Fuzzy(b"aple".into(), 2), &words), ["apple", "apply"]);
    }

    #[test]
    fn wildcards_take_letters_not_bytes_and_may_be_escaped() {
        assert!(wildcard("stra?e".as_bytes(), "straße".as_bytes()));
        assert!(wildcard(br"a\*b", b"a*b") && !wildcard(br"a\*b", b"axb"));
        assert!(wildcard(b"*", b"") && wildcard(b"**a**", b"a") && !wildcard(b"?", b""));
        assert!(wildcard(b"*ab*ab", b"abxabab") && !wildcard(b"*ab*abc", b"abxabab"));
    }

    #[test]
    fn long_words_have_small_rows() {
        let long = "a".repeat(100_000);
        let shorter = "a".repeat(99_998);
        let pattern = Pattern::Fuzzy(long.as_bytes().to_vec(), 2);
        assert_eq!(found(&pattern, &["a", &shorter[1..], &shorter, &long]), [&shorter[..], &long]);
    }

    proptest! {
        #[test]
        fn the_walk_finds_what_a_look_at_every_word_finds(
            words in prop::collection::btree_set("[abä]{0,7}", 0..60), word in "[abä]{0,7}", distance in 0usize..4,
        ) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let pattern = Pattern::Fuzzy(word.as_bytes().to_vec(), distance);
            let expected: Vec<&str> =
                words.iter().copied().filter(|w| pattern.matches(w.as_bytes())).collect();
            prop_assert_eq!(found(&pattern, &words), expected);
        }

        #[test]
        fn distances_are_levenshteins(a in "[ab]{0,6}", b in "[ab]{0,6}") {
            fn slow(a: &[u8], b: &[u8]) -> usize {
                match (a, b) {
                    ([], rest) | (rest, []) => rest.len(),
                    ([x, a2 @ ..], [y, b2 @ ..]) => (slow(a2, b2) + usize::from(x != y)).min(slow(a, b2) + 1).min(slow(a2, b) + 1),
                }
            }
            prop_assert_eq!(distance(a.as_bytes(), b.as_bytes(), 9), Some(slow(a.as_bytes(), b.as_bytes())));
        }
    }
}
