//! Keys that are older than an index: they are put into it beside the commands.
//!
//! One pass over database 0 serves all indexes that wait when it begins; those that come later wait for the next one. A key
//! that changes meanwhile has been followed already, and is skipped. Followers build their own indexes, as leaders do.

use std::mem;

use cairn_search::index::Index;

use super::{IndexEntry, Progress, Search};
use crate::host::Host;
use crate::keyspace::Keyspace;

/// Keys of a stretch of the walk. Looking at a name costs little; documents are counted by the clock.
const KEYS_PER_STEP: usize = 64;

/// A walk through the keys.
#[derive(Default)]
pub(super) struct Pass {
    under_way: bool,
    /// Where the walk goes on.
    cursor: u64,
    /// The walk has come to its end; what is left is in `keys`.
    walked: bool,
    /// Keys that were met and not looked at yet.
    keys: Vec<Box<[u8]>>,
    /// Keys looked at.
    seen: usize,
}

impl Search {
    /// Puts older keys into the indexes that lack them, for about `budget_us`: one step at least, and no document for which there
    /// is no time left if it takes as long as those before. True if there is more to do.
    pub fn build(&mut self, keys: &Keyspace, host: &dyn Host, budget_us: u64) -> bool {
        let started_us = host.monotonic_us();
        let (mut step_us, mut longest_us) = (started_us, 0);
        loop {
            if !self.pass.under_way && !self.begin_pass() {
                return false;
            }
            if let Some(key) = self.pass.keys.pop() {
                self.pass.seen += 1;
                let before_us = host.monotonic_us();
                for entry in self.indexes.values_mut() {
                    if let Progress::Building { again } = entry.progress {
                        entry.follow_older(keys, &key, again);
                    }
                }
                let now_us = host.monotonic_us();
                for entry in self.indexes.values_mut().filter(|entry| entry.definition.covers(&key)) {
                    entry.indexing_us += now_us.saturating_sub(before_us);
                }
            } else if self.pass.walked {
                self.end_pass();
            } else {
                self.walk(keys);
            }
            let now_us = host.monotonic_us();
            longest_us = longest_us.max(now_us.saturating_sub(mem::replace(&mut step_us, now_us)));
            if now_us.saturating_sub(started_us) + longest_us >= budget_us {
                return true;
            }
        }
    }

    /// Is any index not complete?
    pub fn is_building(&self) -> bool {
        self.pass.under_way || self.indexes.values().any(|entry| entry.progress != Progress::Complete)
    }

    fn begin_pass(&mut self) -> bool {
        for entry in self.indexes.values_mut() {
            if let Progress::Waiting { again } = entry.progress {
                entry.progress = Progress::Building { again };
                self.pass = Pass { under_way: true, ..Pass::default() };
            }
        }
        self.pass.under_way
    }

    fn end_pass(&mut self) {
        self.pass = Pass::default();
        for entry in self.indexes.values_mut() {
            if let Progress::Building { .. } = entry.progress {
                entry.progress = Progress::Complete;
                if let Some(successor) = entry.successor.take() {
                    self.trash.push(mem::replace(&mut entry.index, *successor));
                }
            }
        }
    }

    fn walk(&mut self, keys: &Keyspace) {
        let Self { indexes, pass, .. } = self;
        let building = |entry: &&IndexEntry| matches!(entry.progress, Progress::Building { .. });
        let members: Vec<&IndexEntry> = indexes.values().filter(building).collect();
        let (mut met, mut passed_by) = (mem::take(&mut pass.keys), 0);
        pass.cursor = keys.dbs()[0].dict.scan(pass.cursor, KEYS_PER_STEP, &mut |entry| {
            if members.iter().any(|member| member.definition.covers(&entry.key)) {
                met.push((*entry.key).into());
            } else {
                passed_by += 1;
            }
        });
        pass.keys = met;
        pass.seen += passed_by;
        pass.walked = pass.cursor == 0;
    }

    /// The part of the keys that the index has been shown, of those it is to be shown.
    pub fn part_indexed(&self, entry: &IndexEntry, keys: &Keyspace) -> f64 {
        match entry.progress {
            Progress::Complete => 1.0,
            Progress::Waiting { .. } => 0.0,
            Progress::Building { .. } => {
                let all = keys.dbs()[0].len();
                if all == 0 { 0.0 } else { (self.pass.seen as f64 / all as f64).min(1.0) }
            }
        }
    }

    /// Everything has to be looked at again: the keys are others than they were.
    pub fn rebuild_all(&mut self) {
        self.pass = Pass::default();
        self.changed.clear();
        for entry in self.indexes.values_mut() {
            let fresh = entry.empty_index(self.seed);
            self.trash.push(mem::replace(&mut entry.index, fresh));
            entry.successor = None;
            entry.progress = Progress::Waiting { again: false };
        }
    }

    /// The index has another schema or other synonyms: its documents have to be looked at again.
    pub fn index_again(&mut self, name: &[u8]) {
        if let Some(entry) = self.indexes.get_mut(name) {
            entry.progress = Progress::Waiting { again: true };
        }
    }

    /// Indexes that have given out too many ids get successors, which are built beside them.
    pub(super) fn replace_worn_out(&mut self) {
        for entry in self.indexes.values_mut() {
            if entry.successor.is_none() && entry.index.wants_rebuild() {
                entry.begin_successor(self.seed);
            }
        }
    }
}

impl IndexEntry {
    /// Shows the index a key that was there before it.
    fn follow_older(&mut self, keys: &Keyspace, key: &[u8], again: bool) {
        let known = self.successor.as_deref().unwrap_or(&self.index).contains(key);
        if again || !known {
            self.follow(keys, key);
        }
    }

    /// Has the index built anew beside itself, with ids from the beginning.
    pub(super) fn begin_successor(&mut self, seed: u64) {
        self.successor = Some(Box::new(self.empty_index(seed)));
        self.progress = Progress::Waiting { again: false };
    }

    fn empty_index(&self, seed: u64) -> Index {
        let mut index = Index::new(self.definition.schema.clone(), seed);
        index.synonyms = self.index.synonyms.clone();
        index
    }
}
