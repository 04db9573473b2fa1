//! Objects: fields in the order in which they came, found by name in constant time.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;
use triomphe::Arc;

use crate::Json;
use crate::text::Text;

/// From so many fields on there is an index; below, looking at each one is as fast.
const INDEX_MIN: usize = 16;

/// Of the whole process, and not to be guessed by clients; nothing that anybody sees depends on it.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The fields of an object. Removing one moves the last one to its place, as RedisJSON does.
#[derive(Clone, Debug, Default)]
pub struct Object(Arc<Fields>);

#[derive(Clone, Debug, Default)]
struct Fields {
    entries: Vec<(Text, Json)>,
    /// Places in `entries`; empty below `INDEX_MIN`.
    index: HashTable<usize>,
}

fn hash(name: &str) -> u64 {
    HASHER.hash_one(name)
}

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Json)> + Clone {
        self.0.entries.iter().map(|(name, value)| (name, value))
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        self.get_full(name).map(|(_, value)| value)
    }

    /// The name as the object has it, and the value.
    pub fn get_full(&self, name: &str) -> Option<(&Text, &Json)> {
        let (name, value) = &self.0.entries[self.0.find(name)?];
        Some((name, value))
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        let at = self.0.find(name)?;
        Some(&mut Arc::make_mut(&mut self.0).entries[at].1)
    }

    /// Sets a field where it is, or adds it at the end. The value that was there.
    pub fn insert(&mut self, name: Text, value: Json) -> Option<Json> {
        let fields = Arc::make_mut(&mut self.0);
        match fields.find(&name) {
            Some(at) => Some(std::mem::replace(&mut fields.entries[at].1, value)),
            None => {
                fields.push(name, value);
                None
            }
        }
    }

    /// Takes a field out; the last one takes its place.
    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.find(name)?;
        Some(Arc::make_mut(&mut self.0).swap_remove(at))
    }

    /// Gives back what growing has set aside.
    pub(crate) fn shrink(&mut self) {
        Arc::make_mut(&mut self.0).entries.shrink_to_fit();
    }

    /// Bytes on the heap of the table alone.
    pub(crate) fn own_size(&self) -> usize {
        let Fields { entries, index } = &*self.0;
        size_of::<usize>()
            + size_of::<Fields>()
            + entries.capacity() * size_of::<(Text, Json)>()
            + index.allocation_size()
    }

    /// Is it the same table in memory?
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Fields {
    fn find(&self, name: &str) -> Option<usize> {
        if self.entries.len() < INDEX_MIN {
            return self.entries.iter().position(|(known, _)| known.as_str() == name);
        }
        self.index.find(hash(name), |&at| self.entries[at].0.as_str() == name).copied()
    }

    fn push(&mut self, name: Text, value: Json) {
        self.entries.push((name, value));
        match self.entries.len() {
            ..INDEX_MIN => {}
            INDEX_MIN => self.build_index(),
            len => self.add_to_index(len - 1),
        }
    }

    fn build_index(&mut self) {
        self.index.clear();
        for at in 0..self.entries.len() {
            self.add_to_index(at);
        }
    }

    fn add_to_index(&mut self, at: usize) {
        let Self { entries, index } = self;
        index.insert_unique(hash(&entries[at].0), at, |&at| hash(&entries[at].0));
    }

    fn index_entry(&mut self, at: usize) -> OccupiedEntry<'_, usize> {
        let found = self.index.find_entry(hash(&self.entries[at].0), |&known| known == at);
        found.expect("every field is in the index")
    }

    fn swap_remove(&mut self, at: usize) -> Json {
        let last = self.entries.len() - 1;
        if last < INDEX_MIN {
            self.index = HashTable::new();
        } else {
            self.index_entry(at).remove();
            if at != last {
                *self.index_entry(last).get_mut() = at;
            }
        }
        self.entries.swap_remove(at).1
    }
}

impl FromIterator<(Text, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (Text, Json)>>(fields: I) -> Self {
        let mut object = Self::new();
        for (name, value) in fields {
            object.insert(name, value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_field_takes_the_place_of_a_removed_one() {
        let mut object: Object =
            ["a", "b", "c", "d"].map(|name| (name.into(), Json::Null)).into_iter().collect();
        assert_eq!(object.remove("b"), Some(Json::Null));
        assert_eq!(object.remove("b"), None);
        assert_eq!(object.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "d", "c"]);
    }

    proptest! {
        #[test]
        fn an_object_is_a_list_of_pairs_with_an_index(changes in prop::collection::vec((0..40u8, any::<bool>()), 0..300)) {
            let mut object = Object::new();
            let mut model: Vec<(String, i64)> = Vec::new();
            let mut kept = Vec::new();
            for (round, (name, insert)) in changes.into_iter().enumerate() {
                let name = format!("f{name}");
                let at = model.iter().position(|(known, _)| *known == name);
                if insert {
                    object.insert(name.as_str().into(), Json::Int(round as i64));
                    match at {
                        Some(at) => model[at].1 = round as i64,
                        None => model.push((name, round as i64)),
                    }
                } else {
                    let removed = at.map(|at| Json::Int(model.swap_remove(at).1));
                    prop_assert_eq!(object.remove(&name), removed);
                }
                if round % 16 == 0 {
                    kept.push((object.clone(), model.clone()));
                }
                kept.truncate(8);
            }
            kept.push((object, model));
            for (object, model) in kept {
                let fields: Vec<_> = object.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
                let expected: Vec<_> = model.iter().map(|(name, value)| (name.clone(), Json::Int(*value))).collect();
                prop_assert_eq!(fields, expected);
                for at in 0..40 {
                    let name = format!("f{at}");
                    let expected = model.iter().find(|(known, _)| *known == name).map(|(_, value)| Json::Int(*value));
                    prop_assert_eq!(object.get(&name).cloned(), expected);
                }
            }
        }
    }
}
