//! Data structures under the keyspace and the data types. They know no command and no type of Redis.
//!
//! | module         | what                                                                                  |
//! |----------------|---------------------------------------------------------------------------------------|
//! | [`size_class`] | what an allocation of n bytes really costs                                            |
//! | [`cow`]        | how much copy-on-write has copied                                                      |
//! | [`prefetch`]   | a hint that an address will be read soon                                              |
//! | [`shared_buf`] | [`SharedBuf`]: growable bytes behind one thin pointer, reference-counted, copy-on-write |
//! | [`blob`]       | [`Key`], [`Member`]: short byte strings stored in place, long ones in a `SharedBuf`    |
//! | [`listpack`]   | [`Listpack`]: Redis's packed list of strings and integers                              |
//! | [`intset`]     | [`Intset`]: Redis's packed sorted set of integers                                      |
//! | [`tree`]       | [`CowTree`]: ordered map with ranks; O(1) snapshots                                     |
//! | [`dict`]       | [`Dict`]: the project's one hash table; O(1) snapshots, no resize stall                |
//! | [`timetable`]  | [`Timetable`]: names with a time each, in the order of the times                      |

pub mod blob;
pub mod cow;
pub mod dict;
pub mod intset;
pub mod listpack;
pub mod prefetch;
pub mod shared_buf;
pub mod size_class;
pub mod timetable;
pub mod tree;

pub use blob::{Blob, Key, Member};
pub use dict::{Dict, Entry, HashSeed};
pub use intset::Intset;
pub use listpack::Listpack;
pub use shared_buf::SharedBuf;
pub use timetable::Timetable;
pub use tree::CowTree;
