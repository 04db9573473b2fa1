//! Streams: an append-only log of entries, and groups of consumers that share the work of reading it.
//!
//! | file      | what                                                                         |
//! |-----------|------------------------------------------------------------------------------|
//! | `id`      | [`StreamId`]                                                                  |
//! | `node`    | a hundred entries in a listpack, laid out as Redis does                       |
//! | `entries` | [`Entries`]: the nodes in a tree, ranges, trimming, the stream's counters     |
//! | `group`   | [`Group`]: pending entries and consumers                                      |
//! | `load`    | streams from RDB files, every piece checked                                   |
//!
//! A clone of a stream shares everything with it and costs a few counters, so that a stream behind an `Arc` can be
//! taken out of a snapshot with `Arc::make_mut` whatever its size.

mod entries;
mod group;
mod id;
mod load;
mod node;
#[cfg(test)]
mod tests;

pub use entries::{AppendError, Entries, Range, Trim};
pub use group::{Consumer, ConsumerId, Group, Nack};
pub use id::{IdText, StreamId};
pub use load::{Counters, GroupLoader, LoadError, StreamLoader};
pub use node::{Entry, Fields, Node, NodeError, NodeLimits};

use crate::ds::{CowTree, Member, tree};

/// A stream. Its two halves are apart so that a group can change while entries are read.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub entries: Entries,
    groups: CowTree<Member, Group>,
}

impl Stream {
    /// A stream without entries and groups.
    pub fn new() -> Self {
        Self::default()
    }

    /// The groups with their names, in order.
    pub fn groups(&self) -> tree::Iter<'_, Member, Group> {
        self.groups.iter()
    }

    /// The group with this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get_by(|probe| (**probe).cmp(name)).map(|(_, group)| group)
    }

    /// The group with this name, to be changed, and the entries that it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&mut Group, &Entries)> {
        let (_, group) = self.groups.get_mut_by(|probe| (**probe).cmp(name))?;
        Some((group, &self.entries))
    }

    /// Adds a group; false when there is one with this name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.group(name).is_some() {
            return false;
        }
        self.groups.insert(Member::from(name), group);
        true
    }

    /// Removes a group. It comes as a stream that has nothing else, so that a large one can be dropped as any large
    /// value is: elsewhere.
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Self> {
        self.group(name)?;
        let (name, group) = self.groups.remove_by(|probe| (**probe).cmp(name))?;
        let mut rest = Self::new();
        rest.groups.insert(name, group);
        Some(rest)
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// Elements that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        let groups: usize = self.groups.iter().map(|(_, group)| group.drop_effort()).sum();
        self.entries.node_count() + groups
    }

    /// Bytes of heap that the value holds; `samples` nodes stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        let groups: usize =
            self.groups.iter().map(|(name, group)| name.heap_size() + group.heap_size()).sum();
        size_of::<Self>() + self.entries.heap_size(samples) + self.groups.heap_size() + groups
    }

    /// Everything that effects keep exact, as text, to compare two engines by. (When a consumer was last seen or
    /// active is not among it.)
    pub fn state_text(&self) -> String {
        use std::fmt::Write;

        let entries = &self.entries;
        let mut text = format!(
            "{} entries, {} to {}, {} added, deleted up to {}\n",
            entries.len(),
            entries.first_id(),
            entries.last_id(),
            entries.added(),
            entries.max_deleted_id()
        );
        let mut line = |args: std::fmt::Arguments<'_>| {
            text.write_fmt(args).and_then(|()| text.write_char('\n')).expect("a String takes all");
        };
        for entry in entries.iter() {
            line(format_args!("{}: {:?}", entry.id, entry.fields().collect::<Vec<_>>()));
        }
        for (name, group) in self.groups() {
            line(format_args!("group {name:?} up to {}, read {:?}", group.last_id, group.entries_read));
            for (id, nack) in group.pending() {
                let consumer = &group.consumer(nack.consumer).name;
                line(format_args!("  {id}: {consumer:?} {} {}", nack.delivered_at_ms, nack.deliveries));
            }
            for consumer in group.consumers() {
                let ids: Vec<String> = consumer.pending().iter().map(|(id, ())| id.to_string()).collect();
                line(format_args!("  {:?}: {ids:?}", consumer.name));
            }
        }
        text
    }
}
