//! Set values: an intset while all members are integers, a listpack while there are few, a table beyond.

use triomphe::Arc;

use super::element::{Elem, ElementsError, has_duplicates, table_heap_size};
use super::sample::{self, Selection};
use crate::config::Config;
use crate::ds::dict::{self, Dict};
use crate::ds::{Entry, HashSeed, Intset, Listpack, Member, listpack};
use crate::rng::Rng;

/// Longest intset, whatever the configuration says: its length is 32 bits wide (Redis's limit).
const INTSET_LEN_MAX: usize = 1 << 30;

/// A set. 16 bytes; cloning shares everything.
#[derive(Clone, Debug)]
pub enum Set {
    Ints(Intset),
    Packed(Listpack),
    Table(Arc<Dict<SetMember>>),
}

/// A member of a set that is a table.
#[derive(Clone, Debug)]
pub struct SetMember(pub Member);

impl Entry for SetMember {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

/// What compact sets may hold, and the seed of the table that they become.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// `set-max-intset-entries`
    pub max_ints: usize,
    /// `set-max-listpack-entries`
    pub max_packed: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub max_value: usize,
    pub seed: HashSeed,
}

impl SetLimits {
    /// Those of the configuration.
    pub fn new(config: &Config, seed: HashSeed) -> Self {
        Self {
            max_ints: config.set_max_intset_entries,
            max_packed: config.set_max_listpack_entries,
            max_value: config.set_max_listpack_value,
            seed,
        }
    }

    fn ints(&self) -> usize {
        self.max_ints.min(INTSET_LEN_MAX)
    }
}

impl Set {
    /// An empty set that is about to get `expected` members, `first` among them: the encoding that suits them.
    pub fn for_members<'a>(first: impl Into<Elem<'a>>, expected: usize, limits: &SetLimits) -> Self {
        if expected <= limits.max_ints && first.into().as_int().is_some() {
            Self::Ints(Intset::new())
        } else if expected <= limits.max_packed {
            Self::Packed(Listpack::new())
        } else {
            Self::Table(Arc::new(Dict::new(limits.seed)))
        }
    }

    /// Takes over an intset from outside (validated as such).
    pub fn from_intset(ints: Intset, limits: &SetLimits) -> Result<Self, ElementsError> {
        if ints.is_empty() {
            return Err(ElementsError::Empty);
        }
        let mut set = Self::Ints(ints);
        if set.len() > limits.ints() {
            set.make_table(limits.seed);
        }
        Ok(set)
    }

    /// Takes over a listpack from outside (validated as such) whose elements are all different.
    pub fn from_listpack(pack: Listpack, limits: &SetLimits) -> Result<Self, ElementsError> {
        if pack.is_empty() {
            return Err(ElementsError::Empty);
        }
        if has_duplicates(&pack, 1) {
            return Err(ElementsError::Duplicate);
        }
        let mut set = Self::Packed(pack);
        if set.len() > limits.max_packed {
            set.make_table(limits.seed);
        }
        Ok(set)
    }

    /// The intset of a compact set of integers, to be stored as it is.
    pub fn as_intset(&self) -> Option<&Intset> {
        match self {
            Self::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// The listpack of another compact set, to be stored as it is.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self {
            Self::Packed(pack) => Some(pack),
            _ => None,
        }
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Packed(pack) => pack.len(),
            Self::Table(dict) => dict.len(),
        }
    }

    /// Has it no members?
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            _ => self.len() == 0,
        }
    }

    /// Is it a member?
    pub fn contains<'a>(&self, member: impl Into<Elem<'a>>) -> bool {
        let member = member.into();
        match self {
            Self::Ints(ints) => member.as_int().is_some_and(|value| ints.contains(value)),
            Self::Packed(pack) => member.with_bytes(|bytes| pack.find(bytes, 0).is_some()),
            Self::Table(dict) => member.with_bytes(|bytes| dict.contains(bytes)),
        }
    }

    /// A command is about to add so many members: a compact set that could not hold them becomes a table first.
    pub fn expect_members(&mut self, members: usize, limits: &SetLimits) {
        let max = match self {
            Self::Ints(_) => limits.max_ints,
            Self::Packed(_) => limits.max_packed,
            Self::Table(_) => return,
        };
        if members > max {
            self.make_table(limits.seed);
        }
    }

    /// Adds a member; false when it was there.
    pub fn insert<'a>(&mut self, member: impl Into<Elem<'a>>, limits: &SetLimits) -> bool {
        let member = member.into();
        if let Self::Ints(ints) = self {
            if let Some(value) = member.as_int() {
                let new = ints.insert(value);
                if new && ints.len() > limits.ints() {
                    self.make_table(limits.seed);
                }
                return new;
            }
            if widest_text(ints) <= limits.max_value && ints.len() < limits.max_packed {
                let mut pack = Listpack::new();
                pack.append_many(ints.iter());
                *self = Self::Packed(pack);
            } else {
                self.make_table(limits.seed);
            }
        }
        if let Self::Packed(pack) = self {
            let mut buf = itoa::Buffer::new();
            let bytes = member.to_bytes(&mut buf);
            if pack.find(bytes, 0).is_some() {
                return false;
            }
            let fits = pack.len() < limits.max_packed && bytes.len() <= limits.max_value;
            if fits && pack.has_room_for(bytes.len(), 1) {
                pack.append(member.to_item());
                return true;
            }
            self.make_table(limits.seed);
        }
        let Self::Table(dict) = self else { unreachable!("compact sets were dealt with") };
        let mut buf = itoa::Buffer::new();
        let bytes = member.to_bytes(&mut buf);
        Arc::make_mut(dict).get_or_insert_with(bytes, || SetMember(member.to_member())).1
    }

    /// Removes a member; false when it was not there.
    pub fn remove<'a>(&mut self, member: impl Into<Elem<'a>>) -> bool {
        let member = member.into();
        match self {
            Self::Ints(ints) => member.as_int().is_some_and(|value| ints.remove(value)),
            Self::Packed(pack) => match member.with_bytes(|bytes| pack.find(bytes, 0)) {
                Some(at) => {
                    pack.delete(at);
                    true
                }
                None => false,
            },
            Self::Table(dict) => member.with_bytes(|bytes| Arc::make_mut(dict).remove(bytes).is_some()),
        }
    }

    /// All members: ascending integers, or in the order of insertion while it is compact, in no order beyond.
    pub fn iter(&self) -> Members<'_> {
        match self {
            Self::Ints(ints) => Members::Ints { ints, next: 0 },
            Self::Packed(pack) => Members::Packed(pack.iter()),
            Self::Table(dict) => Members::Table(dict.iter()),
        }
    }

    /// A uniformly random member.
    pub fn random(&self, rng: &Rng) -> Option<Elem<'_>> {
        match self {
            Self::Table(dict) => dict.random(&mut |n| rng.below(n)).map(|member| (&member.0).into()),
            Self::Ints(ints) => {
                let len = ints.len() as u64;
                (len > 0).then(|| ints.get(rng.below(len) as usize).expect("below the length").into())
            }
            Self::Packed(pack) => {
                let len = pack.len() as u64;
                (len > 0).then(|| pack.at(rng.below(len) as i64).expect("below the length").into())
            }
        }
    }

    /// Visits `count` different members (all, when there are fewer), every choice equally likely.
    pub fn sample(&self, count: usize, rng: &Rng, mut visit: impl FnMut(Elem<'_>)) {
        let len = self.len();
        match self {
            Self::Table(dict) if sample::is_sparse(count, len) => {
                for rank in sample::ranks(len, count, rng) {
                    visit((&dict.at_rank(rank).expect("a rank below the length").0).into());
                }
            }
            _ => {
                let mut selection = Selection::new(len, count);
                for member in self {
                    if selection.is_done() {
                        break;
                    }
                    if selection.takes(rng) {
                        visit(member);
                    }
                }
            }
        }
    }

    /// Visits `count` random members, each drawn from all of them.
    pub fn draw(&self, count: usize, rng: &Rng, mut visit: impl FnMut(Elem<'_>)) {
        let len = self.len() as u64;
        if len == 0 {
            return;
        }
        match self {
            // One walk, not one for each member.
            Self::Packed(_) if count > 1 => {
                let members: Vec<_> = self.iter().collect();
                (0..count).for_each(|_| visit(members[rng.below(len) as usize]));
            }
            _ => (0..count).map_while(|_| self.random(rng)).for_each(visit),
        }
    }

    /// Takes a uniformly random member out.
    pub fn pop(&mut self, rng: &Rng) -> Option<Member> {
        let member = self.random(rng)?.to_member();
        self.remove(&member);
        Some(member)
    }

    /// Takes `count` random members out (all, when there are fewer). The encoding stays as it is.
    pub fn pop_many(&mut self, count: usize, rng: &Rng) -> Vec<Member> {
        let Self::Packed(pack) = self else {
            return (0..count).map_while(|_| self.pop(rng)).collect();
        };
        // Found in one walk, deleted from the end so that the other positions stay true.
        let mut selection = Selection::new(pack.len(), count);
        let mut positions = Vec::new();
        let mut popped = Vec::new();
        let mut items = pack.iter();
        while !selection.is_done() {
            let at = items.pos();
            let item = items.next().expect("a selection takes no more than there are");
            if selection.takes(rng) {
                positions.push(at);
                popped.push(Elem::from(item).to_member());
            }
        }
        for &at in positions.iter().rev() {
            pack.delete(at);
        }
        popped
    }

    /// One step of SSCAN: visits about `count` members (all, while it is compact); the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Elem<'_>)) -> u64 {
        match self {
            Self::Table(dict) => dict.scan(cursor, count, &mut |member| visit((&member.0).into())),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// OBJECT ENCODING's reply.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Ints(_) => "intset",
            Self::Packed(_) => "listpack",
            Self::Table(_) => "hashtable",
        }
    }

    /// Elements that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        match self {
            Self::Table(dict) => dict.len(),
            _ => 1,
        }
    }

    /// Bytes of heap that the value holds; `samples` members stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        match self {
            Self::Ints(ints) => ints.as_shared().heap_size(),
            Self::Packed(pack) => pack.as_shared().heap_size(),
            Self::Table(dict) => table_heap_size(dict, samples, |member| member.0.heap_size()),
        }
    }

    fn make_table(&mut self, seed: HashSeed) {
        let mut dict = Dict::new(seed);
        dict.extend(self.iter().map(|member| SetMember(member.to_member())));
        *self = Self::Table(Arc::new(dict));
    }
}

/// Bytes of the longest of the members' texts: that of the smallest or the largest.
fn widest_text(ints: &Intset) -> usize {
    let ends = [ints.get(0), ints.len().checked_sub(1).and_then(|last| ints.get(last))];
    ends.into_iter().flatten().map(|value| Elem::Int(value).len()).max().unwrap_or(0)
}

impl<'a> IntoIterator for &'a Set {
    type Item = Elem<'a>;
    type IntoIter = Members<'a>;

    fn into_iter(self) -> Members<'a> {
        self.iter()
    }
}

/// The members of a set; see [`Set::iter`].
pub enum Members<'a> {
    Ints { ints: &'a Intset, next: usize },
    Packed(listpack::Iter<'a>),
    Table(dict::Iter<'a, SetMember>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Elem<'a>;

    fn next(&mut self) -> Option<Elem<'a>> {
        match self {
            Self::Ints { ints, next } => {
                let value = ints.get(*next)?;
                *next += 1;
                Some(value.into())
            }
            Self::Packed(items) => items.next().map(Elem::from),
            Self::Table(members) => members.next().map(|member| (&member.0).into()),
        }
    }
}

/// A set made of members that come in any order (from a table: in the order of secret hashes). Its encoding depends
/// on the members alone, so that a command that stores it does the same on every node.
pub struct SetBuilder {
    set: Set,
    limits: SetLimits,
    /// Lets an intset grow as long as a listpack may: only at the end is it known whether all are integers.
    growing: SetLimits,
}

impl SetBuilder {
    /// Nothing yet.
    pub fn new(limits: &SetLimits) -> Self {
        let growing = SetLimits { max_ints: limits.ints().max(limits.max_packed), ..*limits };
        Self { set: Set::Ints(Intset::new()), limits: *limits, growing }
    }

    /// Adds a member; false when it was there.
    pub fn insert(&mut self, member: Elem<'_>) -> bool {
        self.set.insert(member, &self.growing)
    }

    /// Removes a member; false when it was not there. The encoding stays as it is.
    pub fn remove(&mut self, member: Elem<'_>) -> bool {
        self.set.remove(member)
    }

    /// Has it no members?
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The set.
    pub fn finish(self) -> Set {
        let mut set = self.set;
        if matches!(&set, Set::Ints(ints) if ints.len() > self.limits.ints()) {
            set.make_table(self.limits.seed);
        }
        set
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
