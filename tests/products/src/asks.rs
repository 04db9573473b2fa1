//! Random queries.

use crate::corpus::{Corpus, TAGS};
use crate::oracle::Ask;

/// A random query: `depth` limits its nesting.
pub fn ask(corpus: &mut Corpus, depth: usize) -> Ask {
    match corpus.below(if depth == 0 { 9 } else { 14 }) {
        0..=2 => words(corpus, depth.min(1)),
        3 => Ask::Tags((0..1 + corpus.below(3)).map(|_| corpus.below(TAGS.len()) as u8).collect())
            .deduplicated(),
        4 => Ask::TagPrefix(["ga", "sm", "gr", "st", "da"][corpus.below(5)].into()),
        5 | 6 => {
            let min = corpus.below(45_000) as f64 / 100.0;
            let max = min + corpus.below(10_000) as f64 / 100.0;
            Ask::Price { min, max, open: (corpus.below(2) == 0, corpus.below(2) == 0) }
        }
        7 => {
            let place = corpus.product().place;
            Ask::Near { place, kilometres: 50.0 + corpus.below(1000) as f64 }
        }
        8 => Ask::In(corpus.below(2) == 0, Box::new(words(corpus, 1))),
        9 | 10 => Ask::All((0..2 + corpus.below(2)).map(|_| ask(corpus, depth - 1)).collect()),
        11 => Ask::Any((0..2 + corpus.below(2)).map(|_| ask(corpus, depth - 1)).collect()),
        12 => Ask::But(Box::new(ask(corpus, depth - 1)), Box::new(ask(corpus, depth - 1))),
        _ => Ask::Maybe(Box::new(ask(corpus, depth - 1)), Box::new(ask(corpus, depth - 1))),
    }
}

/// A query of words only.
pub fn words(corpus: &mut Corpus, depth: usize) -> Ask {
    match corpus.below(if depth == 0 { 6 } else { 9 }) {
        0 | 1 => Ask::Word(corpus.word()),
        2 => {
            // Mostly one that somewhere stands.
            let product = corpus.product();
            let len = 2 + corpus.below(2);
            let from = corpus.below(product.description.len() - len);
            Ask::Phrase(product.description[from..from + len].to_vec())
        }
        3 => Ask::Phrase(vec![corpus.word(), corpus.word()]),
        4 | 5 => pattern(corpus),
        6 => Ask::All(vec![words(corpus, depth - 1), words(corpus, depth - 1)]),
        7 => Ask::Any((0..2 + corpus.below(3)).map(|_| words(corpus, depth - 1)).collect()),
        _ => Ask::Maybe(Box::new(words(corpus, depth - 1)), Box::new(words(corpus, depth - 1))),
    }
}

pub fn pattern(corpus: &mut Corpus) -> Ask {
    let word = corpus.word();
    let text = corpus.vocabulary.words[usize::from(word)].clone();
    let chars: Vec<char> = text.chars().collect();
    type Is = Box<dyn Fn(&str) -> bool>;
    let (written, is): (String, Is) = match corpus.below(5) {
        0 => {
            let prefix = text[..2].to_string();
            (format!("{prefix}*"), Box::new(move |w| w.starts_with(&prefix)))
        }
        1 => {
            let suffix = text[text.len() - 2..].to_string();
            (format!("*{suffix}"), Box::new(move |w| w.ends_with(&suffix)))
        }
        2 => {
            let infix = text[1..3].to_string();
            (format!("*{infix}*"), Box::new(move |w| w.contains(&infix)))
        }
        3 => {
            let (first, last) = (chars[0], chars[chars.len() - 1]);
            let is = move |w: &str| w.len() >= 3 && w.starts_with(first) && w.ends_with(last);
            (format!("w'{first}?*{last}'"), Box::new(is))
        }
        _ => (format!("%{text}%"), Box::new(move |w| one_edit_at_most(w, &text))),
    };
    let matching = (0..corpus.vocabulary.words.len()).filter(|&w| is(&corpus.vocabulary.words[w]));
    // The vocabulary is in order.
    Ask::Pattern(written, matching.map(|w| w as u16).collect())
}

/// Equal but for one letter changed, taken out or put in.
fn one_edit_at_most(a: &str, b: &str) -> bool {
    let (a, b) = if a.len() <= b.len() { (a.as_bytes(), b.as_bytes()) } else { (b.as_bytes(), a.as_bytes()) };
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    match b.len() - a.len() {
        0 => same == a.len() || a[same + 1..] == b[same + 1..],
        1 => a[same..] == b[same + 1..],
        _ => false,
    }
}

trait Deduplicated {
    fn deduplicated(self) -> Self;
}

impl Deduplicated for Ask {
    fn deduplicated(self) -> Self {
        match self {
            Self::Tags(mut tags) => {
                tags.sort_unstable();
                tags.dedup();
                Self::Tags(tags)
            }
            other => other,
        }
    }
}
