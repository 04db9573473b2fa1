//! JSON documents as values that can be changed in place: what the JSON commands work on.
//!
//! A [`Json`] is 16 bytes; its containers are shared until somebody writes, so that a copy costs nothing and a change
//! copies the containers on its way only. A [`Path`] finds values in a document, a [`Location`] names one place.
//!
//! | module | what |
//! |---|---|
//! | `value`, `object`, `text` | the tree |
//! | `parse`, `print` | from and to text |
//! | `path` | JSONPath and the older dotted paths: parser, evaluation, filters |
//! | `location` | one place in a document, and changes there |
//!
//! ```
//! use cairn_json::{Json, Path};
//!
//! let mut doc = Json::parse(r#"{"cart":[{"price":4},{"price":11.5}]}"#).unwrap();
//! let path = Path::parse("$.cart[?(@.price > 5)].price").unwrap();
//! let place = path.locate(&doc).unwrap()[0].0.clone();
//! *doc.at_mut(place.steps()).unwrap() = Json::Int(9);
//! assert_eq!(doc.to_text(), r#"{"cart":[{"price":4},{"price":9}]}"#);
//! ```
//!
//! Not in here: commands, replies, keys. There is no I/O and nothing of Redis but the dialect of its paths.
//!
//! A change in an array or object that a snapshot shares copies that container once: sixteen bytes for each element of
//! an array, 32 for each field of an object. An array of 100,000 numbers is 1.6 MB, copied in less than a millisecond.

mod location;
mod object;
mod parse;
mod path;
mod print;
mod text;
mod value;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use location::{Location, NumberError, NumberOp, Step};
pub use object::Object;
pub use parse::ParseError;
pub use path::{Last, Path, PathError, SEGMENTS_MAX, STEPS_MAX, Steps, TooManySteps};
pub use print::Format;
pub use text::Text;
pub use value::{Json, Type};

/// Levels of containers in one value that is parsed from a client's text. RedisJSON's limit.
pub const TEXT_DEPTH_MAX: usize = 128;
/// Levels of containers in a document: a deep value can be put deep into another. Walking a document recurses.
pub const DEPTH_MAX: usize = 512;
