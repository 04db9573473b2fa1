//! Words too common to be worth finding.

use std::collections::BTreeSet;
use std::sync::Arc;

/// A set of stop words, shared by all who ask it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StopWords {
    /// RediSearch's, which are English.
    #[default]
    Default,
    /// As given, in lower case; may be none.
    Custom(Arc<BTreeSet<Vec<u8>>>),
}

const DEFAULT: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
];

impl StopWords {
    pub fn custom<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::Custom(Arc::new(words.into_iter().map(super::lower).collect()))
    }

    /// `word` in lower case.
    pub fn contains(&self, word: &[u8]) -> bool {
        match self {
            Self::Default => DEFAULT.binary_search_by(|known| known.as_bytes().cmp(word)).is_ok(),
            Self::Custom(words) => words.contains(word),
        }
    }

    /// Whether these are not the default ones: FT.INFO shows them then.
    pub fn is_custom(&self) -> bool {
        matches!(self, Self::Custom(_))
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (default, custom) = match self {
            Self::Default => (DEFAULT, None),
            Self::Custom(words) => (&[][..], Some(words)),
        };
        default
            .iter()
            .map(|word| word.as_bytes())
            .chain(custom.into_iter().flat_map(|w| w.iter().map(Vec::as_slice)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_words_are_sorted_for_their_search() {
        assert!(DEFAULT.is_sorted());
        assert!(StopWords::Default.contains(b"with") && !StopWords::Default.contains(b"without"));
    }

    #[test]
    fn custom_words_replace_the_default_ones() {
        let words = StopWords::custom([&b"FOO"[..]]);
        assert!(words.contains(b"foo") && !words.contains(b"the"));
        assert_eq!(StopWords::custom([]).iter().count(), 0);
    }
}
