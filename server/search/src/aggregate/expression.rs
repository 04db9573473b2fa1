//! Expressions of APPLY and FILTER: text in, tree out.

use super::functions::Function;
use super::value::Value;
use crate::query::{QueryError, shown};

/// Bytes of an expression and its nesting, at most.
const LEN_MAX: usize = 1 << 16;
const DEPTH_MAX: usize = 100;
/// Levels of the tree, which is evaluated and dropped by recursion. `1+1+1+…` has one for each sign, without any nesting.
const HEIGHT_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Value(Value),
    /// `@name`.
    Property(Vec<u8>),
    Call(Function, Vec<Expression>),
    Arithmetic(Arithmetic, Box<[Expression; 2]>),
    Comparison(Comparison, Box<[Expression; 2]>),
    And(Box<[Expression; 2]>),
    Or(Box<[Expression; 2]>),
    Not(Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Text(Vec<u8>),
    Property(Vec<u8>),
    Symbol(Vec<u8>),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: &[&str] =
    &["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "^", "(", ")", ","];

impl Expression {
    pub fn parse(text: &[u8]) -> Result<Self, QueryError> {
        if text.len() > LEN_MAX {
            return Err(QueryError::expression("Expression is too long"));
        }
        let mut parser =
            Parser { text, at: 0, start: 0, token: Token::End, depth: 0, height: 0, operand_before: false };
        parser.advance()?;
        let expression = parser.binary(0)?;
        if parser.token == Token::End { Ok(expression) } else { parser.syntax_error() }
    }

    /// The names of all properties.
    pub fn properties(&self) -> Vec<&[u8]> {
        let mut names = Vec::new();
        self.visit(&mut |expression| {
            if let Self::Property(name) = expression {
                names.push(&name[..]);
            }
        });
        names
    }

    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a Self)) {
        each(self);
        match self {
            Self::Value(_) | Self::Property(_) => {}
            Self::Call(_, arguments) => arguments.iter().for_each(|a| a.visit(each)),
            Self::Arithmetic(_, sides) | Self::Comparison(_, sides) | Self::And(sides) | Self::Or(sides) => {
                sides.iter().for_each(|side| side.visit(each));
            }
            Self::Not(inner) => inner.visit(each),
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the token begins.
    start: usize,
    token: Token,
    depth: usize,
    /// Levels below the root of the part that was parsed last.
    height: usize,
    /// A sign behind an operand is an operator, and part of a number elsewhere.
    operand_before: bool,
}

impl Parser<'_> {
    fn syntax_error<T>(&self) -> Result<T, QueryError> {
        let near = shown(&self.text[self.start..self.at.max(self.start)]);
        Err(QueryError::expression(format!("Syntax error at offset {} near '{near}'", self.start)))
    }

    fn advance(&mut self) -> Result<(), QueryError> {
        while self.text.get(self.at).is_some_and(|&b| crate::text::is_space(b)) {
            self.at += 1;
        }
        self.start = self.at;
        let rest = &self.text[self.at..];
        let Some(&first) = rest.first() else {
            self.token = Token::End;
            return Ok(());
        };
        let signed = matches!(first, b'+' | b'-');
        let number_len = if signed && self.operand_before { 0 } else { number_len(rest) };
        self.token = if number_len > 0 {
            self.at += number_len;
            let text = std::str::from_utf8(&rest[..number_len]).unwrap_or_default();
            Token::Number(text.trim_start_matches('+').parse().unwrap_or(f64::NAN))
        } else if first == b'@' {
            let name = &rest[1..];
            let len = name_len(name);
            if len == 0 {
                self.at += 1;
                return self.syntax_error();
            }
            self.at += 1 + len;
            Token::Property(crate::text::unescape(&name[..len]))
        } else if matches!(first, b'"' | b'\'') {
            let Some((text, len)) = quoted(rest) else { return self.syntax_error() };
            self.at += len;
            Token::Text(text)
        } else if first.is_ascii_alphabetic() {
            let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            self.at += len;
            Token::Symbol(rest[..len].to_vec())
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(sign.as_bytes())) {
            self.at += sign.len();
            Token::Sign(sign)
        } else {
            self.at += 1;
            return self.syntax_error();
        };
        self.operand_before = !matches!(self.token, Token::Sign(sign) if sign != ")");
        Ok(())
    }

    /// Operators of at least this precedence, by climbing.
    fn binary(&mut self, least: u8) -> Result<Expression, QueryError> {
        if self.depth == DEPTH_MAX {
            return too_deep();
        }
        self.depth += 1;
        let mut left = self.unary()?;
        let mut height = self.height;
        while let Token::Sign(sign) = self.token {
            let Some(precedence) = precedence(sign) else { break };
            if precedence < least {
                break;
            }
            self.advance()?;
            // Powers group from the right.
            let right = self.binary(if sign == "^" { precedence } else { precedence + 1 })?;
            left = joined(sign, left, right);
            height = height.max(self.height) + 1;
            if height > HEIGHT_MAX {
                return too_deep();
            }
            // Comparisons do not follow each other.
            if precedence == NOT
                && let Token::Sign(next) = self.token
                && self::precedence(next) == Some(NOT)
            {
                return self.syntax_error();
            }
        }
        self.depth -= 1;
        self.height = height;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, QueryError> {
        match std::mem::replace(&mut self.token, Token::End) {
            Token::Number(number) => self.then(Expression::Value(Value::Number(number))),
            Token::Text(text) => self.then(Expression::Value(Value::Text(text))),
            Token::Property(name) => self.then(Expression::Property(name)),
            Token::Symbol(name) => self.symbol(&name),
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.binary(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("!") => {
                self.advance()?;
                // Binds closer than all but arithmetic.
                let inner = self.binary(NOT)?;
                self.height += 1;
                Ok(match inner {
                    Expression::Not(inner) => *inner,
                    inner => Expression::Not(Box::new(inner)),
                })
            }
            token => {
                self.token = token;
                self.syntax_error()
            }
        }
    }

    fn then(&mut self, expression: Expression) -> Result<Expression, QueryError> {
        self.advance()?;
        self.height = 0;
        Ok(expression)
    }

    fn expect(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.token == Token::Sign(SIGNS.iter().find(|s| **s == sign).expect("it is one of the signs")) {
            self.advance()
        } else {
            self.syntax_error()
        }
    }

    fn symbol(&mut self, name: &[u8]) -> Result<Expression, QueryError> {
        self.advance()?;
        self.height = 0;
        if self.token != Token::Sign("(") {
            return match name {
                b"NULL" => Ok(Expression::Value(Value::Null)),
                b"inf" => Ok(Expression::Value(Value::Number(f64::INFINITY))),
                _ => Err(QueryError::expression(format!("Unknown symbol '{}'", shown(name)))),
            };
        }
        self.advance()?;
        let mut arguments = Vec::new();
        let mut height = 0;
        if self.token != Token::Sign(")") {
            arguments.push(self.binary(0)?);
            height = self.height;
            while self.token == Token::Sign(",") {
                self.advance()?;
                arguments.push(self.binary(0)?);
                height = height.max(self.height);
            }
        }
        self.height = height + 1;
        self.expect(")")?;
        let shown = shown(name);
        let Some(function) = Function::parse(name) else {
            return Err(QueryError::expression(format!("Unknown function name '{shown}'")));
        };
        let (min, max) = function.arguments();
        let got = arguments.len();
        if got < min || got > max {
            let expected = if min == max { format!("{min}") } else { format!("between {min} and {max}") };
            return Err(QueryError::expression(format!(
                "Function '{shown}' expects {expected} arguments, but got {got}"
            )));
        }
        Ok(Expression::Call(function, arguments))
    }
}

fn too_deep<T>() -> Result<T, QueryError> {
    Err(QueryError::expression("Expression is nested too deeply"))
}

const NOT: u8 = 3;

fn precedence(sign: &str) -> Option<u8> {
    Some(match sign {
        "||" => 1,
        "&&" => 2,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => NOT,
        "+" | "-" => 4,
        "*" | "/" | "%" => 5,
        "^" => 6,
        _ => return None,
    })
}

fn joined(sign: &str, left: Expression, right: Expression) -> Expression {
    use {Arithmetic as A, Comparison as C};
    let sides = Box::new([left, right]);
    match sign {
        "||" => Expression::Or(sides),
        "&&" => Expression::And(sides),
        "==" => Expression::Comparison(C::Equal, sides),
        "!=" => Expression::Comparison(C::NotEqual, sides),
        "<" => Expression::Comparison(C::Less, sides),
        "<=" => Expression::Comparison(C::LessEqual, sides),
        ">" => Expression::Comparison(C::Greater, sides),
        ">=" => Expression::Comparison(C::GreaterEqual, sides),
        "+" => Expression::Arithmetic(A::Add, sides),
        "-" => Expression::Arithmetic(A::Subtract, sides),
        "*" => Expression::Arithmetic(A::Multiply, sides),
        "/" => Expression::Arithmetic(A::Divide, sides),
        "%" => Expression::Arithmetic(A::Modulo, sides),
        _ => Expression::Arithmetic(A::Power, sides),
    }
}

/// A number with a sign or without; a point needs digits on both sides.
fn number_len(bytes: &[u8]) -> usize {
    let digits = |at: usize| bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut len = usize::from(matches!(bytes[0], b'+' | b'-'));
    let whole = digits(len);
    if whole == 0 {
        return 0;
    }
    len += whole;
    if bytes.get(len) == Some(&b'.') && digits(len + 1) > 0 {
        len += 1 + digits(len + 1);
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

fn name_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    loop {
        match &bytes[len..] {
            [b'\\', next, ..] if next.is_ascii_punctuation() || crate::text::is_space(*next) => len += 2,
            [b, ..]
                if *b == b'_'
                    || !(b.is_ascii_punctuation() || b.is_ascii_control() || crate::text::is_space(*b)) =>
            {
                len += 1;
            }
            _ => return len,
        }
    }
}

/// A text in quotes and its length with them. A backslash takes the next byte as it is.
fn quoted(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let quote = bytes[0];
    let mut text = Vec::new();
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            byte if byte == quote => return Some((text, at + 1)),
            b'\\' => {
                text.push(*bytes.get(at + 1)?);
                at += 2;
            }
            byte => {
                text.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Expression::parse(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn malformed_expressions_say_where() {
        assert_eq!(error("1 +"), "Syntax error at offset 3 near ''");
        assert_eq!(error("(1"), "Syntax error at offset 2 near ''");
        assert_eq!(error("1 2"), "Syntax error at offset 2 near '2'");
        assert_eq!(error("nosuch(1)"), "Unknown function name 'nosuch'");
        assert_eq!(error("nosuch"), "Unknown symbol 'nosuch'");
        assert_eq!(error("floor(1, 2)"), "Function 'floor' expects 1 arguments, but got 2");
        assert_eq!(error("timefmt()"), "Function 'timefmt' expects between 1 and 2 arguments, but got 0");
        assert_eq!(error("'open"), "Syntax error at offset 0 near ''");
        assert_eq!(error(&"(".repeat(1000)), "Expression is nested too deeply");
        assert_eq!(error(&"!".repeat(1000)), "Expression is nested too deeply");
    }

    #[test]
    fn long_chains_of_signs_are_no_deeper_than_the_stack() {
        struct Nothing;
        impl crate::aggregate::Properties for Nothing {
            fn get(&self, _: &[u8]) -> Option<&Value> {
                None
            }
        }
        let chain = |sign: &str, terms: usize| vec!["1"; terms].join(sign);
        for sign in ["+", "/", "&&", "||"] {
            assert_eq!(error(&chain(sign, 20_000)), "Expression is nested too deeply", "{sign}");
            assert_eq!(error(&chain(sign, HEIGHT_MAX + 2)), "Expression is nested too deeply", "{sign}");
            let longest = Expression::parse(chain(sign, HEIGHT_MAX + 1).as_bytes()).unwrap();
            assert!(longest.evaluate(&Nothing).unwrap().is_true(), "{sign}");
            assert_eq!(longest.clone(), longest);
        }
        let inner = format!("floor({})", chain("+", HEIGHT_MAX));
        assert!(Expression::parse(inner.as_bytes()).is_ok());
        assert_eq!(error(&format!("{inner}+1+1")), "Expression is nested too deeply");
        // Calls side by side are no deeper than one.
        assert!(Expression::parse(format!("case(1,{inner},{inner})").as_bytes()).is_ok());
    }

    #[test]
    fn properties_are_named() {
        let expression = Expression::parse(br"upper(@name) == 'X' && @a\-b > @n").unwrap();
        assert_eq!(expression.properties(), [&b"name"[..], b"a-b", b"n"]);
    }
}
