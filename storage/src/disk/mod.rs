//! The seam between everything that must survive a crash and the machine below it.
//!
//! [`RealDisk`] talks to the operating system and is the only code of the project that calls `fdatasync` or
//! `fsync`. [`SimDisk`] is a disk in memory that behaves as badly as a real one is allowed to: it forgets
//! what was not synced, tears what was being written, fails on request and fills up.
//!
//! # What is assumed of a disk
//!
//! 1. After [`DiskFile::sync_data`] has returned `Ok`, every byte written before the call survives a crash, and
//!    so do the file's length and its preallocated blocks.
//! 2. After [`Disk::sync_dir`] has returned `Ok`, every creation, rename and removal in that directory survives.
//! 3. Before that, anything goes: writes persist wholly, partly (any prefix, any set of 512-byte sectors), in any
//!    order, or not at all; so do directory entries.
//! 4. A write changes no byte outside its own range, not even when the power fails in the middle of it (what
//!    SQLite calls *powersafe overwrite*).
//! 5. After a failed sync nothing is known about the bytes since the last good one, and a second sync that
//!    succeeds proves nothing. So nobody above this line syncs a file again after a failure.

mod real;
mod sim;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

use std::any::Any;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone: a checking tool must work on a read-only copy.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Directories, names and files.
pub trait Disk: Send + Sync {
    /// Creates a directory and its parents, and makes sure that a crash does not forget them.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates an empty file, or empties the one that has this name.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that exists.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Names of the files (not the directories) in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name in the same directory, replacing what had it. Atomic: after a crash there is
    /// either the old state or the new one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name; open handles and mappings of the file stay good.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every earlier change of names in this directory survive a crash.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the directory for this process alone, until the guard is dropped or the process ends. Fails with
    /// [`io::ErrorKind::WouldBlock`] while another process has it.
    fn lock(&self, dir: &Path) -> io::Result<DirLock>;
}

/// One open file. All calls are positional, so one handle can be used by several threads.
pub trait DiskFile: Send + Sync {
    /// Writes all chunks, one after the other, from `offset` on.
    fn write_at(&self, offset: u64, chunks: &[IoSlice<'_>]) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes every earlier write through any handle of this file survive a crash. See assumption 5 of the
    /// [module](self) for what a failure means.
    fn sync_data(&self) -> io::Result<()>;

    /// Asks for these bytes to be on their way to the disk, without waiting for it. Says nothing about what survives;
    /// it only leaves less to wait for to the next [`sync_data`](DiskFile::sync_data).
    fn start_writing_back(&self, _offset: u64, _len: u64) {}

    /// Gives the file real blocks for its first `len` bytes and at least that length; new bytes are zero, old ones
    /// stay. Afterwards writes in that range neither run out of room nor change metadata.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Sets the length.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// When the file was last written.
    fn modified(&self) -> io::Result<SystemTime>;

    /// The first `len` bytes (or the whole file, if that is shorter) for reading, on a real disk as a memory
    /// map. The caller must not read a part that may still be written to.
    fn map(&self, len: u64) -> io::Result<Bytes>;
}

/// Holds a directory for this process; see [`Disk::lock`].
#[must_use = "the directory is free again as soon as this is dropped"]
pub struct DirLock {
    _guard: Box<dyn Any + Send + Sync>,
}

impl DirLock {
    fn new(guard: impl Any + Send + Sync) -> DirLock {
        DirLock { _guard: Box::new(guard) }
    }
}

impl std::fmt::Debug for DirLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DirLock")
    }
}

/// Whether an error means that there is no room (and will not mean it any more when there is).
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
