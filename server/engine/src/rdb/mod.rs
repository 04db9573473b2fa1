//! The RDB format: snapshots of all databases, and the payloads of DUMP and RESTORE.
//!
//! ```text
//! REDIS0011
//! AUX name value …                                redis-ver, ctime, cairn-seq …
//! FUNCTION2 text                                  for each library of functions
//! SELECTDB n  RESIZEDB keys expires               for each database that is not empty
//!     [EXPIRETIME_MS t] [IDLE n | FREQ n] type key value …
//! EOF  checksum                                   CRC-64 of everything before it, little endian
//! ```
//!
//! | file           | what                                                                           |
//! |----------------|--------------------------------------------------------------------------------|
//! | `format`       | the numbers                                                                    |
//! | `save`         | [`save`], [`dump_value`]; `encode`: one value                                  |
//! | `load`         | [`load`], [`load_value`]; `decode`: one value; `batch`: keys into a database   |
//! | `libraries`    | libraries of functions, in files and in payloads of their own                  |
//! | `old`          | ziplists and zipmaps, the packed forms of older versions                       |
//! | `reader`       | lengths and strings in, with every bound checked                               |
//! | `writer`       | lengths and strings out, with the running checksum                             |
//! | `lzf`, `crc64` | compression, checksum                                                          |
//!
//! We write version 11 with the types that Redis 7.2 writes, version 10 for replicas of Redis 7.0; small collections go out as the very bytes that they
//! are in memory. Only where fields of hashes expire it is version 12, and those hashes have types of Redis 7.4. We
//! read every version up to 12. A JSON document is one string, in the form of the module that Redis has for it; other
//! modules' data we do not have and refuse clearly. Everything that comes in is checked in depth before it is used, as Redis does with
//! `sanitize-dump-payload yes`: a file from anywhere is an error at worst, never a panic.

mod batch;
mod crc64;
mod decode;
mod encode;
mod error;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod libraries;
mod load;
mod lzf;
mod old;
mod reader;
mod save;
#[cfg(test)]
mod tests;
mod vector_set;
mod writer;

pub use error::{LoadError, Problem, RestoreError};
pub use format::{VERSION, VERSION_OLDEST};
pub use libraries::{LibrariesError, dump_libraries, read_libraries};
pub use load::{LoadOptions, Loaded, load, load_value};
pub use save::{dump_portable, dump_value, save, save_for_replica, save_with};

/// What a file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aux {
    /// The journal position of the state. `None` in a file that is not Cairn's own.
    pub seq: Option<u64>,
    /// The engine's time at [`Aux::seq`], in Unix milliseconds; saving writes the snapshot's, if `seq` is there.
    pub taken_at_ms: Option<i64>,
    /// Unix seconds; 0 when saving: those of the snapshot.
    pub created_at_s: i64,
    pub used_memory: u64,
    /// The users, if they are part of the replicated state; saving writes the snapshot's.
    pub users: Option<String>,
    /// The definitions of indexes, if there are any; saving writes the snapshot's.
    pub indexes: Option<String>,
    /// All other fields in the file's order. Loading adds [`AUX_EMPTY_KEYS`], which is never written.
    pub other: Vec<(String, String)>,
}

/// What a file says of its position in the journal, for [`save_with`]: [`Aux::seq`] and [`Aux::taken_at_ms`].
pub fn position_fields(seq: u64, taken_at_ms: i64) -> Vec<(&'static str, String)> {
    vec![(AUX_SEQ, seq.to_string()), (AUX_TIME, taken_at_ms.to_string())]
}

/// Name in [`Aux::other`] of the number of keys without a value, which Redis and we leave out.
pub const AUX_EMPTY_KEYS: &str = "%empty-keys-skipped";

/// The AUX field of [`Aux::seq`].
const AUX_SEQ: &str = "cairn-seq";
/// The AUX field of [`Aux::users`].
const AUX_USERS: &str = "cairn-acl";
/// The AUX field of [`Aux::indexes`].
const AUX_INDEXES: &str = "cairn-search";
/// The AUX field of [`Aux::taken_at_ms`].
const AUX_TIME: &str = "cairn-time-ms";
