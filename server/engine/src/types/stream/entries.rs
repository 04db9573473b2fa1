//! The entries of a stream: nodes in a tree by id, and the counters that go with them.

use super::id::StreamId;
use super::node::{Entry, NODE_BYTES_MAX, Node, NodeLimits, Walk};
use crate::ds::{CowTree, tree};

/// The log of a stream, without its consumer groups. Clones share all nodes.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    pub(super) nodes: CowTree<StreamId, Node>,
    pub(super) len: u64,
    pub(super) last_id: StreamId,
    pub(super) first_id: StreamId,
    pub(super) max_deleted_id: StreamId,
    pub(super) added: u64,
}

/// Why an entry cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The id is not greater than the last one.
    IdTooSmall,
    /// Fields and values are more than fits in a node.
    TooLarge,
}

/// What XTRIM cuts away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// The oldest entries beyond so many.
    MaxLen(u64),
    /// Entries with smaller ids.
    MinId(StreamId),
}

impl Entries {
    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Has it no entries?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The greatest id ever added, or what XSETID made it.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The id of the first entry; 0-0 when there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The greatest id that XDEL took out; 0-0: none.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How many nodes hold the entries.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes with their master ids, in order.
    pub fn nodes(&self) -> tree::Iter<'_, StreamId, Node> {
        self.nodes.iter()
    }

    /// All entries in order.
    pub fn iter(&self) -> Range<'_> {
        self.range(StreamId::MIN, StreamId::MAX, false)
    }

    /// The entries from `start` to `end`, both included; in `reverse` from `end` to `start`. O(log n) to begin.
    pub fn range(&self, start: StreamId, end: StreamId, reverse: bool) -> Range<'_> {
        let from = self.nodes.upper_bound(&start).saturating_sub(1);
        let to = self.nodes.upper_bound(&end);
        Range { nodes: Some(self.nodes.range_by_rank(from..to)), walk: None, start, end, reverse }
    }

    /// Is there an entry with this id?
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id, false).next()
    }

    /// The id of the last entry that there still is.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.range(StreamId::MIN, StreamId::MAX, true).next().map(|entry| entry.id)
    }

    /// Appends an entry; `pairs` holds fields and values by turns.
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]], limits: NodeLimits) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::IdTooSmall);
        }
        let bytes = pairs.iter().map(|text| text.len()).sum::<usize>();
        if bytes > NODE_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        let full = self.nodes.last().is_none_or(|(_, node)| !node.has_room(bytes, limits));
        if full {
            self.nodes.insert(id, Node::new(pairs));
        } else {
            let (master, node) = self.nodes.last_mut().expect("there is a node with room");
            node.append(*master, id, pairs);
        }
        self.len += 1;
        self.added += 1;
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    /// Takes the entry out; false when there is none with this id.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some(rank) = self.nodes.upper_bound(&id).checked_sub(1) else { return false };
        let Some((&master, node)) = self.nodes.at_rank(rank) else { return false };
        let found = Walk::new(node, master, false).take_while(|raw| raw.id <= id).find(|raw| raw.id == id);
        let Some(raw) = found else { return false };
        if node.live() == 1 {
            self.nodes.remove_at(rank);
        } else {
            let (_, node) = self.nodes.at_rank_mut(rank).expect("just found there");
            node.delete(raw);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if self.len == 0 || id == self.first_id {
            self.find_first_id();
        }
        true
    }

    /// Cuts entries away at the beginning; answers how many. `whole_nodes`: only as far as whole nodes can go.
    /// At most about `limit` entries go (0: no limit).
    pub fn trim(&mut self, trim: Trim, whole_nodes: bool, limit: u64) -> u64 {
        let mut nodes = 0;
        let mut removed = 0;
        let mut partial = false;
        for (&master, node) in self.nodes.iter() {
            if matches!(trim, Trim::MaxLen(max) if self.len - removed <= max) {
                break;
            }
            let live = node.live();
            if limit > 0 && removed + live > limit {
                break;
            }
            let whole = match trim {
                Trim::MaxLen(max) => self.len - removed - live >= max,
                Trim::MinId(min) => Walk::new(node, master, true).next().is_none_or(|last| last.id < min),
            };
            if !whole {
                partial = !whole_nodes;
                break;
            }
            removed += live;
            nodes += 1;
        }
        self.nodes.remove_range_by_rank(0, nodes, &mut |_, _| {});
        self.len -= removed;
        if partial {
            removed += self.trim_first_node(trim);
        }
        if removed > 0 {
            self.find_first_id();
        }
        removed
    }

    fn trim_first_node(&mut self, trim: Trim) -> u64 {
        let Some((&master, node)) = self.nodes.first() else { return 0 };
        let first = Walk::new(node, master, false).next();
        if matches!(trim, Trim::MinId(min) if first.is_none_or(|first| first.id >= min)) {
            return 0;
        }
        let mut excess = match trim {
            Trim::MaxLen(max) => self.len - max,
            Trim::MinId(_) => u64::MAX,
        };
        let (&master, node) = self.nodes.at_rank_mut(0).expect("just looked at");
        let deleted = node.delete_head(master, |id| match trim {
            Trim::MaxLen(_) => {
                let more = excess > 0;
                excess = excess.saturating_sub(1);
                more
            }
            Trim::MinId(min) => id < min,
        });
        self.len -= deleted;
        deleted
    }

    pub(super) fn find_first_id(&mut self) {
        self.first_id = self.iter().next().map_or(StreamId::MIN, |entry| entry.id);
    }

    /// XSETID. The caller has made sure that no entry is greater than `last_id`.
    pub fn set_ids(&mut self, last_id: StreamId, added: Option<u64>, max_deleted_id: Option<StreamId>) {
        self.last_id = last_id;
        self.added = added.unwrap_or(self.added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    /// May an entry from `start` on have been taken out of the middle? Then nobody can count from there.
    pub fn may_have_gaps_from(&self, start: StreamId) -> bool {
        self.len > 0 && self.max_deleted_id != StreamId::MIN && start <= self.max_deleted_id
    }

    /// Are all entries that there are after `id`, and none taken out from between them?
    pub fn is_whole_after(&self, id: StreamId) -> bool {
        id < self.first_id && self.max_deleted_id < self.first_id
    }

    /// How many entries had been added when the one with `id` was; `None` when that cannot be told: `id` is between
    /// first and last, or ahead, or entries were taken out of the middle.
    pub fn added_up_to(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if (self.len == 0 && id <= self.last_id) || id == self.last_id {
            return Some(self.added);
        }
        let gaps = self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= self.first_id;
        if id > self.last_id || gaps {
            return None;
        }
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(self.added.wrapping_sub(self.len)),
            std::cmp::Ordering::Equal => Some(self.added.wrapping_sub(self.len).wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Bytes of heap, from `samples` nodes at either end of the log (0: all of them).
    pub(super) fn heap_size(&self, samples: usize) -> usize {
        let count = self.nodes.len();
        let size = |node: &Node| node.pack().as_shared().heap_size();
        let packs = if samples == 0 || samples >= count {
            self.nodes.iter().map(|(_, node)| size(node)).sum()
        } else {
            // The last node is still growing: it stands for itself.
            let last = self.nodes.last().map_or(0, |(_, node)| size(node));
            let sum: usize = self.nodes.iter().take(samples).map(|(_, node)| size(node)).sum();
            sum / samples * (count - 1) + last
        };
        self.nodes.heap_size() + packs
    }
}

/// Some of the entries of a stream.
#[derive(Clone)]
pub struct Range<'a> {
    /// `None` once the range is left.
    nodes: Option<tree::Iter<'a, StreamId, Node>>,
    walk: Option<Walk<'a>>,
    start: StreamId,
    end: StreamId,
    reverse: bool,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(walk) = &mut self.walk {
                for raw in walk.by_ref() {
                    let (early, late) = if self.reverse {
                        (raw.id > self.end, raw.id < self.start)
                    } else {
                        (raw.id < self.start, raw.id > self.end)
                    };
                    if late {
                        self.walk = None;
                        self.nodes = None;
                        return None;
                    }
                    if !early {
                        return Some(walk.entry(raw));
                    }
                }
            }
            let nodes = self.nodes.as_mut()?;
            let (&master, node) = if self.reverse { nodes.next_back() } else { nodes.next() }?;
            self.walk = Some(Walk::new(node, master, self.reverse));
        }
    }
}
