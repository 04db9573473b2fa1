//! Text as it is indexed: words, lower case, stop words, stems.

mod language;
mod stop_words;

pub use language::Language;
pub use stop_words::StopWords;

/// What precedes a stem among the terms, so that `run` the stem is not `run` the word.
pub const STEM_PREFIX: u8 = b'+';
/// Words of fewer bytes have no stem of their own in the index.
const STEMMED_LEN_MIN: usize = 4;
/// Bytes of a word that count; what is longer is cut, as one word should not fill the index.
const WORD_LEN_MAX: usize = 1024;

/// Whether a byte separates words. A backslash before it takes that away.
pub fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b','
            | b'.'
            | b'/'
            | b'('
            | b')'
            | b'{'
            | b'}'
            | b'['
            | b']'
            | b':'
            | b';'
            | b'~'
            | b'!'
            | b'@'
            | b'#'
            | b'$'
            | b'%'
            | b'^'
            | b'&'
            | b'*'
            | b'-'
            | b'='
            | b'+'
            | b'|'
            | b'\''
            | b'`'
            | b'"'
            | b'<'
            | b'>'
            | b'?'
    )
}

/// Lower case, letter by letter; bytes that are not UTF-8 are taken as ASCII.
pub fn lower(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() {
        return bytes.to_ascii_lowercase();
    }
    match std::str::from_utf8(bytes) {
        // Not `str::to_lowercase`: a sigma must be the same letter wherever in a word it is.
        Ok(text) => text.chars().flat_map(char::to_lowercase).collect::<String>().into_bytes(),
        Err(_) => bytes.to_ascii_lowercase(),
    }
}

/// Takes the backslashes away that stand before punctuation or space.
pub fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escapes =
            *first == b'\\' && tail.first().is_some_and(|&b| b.is_ascii_punctuation() || is_space(b));
        if escapes {
            out.push(tail[0]);
            rest = &tail[1..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// C's `isspace`, which has the vertical tab too.
pub fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As indexed: lower case, escapes and control characters gone.
    pub term: Vec<u8>,
    /// Counted from one; stop words do not count.
    pub position: u32,
    /// Where it stands in the text.
    pub start: usize,
    pub len: usize,
}

/// Cuts a text into words. Words that come to nothing and stop words are left out; an empty text is one empty word.
pub struct Words<'a> {
    text: &'a [u8],
    at: usize,
    position: u32,
    stop_words: &'a StopWords,
    done: bool,
}

impl<'a> Words<'a> {
    /// `before` words are already counted.
    pub fn new(text: &'a [u8], stop_words: &'a StopWords, before: u32) -> Self {
        Self { text, at: 0, position: before, stop_words, done: false }
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        while !self.done {
            let start = self.at;
            let mut end = start;
            let mut escaped = false;
            while end < self.text.len() && (escaped || !is_separator(self.text[end])) {
                escaped = !escaped && self.text[end] == b'\\';
                end += 1;
            }
            // A separator that ends the text leaves nothing behind it.
            self.at = end + 1;
            self.done = self.at >= self.text.len();
            let mut term = normalize(&self.text[start..end]);
            term.truncate(cut_at_char(&term, WORD_LEN_MAX));
            let kept = self.text.is_empty() || (!term.is_empty() && !self.stop_words.contains(&term));
            if kept {
                self.position += 1;
                return Some(Word { term, position: self.position, start, len: end - start });
            }
        }
        None
    }
}

/// The longest prefix of at most `max` bytes that does not cut a character.
fn cut_at_char(bytes: &[u8], max: usize) -> usize {
    let mut at = bytes.len().min(max);
    while at > 0 && at < bytes.len() && bytes[at] & 0xc0 == 0x80 {
        at -= 1;
    }
    at
}

/// A word as a term: unescaped, without blanks and control characters, lower case.
fn normalize(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut escaped = false;
    for &byte in word {
        let blank = byte == b' ' || byte == b'\t';
        if (blank && !escaped) || byte.is_ascii_control() {
            escaped = false;
        } else if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            out.push(byte);
            escaped = false;
        }
    }
    lower(&out)
}

/// A term of a query: unescaped and in lower case.
pub fn normalize_query_term(term: &[u8]) -> Vec<u8> {
    lower(&unescape(term))
}

/// The stem of a word as a term of its own, `+stem`. A word that is its own stem, or too short, has none.
pub fn stem_term(language: Language, word: &[u8]) -> Option<Vec<u8>> {
    if word.len() < STEMMED_LEN_MIN {
        return None;
    }
    let stem = language.stem(word)?;
    (stem != word).then(|| prefixed(&stem))
}

/// `+stem`.
pub fn prefixed(stem: &[u8]) -> Vec<u8> {
    let mut term = Vec::with_capacity(stem.len() + 1);
    term.push(STEM_PREFIX);
    term.extend_from_slice(stem);
    term
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let stop = StopWords::default();
        Words::new(text.as_bytes(), &stop, 0).map(|w| String::from_utf8(w.term).unwrap()).collect()
    }

    #[test]
    fn punctuation_separates_words_and_stop_words_go() {
        assert_eq!(words("The quick, brown-fox's (tail)!"), ["quick", "brown", "fox", "s", "tail"]);
        assert_eq!(words("snake_case stays"), ["snake_case", "stays"]);
        assert_eq!(words("   "), [""; 0]);
    }

    #[test]
    fn an_empty_text_is_one_empty_word() {
        assert_eq!(words(""), [""]);
    }

    #[test]
    fn a_backslash_keeps_a_separator_in_the_word() {
        assert_eq!(words(r"hello\-world foo\\bar"), ["hello-world", r"foo\bar"]);
        assert_eq!(words("new\\ york"), ["new york"]);
    }

    #[test]
    fn letters_are_lowered_beyond_ascii_and_broken_utf8_is_kept() {
        assert_eq!(words("ÄRGER Straße"), ["ärger", "straße"]);
        let stop = StopWords::default();
        let found: Vec<Word> = Words::new(b"A\xff\xfeB", &stop, 0).collect();
        assert_eq!(found[0].term, b"a\xff\xfeb");
    }

    #[test]
    fn positions_count_words_that_are_kept_and_places_are_of_the_text() {
        let stop = StopWords::default();
        let found: Vec<Word> = Words::new(b"the red and the blue", &stop, 7).collect();
        let places: Vec<_> = found.iter().map(|w| (w.position, w.start, w.len)).collect();
        assert_eq!(places, [(8, 4, 3), (9, 16, 4)]);
    }

    #[test]
    fn control_characters_vanish_from_words() {
        assert_eq!(words("new\nline"), ["newline"]);
    }

    #[test]
    fn words_have_stems_unless_they_are_their_own() {
        assert_eq!(stem_term(Language::ENGLISH, b"running"), Some(b"+run".to_vec()));
        assert_eq!(stem_term(Language::ENGLISH, b"run"), None);
        assert_eq!(stem_term(Language::ENGLISH, b"hello"), None);
        assert_eq!(stem_term(Language::parse(b"german").unwrap(), b"laufen"), Some(b"+lauf".to_vec()));
    }

    #[test]
    fn queries_unescape_punctuation_and_space_only() {
        assert_eq!(normalize_query_term(br"Foo\-Bar\x\ y"), br"foo-bar\x y");
    }

    #[test]
    fn a_word_of_a_megabyte_is_cut() {
        let text = vec![b'x'; 1 << 20];
        let stop = StopWords::default();
        assert_eq!(Words::new(&text, &stop, 0).next().unwrap().term.len(), WORD_LEN_MAX);
    }
}
