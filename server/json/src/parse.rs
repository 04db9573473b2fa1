//! Text into a value, by serde_json: its messages are those of RedisJSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::object::Object;
use crate::text::Text;
use crate::{DEPTH_MAX, Json};

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// More elements than this are not set aside in advance, whatever is said about their number.
const RESERVED_MAX: usize = 4096;

impl Json {
    /// Parses one value. At most [`crate::TEXT_DEPTH_MAX`] levels, which is serde_json's limit.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        read(&mut serde_json::Deserializer::from_str(text))
    }

    /// [`Json::parse`] for a document that a client could have made in several steps: up to [`DEPTH_MAX`] levels.
    pub fn parse_deep(text: &str) -> Result<Self, ParseError> {
        if text_depth(text) > DEPTH_MAX {
            return Err(ParseError("recursion limit exceeded".to_owned()));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        // It goes no deeper than the brackets that were counted.
        deserializer.disable_recursion_limit();
        read(&mut deserializer)
    }
}

fn read(
    deserializer: &mut serde_json::Deserializer<serde_json::de::StrRead<'_>>,
) -> Result<Json, ParseError> {
    let value = Json::deserialize(&mut *deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| ParseError(error.to_string()))
}

/// Brackets that are open at once at most. A text that is not JSON gets some number too.
fn text_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Uint(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // serde_json refuses numbers that are out of range.
        Ok(Json::double(value).unwrap_or(Json::Null))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Str(Text::new(value)))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut array = Vec::with_capacity(elements.size_hint().unwrap_or(0).min(RESERVED_MAX));
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        array.shrink_to_fit();
        Ok(Json::array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some((Name(name), value)) = fields.next_entry()? {
            object.insert(name, value);
        }
        object.shrink();
        Ok(Json::Object(object))
    }
}

/// A field's name, straight into a [`Text`].
struct Name(Text);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(Text::new(name)))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TEXT_DEPTH_MAX;

    #[test]
    fn numbers_are_integers_as_far_as_they_fit() {
        for (text, value) in [
            ("0", Json::Int(0)),
            ("-9223372036854775808", Json::Int(i64::MIN)),
            ("9223372036854775808", Json::Uint(1 << 63)),
            ("18446744073709551615", Json::Uint(u64::MAX)),
            ("18446744073709551616", Json::Double(18446744073709551616.0)),
            ("1.0", Json::Double(1.0)),
            ("1e2", Json::Double(100.0)),
            ("1e-400", Json::Double(0.0)),
        ] {
            assert_eq!(Json::parse(text), Ok(value), "{text}");
        }
        assert!(matches!(Json::parse("-0"), Ok(Json::Double(zero)) if zero.is_sign_negative()));
    }

    #[test]
    fn the_last_of_equal_names_wins_at_the_first_place() {
        assert_eq!(Json::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap().to_text(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn errors_say_what_and_where() {
        for (text, message) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{]", "key must be a string at line 1 column 2"),
            ("[1,]", "trailing comma at line 1 column 4"),
            ("nul", "EOF while parsing a value at line 1 column 3"),
            ("nulx", "expected ident at line 1 column 4"),
            ("NaN", "expected value at line 1 column 1"),
            ("1e400", "number out of range at line 1 column 5"),
            ("[1] 2", "trailing characters at line 1 column 5"),
            ("\"\\ud800\"", "unexpected end of hex escape at line 1 column 8"),
            (
                "\"\u{1}\"",
                "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2",
            ),
        ] {
            assert_eq!(Json::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let allowed = TEXT_DEPTH_MAX - 1;
        assert_eq!(Json::parse(&nested(allowed)).unwrap().depth(), allowed);
        let error = Json::parse(&nested(allowed + 1)).unwrap_err().to_string();
        assert_eq!(error, "recursion limit exceeded at line 1 column 128");
        assert_eq!(Json::parse_deep(&nested(DEPTH_MAX)).unwrap().depth(), DEPTH_MAX);
        assert!(Json::parse_deep(&nested(DEPTH_MAX + 1)).is_err());
        let brackets_in_a_string = format!(r#"["\"{}"]"#, "[".repeat(2000));
        assert_eq!(Json::parse_deep(&brackets_in_a_string).unwrap().depth(), 1);
    }
}
