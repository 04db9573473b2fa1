//! Bytes on disk: a segmented log, snapshot files, and recovery from any crash.
//!
//! This crate keeps what a server has acknowledged. It knows neither commands nor consensus: an entry is an index, a
//! term and bytes.
//!
//! # Layout
//!
//! - [`disk`]: the machine below, as a trait, with a real and a simulated implementation. The only code of the
//!   project that calls `fsync`; its assumptions about disks are written down there.
//! - [`log`]: the segmented log, its format and its recovery. **How a torn write is told from damage** is explained there.
//! - [`writer`]: the thread that writes the log: group commit and the `appendfsync` policies.
//! - [`snapshot`]: files that are there whole or not at all.
//!
//! ```
//! use std::sync::Arc;
//! use cairn_storage::disk::{Disk, SimDisk};
//! use cairn_storage::log::{Log, LogOptions, Record};
//!
//! let simulated = SimDisk::new(42);
//! let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
//! let (mut log, _) = Log::open(Arc::clone(&disk), "data/log".as_ref(), LogOptions::default())?;
//! log.append(&[Record::entry(1, 1, &[b"SET k ", b"v"])])?;
//! log.sync()?; // acknowledged from here on
//! log.append(&[Record::entry(2, 1, &[b"DEL k"])])?;
//!
//! simulated.crash();
//!
//! let (log, recovered) = Log::open(disk, "data/log".as_ref(), LogOptions::default())?;
//! assert!(recovered.last_index >= 1);
//! let first = log.read(1)?.next().expect("entry 1 was synced")?;
//! assert_eq!(&*first.payload, b"SET k v");
//! # Ok::<(), cairn_storage::log::LogError>(())
//! ```
//!
//! # What it is not
//!
//! Not a database: there is no index but the entry's number, and no deletion but from the ends. Not a cache: reads go
//! through the page cache. Not for several processes: the data directory is locked for one
//! ([`disk::Disk::lock`]). Not for Windows.
#![warn(missing_docs)]

pub mod disk;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod log;
pub mod snapshot;
pub mod writer;

/// Names of files that are not finished end with this. Whatever bears it may be removed at a start.
pub const TEMPORARY_SUFFIX: &str = ".cairn-tmp";
