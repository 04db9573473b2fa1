//! The data types. Each offers what its commands need and hides its encoding, so that encodings can change.

pub mod element;
pub mod hash;
pub mod list;
pub mod sample;
pub mod set;
pub mod stream;
pub mod string;
pub mod vector_set;
pub mod zset;

pub use element::{Elem, ElementsError};
pub use hash::{Hash, HashLimits};
pub use list::{End, List, ListLimits, ListLoader, ListNode};
pub use set::{Set, SetBuilder, SetLimits};
pub use stream::Stream;
pub use string::Str;
pub use vector_set::VectorSet;
pub use zset::Zset;
