//! One place in a document, and changes there.

use crate::Json;
use crate::object::Object;
use crate::print::write_string;
use crate::text::Text;

/// From a container to something in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Key(Text),
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Key(name.into())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The way from a document's root to one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location(Vec<Step>);

impl Location {
    /// The root itself: no steps.
    pub fn root() -> Self {
        Self::default()
    }

    pub fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Where a step from here leads.
    pub fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }

    /// Bytes of [`Location::to_path`].
    pub fn path_len(&self) -> usize {
        let step_len = |step: &Step| match step {
            Step::Key(name) => {
                let escapes = name.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
                name.len() + escapes + r#"[""]"#.len()
            }
            Step::Index(index) => itoa::Buffer::new().format(*index).len() + "[]".len(),
        };
        "$".len() + self.0.iter().map(step_len).sum::<usize>()
    }

    /// As a path that finds exactly this, whatever the names: `$["name"][3]`.
    pub fn to_path(&self) -> String {
        let mut text = String::from("$");
        for step in &self.0 {
            match step {
                Step::Key(name) => {
                    text.push_str("[\"");
                    for c in name.chars() {
                        if matches!(c, '"' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                    text.push_str("\"]");
                }
                Step::Index(index) => {
                    text.push('[');
                    text.push_str(itoa::Buffer::new().format(*index));
                    text.push(']');
                }
            }
        }
        text
    }
}

impl Json {
    /// The value at the end of these steps.
    pub fn at(&self, steps: &[Step]) -> Option<&Json> {
        steps.iter().try_fold(self, |value, step| match (value, step) {
            (Json::Object(object), Step::Key(name)) => object.get(name),
            (Json::Array(elements), Step::Index(index)) => elements.get(*index),
            _ => None,
        })
    }

    /// The value at the end of these steps, to be changed: containers on the way that others share are copied.
    pub fn at_mut(&mut self, steps: &[Step]) -> Option<&mut Json> {
        steps.iter().try_fold(self, |value, step| match (value, step) {
            (Json::Object(object), Step::Key(name)) => object.get_mut(name),
            (value @ Json::Array(_), Step::Index(index)) => value.as_array_mut()?.get_mut(*index),
            _ => None,
        })
    }

    /// Takes what is at the end of these steps out of its container. `None` if nothing is there, or no step was given.
    pub fn remove_at(&mut self, steps: &[Step]) -> Option<Json> {
        let (last, parents) = steps.split_last()?;
        // Before anything is copied in vain.
        self.at(steps)?;
        match (self.at_mut(parents)?, last) {
            (Json::Object(object), Step::Key(name)) => object.remove(name),
            (value @ Json::Array(_), Step::Index(index)) => Some(value.as_array_mut()?.remove(*index)),
            _ => None,
        }
    }

    /// Merges `patch` into the value as RFC 7396 has it: fields that are null in the patch go, others are merged, and
    /// what is no object replaces what was there. What goes is put into `removed`: it may be large.
    pub fn merge(&mut self, patch: &Json, removed: &mut Vec<Json>) {
        let Json::Object(changes) = patch else {
            removed.push(std::mem::replace(self, patch.clone()));
            return;
        };
        if self.as_object().is_none() {
            removed.push(std::mem::replace(self, Json::Object(Object::new())));
        }
        let Json::Object(object) = self else { return };
        for (name, change) in changes.iter() {
            if matches!(change, Json::Null) {
                removed.extend(object.remove(name));
            } else if let Some(field) = object.get_mut(name) {
                field.merge(change, removed);
            } else {
                let mut field = Json::Null;
                field.merge(change, removed);
                object.insert(name.clone(), field);
            }
        }
    }

    /// The string as JSON has it, with quotes.
    pub fn quoted(text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 2);
        write_string(&mut out, text);
        out
    }
}

/// What JSON.NUMINCRBY and JSON.NUMMULTBY do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOp {
    Add,
    Multiply,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// One of the two is no number.
    NotNumber,
    /// The result is out of a double's range.
    OutOfRange,
    /// The result of two integers is out of the range of integers.
    Overflow,
}

impl NumberOp {
    /// Of two integers of 64 signed bits the result is one too; of anything else it is a double.
    pub fn apply(self, value: &Json, operand: &Json) -> Result<Json, NumberError> {
        if let (Json::Int(a), Json::Int(b)) = (value, operand) {
            let result = match self {
                Self::Add => a.checked_add(*b),
                Self::Multiply => a.checked_mul(*b),
            };
            return result.map(Json::Int).ok_or(NumberError::Overflow);
        }
        let (Some(a), Some(b)) = (value.as_f64(), operand.as_f64()) else {
            return Err(NumberError::NotNumber);
        };
        let result = match self {
            Self::Add => a + b,
            Self::Multiply => a * b,
        };
        Json::double(result).ok_or(NumberError::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn a_location_written_as_a_path_finds_that_place() {
        let doc = json(r#"{"a\"b":[0,{"\\":{"":{"x y":{"'":{"ż\n]":1}}}}}]}"#);
        let found = Path::parse("$..*").unwrap().locate(&doc).unwrap();
        assert_eq!(found.len(), 8);
        for (location, value) in found {
            let path = location.to_path();
            assert_eq!(location.path_len(), path.len());
            let path = Path::parse(&path).unwrap();
            assert_eq!(path.locate(&doc).unwrap(), [(location, value)]);
        }
    }

    #[test]
    fn removing_takes_out_one_place() {
        let mut doc = json(r#"{"a":[1,2,3],"b":2,"c":3}"#);
        assert_eq!(doc.remove_at(&["a".into(), 1.into()]), Some(Json::Int(2)));
        assert_eq!(doc.remove_at(&["a".into(), 2.into()]), None);
        assert_eq!(doc.remove_at(&[]), None);
        assert_eq!(doc.remove_at(&["a".into()]), Some(json("[1,3]")));
        assert_eq!(doc.to_text(), r#"{"c":3,"b":2}"#);
    }

    /// The examples of RFC 7396's appendix.
    #[test]
    fn merging_follows_the_standard() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let mut value = json(target);
            value.merge(&json(patch), &mut Vec::new());
            assert_eq!(value.to_text(), result, "{target} with {patch}");
        }
    }

    #[test]
    fn integers_must_fit_and_doubles_must_be_finite() {
        use NumberOp::{Add, Multiply};
        for (op, a, b, result) in [
            (Add, "1", "2", Ok("3")),
            (Add, "9223372036854775807", "1", Err(NumberError::Overflow)),
            (Multiply, "4611686018427387904", "4", Err(NumberError::Overflow)),
            (Multiply, "-9223372036854775808", "-1", Err(NumberError::Overflow)),
            (Add, "1", "0.5", Ok("1.5")),
            (Add, "1.5", "1.5", Ok("3.0")),
            (Add, "9223372036854775808", "1", Ok("9.223372036854776e18")),
            (Add, "0", "9223372036854775809", Ok("9.223372036854776e18")),
            (Multiply, "1e308", "10", Err(NumberError::OutOfRange)),
            (Add, "\"a\"", "1", Err(NumberError::NotNumber)),
            (Add, "1", "null", Err(NumberError::NotNumber)),
        ] {
            let found = op.apply(&json(a), &json(b)).map(|value| value.to_text());
            assert_eq!(found.as_deref(), result.as_ref().copied(), "{a} {op:?} {b}");
        }
    }
}
