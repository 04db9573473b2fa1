//! The indexes of `FT.*`: what they are, and how they follow the keys.
//!
//! **Definitions** (FT.CREATE and what changes it, aliases, synonyms, dictionaries) are state: effects in the log, a field of
//! snapshots, part of the digest ([`state`]). **Contents** are derived from keys and never written down: every node makes its
//! own.
//!
//! A change of a key of database 0 is noted where every change is ([`Search::note`]); the indexes catch up with all that is
//! noted when the unit ends, when a batch has been applied, and before a command looks at an index ([`Search::catch_up`]). So
//! whoever reads an index sees every write before. Keys that are older than an index are put into it beside the commands, a
//! little each turn ([`build`]).
//!
//! For a handler: [`crate::context::Context::search`] catches up and gives the registry, of which [`Search::find`] finds an index by name or
//! alias; [`document`] reads the fields of keys.

pub mod build;
pub mod cursor;
pub mod definition;
pub mod document;
pub mod fields;
pub mod settings;
pub mod state;

#[cfg(test)]
mod tests;

#[cfg(all(feature = "fuzzing", any(test, feature = "testing")))]
pub use crate::commands::search::query::fuzzing;

use std::collections::BTreeMap;

use cairn_search::index::Index;
use cairn_search::spellcheck::Dictionary;

use crate::commands::search::query::Cursors;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use build::Pass;
use cursor::Cursor;
use definition::Definition;
use document::Failure;
use settings::Settings;

/// Indexes at most. A write looks at the prefixes of each.
pub const INDEXES_MAX: usize = 10_000;
/// Aliases of all indexes together.
pub const ALIASES_MAX: usize = 100_000;
/// Words of one dictionary, and dictionaries.
pub const DICTIONARY_WORDS_MAX: usize = 1_000_000;
pub const DICTIONARIES_MAX: usize = 10_000;
/// Bytes of a word of a dictionary: no word of an index is longer.
pub const DICTIONARY_WORD_LEN_MAX: usize = 1024;
/// Words with synonyms of one index, and groups of one word: RediSearch's limits.
pub const SYNONYM_WORDS_MAX: usize = 1_000_000;
pub const SYNONYM_GROUPS_MAX: usize = 4096;
/// Changed keys that wait for the end of their unit; past it the indexes catch up after the command.
const CHANGED_MAX: usize = 4096;

/// All indexes of a node.
#[derive(Default)]
pub struct Search {
    indexes: BTreeMap<Box<[u8]>, IndexEntry>,
    /// The index that each alias means.
    aliases: BTreeMap<Box<[u8]>, Box<[u8]>>,
    dictionaries: BTreeMap<Box<[u8]>, Dictionary>,
    /// Keys of database 0 that have changed since the indexes last caught up, and that some index covers; when each
    /// changed last, as the number of the change.
    changed: BTreeMap<Box<[u8]>, u64>,
    changes: u64,
    /// FT.CONFIG: this node's own.
    pub settings: Settings,
    /// FT.AGGREGATE's cursors: this node's own, too.
    pub(crate) cursors: Cursors,
    pass: Pass,
    /// Indexes to be dropped on another thread.
    pub(crate) trash: Vec<Index>,
    /// Seeds the graphs.
    seed: u64,
}

/// One index.
pub struct IndexEntry {
    pub definition: Definition,
    /// Documents by key. In database 0.
    pub index: Index,
    /// The index that takes its place once it is built: see [`Index::wants_rebuild`].
    successor: Option<Box<Index>>,
    /// Documents that could not be indexed, of the whole and of each field.
    pub failures: Failures,
    pub field_failures: Vec<Failures>,
    pub progress: Progress,
    /// Commands that have looked at it.
    pub uses: u64,
    /// When it was used last, for TEMPORARY.
    pub used_ms: i64,
    /// Time spent on putting documents into it.
    pub indexing_us: u64,
    /// The dialects of queries so far; bit `n` is dialect `n`.
    pub dialects: u8,
}

/// What could not be indexed.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    pub count: u64,
    /// The last one: why, and of which key.
    pub last: Option<(String, Box<[u8]>)>,
}

impl Failures {
    fn add(&mut self, why: &str, key: &[u8]) {
        self.count += 1;
        self.last = Some((why.to_owned(), key.into()));
    }
}

/// How far an index has come with the keys that are older than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is in it.
    Complete,
    /// It waits for its pass over the keys. `again`: documents that are in it have to be looked at, too.
    Waiting { again: bool },
    /// The pass is under way.
    Building { again: bool },
}

impl IndexEntry {
    fn new(definition: Definition, seed: u64, now_ms: i64) -> Self {
        let fields = definition.schema.fields().len();
        let progress = if definition.skip_initial_scan {
            Progress::Complete
        } else {
            Progress::Waiting { again: false }
        };
        Self {
            index: Index::new(definition.schema.clone(), seed),
            definition,
            successor: None,
            failures: Failures::default(),
            field_failures: vec![Failures::default(); fields],
            progress,
            uses: 0,
            used_ms: now_ms,
            indexing_us: 0,
            dialects: 0,
        }
    }

    /// Bytes of the index that is being built in place of this one.
    pub fn successor_bytes(&self) -> usize {
        self.successor.as_ref().map_or(0, |successor| successor.stats().bytes())
    }

    /// A command looks at the index.
    pub fn used(&mut self, now_ms: i64) {
        self.uses += 1;
        self.used_ms = now_ms;
    }

    /// Brings what is indexed of a key up to date.
    fn follow(&mut self, keys: &Keyspace, key: &[u8]) {
        if !self.definition.covers(key) {
            return;
        }
        let value = keys.dbs()[0].dict.get(key).map(|entry| &entry.value);
        let read = value.and_then(|value| document::read(&self.definition, value).transpose());
        match read {
            None => self.forget(key),
            Some(Ok(content)) => {
                let document = content.document();
                if let Err(error) = self.index.upsert(key, &document) {
                    self.fail(key, &Failure { field: None, why: error.to_string() });
                }
                if let Some(successor) = &mut self.successor {
                    // What fails here has failed above.
                    let _ = successor.upsert(key, &document);
                }
            }
            Some(Err(failure)) => {
                self.forget(key);
                self.fail(key, &failure);
            }
        }
    }

    /// Adds words to a group of those that mean the same. Documents that are there have to be looked at again.
    pub fn add_synonyms(&mut self, group: &[u8], words: &[&[u8]]) {
        for index in [Some(&mut self.index), self.successor.as_deref_mut()].into_iter().flatten() {
            index.synonyms.add(group, words.iter().copied());
        }
    }

    /// Adds the fields that the arguments say, and answers how many there were before. After an error nothing has changed.
    pub fn add_fields(&mut self, cursor: &mut Cursor<'_>) -> CommandResult<usize> {
        let before = self.definition.schema.fields().len();
        self.definition.add_fields(cursor, false)?;
        for field in &self.definition.schema.fields()[before..] {
            self.index.add_field(field.clone()).map_err(|error| CommandError::from(error.to_string()))?;
            self.field_failures.push(Failures::default());
        }
        // It is begun again when it is wanted again.
        self.successor = None;
        Ok(before)
    }

    fn forget(&mut self, key: &[u8]) {
        self.index.remove(key);
        if let Some(successor) = &mut self.successor {
            successor.remove(key);
        }
    }

    fn fail(&mut self, key: &[u8], failure: &Failure) {
        self.failures.add(&failure.why, key);
        if let Some(failures) = failure.field.and_then(|field| self.field_failures.get_mut(field)) {
            failures.add(&failure.why, key);
        }
    }
}

impl Search {
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Is there any index? If not, nobody need note what changes.
    pub fn is_on(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// Is there nothing that snapshots would have to carry?
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty() && self.dictionaries.is_empty()
    }

    /// The key has changed, has come or has gone.
    pub fn note(&mut self, db: usize, key: &[u8]) {
        if db != 0 {
            return;
        }
        self.changes += 1;
        if let Some(last) = self.changed.get_mut(key) {
            *last = self.changes;
        } else if self.covers(key) {
            self.changed.insert(key.into(), self.changes);
        }
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.indexes.values().any(|entry| entry.definition.covers(key))
    }

    /// Do so many changes wait that it should not be put off?
    pub fn is_behind(&self) -> bool {
        self.changed.len() >= CHANGED_MAX
    }

    /// Brings all indexes up to date with the keys that were noted.
    pub fn catch_up(&mut self, keys: &Keyspace) {
        if self.changed.is_empty() {
            return;
        }
        // In the order of their last changes: of documents that are as good, the older one is found first.
        let mut changed: Vec<(Box<[u8]>, u64)> = std::mem::take(&mut self.changed).into_iter().collect();
        changed.sort_unstable_by_key(|(_, change)| *change);
        for (key, _) in changed {
            for entry in self.indexes.values_mut() {
                entry.follow(keys, &key);
            }
        }
        self.replace_worn_out();
    }

    /// The index of this name, or that the alias of this name means.
    pub fn find(&self, name: &[u8]) -> Option<&IndexEntry> {
        self.indexes.get(self.resolve(name))
    }

    pub fn find_mut(&mut self, name: &[u8]) -> Option<&mut IndexEntry> {
        let name: Box<[u8]> = self.resolve(name).into();
        self.indexes.get_mut(&name)
    }

    /// The index of this very name.
    pub fn get(&self, name: &[u8]) -> Option<&IndexEntry> {
        self.indexes.get(name)
    }

    fn resolve<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        if self.indexes.contains_key(name) {
            return name;
        }
        self.aliases.get(name).map_or(name, |target| target)
    }

    /// All indexes, by name.
    pub fn indexes(&self) -> impl ExactSizeIterator<Item = &IndexEntry> {
        self.indexes.values()
    }

    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Adds an index of a name that is free. Keys that are there come into it by and by.
    pub fn create(&mut self, definition: Definition, now_ms: i64) {
        let name = definition.name.clone();
        let entry = IndexEntry::new(definition, self.seed, now_ms);
        let before = self.indexes.insert(name, entry);
        assert!(before.is_none(), "the name of a new index is free");
    }

    /// Drops the index and its aliases, and gives it back.
    pub fn drop_index(&mut self, name: &[u8]) -> Option<IndexEntry> {
        let name: Box<[u8]> = self.resolve(name).into();
        let entry = self.indexes.remove(&name)?;
        self.aliases.retain(|_, target| *target != name);
        Some(entry)
    }

    /// Has an index that is no longer here dropped, elsewhere.
    pub fn discard(&mut self, entry: IndexEntry) {
        self.trash.push(entry.index);
        self.trash.extend(entry.successor.map(|successor| *successor));
    }

    /// Drops everything: what FLUSHALL and FLUSHDB do. False if there was nothing.
    pub fn clear(&mut self) -> bool {
        let was_empty = self.is_empty();
        let indexes = std::mem::take(&mut self.indexes);
        indexes.into_values().for_each(|entry| self.discard(entry));
        self.aliases.clear();
        self.dictionaries.clear();
        self.changed.clear();
        self.pass = Pass::default();
        !was_empty
    }

    /// A temporary index that nobody has used for long enough.
    pub fn idle(&self, now_ms: i64) -> Option<&[u8]> {
        let is_idle = |entry: &&IndexEntry| {
            let limit_ms = entry.definition.temporary_ms;
            limit_ms.is_some_and(|limit_ms| now_ms.saturating_sub(entry.used_ms) >= limit_ms)
        };
        self.indexes.values().find(is_idle).map(|entry| &*entry.definition.name)
    }

    /// From now on this node is the one that is asked: nobody's time is over yet.
    pub fn begin_use(&mut self, now_ms: i64) {
        self.indexes.values_mut().for_each(|entry| entry.used_ms = now_ms);
    }

    pub fn aliases(&self) -> &BTreeMap<Box<[u8]>, Box<[u8]>> {
        &self.aliases
    }

    pub fn aliases_mut(&mut self) -> &mut BTreeMap<Box<[u8]>, Box<[u8]>> {
        &mut self.aliases
    }

    pub fn dictionaries(&self) -> &BTreeMap<Box<[u8]>, Dictionary> {
        &self.dictionaries
    }

    pub fn dictionaries_mut(&mut self) -> &mut BTreeMap<Box<[u8]>, Dictionary> {
        &mut self.dictionaries
    }
}
