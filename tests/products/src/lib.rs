//! Products for the tests of search: random ones, random queries over them, and what these must find, worked out by looking at
//! every product. None of it shares code with the index.
//!
//! | where | what |
//! |---|---|
//! | [`corpus`] | products, the same for the same seed |
//! | [`oracle`] | queries as trees, and what they mean |
//! | [`asks`] | random queries |
//! | `shop` | the products on a server, as hashes or as documents, and its answers judged; with the feature `wire` |

pub mod asks;
pub mod corpus;
pub mod oracle;
#[cfg(feature = "wire")]
pub mod shop;
