//! Languages and their stemmers.

use super::WORD_LEN_MAX;
use rust_stemmers::{Algorithm, Stemmer};

/// A language that Redis knows. Not every one has a stemmer here: words of one that has none are indexed as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Language(u8);

/// Name, and the Snowball algorithm if there is one. Greek has none: that of rust-stemmers panics on some words
/// (`ισαισα`).
const LANGUAGES: &[(&str, Option<Algorithm>)] = &[
    ("english", Some(Algorithm::English)),
    ("arabic", Some(Algorithm::Arabic)),
    ("armenian", None),
    ("basque", None),
    ("catalan", None),
    ("chinese", None),
    ("danish", Some(Algorithm::Danish)),
    ("dutch", Some(Algorithm::Dutch)),
    ("finnish", Some(Algorithm::Finnish)),
    ("french", Some(Algorithm::French)),
    ("german", Some(Algorithm::German)),
    ("greek", None),
    ("hindi", None),
    ("hungarian", Some(Algorithm::Hungarian)),
    ("indonesian", None),
    ("irish", None),
    ("italian", Some(Algorithm::Italian)),
    ("lithuanian", None),
    ("nepali", None),
    ("norwegian", Some(Algorithm::Norwegian)),
    ("portuguese", Some(Algorithm::Portuguese)),
    ("romanian", Some(Algorithm::Romanian)),
    ("russian", Some(Algorithm::Russian)),
    ("serbian", None),
    ("spanish", Some(Algorithm::Spanish)),
    ("swedish", Some(Algorithm::Swedish)),
    ("tamil", Some(Algorithm::Tamil)),
    ("turkish", Some(Algorithm::Turkish)),
    ("yiddish", None),
];

impl Language {
    pub const ENGLISH: Self = Self(0);

    /// Every one.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..LANGUAGES.len()).map(|at| Self(at as u8))
    }

    /// By its name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let at = LANGUAGES.iter().position(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Self(at as u8))
    }

    pub fn name(self) -> &'static str {
        LANGUAGES[usize::from(self.0)].0
    }

    /// The stem of a word in lower case; `None` if the language has no stemmer, or the word is not text or longer than any
    /// in an index.
    pub fn stem(self, word: &[u8]) -> Option<Vec<u8>> {
        if word.len() > WORD_LEN_MAX {
            return None;
        }
        let algorithm = LANGUAGES[usize::from(self.0)].1?;
        let text = std::str::from_utf8(word).ok()?;
        let stem = Stemmer::create(algorithm).stem(text).into_owned();
        (!stem.is_empty()).then(|| stem.into_bytes())
    }
}

impl Default for Language {
    fn default() -> Self {
        Self::ENGLISH
    }
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Letters of the languages that have stemmers, more than their alphabets.
    const SCRIPTS: [std::ops::Range<u32>; 6] =
        [0x61..0x7b, 0xdf..0x180, 0x386..0x3cf, 0x430..0x460, 0x620..0x653, 0xb82..0xbd0];
    /// Endings that stemmers look for, and what made one of them panic.
    const PARTS: [&str; 12] =
        ["ισα", "αισα", "ing", "ational", "ements", "ungen", "ları", "issimo", "ость", "ات", "ங்கள்", "eux"];

    #[test]
    fn no_word_is_too_much_for_a_stemmer() {
        let seed = 0x5eed;
        println!("seed {seed:#x}");
        let mut rng = StdRng::seed_from_u64(seed);
        for language in Language::all() {
            for part in PARTS {
                language.stem(part.repeat(2).as_bytes());
                language.stem(part.repeat(WORD_LEN_MAX / part.len()).as_bytes());
            }
            for _ in 0..3000 {
                let script = SCRIPTS[rng.random_range(0..SCRIPTS.len())].clone();
                let mut word = String::new();
                for _ in 0..rng.random_range(1..8) {
                    match rng.random_range(0..8) {
                        0 => word.push_str(PARTS[rng.random_range(0..PARTS.len())]),
                        1 => word.push(rng.random()),
                        _ => word.extend(char::from_u32(rng.random_range(script.clone()))),
                    }
                }
                let word = crate::text::lower(word.as_bytes());
                if let Some(stem) = language.stem(&word) {
                    assert!(std::str::from_utf8(&stem).is_ok(), "{language:?}: {word:?}");
                }
            }
        }
    }

    #[test]
    fn greek_words_are_taken_as_they_are() {
        assert_eq!(Language::parse(b"Greek").unwrap().stem("ισαισα".as_bytes()), None);
    }
}
