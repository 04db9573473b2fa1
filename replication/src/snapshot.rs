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
