//! Streams from outside (RDB files, RESTORE): put together piece by piece, every piece checked.

use thiserror::Error;

use super::group::{Consumer, ConsumerId, Group, Nack};
use super::id::StreamId;
use super::node::{Node, NodeError};
use super::{Entries, Stream};
use crate::ds::{CowTree, SharedBuf};

/// Why pieces do not make a stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    #[error("node {master}: {error}")]
    Node { master: StreamId, error: NodeError },
    #[error("node {master} does not come after entry {last}")]
    NodeOrder { master: StreamId, last: StreamId },
    #[error("the stream is said to have {expected} entries, its nodes have {found}")]
    Length { expected: u64, found: u64 },
    #[error("the last id is said to be {last_id}, there is an entry {entry}")]
    LastId { last_id: StreamId, entry: StreamId },
    #[error("pending entry {id} is there twice or out of order")]
    PendingTwice { id: StreamId },
    #[error("entry {id} is pending for a consumer but not in its group, or for two")]
    PendingOwner { id: StreamId },
    #[error("entry {id} is pending for no consumer")]
    Orphan { id: StreamId },
    #[error("a group or a consumer is there twice")]
    NameTwice,
}

/// The counters of a stream. What files of older versions lack is worked out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub len: u64,
    pub last_id: StreamId,
    pub max_deleted_id: Option<StreamId>,
    pub added: Option<u64>,
}

/// Collects the nodes of a stream.
#[derive(Default)]
pub struct StreamLoader {
    nodes: Vec<(StreamId, Node)>,
    pub(super) len: u64,
    last: Option<StreamId>,
}

impl StreamLoader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next node: its master id and its listpack.
    pub fn push_node(&mut self, master: StreamId, bytes: SharedBuf) -> Result<(), LoadError> {
        let node = Node::validated(master, bytes).map_err(|error| LoadError::Node { master, error })?;
        let live = node.live();
        if live == 0 {
            // Redis can leave such nodes behind; ours always hold an entry.
            return Ok(());
        }
        if let Some(last) = self.last.filter(|&last| master <= last) {
            return Err(LoadError::NodeOrder { master, last });
        }
        self.last = super::node::Walk::new(&node, master, true).next().map(|raw| raw.id);
        self.len += live;
        self.nodes.push((master, node));
        Ok(())
    }

    /// The stream, so far without groups.
    pub fn finish(self, counters: Counters) -> Result<Stream, LoadError> {
        if self.len != counters.len {
            return Err(LoadError::Length { expected: counters.len, found: self.len });
        }
        if let Some(entry) = self.last.filter(|&last| last > counters.last_id) {
            return Err(LoadError::LastId { last_id: counters.last_id, entry });
        }
        let mut entries = Entries {
            nodes: CowTree::from_sorted(self.nodes),
            len: self.len,
            last_id: counters.last_id,
            first_id: StreamId::MIN,
            max_deleted_id: counters.max_deleted_id.unwrap_or_default(),
            added: counters.added.unwrap_or(self.len),
        };
        // Files have it too, but a wrong one would mislead XDEL.
        entries.find_first_id();
        Ok(Stream { entries, groups: CowTree::new() })
    }
}

/// Collects a consumer group: first all pending entries, then the consumers, each with its own.
pub struct GroupLoader {
    group: Group,
    pending: Vec<(StreamId, Option<ConsumerId>, i64, u64)>,
}

impl GroupLoader {
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self { group: Group::new(last_id, entries_read), pending: Vec::new() }
    }

    /// Adds a pending entry; ids must ascend.
    pub fn push_pending(
        &mut self,
        id: StreamId,
        delivered_at_ms: i64,
        deliveries: u64,
    ) -> Result<(), LoadError> {
        if self.pending.last().is_some_and(|last| last.0 >= id) {
            return Err(LoadError::PendingTwice { id });
        }
        self.pending.push((id, None, delivered_at_ms, deliveries));
        Ok(())
    }

    /// Adds a consumer and says which of the pending entries are its own.
    pub fn push_consumer(
        &mut self,
        name: &[u8],
        seen_at_ms: i64,
        active_at_ms: Option<i64>,
        pending: &[StreamId],
    ) -> Result<(), LoadError> {
        if self.group.find_consumer(name).is_some() {
            return Err(LoadError::NameTwice);
        }
        let consumer = self.group.create_consumer(name, seen_at_ms, active_at_ms);
        for &id in pending {
            let found = self.pending.binary_search_by_key(&id, |entry| entry.0);
            match found.map(|at| &mut self.pending[at].1) {
                Ok(owner @ None) => *owner = Some(consumer),
                _ => return Err(LoadError::PendingOwner { id }),
            }
        }
        let own = CowTree::from_sorted(pending.iter().map(|&id| (id, ())));
        let entry: &mut Consumer = self.group.consumers.get_mut(&consumer).expect("just made");
        entry.pending = own;
        Ok(())
    }

    /// The group.
    pub fn finish(self) -> Result<Group, LoadError> {
        let mut group = self.group;
        if let Some(&(id, ..)) = self.pending.iter().find(|entry| entry.1.is_none()) {
            return Err(LoadError::Orphan { id });
        }
        let nacks = self.pending.into_iter().filter_map(|(id, consumer, delivered_at_ms, deliveries)| {
            consumer.map(|consumer| (id, Nack { consumer, delivered_at_ms, deliveries }))
        });
        group.pending = CowTree::from_sorted(nacks);
        Ok(group)
    }
}
