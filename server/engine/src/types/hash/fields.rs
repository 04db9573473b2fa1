//! The fields of a hash: a listpack of fields and values in turn while the hash is small, a table beyond.

use triomphe::Arc;

use super::super::element::{Elem, ElementsError, has_duplicates, table_heap_size};
use super::super::sample::{self, Selection};
use crate::config::Config;
use crate::ds::dict::{self, Dict};
use crate::ds::{Entry, HashSeed, Listpack, Member, listpack};
use crate::rng::Rng;

/// Fields with a value each. 16 bytes; cloning shares everything.
#[derive(Clone, Debug)]
pub enum Fields {
    Packed(Listpack),
    Table(Arc<Dict<Field>>),
}

/// A field of a hash that is a table.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: Member,
    pub value: Member,
}

impl Entry for Field {
    fn key(&self) -> &[u8] {
        &self.name
    }
}

/// What a compact hash may hold, and the seed of the table that it becomes.
#[derive(Clone, Copy, Debug)]
pub struct HashLimits {
    /// `hash-max-listpack-entries`
    pub max_packed: usize,
    /// `hash-max-listpack-value`: bytes of a field or a value.
    pub max_value: usize,
    pub seed: HashSeed,
}

impl HashLimits {
    /// Those of the configuration.
    pub fn new(config: &Config, seed: HashSeed) -> Self {
        Self { max_packed: config.hash_max_listpack_entries, max_value: config.hash_max_listpack_value, seed }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::new()
    }
}

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::Packed(Listpack::new())
    }

    /// No fields yet, but about to be so many (fewer, if some of them are the same).
    pub fn for_fields(fields: usize, limits: &HashLimits) -> Self {
        let mut all = Self::new();
        all.expect_fields(fields, limits);
        all
    }

    /// Takes over a listpack from outside (validated as such): fields and values in turn, no field twice.
    pub fn from_listpack(pack: Listpack, limits: &HashLimits) -> Result<Self, ElementsError> {
        let count = pack.len();
        if count == 0 {
            return Err(ElementsError::Empty);
        }
        if !count.is_multiple_of(2) {
            return Err(ElementsError::NotPairs { count });
        }
        if has_duplicates(&pack, 2) {
            return Err(ElementsError::Duplicate);
        }
        let mut hash = Self::Packed(pack);
        hash.expect_fields(count / 2, limits);
        Ok(hash)
    }

    /// The listpack of a compact hash, to be stored as it is.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self {
            Self::Packed(pack) => Some(pack),
            Self::Table(_) => None,
        }
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.len() / 2,
            Self::Table(dict) => dict.len(),
        }
    }

    /// Has it no fields?
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Table(dict) => dict.is_empty(),
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Elem<'_>> {
        match self {
            Self::Packed(pack) => {
                let at = pack.find(field, 1)?;
                Some(pack.get(value_after(pack, at)).into())
            }
            Self::Table(dict) => dict.get(field).map(|entry| (&entry.value).into()),
        }
    }

    /// Is the field there?
    pub fn contains(&self, field: &[u8]) -> bool {
        match self {
            Self::Packed(pack) => pack.find(field, 1).is_some(),
            Self::Table(dict) => dict.contains(field),
        }
    }

    /// The name of a field that is there, as a table has it: the bytes of a long one are shared.
    pub(super) fn name_of(&self, field: &[u8]) -> Option<Member> {
        match self {
            Self::Packed(pack) => pack.find(field, 1).map(|_| Member::from(field)),
            Self::Table(dict) => dict.get(field).map(|entry| entry.name.clone()),
        }
    }

    /// A command is about to set so many fields: a compact hash that could not hold them becomes a table first.
    pub fn expect_fields(&mut self, fields: usize, limits: &HashLimits) {
        if fields > limits.max_packed {
            self.make_table(limits.seed);
        }
    }

    /// Sets a field; true when it is new.
    pub fn set<'a>(&mut self, field: &[u8], value: impl Into<Elem<'a>>, limits: &HashLimits) -> bool {
        let value = value.into();
        if let Self::Packed(pack) = self {
            let value_len = value.len();
            if field.len().max(value_len) > limits.max_value || !pack.has_room_for(field.len() + value_len, 2)
            {
                self.make_table(limits.seed);
            }
        }
        match self {
            Self::Packed(pack) => {
                if let Some(at) = pack.find(field, 1) {
                    pack.replace(value_after(pack, at), value.to_item());
                    return false;
                }
                pack.append_many([field.into(), value.to_item()]);
                if pack.len() / 2 > limits.max_packed {
                    self.make_table(limits.seed);
                }
                true
            }
            Self::Table(dict) => {
                let mut value = Some(value.to_member());
                let (entry, made) = Arc::make_mut(dict).get_or_insert_with(field, || Field {
                    name: field.into(),
                    value: value.take().expect("called once"),
                });
                if let Some(value) = value {
                    entry.value = value;
                }
                made
            }
        }
    }

    /// Removes a field; false when it was not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Packed(pack) => match pack.find(field, 1) {
                Some(at) => {
                    pack.delete_from(at, 2);
                    true
                }
                None => false,
            },
            Self::Table(dict) => Arc::make_mut(dict).remove(field).is_some(),
        }
    }

    /// All fields with their values: in the order of insertion while it is compact, in no order beyond.
    pub fn iter(&self) -> Pairs<'_> {
        match self {
            Self::Packed(pack) => Pairs::Packed(pack.iter()),
            Self::Table(dict) => Pairs::Table(dict.iter()),
        }
    }

    /// A uniformly random field with its value.
    pub fn random(&self, rng: &Rng) -> Option<(Elem<'_>, Elem<'_>)> {
        match self {
            Self::Packed(pack) => {
                let pairs = pack.len() / 2;
                if pairs == 0 {
                    return None;
                }
                let at = pack.seek(2 * rng.below(pairs as u64) as i64).expect("below the number of pairs");
                Some((pack.get(at).into(), pack.get(value_after(pack, at)).into()))
            }
            Self::Table(dict) => dict.random(&mut |n| rng.below(n)).map(Field::elems),
        }
    }

    /// Visits `count` different fields (all, when there are fewer), every choice equally likely.
    pub fn sample(&self, count: usize, rng: &Rng, mut visit: impl FnMut(Elem<'_>, Elem<'_>)) {
        let len = self.len();
        match self {
            Self::Table(dict) if sample::is_sparse(count, len) => {
                for rank in sample::ranks(len, count, rng) {
                    let (field, value) = dict.at_rank(rank).expect("a rank below the length").elems();
                    visit(field, value);
                }
            }
            _ => {
                let mut selection = Selection::new(len, count);
                for (field, value) in self.iter() {
                    if selection.is_done() {
                        break;
                    }
                    if selection.takes(rng) {
                        visit(field, value);
                    }
                }
            }
        }
    }

    /// Visits `count` random fields, each drawn from all of them.
    pub fn draw(&self, count: usize, rng: &Rng, mut visit: impl FnMut(Elem<'_>, Elem<'_>)) {
        let len = self.len() as u64;
        if len == 0 {
            return;
        }
        match self {
            // One walk, not one for each field.
            Self::Packed(_) if count > 1 => {
                let pairs: Vec<_> = self.iter().collect();
                for _ in 0..count {
                    let (field, value) = pairs[rng.below(len) as usize];
                    visit(field, value);
                }
            }
            _ => (0..count).map_while(|_| self.random(rng)).for_each(|(field, value)| visit(field, value)),
        }
    }

    /// One step of HSCAN: visits about `count` fields (all, while it is compact); the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Elem<'_>, Elem<'_>)) -> u64 {
        match self {
            Self::Packed(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Self::Table(dict) => dict.scan(cursor, count, &mut |entry| {
                let (field, value) = entry.elems();
                visit(field, value);
            }),
        }
    }

    /// Elements that dropping the value must visit.
    pub fn drop_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Table(dict) => dict.len(),
        }
    }

    /// Bytes of heap that the value holds; `samples` fields stand for the rest (0: all).
    pub fn heap_size(&self, samples: usize) -> usize {
        match self {
            Self::Packed(pack) => pack.as_shared().heap_size(),
            Self::Table(dict) => {
                table_heap_size(dict, samples, |entry| entry.name.heap_size() + entry.value.heap_size())
            }
        }
    }

    fn make_table(&mut self, seed: HashSeed) {
        if let Self::Packed(pack) = self {
            let mut dict = Dict::new(seed);
            for (name, value) in Pairs::Packed(pack.iter()) {
                dict.insert(Field { name: name.to_member(), value: value.to_member() });
            }
            *self = Self::Table(Arc::new(dict));
        }
    }
}

impl Field {
    fn elems(&self) -> (Elem<'_>, Elem<'_>) {
        ((&self.name).into(), (&self.value).into())
    }
}

fn value_after(pack: &Listpack, field: usize) -> usize {
    pack.next(field).expect("a field is followed by its value")
}

/// The fields of a hash with their values; see [`Fields::iter`].
pub enum Pairs<'a> {
    Packed(listpack::Iter<'a>),
    Table(dict::Iter<'a, Field>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(items) => Some((items.next()?.into(), items.next()?.into())),
            Self::Table(entries) => entries.next().map(Field::elems),
        }
    }
}
