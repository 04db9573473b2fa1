//! Secondary indexes: full text, tags, numbers, places and vectors; the query language over them.
//!
//! Behaviour is that of RediSearch in Redis 8, as documented and as its tests show it; its wire format is the caller's.
//! The crate knows no Redis types, does no I/O, has no clock, no threads and no randomness of its own.
//!
//! | where | what |
//! |---|---|
//! | [`schema`], [`text`] | what an index holds; how texts become words |
//! | [`index`] | documents in: terms and postings, tags, numbers, places |
//! | [`vector`] | the nearest vectors: all looked at, or by way of a graph |
//! | [`query`] | query texts as trees |
//! | [`eval`] | trees as documents in order |
//! | [`aggregate`] | groups, reducers, expressions over results |
//! | [`highlight`], [`spellcheck`], [`suggest`], [`synonyms`] | what its name says |
//!
//! ```
//! use cairn_search::index::{Document, FieldValue, Index};
//! use cairn_search::query::{ParseOptions, Query};
//! use cairn_search::schema::{Field, FieldKind, Schema};
//! use cairn_search::eval::SearchOptions;
//!
//! let schema = Schema::default().with(Field::new("name", FieldKind::TEXT)).with(Field::new("price", FieldKind::Numeric));
//! let mut index = Index::new(schema, 1);
//! let lamp = vec![FieldValue::Texts(vec![b"a reading lamp"]), FieldValue::Numbers(vec![25.0])];
//! index.upsert(b"product:1", &Document::new(lamp)).unwrap();
//!
//! let query = Query::parse(b"lamps @price:[20 30]", &index, &ParseOptions { dialect: 2, ..Default::default() }).unwrap();
//! let found = index.search(&query, &SearchOptions { limit: 10, ..Default::default() }, &mut || true);
//! assert_eq!(index.key_of(found.hits[0].doc), Some(&b"product:1"[..]));
//! ```
//!
//! Every write is seen by the next read. No write costs more than what its document holds; what removed documents leave
//! behind in the lists of terms is cleaned up a few blocks at a time.
//!
//! Not here: replies, arguments of commands, cursors, and how a document's fields are got at.

pub mod aggregate;
pub mod eval;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod highlight;
pub mod index;
mod pieces;
pub mod query;
pub mod schema;
pub mod spellcheck;
pub mod suggest;
pub mod synonyms;
pub mod text;
pub mod vector;
