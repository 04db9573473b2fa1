//! Languages and their stemmers.

use rust_stemmers::{Algorithm, Stemmer};

/// A language that Redis knows. Not every one has a stemmer here: words of one that has none are indexed as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Language(u8);

/// Name, and the Snowball algorithm if there is one.
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
    ("greek", Some(Algorithm::Greek)),
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

    /// By its name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let at = LANGUAGES.iter().position(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Self(at as u8))
    }

    pub fn name(self) -> &'static str {
        LANGUAGES[usize::from(self.0)].0
    }

    /// The stem of a word in lower case; `None` if the language has no stemmer or the word is not text.
    pub fn stem(self, word: &[u8]) -> Option<Vec<u8>> {
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
