//! `cjson.decode`: a tokenizer and a recursive parser that accept, refuse and complain exactly as lua-cjson's.
//!
//! The C library works on NUL-terminated text: a NUL byte is the end of the input, here too.

use super::JSON_NESTING_MAX;
use super::cjson::{Config, config};
use super::number;
use super::stack::{Raise, Results, Stack};

pub(super) fn decode(stack: Stack) -> Results {
    if stack.top() != 1 {
        return Err(Raise::arg(1, "expected 1 argument"));
    }
    let data = stack.check_bytes(1)?;
    if data.len() >= 2 && (data[0] == 0 || data[1] == 0) {
        return Err(Raise::at("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut parser = Parser { data, position: 0, text: stack.scratch(), config: config(stack), depth: 0 };
    let (token, start) = parser.next();
    parser.value(stack, token, start)?;
    let (token, start) = parser.next();
    match token {
        Token::End => Ok(1),
        token => Err(parser.unexpected("the end", &token, start)),
    }
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Its value is in [`Parser::text`].
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(what) => what,
        }
    }
}

struct Parser<'a> {
    data: &'a [u8],
    position: usize,
    text: &'a mut Vec<u8>,
    config: &'a Config,
    depth: i32,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.data.get(self.position + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, word: &str) -> bool {
        self.data[self.position..].starts_with(word.as_bytes())
    }

    /// The next token and where it starts (for an error: where it was noticed).
    fn next(&mut self) -> (Token, usize) {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.position += 1;
        }
        let start = self.position;
        let single = match self.peek(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return (Token::End, start),
            _ => {
                let token = self.long_token();
                let start = if matches!(token, Token::Error(_)) { self.position } else { start };
                return (token, start);
            }
        };
        self.position += 1;
        (single, start)
    }

    fn long_token(&mut self) -> Token {
        let invalid_allowed = self.config.decode_invalid_numbers != 0;
        match self.peek(0) {
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !invalid_allowed && self.is_invalid_number() {
                    return Token::Error("invalid number");
                }
                return self.number();
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => {}
            _ => return Token::Error("invalid token"),
        }
        for (word, token) in
            [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
        {
            if self.starts_with(word) {
                self.position += word.len();
                return token;
            }
        }
        if invalid_allowed && self.is_invalid_number() {
            return self.number();
        }
        Token::Error("invalid token")
    }

    fn number(&mut self) -> Token {
        match number::parse_prefix(&self.data[self.position..]) {
            Some((value, len)) => {
                self.position += len;
                Token::Number(value)
            }
            None => Token::Error("invalid number"),
        }
    }

    /// Numbers that strtod reads and JSON does not have: `+1`, `01`, hexadecimal, infinities, NaN.
    fn is_invalid_number(&self) -> bool {
        if self.peek(0) == b'+' {
            return true;
        }
        let ahead = usize::from(self.peek(0) == b'-');
        match self.peek(ahead) {
            b'0' => matches!(self.peek(ahead + 1), b'x' | b'X' | b'0'..=b'9'),
            c if c <= b'9' => false,
            _ => {
                let word =
                    self.data.get(self.position + ahead..self.position + ahead + 3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn string(&mut self) -> Token {
        self.position += 1;
        self.text.clear();
        loop {
            match self.peek(0) {
                b'"' => {
                    self.position += 1;
                    return Token::String;
                }
                0 => return Token::Error("unexpected end of string"),
                b'\\' => {
                    let plain = match self.peek(1) {
                        c @ (b'"' | b'\\' | b'/') => c,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 12,
                        b'r' => b'\r',
                        b'u' => {
                            let Some((point, len)) = self.unicode_escape() else {
                                return Token::Error("invalid unicode escape code");
                            };
                            self.text.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
                            self.position += len;
                            continue;
                        }
                        _ => return Token::Error("invalid escape code"),
                    };
                    self.text.push(plain);
                    self.position += 2;
                }
                c => {
                    self.text.push(c);
                    self.position += 1;
                }
            }
        }
    }

    /// The code point of an escape `\uXXXX`, or of two that are a surrogate pair, and its length.
    fn unicode_escape(&self) -> Option<(char, usize)> {
        let unit = self.hex4(2)?;
        if unit & 0xf800 != 0xd800 {
            return Some((char::from_u32(unit)?, 6));
        }
        if unit & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
            return None;
        }
        let low = self.hex4(8)?;
        if low & 0xfc00 != 0xdc00 {
            return None;
        }
        Some((char::from_u32((((unit & 0x3ff) << 10) | (low & 0x3ff)) + 0x1_0000)?, 12))
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4).try_fold(0, |value, at| Some(value << 4 | char::from(self.peek(at)).to_digit(16)?))
    }

    fn unexpected(&self, expected: &str, found: &Token, start: usize) -> Raise {
        Raise::at(format!("Expected {expected} but found {} at character {}", found.name(), start + 1))
    }

    /// Pushes the value that starts with `token`.
    fn value(&mut self, stack: Stack, token: Token, start: usize) -> Result<(), Raise> {
        match token {
            Token::String => stack.push_bytes(self.text),
            Token::Number(n) => stack.push_number(n),
            Token::Boolean(b) => stack.push_bool(b),
            Token::Null => stack.push_null(),
            Token::ObjectBegin => self.object(stack)?,
            Token::ArrayBegin => self.array(stack)?,
            token => return Err(self.unexpected("value", &token, start)),
        }
        Ok(())
    }

    fn descend(&mut self, stack: Stack) -> Result<(), Raise> {
        self.depth += 1;
        if self.depth <= self.config.decode_max_depth.min(JSON_NESTING_MAX) && stack.check(4) {
            return Ok(());
        }
        let (depth, position) = (self.depth, self.position);
        Err(Raise::at(format!("Found too many nested data structures ({depth}) at character {position}")))
    }

    fn object(&mut self, stack: Stack) -> Result<(), Raise> {
        self.descend(stack)?;
        stack.new_table();
        let (mut token, mut start) = self.next();
        if !matches!(token, Token::ObjectEnd) {
            loop {
                if !matches!(token, Token::String) {
                    return Err(self.unexpected("object key string", &token, start));
                }
                stack.push_bytes(self.text);
                (token, start) = self.next();
                if !matches!(token, Token::Colon) {
                    return Err(self.unexpected("colon", &token, start));
                }
                (token, start) = self.next();
                self.value(stack, token, start)?;
                stack.raw_set(-3);
                (token, start) = self.next();
                match token {
                    Token::ObjectEnd => break,
                    Token::Comma => (token, start) = self.next(),
                    token => return Err(self.unexpected("comma or object end", &token, start)),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, stack: Stack) -> Result<(), Raise> {
        self.descend(stack)?;
        stack.new_table();
        let (mut token, mut start) = self.next();
        if !matches!(token, Token::ArrayEnd) {
            for index in 1.. {
                self.value(stack, token, start)?;
                stack.raw_set_index(-2, index);
                (token, start) = self.next();
                match token {
                    Token::ArrayEnd => break,
                    Token::Comma => (token, start) = self.next(),
                    token => return Err(self.unexpected("comma or array end", &token, start)),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }
}
