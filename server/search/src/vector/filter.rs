//! Which elements of a vector set are meant, by their attributes: the expressions of VSIM's FILTER.
//!
//! An expression becomes a list of steps for a stack, by Dijkstra's shunting yard: neither parsing nor evaluating goes deeper for what
//! a client sends. Attributes are JSON, of which one field at a time is looked for in the text, without parsing the rest; what is not
//! there, or is not a number, a text, a truth value, null or a flat list, makes the whole expression false.

use std::borrow::Cow;

/// Bytes of an expression.
pub const LEN_MAX: usize = 64 * 1024;
/// Bytes of a number, in an expression and in attributes.
const NUMBER_LEN_MAX: usize = 255;
/// Lists in lists; what is deeper makes the expression false.
const DEPTH_MAX: usize = 32;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    program: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Value(Value<'static>),
    Field(Box<[u8]>),
    Apply(Op),
}

#[derive(Debug, Clone, PartialEq)]
enum Value<'a> {
    Number(f64),
    Text(Cow<'a, [u8]>),
    Null,
    List(Vec<Value<'a>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Open,
    Close,
    Not,
    Power,
    Times,
    Divide,
    Modulo,
    Plus,
    Minus,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
    In,
    And,
    Or,
}

/// Names of operators, and how they bind: the greater number first.
const OPS: &[(&[u8], Op, u8)] = &[
    (b"(", Op::Open, 7),
    (b")", Op::Close, 7),
    (b"!", Op::Not, 6),
    (b"not", Op::Not, 6),
    (b"**", Op::Power, 5),
    (b"*", Op::Times, 4),
    (b"/", Op::Divide, 4),
    (b"%", Op::Modulo, 4),
    (b"+", Op::Plus, 3),
    (b"-", Op::Minus, 3),
    (b">", Op::Greater, 2),
    (b">=", Op::GreaterEqual, 2),
    (b"<", Op::Less, 2),
    (b"<=", Op::LessEqual, 2),
    (b"==", Op::Equal, 2),
    (b"!=", Op::NotEqual, 2),
    (b"in", Op::In, 2),
    (b"and", Op::And, 1),
    (b"&&", Op::And, 1),
    (b"or", Op::Or, 0),
    (b"||", Op::Or, 0),
];

impl Op {
    fn binds(self) -> u8 {
        OPS.iter().find(|(_, op, _)| *op == self).map_or(0, |(_, _, binds)| *binds)
    }

    fn operands(self) -> usize {
        match self {
            Self::Open | Self::Close => 0,
            Self::Not => 1,
            _ => 2,
        }
    }
}

fn is_selector(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_operator(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || b"+-*%/!()<>=|&".contains(&byte)
}

/// Is it C's `isspace`?
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A text of numbers' characters as C's `strtod` takes it whole.
fn number(text: &[u8]) -> Option<f64> {
    if text.len() > NUMBER_LEN_MAX {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `text` has been cut at its closing quote.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(&other) => other,
                None => byte,
            },
            _ => byte,
        });
    }
    Cow::Owned(out)
}

impl Filter {
    /// Parses an expression. The error is the place that could not be read: zero where the whole makes no sense.
    pub fn parse(text: &[u8]) -> Result<Self, usize> {
        if text.len() > LEN_MAX {
            return Err(0);
        }
        // To Redis it is a C string.
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let mut lexer = Lexer { text: &text[..end], at: 0, minus_is_sign: true };
        // What cannot be read is told of before what makes no sense.
        let steps = std::iter::from_fn(|| lexer.next().transpose()).collect::<Result<Vec<Step>, usize>>()?;
        let mut yard = Yard::default();
        for step in steps {
            match step {
                Step::Apply(op) => yard.operator(op).ok_or(0usize)?,
                value => yard.value(value),
            }
        }
        yard.finish().map(|program| Self { program }).ok_or(0)
    }

    /// Does the expression hold for these attributes?
    pub fn matches(&self, attributes: &[u8]) -> bool {
        self.evaluate(attributes).is_some_and(|value| value.is_true())
    }

    fn evaluate<'a>(&'a self, attributes: &'a [u8]) -> Option<Value<'a>> {
        let mut stack: Vec<Value<'a>> = Vec::new();
        for step in &self.program {
            let value = match step {
                Step::Value(value) => value.borrowed(),
                Step::Field(name) => (!name.is_empty()).then(|| field(attributes, name))??,
                Step::Apply(op) => {
                    let b = stack.pop()?;
                    let a = if op.operands() == 2 { stack.pop()? } else { Value::Null };
                    Value::Number(op.apply(&a, &b))
                }
            };
            stack.push(value);
        }
        stack.pop()
    }
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// A value cannot go before: a minus belongs to the number after it.
    minus_is_sign: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip(&mut self, which: impl Fn(u8) -> bool) -> &[u8] {
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|&byte| !which(byte)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn next(&mut self) -> Result<Option<Step>, usize> {
        self.skip(is_space);
        if self.at == self.text.len() {
            return Ok(None);
        }
        let (first, second) = (self.peek(0), self.peek(1));
        let negative = self.minus_is_sign && first == b'-' && second.is_ascii_digit();
        let step = match first {
            _ if first.is_ascii_digit() || negative => self.number().map(Step::Value),
            b'"' | b'\'' => self.text().map(Step::Value),
            // A lone dot at the end is a field that nothing has.
            b'.' if is_selector(second) || self.at + 1 == self.text.len() => {
                self.at += 1;
                Some(Step::Field(self.skip(is_selector).into()))
            }
            b'[' => self.list().map(Step::Value),
            _ if is_operator(first) => self.operator(),
            _ => None,
        };
        let step = step.ok_or(self.at)?;
        self.minus_is_sign = matches!(step, Step::Apply(op) if op != Op::Close);
        Ok(Some(step))
    }

    fn number(&mut self) -> Option<Value<'static>> {
        let from = self.at;
        self.at += usize::from(self.peek(0) == b'-');
        self.skip(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E'));
        let text = &self.text[from..self.at];
        // The error of one that is too long shows what is too much.
        self.at = self.at.min(from + NUMBER_LEN_MAX);
        number(text).map(Value::Number)
    }

    fn text(&mut self) -> Option<Value<'static>> {
        let quote = self.peek(0);
        self.at += 1;
        let from = self.at;
        while self.at < self.text.len() {
            match self.peek(0) {
                b'\\' if self.at + 1 < self.text.len() => self.at += 2,
                byte if byte == quote => {
                    self.at += 1;
                    let text = unescaped(&self.text[from..self.at - 1]).into_owned();
                    return Some(Value::Text(Cow::Owned(text)));
                }
                _ => self.at += 1,
            }
        }
        None
    }

    fn list(&mut self) -> Option<Value<'static>> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.skip(is_space);
            match self.peek(0) {
                b']' => break,
                b'"' | b'\'' => values.push(self.text()?),
                b'-' | b'0'..=b'9' => values.push(self.number()?),
                _ => return None,
            }
            self.skip(is_space);
            match self.peek(0) {
                b']' => break,
                b',' => self.at += 1,
                _ => return None,
            }
        }
        self.at += 1;
        Some(Value::List(values))
    }

    /// The longest operator that the rest begins with; or null. Nothing is looked at that is not part of it: there may be as many
    /// operators side by side as an expression has bytes.
    fn operator(&mut self) -> Option<Step> {
        const NULL: &[u8] = b"null";
        let rest = &self.text[self.at..];
        if rest.starts_with(NULL) && !self.peek(NULL.len()).is_ascii_alphabetic() {
            self.at += NULL.len();
            return Some(Step::Value(Value::Null));
        }
        let known = OPS.iter().filter(|(name, ..)| rest.starts_with(name));
        let Some((name, op, _)) = known.max_by_key(|(name, ..)| name.len()) else {
            // The error is at the end of the word.
            self.skip(is_operator);
            return None;
        };
        self.at += name.len();
        Some(Step::Apply(*op))
    }
}

/// Where values go straight into the program, and operators wait for those that bind more tightly.
#[derive(Default)]
struct Yard {
    program: Vec<Step>,
    waiting: Vec<Op>,
    /// Values that are on the stack when the program has come so far.
    values: usize,
}

impl Yard {
    fn value(&mut self, value: Step) {
        self.program.push(value);
        self.values += 1;
    }

    /// `None` if it has too few operands.
    fn apply(&mut self, op: Op) -> Option<()> {
        self.values = self.values.checked_sub(op.operands())? + 1;
        self.program.push(Step::Apply(op));
        Some(())
    }

    fn operator(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Close => loop {
                match self.waiting.pop()? {
                    Op::Open => return Some(()),
                    other => self.apply(other)?,
                }
            },
            // What goes before its operand ends nothing that was before it.
            Op::Open | Op::Not => {}
            _ => {
                while let Some(&other) = self.waiting.last() {
                    // Powers are taken from the right.
                    let goes_first = match op {
                        Op::Power => other.binds() > op.binds(),
                        _ => other.binds() >= op.binds(),
                    };
                    if other == Op::Open || !goes_first {
                        break;
                    }
                    self.waiting.pop();
                    self.apply(other)?;
                }
            }
        }
        self.waiting.push(op);
        Some(())
    }

    fn finish(mut self) -> Option<Vec<Step>> {
        while let Some(op) = self.waiting.pop() {
            if op == Op::Open {
                return None;
            }
            self.apply(op)?;
        }
        (self.values == 1).then_some(self.program)
    }
}

impl Value<'_> {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Null => Value::Null,
            Self::List(values) => Value::List(values.iter().map(Value::borrowed).collect()),
        }
    }

    /// What is no number counts as 0.
    fn to_number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => number(text).unwrap_or(0.0),
            Self::Null | Self::List(_) => 0.0,
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Number(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Null => false,
            Self::List(_) => true,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Null, Self::Null) => true,
            (Self::Null, _) | (_, Self::Null) => false,
            _ => self.to_number() == other.to_number(),
        }
    }

    fn is_in(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::List(values)) => values.iter().any(|value| self.equals(value)),
            (Self::Text(part), Self::Text(text)) => contains(text, part),
            _ => false,
        }
    }
}

/// In linear time for the lengths that attributes have, and without a table.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some(&first) = part.first() else { return true };
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts
        .map(|(at, _)| &text[at..])
        .take_while(|rest| rest.len() >= part.len())
        .any(|rest| rest.starts_with(part))
}

impl Op {
    fn apply(self, a: &Value<'_>, b: &Value<'_>) -> f64 {
        let truth = |truth: bool| f64::from(u8::from(truth));
        let (x, y) = (a.to_number(), b.to_number());
        match self {
            Self::Not => truth(!b.is_true()),
            Self::Power => x.powf(y),
            Self::Times => x * y,
            Self::Divide => x / y,
            Self::Modulo => x % y,
            Self::Plus => x + y,
            Self::Minus => x - y,
            Self::Greater => truth(x > y),
            Self::GreaterEqual => truth(x >= y),
            Self::Less => truth(x < y),
            Self::LessEqual => truth(x <= y),
            Self::Equal => truth(a.equals(b)),
            Self::NotEqual => truth(!a.equals(b)),
            Self::In => truth(a.is_in(b)),
            Self::And => truth(a.is_true() && b.is_true()),
            Self::Or => truth(a.is_true() || b.is_true()),
            Self::Open | Self::Close => 0.0,
        }
    }
}

/// The value of a field of an object, of which just as much is read as is needed.
fn field<'a>(object: &'a [u8], name: &[u8]) -> Option<Value<'a>> {
    let mut json = Json { text: object, at: 0 };
    json.expect(b'{')?;
    loop {
        json.skip_spaces();
        let known = json.skip_text()?;
        json.expect(b':')?;
        json.skip_spaces();
        // As it is written: a name with escapes is another.
        if known == name {
            return json.value(0);
        }
        json.skip_value()?;
        json.expect(b',')?;
    }
}

struct Json<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Json<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// Goes past this byte, and spaces before it.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_spaces();
        if self.peek()? != byte {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Goes past a text; what is between its quotes.
    fn skip_text(&mut self) -> Option<&'a [u8]> {
        if self.peek()? != b'"' {
            return None;
        }
        let from = self.at + 1;
        self.at = from;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(&self.text[from..self.at - 1])
    }

    fn skip_literal(&mut self, literal: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(literal).then(|| self.at += literal.len())
    }

    fn skip_number(&mut self) -> &'a [u8] {
        let from = self.at;
        let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        while self.peek().is_some_and(is_part) {
            self.at += 1;
        }
        &self.text[from..self.at]
    }

    fn skip_value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_text().map(|_| ()),
            open @ (b'{' | b'[') => self.skip_brackets(open),
            b't' => self.skip_literal(b"true"),
            b'f' => self.skip_literal(b"false"),
            b'n' => self.skip_literal(b"null"),
            _ => (!self.skip_number().is_empty()).then_some(()),
        }
    }

    /// Goes past what closes this bracket; brackets of other kinds are not looked at.
    fn skip_brackets(&mut self, open: u8) -> Option<()> {
        let close = if open == b'{' { b'}' } else { b']' };
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'"' => {
                    self.skip_text()?;
                    continue;
                }
                byte if byte == open => depth += 1,
                byte if byte == close => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.skip_text().map(|text| Value::Text(unescaped(text))),
            b'[' if depth < DEPTH_MAX => self.list(depth),
            b't' => self.literal(b"true", Value::Number(1.0)),
            b'f' => self.literal(b"false", Value::Number(0.0)),
            b'n' => self.literal(b"null", Value::Null),
            b'-' | b'+' | b'0'..=b'9' => number(self.skip_number()).map(Value::Number),
            _ => None,
        }
    }

    fn literal(&mut self, literal: &[u8], value: Value<'a>) -> Option<Value<'a>> {
        self.skip_literal(literal)?;
        let ends = self.peek().is_none_or(|byte| is_space(byte) || matches!(byte, b',' | b']' | b'}'));
        ends.then_some(value)
    }

    fn list(&mut self, depth: usize) -> Option<Value<'a>> {
        self.at += 1;
        let mut values = Vec::new();
        self.skip_spaces();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(Value::List(values));
        }
        loop {
            self.skip_spaces();
            values.push(self.value(depth + 1)?);
            self.skip_spaces();
            self.at += 1;
            match self.text[self.at - 1..].first()? {
                b',' => {}
                b']' => return Some(Value::List(values)),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = r#"{"age": 25, "name": "Alice", "active": true, "scores": [85, 90, 95], "city": "New York", "gone": null, "n": "7"}"#;

    fn holds(expression: &str, attributes: &str) -> bool {
        let filter = Filter::parse(expression.as_bytes());
        filter.unwrap_or_else(|at| panic!("{expression} at {at}")).matches(attributes.as_bytes())
    }

    #[test]
    fn expressions_are_what_redis_makes_of_them() {
        for (expression, expected) in [
            (".age == 25", true),
            (".age > 25", false),
            (".age >= 25 and .age <= 25", true),
            (".age < 30 or .age > 35", true),
            (".name == \"Alice\"", true),
            (".name == 'Alice' && .name != \"Bob\"", true),
            (".active", true),
            ("!.active", false),
            ("!(.age == 25)", false),
            ("!!.active", true),
            ("not not .active", true),
            ("!!!.active", false),
            ("!!.age == 1", true),
            ("!.active or !!.active", true),
            (".age > 1 and not not .active", true),
            (".age in [25, 35]", true),
            (".age in []", false),
            (".name in ['Bob', \"Alice\"]", true),
            ("'lic' in .name", true),
            ("\"xyz\" in .name", false),
            ("'' in .name && '' in ''", true),
            (".name in ''", false),
            ("90 in .scores", true),
            ("91 in .scores", false),
            (".scores", true),
            (".age + 10 > 34", true),
            (".age * 2 > 49 and .age / 5 == 5 and .age % 2 == 1", true),
            ("2 ** 3 ** 2 == 512", true),
            ("-2 ** 2 == 4", true),
            ("3 - -2 == 5", true),
            ("3 -2 == 1", true),
            ("(5+2)*3 == 21", true),
            ("1 + 2 * 3 == 7", true),
            (".n == 7 and .n + 1 == 8", true),
            (".age == '25'", true),
            (".name == 0", true),
            (".gone == null", true),
            ("(.gone==null)", true),
            ("not .gone", true),
            (".age == null", false),
            (".missing", false),
            (".missing or 1", false),
            ("!.missing", false),
            ("1", true),
            ("0", false),
            ("''", false),
            ("[]", true),
            ("1/0 > 5", true),
            ("0/0 == 0/0", false),
            ("1 2 +", true),
            (".", false),
            ("1 or .", false),
        ] {
            assert_eq!(holds(expression, ALICE), expected, "{expression}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_at_its_place() {
        for (expression, at) in [
            ("", 0),
            ("(.a", 0),
            (".a)", 0),
            (".a ==", 0),
            ("1 2", 0),
            ("== 1", 0),
            (".a == 'x", 8),
            (".a == 1.2.3", 11),
            (".a ? 1", 3),
            ("foo > 1", 3),
            (".a in [1, x]", 10),
            (". == 1", 0),
            (".a = 1", 4),
            ("()", 0),
            ("> 1) foo", 8),
        ] {
            assert_eq!(Filter::parse(expression.as_bytes()), Err(at), "{expression}");
        }
        assert_eq!(Filter::parse(&[b'9'; NUMBER_LEN_MAX + 45]), Err(NUMBER_LEN_MAX));
        assert_eq!(Filter::parse(&vec![b'('; LEN_MAX + 1]), Err(0));
        let deep = format!("{}1{}", "(".repeat(30_000), ")".repeat(30_000));
        assert!(holds(&deep, ""));
        assert!(holds(&format!("{}1", "!".repeat(60_000)), ""));
        assert!(holds(&format!("{}1", "not".repeat(20_000)), ""));
        assert_eq!(Filter::parse(&b"null".repeat(16_000)), Err(64_000));
    }

    #[test]
    fn escapes_are_read_in_expressions_and_in_attributes() {
        let attributes =
            r#"{"dq": "a\"b", "sq": "O'Brien", "bs": "x\\y", "nl": "l1\nl2", "\"": 1, "u": "\u0041"}"#;
        for expression in [
            r#".dq == "a\"b""#,
            r".sq == 'O\'Brien'",
            r#".bs == "x\\y""#,
            r#".nl == "l1\nl2""#,
            r#""\"b" in .dq"#,
            r#".dq in ["zzz", "a\"b"]"#,
            r#"'a"b' == .dq"#,
            ".u == 'u0041'",
        ] {
            assert!(holds(expression, attributes), "{expression}");
        }
    }

    #[test]
    fn attributes_that_are_no_json_match_nothing() {
        for attributes in [
            "",
            "{",
            "[]",
            "invalid json",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":tru}",
            "{\"a\":trueish}",
            "{\"a\":{}}",
            "{\"a\":[1,{}]}",
            "{\"a\":[1",
            "{\"a\":\"x",
            "{\"a\":1e}",
            "{\"b\":{\"a\":1}}",
            "{\"b\":1 \"a\":1}",
            "{\"\\u0061\":1}",
            "{\"a\":\"x\\",
        ] {
            assert!(!holds(".a or 1", attributes), "{attributes}");
        }
        let deep = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(holds(".a", &deep(DEPTH_MAX)) && !holds(".a", &deep(DEPTH_MAX + 1)));
        assert!(holds(".a", "{\"b\":{\"a\":0,\"x\":[\"}]\"]},\"c\":[[1],{\"]\":2}],\"a\":1}"));
        assert!(!holds(".a", "{\"b\":[[1],{\"]\":2}],\"a\":0}"));
    }
}
