//! What can go wrong with a log, with the facts that an operator needs.

use std::io;
use std::path::PathBuf;

use crate::disk::is_full;

/// Why the log could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Bytes that were on disk have changed or vanished. Nothing has been changed or dropped.
    #[error(
        "{} is damaged at offset {offset}: expected {expected}, found {found}. {evidence}, so this is no torn \
         write that recovery may drop; nothing has been changed. Look with `cairn-admin check`, then restore \
         this directory from a backup or, in a cluster, wipe it and let the node rejoin",
        file.display()
    )]
    Corrupt {
        /// The segment file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
        /// Why it cannot be the trace of a crash.
        evidence: String,
    },

    /// Written by a version of Cairn that knows more than this one.
    #[error("{} at offset {offset}: {what}; a newer version of Cairn has written it, use that one", file.display())]
    Unsupported {
        /// The segment file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is not understood.
        what: String,
    },

    /// There is no room. The log is exactly as before the call, and the call may be repeated.
    #[error("no room for {} bytes of {}: {source}", bytes, file.display())]
    Full {
        /// The file that could not be made or written.
        file: PathBuf,
        /// How many bytes were wanted.
        bytes: u64,
        /// The system's error.
        source: io::Error,
    },

    /// The disk failed. If it happened while writing or syncing, the log takes no more writes.
    #[error("cannot {doing} {}: {source}", file.display())]
    Io {
        /// A verb: what was being done.
        doing: &'static str,
        /// To which file.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// An earlier write or sync failed, so nobody knows what is on disk. Only a restart, with its recovery, finds out.
    #[error("the log takes no more writes since an earlier failure: {cause}")]
    Poisoned {
        /// The first failure.
        cause: String,
    },

    /// The entries asked for have been purged.
    #[error("entry {from} has been purged, the first one kept is {first}")]
    Purged {
        /// The first entry asked for.
        from: u64,
        /// The first one that there is.
        first: u64,
    },

    /// A record that no segment can hold.
    #[error("a record of {bytes} bytes is longer than the format allows ({max})")]
    RecordTooLarge {
        /// Length of the payload.
        bytes: u64,
        /// The longest possible one.
        max: u64,
    },
}

impl LogError {
    /// Whether the log is as it was before the failed call, so that it can go on.
    pub fn leaves_log_intact(&self) -> bool {
        matches!(self, LogError::Full { .. } | LogError::RecordTooLarge { .. } | LogError::Purged { .. })
    }

    /// An error of the disk in a place where lack of room is a failure like any other.
    pub(crate) fn io(doing: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> LogError {
        let file = file.into();
        move |source| LogError::Io { doing, file, source }
    }

    /// An error of the disk in a place where lack of room leaves everything as it was.
    pub(crate) fn full_or_io(
        doing: &'static str,
        file: impl Into<PathBuf>,
        bytes: u64,
    ) -> impl FnOnce(io::Error) -> LogError {
        let file = file.into();
        move |source| {
            if is_full(&source) {
                LogError::Full { file, bytes, source }
            } else {
                LogError::Io { doing, file, source }
            }
        }
    }
}
