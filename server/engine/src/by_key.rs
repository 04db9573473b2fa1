//! A table by database and key: who watches a key, who waits for one.

use std::collections::BTreeMap;

type Map<T> = BTreeMap<Box<[u8]>, T>;

/// Values by database and key, in order. Looking one up allocates nothing: it happens at every change of a key while
/// any client watches or waits.
#[derive(Debug)]
pub struct ByKey<T> {
    dbs: Vec<Map<T>>,
    len: usize,
}

impl<T> Default for ByKey<T> {
    fn default() -> Self {
        Self { dbs: Vec::new(), len: 0 }
    }
}

impl<T> ByKey<T> {
    /// Is there nothing in any database?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of keys, in all databases.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What belongs to the key.
    pub fn get(&self, db: usize, key: &[u8]) -> Option<&T> {
        self.dbs.get(db)?.get(key)
    }

    /// What belongs to the key, to be changed.
    pub fn get_mut(&mut self, db: usize, key: &[u8]) -> Option<&mut T> {
        self.dbs.get_mut(db)?.get_mut(key)
    }

    /// Takes what belongs to the key away.
    pub fn remove(&mut self, db: usize, key: &[u8]) -> Option<T> {
        let removed = self.dbs.get_mut(db)?.remove(key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// All keys of a database with what belongs to them, in order.
    pub fn of_db(&self, db: usize) -> impl Iterator<Item = (&[u8], &T)> {
        self.dbs.get(db).into_iter().flatten().map(|(key, value)| (&**key, value))
    }

    /// Everything, in order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.dbs.iter().flat_map(|map| map.values())
    }
}

impl<T: Default> ByKey<T> {
    /// What belongs to the key; made if there is nothing.
    pub fn entry(&mut self, db: usize, key: &[u8]) -> &mut T {
        if db >= self.dbs.len() {
            self.dbs.resize_with(db + 1, Map::new);
        }
        let map = &mut self.dbs[db];
        if !map.contains_key(key) {
            self.len += 1;
        }
        map.entry(key.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_of_two_databases_is_two_entries() {
        let mut table: ByKey<Vec<u32>> = ByKey::default();
        table.entry(0, b"k").push(1);
        table.entry(3, b"k").push(2);
        table.entry(3, b"k").push(3);
        assert_eq!(table.len(), 2);
        assert_eq!(table.get(0, b"k"), Some(&vec![1]));
        assert_eq!(table.get(3, b"k"), Some(&vec![2, 3]));
        assert_eq!(table.get(1, b"k"), None);
        assert_eq!(table.of_db(3).count(), 1);
        assert_eq!(table.remove(3, b"k"), Some(vec![2, 3]));
        assert_eq!(table.remove(3, b"k"), None);
        assert_eq!(table.len(), 1);
        assert!(!table.is_empty());
    }
}
