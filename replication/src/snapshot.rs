//! Snapshots on their way between nodes.

use bytes::Bytes;
use cairn_storage::snapshot::SnapshotWriter;

use crate::types::SnapshotMeta;

/// A snapshot that has arrived whole: in a file with a temporary name, every chunk's checksum right. Whoever has read it and
/// found it good gives the file its name with `file.commit()`.
pub struct Received {
    pub meta: SnapshotMeta,
    pub file: SnapshotWriter,
    /// The content, mapped.
    pub content: Bytes,
}

/// A snapshot's content, as openraft hands it around without looking inside.
pub enum SnapshotData {
    /// A complete file of this node, mapped: it can be sent.
    Stored(Bytes),
    /// A file that the leader has sent: it can be installed.
    Arrived {
        file: SnapshotWriter,
        /// The content, mapped.
        content: Bytes,
    },
}

/// What openraft calls a snapshot.
pub type Snapshot = openraft::type_config::alias::SnapshotOf<crate::types::TypeConfig, SnapshotData>;
