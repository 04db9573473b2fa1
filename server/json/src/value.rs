//! A JSON value, and what can be asked of it.

use std::cmp::Ordering;

use triomphe::Arc;

use crate::object::Object;
use crate::text::Text;

/// A value. Copies of containers share them until one side writes.
///
/// Numbers stay what they were written as: an integer if it fits 64 bits, a finite double otherwise.
/// `==` is that of documents: of the same types, integers and doubles told apart, fields in any order.
#[derive(Clone, Debug, Default)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Above `i64::MAX`.
    Uint(u64),
    /// Finite.
    Double(f64),
    Str(Text),
    Array(Arc<Vec<Json>>),
    Object(Object),
}

const _: () = assert!(size_of::<Json>() == 16);

/// The types as JSON.TYPE names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

impl Json {
    /// An array of these.
    pub fn array(elements: Vec<Json>) -> Self {
        Self::Array(Arc::new(elements))
    }

    /// A double, if it is a number of JSON.
    pub fn double(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Double(value))
    }

    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Boolean,
            Self::Int(_) | Self::Uint(_) => Type::Integer,
            Self::Double(_) => Type::Number,
            Self::Str(_) => Type::String,
            Self::Array(_) => Type::Array,
            Self::Object(_) => Type::Object,
        }
    }

    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements, copied first if somebody else has them too.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Json>> {
        match self {
            Self::Array(elements) => Some(Arc::make_mut(elements)),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    /// The number as a double, rounded if need be.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::Uint(value) => Some(value as f64),
            Self::Double(value) => Some(value),
            _ => None,
        }
    }

    /// Elements or fields of a container.
    pub fn len(&self) -> Option<usize> {
        match self {
            Self::Array(elements) => Some(elements.len()),
            Self::Object(object) => Some(object.len()),
            _ => None,
        }
    }

    /// Is it a container without content?
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The values in a container; none in anything else.
    pub fn children(&self) -> impl Iterator<Item = &Json> {
        let elements = self.as_array().unwrap_or_default().iter();
        let fields = self.as_object().into_iter().flat_map(|object| object.iter().map(|(_, value)| value));
        elements.chain(fields)
    }

    /// Levels of containers: 0 of a scalar, 1 of `[]`.
    pub fn depth(&self) -> usize {
        match self.len() {
            Some(_) => 1 + self.children().map(Json::depth).max().unwrap_or(0),
            None => 0,
        }
    }

    /// Equality as comparisons in filters have it: `1` is `1.0`, at any depth.
    pub fn equals_loosely(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a.is_number() && b.is_number() => a.compare_numbers(b) == Some(Ordering::Equal),
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals_loosely(b))
            }
            (Self::Object(a), Self::Object(b)) => same_fields(a, b, Self::equals_loosely),
            (a, b) => a == b,
        }
    }

    fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(_), Self::Uint(_)) => Some(Ordering::Less),
            (Self::Uint(_), Self::Int(_)) => Some(Ordering::Greater),
            (a, b) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        }
    }

    /// Bytes of heap that the value holds. `samples` children of a large container stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        let own = match self {
            Self::Str(text) => return text.heap_size(),
            Self::Array(elements) => {
                size_of::<usize>() + size_of::<Vec<Json>>() + elements.capacity() * size_of::<Json>()
            }
            Self::Object(object) => {
                object.own_size()
                    + sampled(object.len(), samples, object.iter().map(|(name, _)| name.heap_size()))
            }
            _ => return 0,
        };
        let children = self.children().map(|child| child.heap_size(samples));
        own + sampled(self.len().unwrap_or(0), samples, children)
    }

    /// Values that dropping this one visits; no more than `limit` are counted.
    pub fn node_count(&self, limit: usize) -> usize {
        let mut left = limit;
        count_nodes(self, &mut left);
        limit - left
    }

    /// A copy that shares nothing: what is put into many places of a document must be as large as it looks.
    pub fn unshared(&self) -> Self {
        match self {
            Self::Str(text) => Self::Str(Text::new(text)),
            Self::Array(elements) => Self::array(elements.iter().map(Self::unshared).collect()),
            Self::Object(object) => {
                Self::Object(object.iter().map(|(name, value)| (name.clone(), value.unshared())).collect())
            }
            scalar => scalar.clone(),
        }
    }

    /// Do both stand for the same place in memory? Of containers only.
    pub fn shares_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(a), Self::Array(b)) => Arc::ptr_eq(a, b),
            (Self::Object(a), Self::Object(b)) => a.shares_with(b),
            _ => false,
        }
    }
}

fn sampled(len: usize, samples: usize, sizes: impl Iterator<Item = usize>) -> usize {
    if samples == 0 || len <= samples {
        return sizes.sum();
    }
    (sizes.take(samples).sum::<usize>() as f64 / samples as f64 * len as f64) as usize
}

fn count_nodes(value: &Json, left: &mut usize) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    match value {
        // Scalars without an allocation are not worth a visit each.
        Json::Array(elements) => {
            for element in elements.iter() {
                if *left == 0 {
                    return;
                }
                count_nodes(element, left);
            }
        }
        Json::Object(object) => {
            for (_, field) in object.iter() {
                if *left == 0 {
                    return;
                }
                count_nodes(field, left);
            }
        }
        _ => {}
    }
}

fn same_fields(a: &Object, b: &Object, equal: fn(&Json, &Json) -> bool) -> bool {
    a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| equal(value, other)))
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Uint(a), Self::Uint(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => same_fields(a, b, Self::eq),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn equality_ignores_the_order_of_fields_and_tells_integers_from_doubles() {
        assert_eq!(json(r#"{"a":1,"b":[true]}"#), json(r#"{"b":[true],"a":1}"#));
        assert_ne!(json("1"), json("1.0"));
        assert_ne!(json("[1,2]"), json("[2,1]"));
        assert!(json(r#"{"a":[1,{"b":2}]}"#).equals_loosely(&json(r#"{"a":[1.0,{"b":2.0}]}"#)));
        assert!(!json("9223372036854775808").equals_loosely(&json("-9223372036854775808")));
    }

    #[test]
    fn a_change_copies_the_way_to_it_and_nothing_else() {
        let doc = json(r#"{"a":{"b":[1,2,3]},"c":{"d":[4]}}"#);
        let mut changed = doc.clone();
        *changed.at_mut(&["a".into(), "b".into(), 0.into()]).unwrap() = Json::Null;
        assert_eq!(changed.to_text(), r#"{"a":{"b":[null,2,3]},"c":{"d":[4]}}"#);
        assert_eq!(doc.to_text(), r#"{"a":{"b":[1,2,3]},"c":{"d":[4]}}"#);
        let field = |doc: &Json, name: &str| doc.as_object().unwrap().get(name).unwrap().clone();
        assert!(field(&doc, "c").shares_with(&field(&changed, "c")));
        assert!(!field(&doc, "a").shares_with(&field(&changed, "a")));
    }

    #[test]
    fn samples_stand_for_a_large_container() {
        let text = format!("[{}]", vec![r#""a string of twenty-five b""#; 1000].join(","));
        let doc = json(&text);
        assert_eq!(doc.heap_size(0), doc.heap_size(5));
        assert!(doc.heap_size(0) > 1000 * (16 + 25));
    }

    #[test]
    fn counting_nodes_stops_at_the_limit() {
        let doc = json(r#"[1,[2,3],{"a":[4]}]"#);
        assert_eq!(doc.node_count(100), 8);
        assert_eq!(doc.node_count(4), 4);
        assert_eq!(doc.depth(), 3);
    }
}
