//! Fields of hashes that expire. A hash knows the times of its fields; here stands, for each database, which hashes have
//! any, by the time of the next one, so that active expiry need not look for them.
//!
//! Whoever changes the times of a hash in place says so by [`Keyspace::note_field_times`]; values that come, go or move
//! as a whole are the keyspace's own business.

use super::{Db, KeyEntry, Keyspace};
use crate::ds::{Member, Timetable};
use crate::value::Value;

/// The keys of hashes with fields that expire, each with the time of the next field.
pub type FieldExpiries = Timetable<22>;

/// Fields of a hash whose time has come, and that have been removed.
pub enum Expired {
    /// All of them, so many, and with them the key.
    Key {
        fields: usize,
    },
    Fields(Vec<Member>),
}

impl Db {
    /// A key that is about to be put into the database (loading).
    pub(crate) fn note_field_times(&mut self, entry: &KeyEntry) {
        if let Value::Hash(hash) = &entry.value
            && let Some(next_ms) = hash.next_time()
        {
            self.field_expiries.insert(&entry.key, next_ms, self.dict.seed());
        }
    }
}

impl Keyspace {
    /// The times of the fields of the hash at `key` may have changed.
    pub fn note_field_times(&mut self, key: &[u8]) {
        let seed = self.seed();
        let db = self.db_mut();
        let entry = db.dict.get(key);
        match entry.and_then(|entry| Some((&entry.key, entry.value.as_hash().ok()?.next_time()?))) {
            Some((key, next_ms)) => db.field_expiries.insert(key, next_ms, seed),
            None => {
                db.field_expiries.remove(key);
            }
        }
    }

    /// Has the time of any field of the key come?
    pub fn has_due_fields(&self, key: &[u8]) -> bool {
        let expiries = &self.db().field_expiries;
        !expiries.is_empty() && expiries.get(key).is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    /// The hash with the next field to expire, if that one's time has come.
    pub fn first_with_due_fields(&self) -> Option<Box<[u8]>> {
        let (at_ms, key) = self.db().field_expiries.first()?;
        (at_ms <= self.now_ms).then(|| (**key).into())
    }

    /// Has the time of all fields of the key come? As good as no key.
    pub(super) fn is_without_fields(&self, key: &[u8]) -> bool {
        self.has_due_fields(key)
            && matches!(self.peek(key), Some(Value::Hash(hash)) if hash.is_gone_by(self.now_ms))
    }

    /// Removes up to `count` fields whose time has come, or the key if it has come for all. Nothing happens without any.
    pub fn remove_due_fields(&mut self, key: &[u8], count: usize) -> Option<Expired> {
        if !self.has_due_fields(key) {
            return None;
        }
        let now_ms = self.now_ms;
        let value = self.db_mut().dict.get_mut(key).map(|entry| &mut entry.value);
        let Some(Value::Hash(hash)) = value else { unreachable!("only hashes have fields that expire") };
        if hash.is_gone_by(now_ms) {
            let fields = hash.len();
            self.delete(key);
            return Some(Expired::Key { fields });
        }
        let due = hash.due_by(now_ms, count);
        assert!(!due.is_empty(), "the time of the next field of a hash is known");
        for field in &due {
            hash.remove(field);
        }
        self.note_field_times(key);
        Some(Expired::Fields(due))
    }

    /// On a follower: fields whose time has come are out of sight until [`Keyspace::show_hidden`]; only the leader may
    /// remove them. Costs as much as removing them, at every command on the hash: the leader will not be long in coming
    /// with the effect.
    pub fn hide_fields(&mut self, key: &[u8]) {
        if self.is_without_fields(key) {
            return self.hide(key);
        }
        let (db, now_ms) = (self.selected(), self.now_ms);
        let Some(Value::Hash(hash)) = self.db_mut().dict.get_mut(key).map(|entry| &mut entry.value) else {
            return;
        };
        let due = hash.due_by(now_ms, usize::MAX);
        if due.is_empty() {
            // Hidden already, from a command of the same unit.
            return;
        }
        let whole = hash.clone();
        for field in &due {
            hash.remove(field);
        }
        self.whole_hashes.push((db, key.into(), Value::Hash(whole)));
    }

    /// Puts back the hashes as they are.
    pub(super) fn show_hidden_fields(&mut self) {
        for (db, key, whole) in self.whole_hashes.drain(..) {
            if let Some(entry) = self.dbs[db].dict.get_mut(&key) {
                entry.value = whole;
            }
        }
    }
}
