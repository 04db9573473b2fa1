//! Consumer groups: who was given which entry and has not acknowledged it yet.
//!
//! The pending entries of a group are in one tree by id; each says whose it is. A consumer has the ids of its own in
//! a second tree, so that its history and its removal cost no search through the others'. Both are copy-on-write
//! trees: a group of a million pending entries is cloned for a snapshot in O(1), and a write after that copies a
//! few nodes.

use super::entries::Entries;
use super::id::StreamId;
use crate::ds::{CowTree, Member};

/// Names a consumer within its group for as long as it exists.
pub type ConsumerId = u32;

/// A pending entry: delivered, not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    pub consumer: ConsumerId,
    /// When it was last delivered, in Unix milliseconds.
    pub delivered_at_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub name: Member,
    /// When it last asked for anything. Not part of what effects keep exact.
    pub seen_at_ms: i64,
    /// When it last got anything; `None`: never. Not part of what effects keep exact.
    pub active_at_ms: Option<i64>,
    pub(super) pending: CowTree<StreamId, ()>,
}

impl Consumer {
    /// The ids of its pending entries.
    pub fn pending(&self) -> &CowTree<StreamId, ()> {
        &self.pending
    }
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last entry delivered to any consumer.
    pub last_id: StreamId,
    /// How many of the stream's entries the group has read, ever; `None` when nobody can tell.
    pub entries_read: Option<u64>,
    pub(super) pending: CowTree<StreamId, Nack>,
    pub(super) consumers: CowTree<ConsumerId, Consumer>,
    pub(super) by_name: CowTree<Member, ConsumerId>,
    next_consumer: ConsumerId,
}

impl Group {
    /// A group without consumers, which goes on after `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            pending: CowTree::new(),
            consumers: CowTree::new(),
            by_name: CowTree::new(),
            next_consumer: 0,
        }
    }

    /// All pending entries in order of their ids.
    pub fn pending(&self) -> &CowTree<StreamId, Nack> {
        &self.pending
    }

    /// The consumers in order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.by_name.iter().map(|(_, &id)| self.consumer(id))
    }

    /// The consumer that `id` names.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers.get(&id).expect("the id of a consumer that exists")
    }

    /// The consumer with this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.by_name.get_by(|probe| (**probe).cmp(name)).map(|(_, &id)| id)
    }

    /// The consumer with this name, made when there is none. True when it was made.
    pub fn find_or_create_consumer(&mut self, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
        match self.find_consumer(name) {
            Some(id) => (id, false),
            None => (self.create_consumer(name, now_ms, None), true),
        }
    }

    /// Adds a consumer; there must be none with this name.
    pub(super) fn create_consumer(
        &mut self,
        name: &[u8],
        seen_at_ms: i64,
        active_at_ms: Option<i64>,
    ) -> ConsumerId {
        while self.consumers.contains(&self.next_consumer) {
            self.next_consumer = self.next_consumer.wrapping_add(1);
        }
        let id = self.next_consumer;
        self.next_consumer = id.wrapping_add(1);
        let name = Member::from(name);
        let replaced = self.by_name.insert(name.clone(), id);
        debug_assert!(replaced.is_none(), "two consumers with one name");
        self.consumers.insert(id, Consumer { name, seen_at_ms, active_at_ms, pending: CowTree::new() });
        id
    }

    /// The consumer has asked, and with `active` has got something.
    pub fn note_visit(&mut self, id: ConsumerId, now_ms: i64, active: bool) {
        let consumer = self.consumer_mut(id);
        consumer.seen_at_ms = now_ms;
        if active {
            consumer.active_at_ms = Some(now_ms);
        }
    }

    /// Removes a consumer with all its pending entries; answers how many those were.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let (_, id) = self.by_name.remove_by(|probe| (**probe).cmp(name))?;
        let (_, consumer) = self.consumers.remove(&id).expect("a named consumer exists");
        for (entry, ()) in &consumer.pending {
            self.pending.remove(entry);
        }
        Some(consumer.pending.len())
    }

    /// Makes the entry pending for `nack.consumer`, whether it was pending before or not, and for whomever.
    pub fn assign(&mut self, id: StreamId, nack: Nack) {
        let before = self.pending.insert(id, nack);
        if let Some(before) = before {
            if before.consumer == nack.consumer {
                return;
            }
            self.consumer_mut(before.consumer).pending.remove(&id);
        }
        self.consumer_mut(nack.consumer).pending.insert(id, ());
    }

    /// The pending entry has been given to its consumer once more.
    pub fn redeliver(&mut self, id: StreamId, now_ms: i64) {
        if let Some(nack) = self.pending.get_mut(&id) {
            nack.delivered_at_ms = now_ms;
            nack.deliveries = nack.deliveries.wrapping_add(1);
        }
    }

    /// The entry is pending no longer; false when it was not.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        // Looked for first: removing what is not there would copy nodes shared with a snapshot.
        if !self.pending.contains(&id) {
            return false;
        }
        let (_, nack) = self.pending.remove(&id).expect("just found");
        self.consumer_mut(nack.consumer).pending.remove(&id);
        true
    }

    /// The next entry of the stream has been given to a consumer.
    pub fn advance(&mut self, entries: &Entries, id: StreamId) {
        if id <= self.last_id {
            return;
        }
        self.entries_read = match self.entries_read {
            Some(read) if !entries.may_have_gaps_from(self.last_id) => Some(read.wrapping_add(1)),
            _ => entries.added_up_to(id),
        };
        self.last_id = id;
    }

    /// How many entries of the stream the group has yet to read; `None` when nobody can tell.
    pub fn lag(&self, entries: &Entries) -> Option<i64> {
        if entries.added() == 0 || entries.is_empty() {
            return Some(0);
        }
        if entries.is_whole_after(self.last_id) {
            return Some(entries.len() as i64);
        }
        let read = match self.entries_read {
            Some(read) if !entries.may_have_gaps_from(self.last_id) => read,
            _ => entries.added_up_to(self.last_id)?,
        };
        Some(entries.added().wrapping_sub(read) as i64)
    }

    fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers.get_mut(&id).expect("the id of a consumer that exists")
    }

    /// Elements that dropping the group must visit.
    pub(super) fn drop_effort(&self) -> usize {
        1 + self.by_name.len() + self.pending.len() / 16
    }

    pub(super) fn heap_size(&self) -> usize {
        let own = |consumer: &Consumer| 2 * consumer.name.heap_size() + consumer.pending.heap_size();
        self.pending.heap_size()
            + self.consumers.heap_size()
            + self.by_name.heap_size()
            + self.consumers.iter().map(|(_, consumer)| own(consumer)).sum::<usize>()
    }
}
