//! Paths from text, by recursive descent.
//!
//! ```text
//! path      = "$" root?                    spaces may stand between any two tokens
//! root      = (element | name | "*") element*   no space before a name or * here
//! element   = "." name | "." "*" | "."? "[" bracket "]"
//!           | ".." (name | "*" | "[" bracket "]")
//! bracket   = range | integer ("," integer)* | string ("," string)* | "*" | "?" or
//! range     = integer? ":" integer? (":" positive?)?
//! or        = and ("||" and)*
//! and       = not ("&&" not)*
//! not       = "!" not | test
//! test      = sum (("==" | "!=" | "<" | "<=" | ">" | ">=" | "=~") sum)?
//! sum       = product (("+" | "-") product)*
//! product   = unary (("*" | "/" | "%") unary)*
//! unary     = ("-" | "+")? term
//! term      = ("@" | "$") root? | decimal | string | "true" | "false" | "null" | "(" or ")"
//! name      = (letter | digit | one of "-_`~+#%$^/:")+           in ASCII
//! string    = quoted by ' or ", in which \ stands before \ and the quote
//! ```
//!
//! A name may hold `+`, `-`, `/` and `%`: operators after a path need a space before them.

use std::fmt;

use super::filter::{ArithmeticOp, Comparison, Filter, Subpath, Term};
use super::{NESTING_MAX, SEGMENTS_MAX, Segment, is_singular};
use crate::text::Text;

/// Why a text is no path: what could have stood at a byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathError {
    pub at: usize,
    pub expected: &'static str,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, expected } = self;
        write!(
            f,
            "Error occurred at position {at}, Error at position {at}: expected one of the following: {expected}"
        )
    }
}

impl std::error::Error for PathError {}

type Parsed<T> = Result<T, PathError>;

/// What may stand after `[`, in RedisJSON's words, which leave the filter out.
const IN_BRACKETS: &str = "'<string>[,<string>,...]', '<number>', ['start:end:steps'], '*'";

/// Parses a path that begins with `$`.
pub(super) fn path(text: &str) -> Parsed<Vec<Segment>> {
    let mut parser = Parser { text, at: 0, nesting: 0 };
    parser.skip_spaces();
    if !parser.take("$") {
        return Err(parser.expected("query"));
    }
    let segments = parser.root()?;
    parser.skip_spaces();
    if parser.at < text.len() {
        return Err(parser.expected("EOI, '..'"));
    }
    Ok(segments)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
}

/// What a term between parentheses can turn out to be.
enum Operand {
    Term(Term),
    Filter(Filter),
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn expected(&self, expected: &'static str) -> PathError {
        PathError { at: self.at, expected }
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().iter().take_while(|&&byte| byte == b' ').count();
    }

    /// Goes past spaces and `token`, if it is there; otherwise past nothing.
    fn take(&mut self, token: &str) -> bool {
        let before = self.at;
        self.skip_spaces();
        if self.rest().starts_with(token.as_bytes()) {
            self.at += token.len();
            return true;
        }
        self.at = before;
        false
    }

    /// Goes past spaces and says what comes then.
    fn peek(&mut self) -> Option<u8> {
        self.skip_spaces();
        self.rest().first().copied()
    }

    fn enter(&mut self) -> Parsed<()> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            Err(self.expected("a path that is nested less deeply"))
        } else {
            Ok(())
        }
    }

    fn root(&mut self) -> Parsed<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            if segments.len() > SEGMENTS_MAX {
                return Err(self.expected("a path of fewer elements"));
            }
            if self.element(&mut segments)? {
                continue;
            }
            if !segments.is_empty() {
                return Ok(segments);
            }
            // Only the first one may come without a dot. Right behind the `@`: what follows a space is an operator.
            match self.rest().first() {
                Some(b'*') if self.take("*") => segments.push(Segment::All),
                Some(&byte) if is_name(byte) => segments.push(self.name()?),
                _ => return Ok(segments),
            }
        }
    }

    /// Appends the next element. False if there is none.
    fn element(&mut self, segments: &mut Vec<Segment>) -> Parsed<bool> {
        if self.take("..") {
            segments.push(Segment::Descend);
        } else if !self.take(".") {
            if !self.take("[") {
                return Ok(false);
            }
            segments.push(self.bracket()?);
            return Ok(true);
        }
        segments.push(match self.peek() {
            Some(b'[') if self.take("[") => self.bracket()?,
            Some(b'*') if self.take("*") => Segment::All,
            Some(byte) if is_name(byte) => self.name()?,
            _ => return Err(self.expected("<string>, '*'")),
        });
        Ok(true)
    }

    fn name(&mut self) -> Parsed<Segment> {
        let len = self.rest().iter().take_while(|&&byte| is_name(byte)).count();
        let name = &self.text[self.at..self.at + len];
        self.at += len;
        Ok(Segment::Key(Text::new(name)))
    }

    /// What stands after `[`, and the `]`.
    fn bracket(&mut self) -> Parsed<Segment> {
        let segment = match self.peek() {
            Some(b'*') if self.take("*") => Segment::All,
            Some(b'?') if self.take("?") => {
                let before = self.nesting;
                let filter = self.filter()?;
                self.nesting = before;
                Segment::Filter(filter)
            }
            Some(b'"' | b'\'') => {
                let mut names = vec![self.string()?];
                while self.take(",") {
                    self.skip_spaces();
                    names.push(self.string()?);
                }
                match <[Text; 1]>::try_from(names) {
                    Ok([name]) => Segment::Key(name),
                    Err(names) => Segment::Keys(names),
                }
            }
            Some(b'-' | b'0'..=b'9' | b':') => self.indexes()?,
            _ => {
                return Err(self.expected(IN_BRACKETS));
            }
        };
        if self.take("]") { Ok(segment) } else { Err(self.expected("]")) }
    }

    fn indexes(&mut self) -> Parsed<Segment> {
        let start = match self.peek() {
            Some(b':') => None,
            _ => Some(self.integer().map_err(|error| PathError { expected: IN_BRACKETS, ..error })?),
        };
        if self.take(":") {
            let end = match self.peek() {
                Some(b'-' | b'0'..=b'9') => Some(self.integer()?),
                _ => None,
            };
            let mut step = 1;
            if self.take(":") && matches!(self.peek(), Some(b'0'..=b'9')) {
                let before = self.at;
                step = usize::try_from(self.integer()?).unwrap_or(0);
                if step == 0 {
                    self.at = before;
                    return Err(self.expected("pos_number"));
                }
            }
            return Ok(Segment::Slice { start, end, step });
        }
        let mut indexes = vec![start.ok_or(self.expected(IN_BRACKETS))?];
        while self.take(",") {
            self.skip_spaces();
            indexes.push(self.integer()?);
        }
        Ok(Segment::Indexes(indexes))
    }

    /// Without leading zeros.
    fn integer(&mut self) -> Parsed<i64> {
        let text = self.integer_text();
        let value = text.and_then(|text| text.parse().ok());
        value.ok_or(self.expected("'<number>'"))
    }

    /// Goes past an integer.
    fn integer_text(&mut self) -> Option<&'a str> {
        let sign = usize::from(self.rest().first() == Some(&b'-'));
        let digits = self.rest()[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        // What follows a zero is not part of the number.
        let digits = if self.rest().get(sign) == Some(&b'0') { 1 } else { digits };
        if digits == 0 {
            return None;
        }
        let text = &self.text[self.at..self.at + sign + digits];
        self.at += text.len();
        Some(text)
    }

    fn string(&mut self) -> Parsed<Text> {
        Ok(Text::new(&self.string_content()?))
    }

    fn string_content(&mut self) -> Parsed<String> {
        let quote = match self.rest().first() {
            Some(&quote @ (b'"' | b'\'')) => quote,
            _ => return Err(self.expected("string_value")),
        };
        self.at += 1;
        let mut content = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.iter().take_while(|&&byte| byte != quote && byte != b'\\').count();
            content.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match rest[plain..] {
                [b'\\', escaped, ..] if escaped == quote || escaped == b'\\' => {
                    content.push(char::from(escaped));
                    self.at += 2;
                }
                [end, ..] if end == quote => {
                    self.at += 1;
                    return Ok(content);
                }
                _ => return Err(self.expected("string_value, string_escape")),
            }
        }
    }

    fn filter(&mut self) -> Parsed<Filter> {
        self.enter()?;
        let mut either = vec![self.all_of()?];
        while self.take("||") {
            either.push(self.all_of()?);
        }
        self.nesting -= 1;
        Ok(if either.len() == 1 { either.remove(0) } else { Filter::Any(either) })
    }

    fn all_of(&mut self) -> Parsed<Filter> {
        let mut all = vec![self.negation()?];
        while self.take("&&") {
            all.push(self.negation()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn negation(&mut self) -> Parsed<Filter> {
        let mut negated = false;
        while self.take("!") {
            negated = !negated;
        }
        let test = self.test()?;
        Ok(if negated { Filter::Not(Box::new(test)) } else { test })
    }

    fn test(&mut self) -> Parsed<Filter> {
        let left = match self.sum()? {
            Operand::Filter(filter) => return Ok(filter),
            Operand::Term(term) => term,
        };
        const COMPARISONS: [(&str, Comparison); 7] = [
            (">=", Comparison::AtLeast),
            (">", Comparison::Greater),
            ("<=", Comparison::AtMost),
            ("<", Comparison::Less),
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("=~", Comparison::Matches),
        ];
        let Some((_, comparison)) = COMPARISONS.into_iter().find(|(token, _)| self.take(token)) else {
            return Ok(Filter::Exists(left));
        };
        let right = self.sum_term()?;
        Ok(Filter::Compare(comparison, left, right))
    }

    fn sum_term(&mut self) -> Parsed<Term> {
        match self.sum()? {
            Operand::Term(term) => Ok(term),
            Operand::Filter(_) => Err(self.expected("term")),
        }
    }

    fn sum(&mut self) -> Parsed<Operand> {
        const SUMS: &[(&str, ArithmeticOp)] = &[("+", ArithmeticOp::Add), ("-", ArithmeticOp::Subtract)];
        self.arithmetic(SUMS, Self::product)
    }

    fn product(&mut self) -> Parsed<Operand> {
        const PRODUCTS: &[(&str, ArithmeticOp)] =
            &[("*", ArithmeticOp::Multiply), ("/", ArithmeticOp::Divide), ("%", ArithmeticOp::Remainder)];
        self.arithmetic(PRODUCTS, Self::unary)
    }

    fn arithmetic(
        &mut self,
        ops: &[(&str, ArithmeticOp)],
        next: fn(&mut Self) -> Parsed<Operand>,
    ) -> Parsed<Operand> {
        let mut left = next(self)?;
        let before = self.nesting;
        while let Operand::Term(term) = left {
            let Some((_, op)) = ops.iter().find(|(token, _)| self.take(token)) else {
                left = Operand::Term(term);
                break;
            };
            // Each operator is a level of the tree.
            self.enter()?;
            let Operand::Term(right) = next(self)? else { return Err(self.expected("term")) };
            left = Operand::Term(Term::Arithmetic(*op, Box::new((term, right))));
        }
        self.nesting = before;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Operand> {
        let signed = match self.peek() {
            // A sign right before digits is the number's own.
            Some(b'-') if !matches!(self.rest().get(1), Some(b'0'..=b'9')) => Some(true),
            Some(b'+') => Some(false),
            _ => None,
        };
        let Some(negative) = signed else { return self.term() };
        self.at += 1;
        let Operand::Term(term) = self.term()? else { return Err(self.expected("term")) };
        let sign = Term::Int(if negative { -1 } else { 1 });
        Ok(Operand::Term(Term::Arithmetic(ArithmeticOp::Multiply, Box::new((sign, term)))))
    }

    fn term(&mut self) -> Parsed<Operand> {
        Ok(Operand::Term(match self.peek() {
            Some(b'@') => {
                self.at += 1;
                Term::Current(self.subpath()?)
            }
            Some(b'$') => {
                self.at += 1;
                Term::Root(self.subpath()?)
            }
            Some(b'(') => {
                self.at += 1;
                let inner = self.filter()?;
                if !self.take(")") {
                    return Err(self.expected("and, or, )"));
                }
                return Ok(match inner {
                    Filter::Exists(term) => Operand::Term(term),
                    filter => Operand::Filter(filter),
                });
            }
            Some(b'"' | b'\'') => Term::Str(self.string_content()?.into_boxed_str()),
            Some(b'-' | b'0'..=b'9') => self.decimal()?,
            _ if self.take("true") => Term::Bool(true),
            _ if self.take("false") => Term::Bool(false),
            _ if self.take("null") => Term::Null,
            _ => {
                return Err(
                    self.expected("decimal, from_current, from_root, boolean_true, boolean_false, null")
                );
            }
        }))
    }

    fn subpath(&mut self) -> Parsed<Subpath> {
        self.enter()?;
        let segments = self.root()?;
        self.nesting -= 1;
        Ok(Subpath { singular: is_singular(&segments), segments })
    }

    fn decimal(&mut self) -> Parsed<Term> {
        let begin = self.at;
        if self.integer_text().is_none() {
            return Err(self.expected("decimal"));
        }
        if let [b'.', b'0'..=b'9', ..] = self.rest() {
            self.at += 1 + self.rest()[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        }
        let text = &self.text[begin..self.at];
        match text.parse() {
            Ok(value) => Ok(Term::Int(value)),
            Err(_) => text.parse().map(Term::Double).map_err(|_| self.expected("decimal")),
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_`~+#%$^/:".contains(&byte)
}
