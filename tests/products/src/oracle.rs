//! What queries mean, found out by looking at every product. Shares no code with the index.

use crate::corpus::{Product, TAGS, Vocabulary};

/// How much a word of the name counts.
pub const NAME_WEIGHT: u32 = 2;

/// A query, as a tree of its own.
#[derive(Debug, Clone)]
pub enum Ask {
    Word(u16),
    /// In `name` only, or in `description` only.
    In(bool, Box<Ask>),
    Phrase(Vec<u16>),
    /// Words as numbers, in the order of their texts, that a pattern means; and how it is written.
    Pattern(String, Vec<u16>),
    All(Vec<Ask>),
    Any(Vec<Ask>),
    /// The first, and not the second.
    But(Box<Ask>, Box<Ask>),
    /// The first, and the second if it can be had.
    Maybe(Box<Ask>, Box<Ask>),
    Tags(Vec<u8>),
    TagPrefix(String),
    Price {
        min: f64,
        max: f64,
        open: (bool, bool),
    },
    Near {
        place: (f64, f64),
        kilometres: f64,
    },
}

impl Ask {
    /// The query's text, with parentheses around everything.
    pub fn text(&self, vocabulary: &Vocabulary) -> String {
        let word = |w: &u16| vocabulary.words[usize::from(*w)].clone();
        let all = |asks: &[Self], between: &str| {
            asks.iter().map(|ask| format!("({})", ask.text(vocabulary))).collect::<Vec<_>>().join(between)
        };
        match self {
            Self::Word(w) => word(w),
            Self::In(name, ask) => {
                let field = if *name { "name" } else { "description" };
                format!("@{field}:({})", ask.text(vocabulary))
            }
            Self::Phrase(words) => format!("\"{}\"", words.iter().map(word).collect::<Vec<_>>().join(" ")),
            Self::Pattern(text, _) => text.clone(),
            Self::All(asks) => all(asks, " "),
            Self::Any(asks) => all(asks, " | "),
            Self::But(yes, no) => format!("({}) -({})", yes.text(vocabulary), no.text(vocabulary)),
            Self::Maybe(yes, maybe) => format!("({}) ~({})", yes.text(vocabulary), maybe.text(vocabulary)),
            Self::Tags(tags) => {
                let escaped = |&tag: &u8| TAGS[usize::from(tag)].replace('-', "\\-");
                format!("@tags:{{{}}}", tags.iter().map(escaped).collect::<Vec<_>>().join(" | "))
            }
            Self::TagPrefix(prefix) => format!("@tags:{{{prefix}*}}"),
            Self::Price { min, max, open } => {
                let sign = |open: bool| if open { "(" } else { "" };
                format!("@price:[{}{min} {}{max}]", sign(open.0), sign(open.1))
            }
            Self::Near { place, kilometres } => format!("@place:[{} {} {kilometres} km]", place.0, place.1),
        }
    }
}

/// In which fields a word may be: name, description.
#[derive(Clone, Copy)]
struct Fields(bool, bool);

const BOTH: Fields = Fields(true, true);

/// All products there are, by id, and how often each word is among them.
pub struct Oracle<'a> {
    pub vocabulary: &'a Vocabulary,
    pub products: &'a [(u32, &'a Product)],
    /// Documents with a word; with a word, other than the stem itself, of a stem.
    with_word: Vec<u32>,
    with_stem: Vec<u32>,
    /// The first word of each stem stands for it.
    stem_of: Vec<u16>,
    /// The word that is a stem, if it is one.
    word_of_stem: Vec<Option<u16>>,
    with_tag: Vec<u32>,
    mean_len: f64,
}

impl<'a> Oracle<'a> {
    pub fn new(vocabulary: &'a Vocabulary, products: &'a [(u32, &'a Product)]) -> Self {
        let words = vocabulary.words.len();
        let first = |stem: &String| vocabulary.stems.iter().position(|s| s == stem).unwrap() as u16;
        let as_word = |stem: &String| vocabulary.words.iter().position(|w| w == stem).map(|w| w as u16);
        let mut oracle = Self {
            vocabulary,
            products,
            with_word: vec![0; words],
            with_stem: vec![0; words],
            stem_of: vocabulary.stems.iter().map(first).collect(),
            word_of_stem: vocabulary.stems.iter().map(as_word).collect(),
            with_tag: vec![0; TAGS.len()],
            mean_len: 0.0,
        };
        let mut len = 0;
        for (_, product) in products {
            len += u64::from(length(product));
            let all = || product.name.iter().chain(&product.description).copied();
            let mut seen: Vec<u16> = all().collect();
            seen.sort_unstable();
            seen.dedup();
            seen.iter().for_each(|&w| oracle.with_word[usize::from(w)] += 1);
            let mut stems: Vec<u16> =
                all().filter(|&w| oracle.has_own_stem(w)).map(|w| oracle.stem_of[usize::from(w)]).collect();
            stems.sort_unstable();
            stems.dedup();
            stems.iter().for_each(|&s| oracle.with_stem[usize::from(s)] += 1);
            product.tags.iter().for_each(|&tag| oracle.with_tag[usize::from(tag)] += 1);
        }
        oracle.mean_len = len as f64 / products.len().max(1) as f64;
        oracle
    }

    /// Whether a word is indexed under its stem, too: if it is long enough and not the stem itself.
    fn has_own_stem(&self, word: u16) -> bool {
        let text = &self.vocabulary.words[usize::from(word)];
        text.len() >= 4 && *text != self.vocabulary.stems[usize::from(word)]
    }

    /// Ids and scores of what a query finds, in the order of ids.
    pub fn find(&self, ask: &Ask) -> Vec<(u32, f64)> {
        let found =
            self.products.iter().filter_map(|(id, product)| Some((*id, self.score(ask, product, BOTH)?)));
        found.collect()
    }

    fn idf(&self, docs: u32) -> f64 {
        let all = self.products.len() as f64;
        let docs = f64::from(docs);
        (1.0 + (all - docs + 0.5) / (docs + 0.5)).ln()
    }

    /// Okapi BM25 of a term, with k1 = 1.2 and b = 0.75.
    fn bm25(&self, docs: u32, frequency: u32, product: &Product) -> f64 {
        let (k1, b) = (1.2, 0.75);
        let f = f64::from(frequency);
        let norm = k1 * (1.0 - b + b * f64::from(length(product)) / self.mean_len);
        self.idf(docs) * f * (k1 + 1.0) / (f + norm)
    }

    /// How often a product has what `is` says, with a weight for each field; none if not in the fields asked for.
    fn frequency(
        &self,
        product: &Product,
        fields: Fields,
        weights: (u32, u32),
        is: impl Fn(u16) -> bool,
    ) -> Option<u32> {
        let count = |words: &[u16]| words.iter().filter(|&&w| is(w)).count() as u32;
        let (name, description) = (count(&product.name), count(&product.description));
        ((fields.0 && name > 0) || (fields.1 && description > 0))
            .then(|| name * weights.0 + description * weights.1)
    }

    fn word_score(&self, word: u16, product: &Product, fields: Fields) -> Option<f64> {
        let frequency = self.frequency(product, fields, (NAME_WEIGHT, 1), |w| w == word)?;
        Some(self.bm25(self.with_word[usize::from(word)], frequency, product))
    }

    /// A word, its stem among the stems, and its stem among the words.
    fn stemmed_score(&self, word: u16, product: &Product, fields: Fields) -> Option<f64> {
        let stem = self.stem_of[usize::from(word)];
        let of_stem = self
            .frequency(product, fields, (1, 1), |w| {
                self.stem_of[usize::from(w)] == stem && self.has_own_stem(w)
            })
            .map(|frequency| self.bm25(self.with_stem[usize::from(stem)], frequency, product));
        let other = self.word_of_stem[usize::from(word)].filter(|&w| w != word);
        let of_other = other.and_then(|w| self.word_score(w, product, fields));
        sum([self.word_score(word, product, fields), of_stem, of_other])
    }

    fn score(&self, ask: &Ask, product: &Product, fields: Fields) -> Option<f64> {
        match ask {
            Ask::Word(word) => self.stemmed_score(*word, product, fields),
            Ask::In(name, ask) => self.score(ask, product, Fields(*name, !*name)),
            Ask::Phrase(words) => {
                let scores: Option<Vec<f64>> =
                    words.iter().map(|&w| self.word_score(w, product, fields)).collect();
                let text: Vec<u16> = product.name.iter().chain(&product.description).copied().collect();
                let scores = scores?;
                text.windows(words.len()).any(|window| window == words).then(|| scores.iter().sum())
            }
            Ask::Pattern(_, words) => words.iter().find_map(|&w| self.word_score(w, product, fields)),
            Ask::All(asks) => asks.iter().map(|ask| self.score(ask, product, fields)).sum::<Option<f64>>(),
            Ask::Any(asks) => {
                let scores: Vec<Option<f64>> =
                    asks.iter().map(|ask| self.score(ask, product, fields)).collect();
                sum(scores)
            }
            Ask::But(yes, no) => {
                let score = self.score(yes, product, fields)?;
                self.score(no, product, fields).is_none().then_some(score)
            }
            Ask::Maybe(yes, maybe) => {
                let score = self.score(yes, product, fields)?;
                Some(score + self.score(maybe, product, fields).unwrap_or(0.0))
            }
            Ask::Tags(tags) => sum(tags.iter().map(|tag| {
                product.tags.contains(tag).then(|| self.bm25(self.with_tag[usize::from(*tag)], 1, product))
            })),
            Ask::TagPrefix(prefix) => {
                let mut tags: Vec<u8> = product
                    .tags
                    .iter()
                    .copied()
                    .filter(|&t| TAGS[usize::from(t)].starts_with(prefix))
                    .collect();
                tags.sort_by_key(|&t| TAGS[usize::from(t)]);
                let first = tags.first()?;
                Some(self.bm25(self.with_tag[usize::from(*first)], 1, product))
            }
            Ask::Price { min, max, open } => {
                let above = if open.0 { product.price > *min } else { product.price >= *min };
                let below = if open.1 { product.price < *max } else { product.price <= *max };
                (above && below).then_some(0.0)
            }
            Ask::Near { place, kilometres } => {
                (distance(*place, cell_middle(product.place)) <= kilometres * 1000.0).then_some(0.0)
            }
        }
    }
}

fn sum(scores: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    scores.into_iter().flatten().fold(None, |sum, score| Some(sum.unwrap_or(0.0) + score))
}

fn length(product: &Product) -> u32 {
    product.name.len() as u32 * NAME_WEIGHT + product.description.len() as u32
}

/// The haversine formula.
fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (dlat, dlon) = ((b.1 - a.1).to_radians(), (b.0 - a.0).to_radians());
    let h = (dlat / 2.0).sin().powi(2)
        + a.1.to_radians().cos() * b.1.to_radians().cos() * (dlon / 2.0).sin().powi(2);
    2.0 * 6_372_797.560_856 * h.sqrt().asin()
}

/// Places are kept as cells of 26 bits each way, as GEOADD documents it.
fn cell_middle(place: (f64, f64)) -> (f64, f64) {
    let middle = |value: f64, max: f64| {
        let cell = 2.0 * max / f64::from(1u32 << 26);
        (((value + max) / cell).floor() + 0.5) * cell - max
    };
    (middle(place.0, 180.0), middle(place.1, 85.051_128_78))
}

/// The nearest products: squared Euclidean distance and id.
pub fn nearest(
    products: &[(u32, &Product)],
    to: &[f32],
    k: usize,
    only: impl Fn(&Product) -> bool,
) -> Vec<(f64, u32)> {
    let passing = products.iter().filter(|(_, product)| only(product));
    let mut all: Vec<(f64, u32)> = passing.map(|(id, product)| (squared(&product.vector, to), *id)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

/// The squared Euclidean distance.
pub fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
