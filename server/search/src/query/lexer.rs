//! Cuts a query into tokens: always the longest that fits, of equally long ones the one listed first.
//!
//! Redis's messages say where the trouble is by the token before if the token in question is mere punctuation: such a
//! token moves the offset and leaves the text. `Token::near` does the same.

use crate::text::is_space;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Digits.
    Size,
    Number,
    /// `@name`.
    Modifier,
    /// `$name`.
    Attribute,
    /// `@name` before an operator.
    NotEqual,
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Arrow,
    As,
    IsMissing,
    Term,
    /// A text in quotes.
    Exact,
    Prefix,
    Suffix,
    Infix,
    Wildcard,
    Quote,
    Or,
    Open,
    Close,
    BraceOpen,
    BraceClose,
    BracketOpen,
    BracketClose,
    Colon,
    Semicolon,
    Minus,
    Tilde,
    Star,
    Percent,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    /// Its own text: of names without the sign before, of texts without the quotes.
    pub text: &'a [u8],
    pub number: f64,
    /// The text is the name of a parameter.
    pub parameter: bool,
    pub sign: f64,
    /// What a message names.
    pub offset: usize,
    pub near: &'a [u8],
}

#[derive(Clone)]
pub struct Lexer<'a> {
    query: &'a [u8],
    at: usize,
    /// Tokens of a comparison that have been read and not been given out yet.
    pending: Vec<Token<'a>>,
    offset: usize,
    near: &'a [u8],
}

fn is_term_byte(byte: u8) -> bool {
    byte == b'_' || !(byte.is_ascii_punctuation() || byte.is_ascii_control() || is_space(byte))
}

/// Bytes of a term at the start; 0 if there is none.
fn term_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    loop {
        match &bytes[len..] {
            [b'\\', next, ..] if next.is_ascii_punctuation() || is_space(*next) => len += 2,
            [byte, ..] if is_term_byte(*byte) => len += 1,
            _ => return len,
        }
    }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Bytes of a number at the start: sign, digits with or without a point, exponent.
pub fn number_len(bytes: &[u8]) -> usize {
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(&bytes[sign..]);
    let mut len = sign + whole;
    if bytes.get(len) == Some(&b'.') {
        let fraction = digits(&bytes[len + 1..]);
        if whole + fraction == 0 {
            return 0;
        }
        len += 1 + fraction;
    } else if whole == 0 {
        return 0;
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(&bytes[len + 1 + sign..]);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

fn inf_len(bytes: &[u8]) -> usize {
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let is_inf = bytes.len() >= sign + 3 && bytes[sign..sign + 3].eq_ignore_ascii_case(b"inf");
    if is_inf { sign + 3 } else { 0 }
}

fn attribute_len(bytes: &[u8]) -> usize {
    match bytes {
        [b'$', rest @ ..] if term_len(rest) > 0 => 1 + term_len(rest),
        _ => 0,
    }
}

/// Bytes of a text in quotes, the quotes included: to the first quote without a backslash before it, or to the last with
/// one if no such comes. An empty text is none.
fn exact_len(bytes: &[u8]) -> usize {
    let Some(&quote @ (b'"' | b'\'')) = bytes.first() else { return 0 };
    let mut last = 0;
    for at in 1..bytes.len() {
        if bytes[at] == quote {
            if at > 1 {
                last = at + 1;
            }
            if at == 1 || bytes[at - 1] != b'\\' {
                break;
            }
        }
    }
    last
}

/// `w'…'`, where a backslash takes whatever follows.
fn wildcard_len(bytes: &[u8]) -> usize {
    let [b'w', quote @ (b'"' | b'\''), body @ ..] = bytes else { return 0 };
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'\\' => at += 2,
            _ if byte == *quote => return if at > 0 { at + 3 } else { 0 },
            _ => at += 1,
        }
    }
    0
}

pub fn number(bytes: &[u8]) -> f64 {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.strip_suffix('.').unwrap_or(text).parse().unwrap_or(0.0)
}

impl<'a> Lexer<'a> {
    pub fn new(query: &'a [u8]) -> Self {
        Self { query, at: 0, pending: Vec::new(), offset: 0, near: &[] }
    }

    /// The next token; `End` at the end, again and again.
    pub fn next(&mut self) -> Token<'a> {
        if !self.pending.is_empty() {
            return self.pending.remove(0);
        }
        while self.at < self.query.len() {
            let start = self.at;
            let (kind, len) = self.longest();
            self.at += len;
            if let Some(kind) = kind {
                return self.token(kind, start, len);
            }
        }
        self.punctuation(TokenKind::End, self.offset)
    }

    /// The longest token here and its length; none for what means nothing.
    fn longest(&self) -> (Option<TokenKind>, usize) {
        use TokenKind as T;
        let rest = &self.query[self.at..];
        // Ties go to the first.
        let mut best = (None, 0);
        let mut offer = |kind: Option<T>, len: usize| {
            if len > best.1 {
                best = (kind, len);
            }
        };
        let size = digits(rest);
        let number = number_len(rest);
        let term = term_len(rest);
        let attribute = attribute_len(rest);
        let exact = exact_len(rest);
        offer(Some(T::Size), size);
        offer(Some(T::Number), number);
        if let [b'@', name @ ..] = rest
            && term_len(name) > 0
        {
            offer(Some(T::Modifier), 1 + term_len(name));
            if let Some((kind, len)) = comparison(rest) {
                offer(Some(kind), len);
            }
        }
        offer(Some(T::Attribute), attribute);
        offer(Some(T::Arrow), if rest.starts_with(b"=>") { 2 } else { 0 });
        offer(Some(T::As), if rest.len() > 1 && rest[..2].eq_ignore_ascii_case(b"as") { 2 } else { 0 });
        offer(Some(T::Number), inf_len(rest));
        // The empty text is a term.
        offer(Some(T::Term), if rest.starts_with(b"\"\"") || rest.starts_with(b"''") { 2 } else { 0 });
        let single = match rest[0] {
            b'"' => Some(T::Quote),
            b'|' => Some(T::Or),
            b'(' => Some(T::Open),
            b')' => Some(T::Close),
            b'{' => Some(T::BraceOpen),
            b'}' => Some(T::BraceClose),
            b':' => Some(T::Colon),
            b';' => Some(T::Semicolon),
            b'-' => Some(T::Minus),
            b'~' => Some(T::Tilde),
            b'*' => Some(T::Star),
            b'%' => Some(T::Percent),
            b'[' => Some(T::BracketOpen),
            b']' => Some(T::BracketClose),
            _ => None,
        };
        let means_nothing = rest[0].is_ascii_punctuation() || is_space(rest[0]) || rest[0].is_ascii_control();
        offer(single, usize::from(single.is_some() || means_nothing));
        let is_missing = rest.len() >= 9 && rest[..9].eq_ignore_ascii_case(b"ismissing");
        offer(Some(T::IsMissing), if is_missing { 9 } else { 0 });
        // An underscore alone is punctuation to the one rule and a term to the other: punctuation is listed first.
        offer(Some(T::Term), term);
        offer(Some(T::Exact), exact);
        let starred = |len: usize| len > 0 && rest.get(len) == Some(&b'*');
        for len in [term, number, attribute, exact] {
            offer(Some(T::Prefix), if starred(len) { len + 1 } else { 0 });
        }
        if let [b'*', body @ ..] = rest {
            for len in [term_len(body), number_len(body), attribute_len(body), exact_len(body)] {
                let closed = len > 0 && body.get(len) == Some(&b'*');
                offer(Some(T::Suffix), if len > 0 { len + 1 } else { 0 });
                offer(Some(T::Infix), if closed { len + 2 } else { 0 });
            }
        }
        offer(Some(T::Wildcard), wildcard_len(rest));
        (best.0, best.1.max(1))
    }

    fn token(&mut self, kind: TokenKind, start: usize, len: usize) -> Token<'a> {
        use TokenKind as T;
        let whole = &self.query[start..start + len];
        match kind {
            T::Size | T::Number => {
                let value = match inf_len(whole) == whole.len() {
                    true if whole[0] == b'-' => f64::NEG_INFINITY,
                    true => f64::INFINITY,
                    false => number(whole),
                };
                Token { number: value, ..self.texted(kind, start, whole) }
            }
            T::Modifier | T::Attribute => self.texted(kind, start, &whole[1..]),
            T::As | T::IsMissing => self.texted(kind, start, whole),
            T::Arrow => {
                // Messages name an arrow by its head and what follows.
                let near = &self.query[start + 1..self.query.len().min(start + 3)];
                self.texted(kind, start, near)
            }
            T::Term if matches!(whole, b"\"\"" | b"''") => self.texted(kind, start, &[]),
            T::Term => self.texted(kind, start, whole),
            T::Exact => self.texted(kind, start, &whole[1..len - 1]),
            T::Prefix => self.affix(kind, start, &whole[..len - 1]),
            T::Suffix => self.affix(kind, start, &whole[1..]),
            T::Infix => self.affix(kind, start, &whole[1..len - 1]),
            T::Wildcard => {
                let body = &whole[2..len - 1];
                let parameter = body[0] == b'$';
                let body = if parameter { &body[1..] } else { body };
                Token { parameter, ..self.texted(kind, start + 2, body) }
            }
            T::NotEqual | T::Equal | T::Greater | T::GreaterEqual | T::Less | T::LessEqual => {
                self.compared(kind, start, whole)
            }
            _ => self.punctuation(kind, start),
        }
    }

    fn texted(&mut self, kind: TokenKind, offset: usize, text: &'a [u8]) -> Token<'a> {
        self.offset = offset;
        self.near = text;
        Token { kind, text, number: 0.0, parameter: false, sign: 1.0, offset, near: text }
    }

    fn punctuation(&mut self, kind: TokenKind, offset: usize) -> Token<'a> {
        self.offset = offset;
        Token { kind, text: &[], number: 0.0, parameter: false, sign: 1.0, offset, near: self.near }
    }

    /// Term, number, parameter or a text in quotes, with stars taken off.
    fn affix(&mut self, kind: TokenKind, start: usize, body: &'a [u8]) -> Token<'a> {
        match body {
            [b'$', name @ ..] => Token { parameter: true, ..self.texted(kind, start, name) },
            [b'"' | b'\'', text @ .., _] => self.texted(kind, start, text),
            _ => self.texted(kind, start, body),
        }
    }

    /// `@name op value` is three tokens.
    fn compared(&mut self, kind: TokenKind, start: usize, whole: &'a [u8]) -> Token<'a> {
        let name = term_len(&whole[1..]);
        let modifier = self.texted(TokenKind::Modifier, start, &whole[1..=name]);
        let rest = &whole[1 + name..];
        let space = rest.iter().take_while(|&&b| is_space(b)).count();
        let sign_len = if matches!(kind, TokenKind::Greater | TokenKind::Less) { 1 } else { 2 };
        let operator = self.texted(kind, start, &rest[space..space + sign_len]);
        let mut value = &rest[space + sign_len..];
        value = &value[value.iter().take_while(|&&b| is_space(b)).count()..];
        let (sign, unsigned) = match value {
            [b'-', b'$', ..] => (-1.0, &value[1..]),
            [b'+', b'$', ..] => (1.0, &value[1..]),
            _ => (1.0, value),
        };
        let value = if let [b'$', name @ ..] = unsigned {
            Token { sign, ..self.texted(TokenKind::Attribute, start, name) }
        } else {
            self.token(TokenKind::Number, start + whole.len() - value.len(), value.len())
        };
        self.pending = vec![operator, value];
        modifier
    }
}

/// The kind and length of a comparison that starts with `@name`.
fn comparison(rest: &[u8]) -> Option<(TokenKind, usize)> {
    use TokenKind as T;
    let spaces = |at: usize| rest[at..].iter().take_while(|&&b| is_space(b)).count();
    let mut at = 1 + term_len(&rest[1..]);
    at += spaces(at);
    let (kind, len) = match &rest[at..] {
        [b'!', b'=', ..] => (T::NotEqual, 2),
        [b'=', b'=', ..] => (T::Equal, 2),
        [b'>', b'=', ..] => (T::GreaterEqual, 2),
        [b'<', b'=', ..] => (T::LessEqual, 2),
        [b'>', ..] => (T::Greater, 1),
        [b'<', ..] => (T::Less, 1),
        _ => return None,
    };
    at += len;
    at += spaces(at);
    let value = &rest[at..];
    let signed = usize::from(matches!(value.first(), Some(b'+' | b'-')));
    let attribute = match attribute_len(&value[signed..]) {
        0 => 0,
        len => signed + len,
    };
    let len = number_len(value).max(inf_len(value)).max(attribute);
    (len > 0).then_some((kind, at + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenKind as T;

    fn kinds(query: &str) -> Vec<(TokenKind, String)> {
        let mut lexer = Lexer::new(query.as_bytes());
        let mut all = Vec::new();
        loop {
            let token = lexer.next();
            if token.kind == T::End {
                return all;
            }
            all.push((token.kind, String::from_utf8(token.text.to_vec()).unwrap()));
        }
    }

    fn one(query: &str) -> (TokenKind, String) {
        let all = kinds(query);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    #[test]
    fn the_longest_token_wins() {
        assert_eq!(one("123"), (T::Size, "123".into()));
        assert_eq!(one("12.5e3"), (T::Number, "12.5e3".into()));
        assert_eq!(one("-5"), (T::Number, "-5".into()));
        assert_eq!(one("123abc"), (T::Term, "123abc".into()));
        assert_eq!(one("as"), (T::As, "as".into()));
        assert_eq!(one("assert"), (T::Term, "assert".into()));
        assert_eq!(one("inf"), (T::Number, "inf".into()));
        assert_eq!(one("information"), (T::Term, "information".into()));
        assert_eq!(one("ismissing"), (T::IsMissing, "ismissing".into()));
        assert_eq!(one(r"foo\-bar"), (T::Term, r"foo\-bar".into()));
        assert_eq!(one("hel*"), (T::Prefix, "hel".into()));
        assert_eq!(one("*llo"), (T::Suffix, "llo".into()));
        assert_eq!(one("*ell*"), (T::Infix, "ell".into()));
        assert_eq!(one("w'h?l*o'"), (T::Wildcard, "h?l*o".into()));
        assert_eq!(one("\"hello world\""), (T::Exact, "hello world".into()));
        assert_eq!(one(r#""say \"hi\" now""#), (T::Exact, r#"say \"hi\" now"#.into()));
        assert_eq!(one("\"hel lo\"*"), (T::Prefix, "hel lo".into()));
        assert_eq!(one("$par"), (T::Attribute, "par".into()));
        assert_eq!(one("''"), (T::Term, String::new()));
    }

    #[test]
    fn punctuation_without_a_meaning_separates() {
        assert_eq!(kinds("a, b.c#d"), ["a", "b", "c", "d"].map(|t| (T::Term, t.to_string())));
    }

    #[test]
    fn comparisons_are_three_tokens() {
        let all = kinds("@price >= -$max");
        assert_eq!(all.iter().map(|t| t.0).collect::<Vec<_>>(), [T::Modifier, T::GreaterEqual, T::Attribute]);
        assert_eq!(kinds("@n==1.5")[2], (T::Number, "1.5".into()));
        assert_eq!(kinds("@n>=")[0].0, T::Modifier);
    }

    #[test]
    fn the_place_of_punctuation_is_named_by_what_came_before() {
        let mut lexer = Lexer::new(b"(hello");
        assert_eq!((lexer.next().kind, lexer.next().kind), (T::Open, T::Term));
        let end = lexer.next();
        assert_eq!((end.kind, end.offset, end.near), (T::End, 1, &b"hello"[..]));
    }
}
