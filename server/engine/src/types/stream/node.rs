//! A node of a stream: up to some hundred entries in one listpack, byte for byte as Redis lays them out.
//!
//! ```text
//! head    live  deleted  fields  field 1 … field N  0
//! entry   flags  ms  seq                                  value 1 … value N          pieces    (SAMEFIELDS)
//!         flags  ms  seq  pairs  field 1  value 1 … field M  value M                 pieces    (otherwise)
//! ```
//!
//! `ms` and `seq` are differences to the node's master id, which is its key in the tree; they may be negative and
//! wrap around. `pieces` counts the elements of the entry before it, so that a reader coming from the right finds
//! its beginning; the head ends with a 0 there. A deleted entry is only flagged; a node goes when its last live
//! entry goes.
//!
//! Invariants, given by [`Node::validated`] and kept by every edit: the layout above; `live` and `deleted` count the
//! entries with and without the flag; ids of live entries ascend strictly and none is below the master id. The ids
//! of deleted entries mean nothing (an old Redis may have left them out of order).

use thiserror::Error;

use super::id::StreamId;
use crate::ds::SharedBuf;
use crate::ds::listpack::{self, Item, Listpack, ListpackError};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Elements of every entry before its fields and values: flags, ms, seq.
const FIXED_PIECES: i64 = 3;
/// No listpack gets larger, whatever the configuration allows: its length must fit 32 bits.
pub(super) const NODE_BYTES_MAX: usize = 1 << 30;

/// `stream-node-max-bytes` and `stream-node-max-entries`; 0: no limit.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    pub max_bytes: usize,
    pub max_entries: u64,
}

/// Why bytes are not a node of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NodeError {
    #[error(transparent)]
    Listpack(#[from] ListpackError),
    #[error("element {index} is cut off or not the number that belongs there")]
    Malformed { index: usize },
    #[error("the head counts {live} live and {deleted} deleted entries, which is not what follows")]
    Counts { live: i64, deleted: i64 },
    #[error("entry {id} is not greater than the one before it or below the node's id")]
    Order { id: StreamId },
}

/// The entries of one node.
#[derive(Clone, Debug)]
pub struct Node(Listpack);

/// What the head says, and where the entries begin.
#[derive(Clone, Copy)]
struct Head {
    live: u64,
    deleted: u64,
    fields: usize,
    fields_at: usize,
    entries_at: usize,
}

/// An entry as it lies in the listpack.
#[derive(Clone, Copy)]
pub(super) struct Raw {
    pub(super) id: StreamId,
    flags: i64,
    /// Position of the flags.
    at: usize,
    /// Position of the first value, or of the first field.
    body_at: usize,
    pairs: usize,
}

impl Raw {
    fn is_live(&self) -> bool {
        self.flags & DELETED == 0
    }

    fn has_same_fields(&self) -> bool {
        self.flags & SAME_FIELDS != 0
    }
}

impl Node {
    /// A node with one entry, whose id becomes the master id. `pairs` holds fields and values by turns.
    pub(super) fn new(pairs: &[&[u8]]) -> Self {
        let count = (pairs.len() / 2) as i64;
        let fields = pairs.iter().step_by(2).map(|&field| Item::Str(field));
        let values = pairs.iter().skip(1).step_by(2).map(|&value| Item::Str(value));
        let mut pack = Listpack::new();
        pack.append_many(
            [Item::Int(1), Item::Int(0), Item::Int(count)]
                .into_iter()
                .chain(fields)
                .chain([Item::Int(0), Item::Int(SAME_FIELDS), Item::Int(0), Item::Int(0)])
                .chain(values)
                .chain([Item::Int(FIXED_PIECES + count)]),
        );
        Self(pack)
    }

    /// Takes over bytes from outside after checking all of them against the invariants.
    pub fn validated(master: StreamId, bytes: SharedBuf) -> Result<Self, NodeError> {
        let node = Self(Listpack::from_bytes(bytes)?);
        Validator { items: node.0.iter(), index: 0 }.run(master)?;
        Ok(node)
    }

    /// The listpack, as it is written to RDB files.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub(super) fn pack(&self) -> &Listpack {
        &self.0
    }

    /// Entries that are not deleted.
    pub fn live(&self) -> u64 {
        number(self.0.iter().next()) as u64
    }

    /// Is there room for another entry of `bytes` bytes?
    pub(super) fn has_room(&self, bytes: usize, limits: NodeLimits) -> bool {
        let max_bytes = match limits.max_bytes {
            0 => NODE_BYTES_MAX,
            max => max.min(NODE_BYTES_MAX),
        };
        if self.0.bytes().len() + bytes >= max_bytes {
            return false;
        }
        let mut items = self.0.iter();
        let entries = number(items.next()) + number(items.next());
        limits.max_entries == 0 || (entries as u64) < limits.max_entries
    }

    /// Appends an entry, greater than all there are.
    pub(super) fn append(&mut self, master: StreamId, id: StreamId, pairs: &[&[u8]]) {
        let head = self.head();
        let same = self.has_fields(&head, pairs);
        let count = (pairs.len() / 2) as i64;
        let flags = if same { SAME_FIELDS } else { 0 };
        let pieces = FIXED_PIECES + if same { count } else { 2 * count + 1 };
        let delta = [
            Item::Int(flags),
            Item::Int(id.ms.wrapping_sub(master.ms) as i64),
            Item::Int(id.seq.wrapping_sub(master.seq) as i64),
        ];
        let body = pairs.iter().skip(usize::from(same)).step_by(if same { 2 } else { 1 });
        self.0.append_many(
            delta
                .into_iter()
                .chain((!same).then_some(Item::Int(count)))
                .chain(body.map(|&text| Item::Str(text)))
                .chain([Item::Int(pieces)]),
        );
        self.set_counts(head.live + 1, head.deleted);
    }

    /// Flags the live entry `raw` as deleted.
    pub(super) fn delete(&mut self, raw: Raw) {
        let head = self.head();
        self.flag(raw);
        self.set_counts(head.live - 1, head.deleted + 1);
    }

    /// Flags live entries as deleted, from the first on, as long as `wanted` says so; answers how many.
    pub(super) fn delete_head(&mut self, master: StreamId, mut wanted: impl FnMut(StreamId) -> bool) -> u64 {
        let head = self.head();
        let mut deleted = 0;
        let mut at = head.entries_at;
        while at < self.0.end() {
            let raw = self.raw_at(&head, master, at);
            at = self.after(&raw);
            if raw.is_live() {
                if !wanted(raw.id) {
                    break;
                }
                // The flags keep their one byte, so that positions hold.
                self.flag(raw);
                deleted += 1;
            }
        }
        if deleted > 0 {
            self.set_counts(head.live - deleted, head.deleted + deleted);
        }
        deleted
    }

    fn flag(&mut self, raw: Raw) {
        self.0.replace(raw.at, raw.flags | DELETED);
    }

    fn set_counts(&mut self, live: u64, deleted: u64) {
        let at = self.0.first().expect("a node has a head");
        self.0.replace(at, live as i64);
        let at = self.0.next(at).expect("a head has two counts");
        self.0.replace(at, deleted as i64);
    }

    fn head(&self) -> Head {
        let mut items = self.0.iter();
        let live = number(items.next()) as u64;
        let deleted = number(items.next()) as u64;
        let fields = number(items.next()) as usize;
        let fields_at = items.pos();
        let entries_at = self.skip(fields_at, fields + 1);
        Head { live, deleted, fields, fields_at, entries_at }
    }

    /// The position `count` elements after `at`; the end if there are no more.
    fn skip(&self, mut at: usize, count: usize) -> usize {
        for _ in 0..count {
            match self.0.next(at) {
                Some(next) => at = next,
                None => return self.0.end(),
            }
        }
        at
    }

    fn has_fields(&self, head: &Head, pairs: &[&[u8]]) -> bool {
        head.fields == pairs.len() / 2
            && self.0.iter_from(head.fields_at).zip(pairs.iter().step_by(2)).all(|(a, b)| a.eq_bytes(b))
    }

    fn raw_at(&self, head: &Head, master: StreamId, at: usize) -> Raw {
        let mut items = self.0.iter_from(at);
        let flags = number(items.next());
        let id = id_at(master, number(items.next()), number(items.next()));
        let pairs = if flags & SAME_FIELDS != 0 { head.fields } else { number(items.next()) as usize };
        Raw { id, flags, at, body_at: items.pos(), pairs }
    }

    /// The position after the entry.
    fn after(&self, raw: &Raw) -> usize {
        let body = if raw.has_same_fields() { raw.pairs } else { 2 * raw.pairs };
        self.skip(raw.body_at, body + 1)
    }
}

fn id_at(master: StreamId, ms: i64, seq: i64) -> StreamId {
    StreamId::new(master.ms.wrapping_add(ms as u64), master.seq.wrapping_add(seq as u64))
}

fn number(item: Option<Item<'_>>) -> i64 {
    item.and_then(|item| item.as_int()).expect("nodes are validated")
}

/// Walks over the live entries of a node from one end to the other.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    node: &'a Node,
    master: StreamId,
    head: Head,
    /// Forwards: the next entry. Backwards: the end of the next entry.
    at: usize,
    reverse: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(node: &'a Node, master: StreamId, reverse: bool) -> Self {
        let head = node.head();
        let at = if reverse { node.0.end() } else { head.entries_at };
        Self { node, master, head, at, reverse }
    }

    fn step(&mut self) -> Option<Raw> {
        let pack = &self.node.0;
        if !self.reverse {
            if self.at >= pack.end() {
                return None;
            }
            let raw = self.node.raw_at(&self.head, self.master, self.at);
            self.at = self.node.after(&raw);
            return Some(raw);
        }
        if self.at <= self.head.entries_at {
            return None;
        }
        let mut at = pack.prev(self.at).expect("an entry ends here");
        for _ in 0..number(Some(pack.get(at))) {
            at = pack.prev(at).expect("pieces are counted right");
        }
        self.at = at;
        Some(self.node.raw_at(&self.head, self.master, at))
    }

    pub(super) fn entry(&self, raw: Raw) -> Entry<'a> {
        Entry { id: raw.id, node: self.node, fields_at: self.head.fields_at, raw }
    }
}

impl Iterator for Walk<'_> {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        loop {
            let raw = self.step()?;
            if raw.is_live() {
                return Some(raw);
            }
        }
    }
}

/// An entry of a stream.
#[derive(Clone)]
pub struct Entry<'a> {
    pub id: StreamId,
    node: &'a Node,
    fields_at: usize,
    raw: Raw,
}

impl<'a> Entry<'a> {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.raw.pairs
    }

    /// Never: XADD wants a field. (A foreign file may hold one.)
    pub fn is_empty(&self) -> bool {
        self.raw.pairs == 0
    }

    /// Fields and values.
    pub fn fields(&self) -> Fields<'a> {
        let pack = &self.node.0;
        Fields {
            names: self.raw.has_same_fields().then(|| pack.iter_from(self.fields_at)),
            body: pack.iter_from(self.raw.body_at),
            left: self.raw.pairs,
        }
    }

    /// The buffer that the long strings among fields and values lie in, to be sent without a copy.
    pub fn buffer(&self) -> &'a SharedBuf {
        self.node.pack().as_shared()
    }
}

/// Fields and values of an entry.
#[derive(Clone)]
pub struct Fields<'a> {
    names: Option<listpack::Iter<'a>>,
    body: listpack::Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field = self.names.as_mut().unwrap_or(&mut self.body).next()?;
        Some((field, self.body.next()?))
    }
}

/// Checks the elements of a well-formed listpack against the layout of a node.
struct Validator<'a> {
    items: listpack::Iter<'a>,
    index: usize,
}

impl Validator<'_> {
    fn run(mut self, master: StreamId) -> Result<(), NodeError> {
        let (live, deleted) = (self.count()?, self.count()?);
        let counts = NodeError::Counts { live, deleted };
        let fields = self.count()?;
        self.pass(fields)?;
        self.exactly(0)?;
        let (mut left_live, mut left_deleted) = (live, deleted);
        let mut last: Option<StreamId> = None;
        while self.items.clone().next().is_some() {
            let flags = self.integer()?;
            let id = id_at(master, self.integer()?, self.integer()?);
            if flags & SAME_FIELDS != 0 {
                self.pass(fields)?;
                self.exactly(FIXED_PIECES + fields)?;
            } else {
                let pairs = self.count()?;
                // Below 2^32 elements in all, or `pass` has failed: no overflow.
                self.pass(pairs)?;
                self.pass(pairs)?;
                self.exactly(FIXED_PIECES + 1 + 2 * pairs)?;
            }
            if flags & DELETED != 0 {
                left_deleted -= 1;
                continue;
            }
            left_live -= 1;
            if id < master || last.is_some_and(|last| id <= last) {
                return Err(NodeError::Order { id });
            }
            last = Some(id);
        }
        if left_live == 0 && left_deleted == 0 { Ok(()) } else { Err(counts) }
    }

    fn integer(&mut self) -> Result<i64, NodeError> {
        let index = self.index;
        self.index += 1;
        self.items.next().and_then(|item| item.as_int()).ok_or(NodeError::Malformed { index })
    }

    fn count(&mut self) -> Result<i64, NodeError> {
        let index = self.index;
        self.integer().and_then(|n| if n < 0 { Err(NodeError::Malformed { index }) } else { Ok(n) })
    }

    fn exactly(&mut self, expected: i64) -> Result<(), NodeError> {
        let index = self.index;
        self.integer().and_then(|n| if n == expected { Ok(()) } else { Err(NodeError::Malformed { index }) })
    }

    fn pass(&mut self, count: i64) -> Result<(), NodeError> {
        for _ in 0..count {
            let index = self.index;
            self.index += 1;
            self.items.next().ok_or(NodeError::Malformed { index })?;
        }
        Ok(())
    }
}
