//! The databases: keys, values, expiry times.
//!
//! A [`Db`] is two copy-on-write hash tries: `dict` holds every key, `expires` only those with a time to live. A
//! snapshot clones both in O(1); whoever writes next copies just the leaf that it writes to.
//!
//! Expired keys: the dispatcher removes the expired among a command's declared keys *before* the command runs (the
//! removal is an effect), and the clock stands still while it runs. So handlers never meet an expired key among
//! those they declared; only those that walk the keyspace (KEYS, SCAN, RANDOMKEY) look at [`Keyspace::is_due`].
//! Fields of hashes that expire go the same way: see [`fields`].

pub mod dirty;
pub mod evict;
pub mod fields;
mod size;

pub(crate) use size::ELEMENT_SAMPLES;

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cairn_search::index::Index;
use triomphe::Arc;

use crate::config::{Config, MaxmemoryPolicy, NotifyFlags};
use crate::ds::{Dict, Entry, HashSeed, Key};
use crate::keyspace::fields::FieldExpiries;
use crate::rng::Rng;
use crate::value::Value;

/// Values whose drop visits more elements than this are dropped off the executor's thread.
const DROP_EFFORT_MAX: usize = 64;

/// A key, its value, and when it was last used.
#[derive(Debug)]
pub struct KeyEntry {
    pub key: Key,
    pub value: Value,
    /// LRU: seconds, LFU: minutes and counter (see [`evict`]). Atomic because reads touch leaves that a snapshot
    /// shares; only the executor's thread ever writes it.
    usage: AtomicU32,
}

const _: () = assert!(size_of::<KeyEntry>() <= 56);

impl Clone for KeyEntry {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            value: self.value.clone(),
            usage: AtomicU32::new(self.usage.load(Relaxed)),
        }
    }
}

impl Entry for KeyEntry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl KeyEntry {
    /// An entry to be put into a database (loading).
    pub fn new(key: Key, value: Value, usage: u32) -> Self {
        Self { key, value, usage: AtomicU32::new(usage) }
    }

    /// The LRU or LFU word.
    pub fn usage(&self) -> u32 {
        self.usage.load(Relaxed)
    }

    /// Sets the LRU or LFU word (RESTORE, RDB).
    pub fn set_usage(&self, usage: u32) {
        self.usage.store(usage, Relaxed);
    }
}

/// When a key expires.
#[derive(Clone, Debug)]
pub struct ExpireEntry {
    pub key: Key,
    pub at_ms: i64,
}

impl Entry for ExpireEntry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

/// One database.
#[derive(Clone)]
pub struct Db {
    pub dict: Dict<KeyEntry>,
    pub expires: Dict<ExpireEntry>,
    /// The hashes with fields that expire.
    pub field_expiries: FieldExpiries,
    /// Where active expiry goes on.
    pub expire_cursor: u64,
    /// Mean time to live of the keys that active expiry saw, for INFO.
    pub average_ttl_ms: i64,
    /// Shared with the database's snapshots: tells whether one lives.
    life: Arc<()>,
}

impl Db {
    /// An empty database.
    pub fn new(seed: HashSeed) -> Self {
        Self {
            dict: Dict::new(seed),
            expires: Dict::new(seed),
            field_expiries: FieldExpiries::new(),
            expire_cursor: 0,
            average_ttl_ms: 0,
            life: Arc::new(()),
        }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Has it no keys?
    pub fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    fn is_in_snapshot(&self) -> bool {
        !self.life.is_unique()
    }

    /// May anything in it expire?
    pub fn has_times(&self) -> bool {
        !self.expires.is_empty() || !self.field_expiries.is_empty()
    }

    /// When the key expires; `None`: never, or no such key.
    pub fn expire_at(&self, key: &[u8]) -> Option<i64> {
        if self.expires.is_empty() { None } else { self.expires.get(key).map(|entry| entry.at_ms) }
    }
}

/// All databases as they were at one moment, to be written to disk by another thread.
#[derive(Clone)]
pub struct Snapshot {
    pub dbs: Vec<Db>,
    /// The texts of the libraries of functions.
    pub libraries: Vec<std::sync::Arc<[u8]>>,
    /// The journal position of this state.
    pub seq: u64,
    pub taken_at_ms: i64,
    /// Changes that this snapshot makes durable.
    pub dirty: u64,
    /// The users, as text, if they are part of the replicated state.
    pub users: Option<String>,
    /// The definitions of indexes, as text, if there are any.
    pub indexes: Option<String>,
    /// What the keys' usage words mean.
    pub usage: evict::UsagePolicy,
}

impl Snapshot {
    /// Of databases that are in no keyspace (tests, tools).
    pub fn of(dbs: Vec<Db>) -> Self {
        let usage = evict::UsagePolicy::new(MaxmemoryPolicy::Noeviction);
        Self {
            dbs,
            libraries: Vec::new(),
            seq: 0,
            taken_at_ms: 0,
            dirty: 0,
            users: None,
            indexes: None,
            usage,
        }
    }
}

/// All databases. One of them is selected while a command runs.
pub struct Keyspace {
    dbs: Vec<Db>,
    selected: usize,
    seed: HashSeed,
    now_ms: i64,
    pub rng: Rng,
    pub usage: evict::UsagePolicy,
    /// The running client asked to leave LRU and LFU alone (CLIENT NO-TOUCH), or the engine applies a batch.
    pub no_touch: bool,
    /// Somebody wants to hear of keys that come into being.
    pub report_new: bool,
    /// Those made since the last look, with their databases, while `report_new`.
    pub new_keys: Vec<(usize, Box<[u8]>)>,
    /// Somebody wants to hear of look-ups that find nothing.
    pub report_misses: bool,
    /// Those since the last look, with their databases, while `report_misses`. A cell, because looking up changes
    /// nothing.
    missed_keys: Cell<Vec<(usize, Box<[u8]>)>>,
    pub hits: Cell<u64>,
    pub misses: Cell<u64>,
    /// Values that are too large to drop here and now; the host takes them to another thread.
    trash: Trash,
    /// What the host has not dropped yet of all that was given to it.
    pending: size::Pending,
    snapshot_cost: size::SnapshotCost,
    /// Expired keys that the running command must not see, on a follower; see [`Keyspace::hide`].
    hidden: Vec<(usize, Box<[u8]>, Taken)>,
    /// Hashes of which it must not see all fields, as they are; see [`Keyspace::hide_fields`].
    whole_hashes: Vec<(usize, Box<[u8]>, Value)>,
    /// What eviction remembers from one call to the next.
    eviction: evict::Candidates,
    /// The database where active expiry goes on, and the time that it has taken so far.
    pub(crate) expire_db: usize,
    pub(crate) expire_spent_us: u64,
}

impl Keyspace {
    /// `count` empty databases.
    pub fn new(count: usize, seed: HashSeed, rng_seed: u64) -> Self {
        Self {
            dbs: (0..count).map(|_| Db::new(seed)).collect(),
            selected: 0,
            seed,
            now_ms: 0,
            rng: Rng::new(rng_seed),
            usage: evict::UsagePolicy::new(MaxmemoryPolicy::Noeviction),
            no_touch: false,
            report_new: false,
            new_keys: Vec::new(),
            report_misses: false,
            missed_keys: Cell::default(),
            hits: Cell::new(0),
            misses: Cell::new(0),
            trash: Trash::default(),
            pending: size::Pending::default(),
            snapshot_cost: size::SnapshotCost::default(),
            hidden: Vec::new(),
            whole_hashes: Vec::new(),
            eviction: evict::Candidates::default(),
            expire_db: 0,
            expire_spent_us: 0,
        }
    }

    /// Takes over what the configuration says of uses and events of keys.
    pub fn configure(&mut self, config: &Config) {
        self.usage.configure(config);
        self.report_new = config.notify_keyspace_events.contains(NotifyFlags::NEW);
        self.report_misses = config.notify_keyspace_events.contains(NotifyFlags::KEY_MISS);
    }

    /// The hash seed for tables inside values.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// The time of this turn, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub(crate) fn set_now(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.usage.set_now(now_ms);
    }

    /// Makes `db` the one that the methods without a database work on.
    pub fn select(&mut self, db: usize) {
        assert!(db < self.dbs.len(), "database {db} does not exist");
        self.selected = db;
    }

    /// The selected database.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// All databases.
    pub fn dbs(&self) -> &[Db] {
        &self.dbs
    }

    /// All databases, for loading, SWAPDB and the like.
    pub fn dbs_mut(&mut self) -> &mut Vec<Db> {
        &mut self.dbs
    }

    /// The selected database itself.
    pub fn db(&self) -> &Db {
        &self.dbs[self.selected]
    }

    /// The selected database itself, to be changed.
    pub fn db_mut(&mut self) -> &mut Db {
        &mut self.dbs[self.selected]
    }

    /// The key's value, for a command that returns it: counts a hit or a miss, which is reported, and touches LRU/LFU.
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        match self.db().dict.get(key) {
            Some(entry) => {
                self.hits.set(self.hits.get() + 1);
                self.touch(entry);
                Some(&entry.value)
            }
            None => {
                self.miss(key);
                None
            }
        }
    }

    /// A command that reads has found nothing.
    fn miss(&self, key: &[u8]) {
        self.misses.set(self.misses.get() + 1);
        if self.report_misses {
            let mut missed = self.missed_keys.take();
            missed.push((self.selected, key.into()));
            self.missed_keys.set(missed);
        }
    }

    /// The keys that were looked up in vain since the last call, with their databases.
    pub fn take_missed(&mut self) -> Vec<(usize, Box<[u8]>)> {
        std::mem::take(self.missed_keys.get_mut())
    }

    /// The key's value without counting or touching (TYPE, OBJECT, DUMP …).
    pub fn peek(&self, key: &[u8]) -> Option<&Value> {
        self.db().dict.get(key).map(|entry| &entry.value)
    }

    /// The key's entry, for a command that reports on the key (EXISTS, TTL, TYPE …): counts a hit or a miss, which is
    /// reported, leaves LRU and LFU alone.
    pub fn find(&self, key: &[u8]) -> Option<&KeyEntry> {
        let entry = self.db().dict.get(key);
        match entry {
            Some(_) => self.hits.set(self.hits.get() + 1),
            None => self.miss(key),
        }
        entry
    }

    /// [`Keyspace::find`] that reports no miss (OBJECT).
    pub fn find_unreported(&self, key: &[u8]) -> Option<&KeyEntry> {
        let entry = self.db().dict.get(key);
        let count = if entry.is_some() { &self.hits } else { &self.misses };
        count.set(count.get() + 1);
        entry
    }

    /// Is the key there? Counts as a use of it, as looking a key up to change it does in Redis.
    pub fn find_to_change(&self, key: &[u8]) -> bool {
        let entry = self.db().dict.get(key);
        if let Some(entry) = entry {
            self.touch(entry);
        }
        entry.is_some()
    }

    /// The key's entry without counting or touching.
    pub fn peek_entry(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.db().dict.get(key)
    }

    /// Is the key there?
    pub fn contains(&self, key: &[u8]) -> bool {
        self.db().dict.contains(key)
    }

    /// The key's value, to be changed: touches LRU/LFU, counts no hit (as Redis's `lookupKeyWrite`).
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        let touch = (!self.no_touch).then(|| self.usage.clone_for_touch());
        let rng = &self.rng;
        let entry = self.dbs[self.selected].dict.get_mut(key)?;
        if let Some(usage) = touch {
            entry.set_usage(usage.touched(entry.usage(), rng));
        }
        Some(&mut entry.value)
    }

    /// The key's value, made by `make` when the key is not there. True when it was made.
    pub fn get_or_insert_with(&mut self, key: &[u8], make: impl FnOnce() -> Value) -> (&mut Value, bool) {
        let fresh = self.usage.fresh();
        let (entry, made) = self.dbs[self.selected].dict.get_or_insert_with(key, || KeyEntry {
            key: Key::from(key),
            value: make(),
            usage: AtomicU32::new(fresh),
        });
        if !made && !self.no_touch {
            entry.set_usage(self.usage.touched(entry.usage(), &self.rng));
        }
        if made && self.report_new {
            self.new_keys.push((self.selected, key.into()));
        }
        (&mut entry.value, made)
    }

    /// Sets the key and forgets its time to live. True when the key was new.
    pub fn set(&mut self, key: &[u8], value: Value) -> bool {
        let new = self.set_keep_ttl(key, value);
        if !new {
            self.persist(key);
        }
        new
    }

    /// Sets the key and keeps its time to live, if it has one. True when the key was new.
    pub fn set_keep_ttl(&mut self, key: &[u8], value: Value) -> bool {
        let mut timed = value.has_times();
        let mut value = Some(value);
        let (slot, made) = self.get_or_insert_with(key, || value.take().expect("called once"));
        if let Some(value) = value {
            let old = std::mem::replace(slot, value);
            timed |= old.has_times();
            self.discard(old);
        }
        if timed {
            self.note_field_times(key);
        }
        made
    }

    /// Removes the key with its time to live, and gives its value back.
    pub fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let db = &mut self.dbs[self.selected];
        let entry = db.dict.remove(key)?;
        if !db.expires.is_empty() {
            db.expires.remove(key);
        }
        if !db.field_expiries.is_empty() {
            db.field_expiries.remove(key);
        }
        Some(entry.value)
    }

    /// Removes the key with its time to live. False when there was none. A large value is dropped elsewhere.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        match self.remove(key) {
            Some(value) => {
                self.discard(value);
                true
            }
            None => false,
        }
    }

    /// Takes the key away to put it under another name, or into another database.
    pub fn take(&mut self, key: &[u8]) -> Option<Taken> {
        let expire_at_ms = self.expire_at(key);
        let db = &mut self.dbs[self.selected];
        let entry = db.dict.remove(key)?;
        if expire_at_ms.is_some() {
            db.expires.remove(key);
        }
        if entry.value.has_times() {
            db.field_expiries.remove(key);
        }
        Some(Taken { usage: entry.usage(), value: entry.value, expire_at_ms })
    }

    /// On a follower, and under CLIENT PAUSE: an expired key is out of sight until [`Keyspace::show_hidden`].
    pub fn hide(&mut self, key: &[u8]) {
        if let Some(taken) = self.take(key) {
            self.hidden.push((self.selected, key.into(), taken));
        }
    }

    /// Puts back what was hidden from the command that is over.
    pub fn show_hidden(&mut self) {
        self.show_hidden_fields();
        if self.hidden.is_empty() {
            return;
        }
        let (home, report_new) = (self.selected, std::mem::take(&mut self.report_new));
        for (db, key, taken) in std::mem::take(&mut self.hidden) {
            self.select(db);
            self.put(&key, taken);
        }
        self.select(home);
        self.report_new = report_new;
    }

    /// Puts what was taken under this key, whatever was there.
    pub fn put(&mut self, key: &[u8], taken: Taken) {
        self.delete(key);
        let timed = taken.value.has_times();
        self.dbs[self.selected].dict.insert(KeyEntry::new(Key::from(key), taken.value, taken.usage));
        if self.report_new {
            self.new_keys.push((self.selected, key.into()));
        }
        if timed {
            self.note_field_times(key);
        }
        if let Some(at_ms) = taken.expire_at_ms {
            self.set_expire(key, at_ms);
        }
    }

    /// Drops a value without ever stalling the executor.
    pub fn discard(&mut self, value: Value) {
        if value.drop_effort() > DROP_EFFORT_MAX {
            let share = self.pending.add(1, value.heap_size(size::ELEMENT_SAMPLES));
            self.trash.values.push((value, share));
        } else if value.is_shared_string() && self.db().is_in_snapshot() {
            self.snapshot_cost.hold(value.heap_size(size::ELEMENT_SAMPLES));
        }
    }

    /// Empties database `db`; true when it held anything.
    pub fn flush(&mut self, db: usize) -> usize {
        let seed = self.seed;
        let old = std::mem::replace(&mut self.dbs[db], Db::new(seed));
        let len = old.len();
        if len > 0 {
            self.discard_db(old);
        }
        len
    }

    /// When the key expires; `None`: never, or no such key.
    pub fn expire_at(&self, key: &[u8]) -> Option<i64> {
        self.db().expire_at(key)
    }

    /// Gives an existing key a time to live, an absolute time.
    pub fn set_expire(&mut self, key: &[u8], at_ms: i64) {
        let db = &mut self.dbs[self.selected];
        debug_assert!(db.dict.contains(key), "a time to live for a key that is not there");
        let (entry, made) = db.expires.get_or_insert_with(key, || ExpireEntry { key: Key::from(key), at_ms });
        if !made {
            entry.at_ms = at_ms;
        }
    }

    /// Takes the key's time to live away. False when it had none.
    pub fn persist(&mut self, key: &[u8]) -> bool {
        let db = &mut self.dbs[self.selected];
        !db.expires.is_empty() && db.expires.remove(key).is_some()
    }

    /// Has the key's own time come?
    pub fn is_expired(&self, key: &[u8]) -> bool {
        self.expire_at(key).is_some_and(|at| at <= self.now_ms)
    }

    /// Has the key's time come, or that of all that is in it? Handlers that walk the keyspace ask; the others never
    /// meet such keys.
    pub fn is_due(&self, key: &[u8]) -> bool {
        self.is_expired(key) || self.is_without_fields(key)
    }

    /// A uniformly random key of the selected database, expired or not.
    pub fn random_entry(&self) -> Option<&KeyEntry> {
        self.db().dict.random(&mut |n| self.rng.below(n))
    }

    /// A key that the policy would evict next, and its database.
    pub(crate) fn pick_to_evict(
        &mut self,
        policy: MaxmemoryPolicy,
        samples: u32,
    ) -> Option<(usize, Box<[u8]>)> {
        self.eviction.pick(&self.dbs, policy, &self.usage, samples, &self.rng)
    }

    /// All databases as they are now, without the libraries, which are not among them.
    pub fn snapshot(&self, seq: u64, dirty: u64) -> Snapshot {
        if !self.is_in_snapshot() {
            self.snapshot_cost.begin();
        }
        Snapshot {
            dbs: self.dbs.clone(),
            libraries: Vec::new(),
            seq,
            taken_at_ms: self.now_ms,
            dirty,
            users: None,
            indexes: None,
            usage: self.usage,
        }
    }

    /// Takes over the databases of another keyspace (after a reload).
    pub fn replace_dbs(&mut self, dbs: Vec<Db>) {
        assert_eq!(dbs.len(), self.dbs.len(), "a reload keeps the number of databases");
        let old = std::mem::replace(&mut self.dbs, dbs);
        old.into_iter().for_each(|db| self.discard_db(db));
    }

    /// Gives all databases away and is empty.
    pub fn take_dbs(&mut self) -> Vec<Db> {
        let fresh = (0..self.dbs.len()).map(|_| Db::new(self.seed)).collect();
        std::mem::replace(&mut self.dbs, fresh)
    }

    fn discard_db(&mut self, db: Db) {
        let share = self.pending.add(db.len(), db.size_estimate());
        self.trash.dbs.push((db, share));
    }

    /// What the host should drop on another thread.
    pub fn take_trash(&mut self) -> Option<Trash> {
        let Trash { values, dbs, indexes } = &self.trash;
        let empty = values.is_empty() && dbs.is_empty() && indexes.is_empty();
        (!empty).then(|| std::mem::take(&mut self.trash))
    }

    /// Drops indexes elsewhere.
    pub(crate) fn discard_indexes(&mut self, indexes: &mut Vec<Index>) {
        self.trash.indexes.append(indexes);
    }

    /// An estimate of the bytes that were discarded and are not free yet.
    pub fn trash_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// Keys and values that were discarded and are not free yet, and those that have been freed since the start or
    /// [`Keyspace::forget_freed`].
    pub fn trash_objects(&self) -> (usize, usize) {
        (self.pending.objects(), self.pending.dropped())
    }

    /// Counts what is freed from zero again.
    pub fn forget_freed(&self) {
        self.pending.forget_dropped();
    }

    /// Does a snapshot live?
    fn is_in_snapshot(&self) -> bool {
        self.dbs.iter().any(Db::is_in_snapshot)
    }

    /// An estimate of the bytes in use that are no data: to be freed on another thread, or once a snapshot is done.
    pub(crate) fn passing_bytes(&self) -> usize {
        let snapshot_cost = if self.is_in_snapshot() { self.snapshot_cost.bytes() } else { 0 };
        self.trash_bytes() + snapshot_cost
    }

    /// `bytes` of evicted data did not become free, which is a snapshot's doing if there is one.
    pub(crate) fn hold_for_snapshot(&self, bytes: usize) {
        if self.is_in_snapshot() {
            self.snapshot_cost.hold(bytes);
        }
    }

    fn touch(&self, entry: &KeyEntry) {
        if !self.no_touch {
            entry.set_usage(self.usage.touched(entry.usage(), &self.rng));
        }
    }
}

/// A key's value and what belongs to it, on the way to another key.
pub struct Taken {
    value: Value,
    usage: u32,
    expire_at_ms: Option<i64>,
}

/// Values to be dropped somewhere else. Each is counted as pending until then.
#[derive(Default)]
pub struct Trash {
    values: Vec<(Value, size::PendingShare)>,
    dbs: Vec<(Db, size::PendingShare)>,
    /// Indexes over keys.
    pub(crate) indexes: Vec<Index>,
}
