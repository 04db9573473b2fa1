//! Products, the same for the same seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub const DIM: usize = 64;

/// Words with their stems by Snowball's English stemmer. Words without one here are their own.
const STEMMED: &[(&str, &str)] = &[
    ("running", "run"),
    ("runs", "run"),
    ("run", "run"),
    ("lamps", "lamp"),
    ("lamp", "lamp"),
    ("chairs", "chair"),
    ("chair", "chair"),
    ("reading", "read"),
    ("reads", "read"),
    ("read", "read"),
    ("readers", "reader"),
    ("reader", "reader"),
    ("tables", "tabl"),
    ("table", "tabl"),
    ("happily", "happili"),
    ("happiness", "happi"),
    ("happy", "happi"),
    ("colours", "colour"),
    ("colour", "colour"),
    ("coloured", "colour"),
    ("lighting", "light"),
    ("lights", "light"),
    ("light", "light"),
    ("wooden", "wooden"),
    ("woods", "wood"),
    ("wood", "wood"),
    ("garden", "garden"),
    ("gardens", "garden"),
    ("gardening", "garden"),
    ("folding", "fold"),
    ("folded", "fold"),
    ("fold", "fold"),
];

pub const TAGS: &[&str] = &[
    "home",
    "garden",
    "office",
    "kitchen",
    "outdoor",
    "sale",
    "new",
    "red",
    "blue",
    "green",
    "dark blue",
    "x-large",
    "small",
    "medium",
    "large",
    "cotton",
    "steel",
    "oak",
    "glass",
    "paper",
];

/// All words: their texts and, by number, their stems' texts.
pub struct Vocabulary {
    pub words: Vec<String>,
    pub stems: Vec<String>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let mut words: Vec<(String, String)> =
            STEMMED.iter().map(|(word, stem)| (word.to_string(), stem.to_string())).collect();
        // Words of consonants and one vowel: no suffix that a stemmer knows.
        for a in ["b", "d", "f", "g", "k", "m", "p", "t", "v", "z"] {
            for vowel in ["a", "o", "u"] {
                for b in ["rk", "lt", "mp", "nd", "ck", "b", "g", "x"] {
                    let word = format!("{a}{vowel}{b}");
                    words.push((word.clone(), word));
                }
            }
        }
        words.sort();
        words.dedup();
        let (words, stems) = words.into_iter().unzip();
        Self { words, stems }
    }
}

/// A product. Words are numbers of the vocabulary.
#[derive(Debug, Clone)]
pub struct Product {
    pub name: Vec<u16>,
    pub description: Vec<u16>,
    pub tags: Vec<u8>,
    pub price: f64,
    pub place: (f64, f64),
    pub vector: Vec<f32>,
}

pub struct Corpus {
    pub vocabulary: Vocabulary,
    pub rng: StdRng,
}

impl Corpus {
    pub fn new(seed: u64) -> Self {
        Self { vocabulary: Vocabulary::default(), rng: StdRng::seed_from_u64(seed) }
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.rng.random_range(0..limit)
    }

    /// Some words are much more frequent than others.
    pub fn word(&mut self) -> u16 {
        let uniform: f64 = self.rng.random();
        ((uniform * uniform * self.vocabulary.words.len() as f64) as u16 * 37)
            % self.vocabulary.words.len() as u16
    }

    pub fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| self.rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    pub fn product(&mut self) -> Product {
        let words = |corpus: &mut Self, min: usize, spread: usize| -> Vec<u16> {
            let len = min + corpus.below(spread);
            (0..len).map(|_| corpus.word()).collect()
        };
        let mut tags: Vec<u8> = (0..1 + self.below(4)).map(|_| self.below(TAGS.len()) as u8).collect();
        tags.sort_unstable();
        tags.dedup();
        Product {
            name: words(self, 2, 3),
            description: words(self, 8, 13),
            tags,
            price: self.below(50_000) as f64 / 100.0,
            place: (self.rng.random_range(-10.0..20.0), self.rng.random_range(40.0..60.0)),
            vector: self.vector(),
        }
    }

    pub fn text(&self, words: &[u16]) -> String {
        let words: Vec<&str> = words.iter().map(|&w| &self.vocabulary.words[usize::from(w)][..]).collect();
        words.join(" ")
    }
}
